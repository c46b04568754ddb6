"""The moving average of weights, by itself and in a trainer."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import normal
from interrupting import every_interrupt, everywhere
from networks import assert_same, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext.optim.average
from cnn_ext import SGD, CostError, ExponentialMovingAverage, Parameter, Trainer

X, Y = stripes(30)
SHAPES = [(3, 4), (0,), (), (17,), (40, 1001)]


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_it_is_the_mean_with_falling_weights(decay: float, dtype: str, atol: float) -> None:
    parameters = [Parameter(normal("p", shape, dtype)) for shape in SHAPES]
    average = ExponentialMovingAverage(parameters, decay)
    seen: list[list[np.ndarray]] = []
    for step in range(12):
        for parameter in parameters:
            parameter.data[...] = normal(f"{step}", parameter.data.shape, dtype)
        seen.append([parameter.data.astype(np.float64) for parameter in parameters])
        average.update()
    weights = decay ** np.arange(12.0)[::-1]
    assert average.updates == 12
    for i, kept in enumerate(average.averages):
        expected = sum(w * arrays[i] for w, arrays in zip(weights, seen, strict=True))
        assert_allclose(kept.data, expected / weights.sum(), rtol=0, atol=atol)
        assert kept.data.dtype == dtype


def moved(dtype: str = "float32") -> tuple[cnn_ext.Sequential, ExponentialMovingAverage]:
    net = small().astype(dtype)
    average = ExponentialMovingAverage(net, 0.5)
    for factor in (2, 3):
        for parameter in net.parameters():
            parameter.data *= factor
        average.update()
    return net, average


def arrays(net: Any) -> list[bytes]:
    return [parameter.data.tobytes() for parameter in net.parameters()]


def test_applied_and_back() -> None:
    net, average = moved()
    own, objects, outputs = arrays(net), [p.data for p in net.parameters()], net(X)
    means = [kept.data.tobytes() for kept in average.averages]
    with average.applied():
        assert arrays(net) == means
        assert not np.allclose(net(X), outputs)
        with average.applied():
            assert arrays(net) == means
        assert arrays(net) == means
    assert arrays(net) == own and [kept.data.tobytes() for kept in average.averages] == means
    assert all(p.data is data for p, data in zip(net.parameters(), objects, strict=True))
    assert_array_equal(net(X), outputs)
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert arrays(net) == own


@pytest.mark.parametrize("opcodes", [False, True])
def test_an_interrupt_gives_the_weights_back(opcodes: bool) -> None:
    net, average = moved()
    own = arrays(net)

    def use() -> None:
        with average.applied():
            pass

    for _ in every_interrupt(use, opcodes):
        assert arrays(net) == own


def test_an_interrupt_finds_an_update_done_or_not_done() -> None:
    def state(average: ExponentialMovingAverage) -> tuple[bytes, ...]:
        return tuple(kept.data.tobytes() for kept in average.kept)

    _, average = moved()
    allowed = {state(average)}
    average.update()
    allowed.add(state(average))
    for interrupt in everywhere(cnn_ext.optim.average, instructions=True):
        _, average = moved()
        try:
            with interrupt:
                average.update()
        except KeyboardInterrupt:
            pass
        assert state(average) in allowed, interrupt.place


def test_copies_and_conversions() -> None:
    net, average = moved()
    other = small()
    average.copy_to(other)
    assert arrays(other) == [kept.data.tobytes() for kept in average.averages]
    net.astype("float64")
    with average.applied():
        assert net.dtype == np.float64
        assert_allclose(net.parameters()[0].data, other.parameters()[0].data)
    average.update()
    assert all(kept.data.dtype == np.float64 for kept in average.averages)
    average.copy_to()
    assert arrays(net) == [kept.data.tobytes() for kept in average.averages]
    with pytest.raises(ValueError, match="parameters: expected 4, got 0"):
        average.copy_to([])
    wrong = [Parameter(np.ones(3)) for _ in average.averages]
    with pytest.raises(ValueError, match=r"parameters\[0\]: expected shape"):
        average.copy_to(wrong)
    average.reset()
    assert average.updates == 0 and arrays(net) == [k.data.tobytes() for k in average.averages]


def test_its_state() -> None:
    _, average = moved()
    state = average.state_dict()
    _, other = moved("float64")
    other.load_state_dict(state)
    assert other.updates == 2 and other.decay == 0.5
    for mine, theirs in zip(other.averages, average.averages, strict=True):
        assert mine.data.dtype == np.float64
        assert_array_equal(mine.data, theirs.data)
    for change, error in (
        ({"decay": 1}, ValueError), ({"updates": -1}, ValueError), ({"averages": {}}, KeyError),
        ({"more": 1}, KeyError), ({"averages": {**state["averages"], 3: np.ones(2)}}, ValueError),
    ):  # fmt: skip
        before = other.state_dict()
        with pytest.raises(error):
            other.load_state_dict({**state, **change})
        assert_same(other.state_dict()["averages"], before["averages"])
    with pytest.raises(KeyError, match="state: expected 'averages', 'decay' and 'updates', got li"):
        other.load_state_dict([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "parameters: expected a network or a list"),
        (([], 1), ValueError, "decay: expected less than 1, got 1"),
        (([], -0.1), ValueError, "decay: expected 0 to 1"),
        (([], "slow"), TypeError, "decay: expected a number"),
    ],
)
def test_arguments_that_do_not_fit(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        ExponentialMovingAverage(*arguments)


# ------------------------------------------------------------------------------- in a trainer


def test_a_trainer_validates_with_the_averages_and_keeps_its_weights() -> None:
    plain, trainer = Trainer(small()), Trainer(small(), average=0.9)
    options: dict[str, Any] = {"validation_split": 0.3, "progress": False}
    history = plain.fit(X, Y, 3, 7, **options)
    averaged = trainer.fit(X, Y, 3, 7, **options)
    assert history["cost"] == averaged["cost"]
    assert history["validation_cost"] != averaged["validation_cost"]
    assert_same(plain.net.state_dict(), trainer.net.state_dict())
    assert trainer.average is not None and trainer.average.updates == 9
    outputs, scores = trainer.outputs(X), trainer.evaluate(X, Y)
    assert not np.allclose(outputs, plain.outputs(X))
    trainer.average.copy_to()
    assert_array_equal(trainer.net(X), outputs)
    assert trainer.evaluate(X, Y) == scores


def test_an_interrupted_evaluation_gives_the_weights_back() -> None:
    trainer = Trainer(small(), average=0.9)
    trainer.fit(X, Y, progress=False)
    own, scores = arrays(trainer.net), trainer.evaluate(X, Y)
    for _ in every_interrupt(lambda: trainer.evaluate(X, Y), step=7):
        assert arrays(trainer.net) == own
    assert trainer.evaluate(X, Y) == scores


def test_before_the_first_step_a_trainer_takes_the_weights_as_they_are() -> None:
    trainer = Trainer(small(), average=0.9)
    trainer.net.parameters()[0].data += 1
    assert_array_equal(trainer.outputs(X), trainer.net.eval()(X))


def test_a_cost_that_is_not_finite_takes_the_averages_back_too() -> None:
    net = small()
    trainer = Trainer(net, optimizer=SGD(net, 0.1), average=0.9)
    for _ in range(3):
        trainer.train_on_batch(X, Y)
    assert trainer.average is not None
    before = [kept.data.tobytes() for kept in trainer.average.kept]
    weights = arrays(net)
    trainer.optimizer.lr = 1e38
    with np.errstate(all="ignore"):
        trainer.train_on_batch(X, Y)
        with pytest.raises(CostError):
            trainer.train_on_batch(X, Y)
    assert [kept.data.tobytes() for kept in trainer.average.kept] == before
    assert arrays(net) == weights


def test_early_stopping_takes_the_averages_of_the_best_epoch() -> None:
    trainer = Trainer(small(), average=0.9)
    counts: list[int] = []

    def note(trainer: Trainer, epoch: cnn_ext.Epoch) -> None:
        assert trainer.average is not None
        counts.append(trainer.average.updates)

    history = trainer.fit(
        X, Y, 4, 10, validation_split=0.3, early_stopping=4, callbacks=[note], progress=False
    )
    best = int(np.argmin(history["validation_cost"]))
    assert trainer.average is not None and trainer.average.updates == counts[best]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_copy_goes_on_as_the_original_does(optimizer: str, copied: Any) -> None:
    trainer = Trainer(small(dropout=0.5), optimizer=optimizer, average=0.9)
    trainer.fit(X, Y, 2, 8, progress=False)
    other = copied(trainer)
    for one in (trainer, other):
        one.fit(X, Y, 2, 8, schedule="cosine", progress=False)
    assert_same(trainer.net.state_dict(), other.net.state_dict())
    assert_array_equal(trainer.outputs(X), other.outputs(X))
    assert other.average is not None and other.average.parameters == other.net.parameters()
    assert other.optimizer.state_dict()["param_groups"] == trainer.optimizer.state_dict()[
        "param_groups"
    ]  # fmt: skip


def test_what_a_trainer_refuses() -> None:
    with pytest.raises(ValueError, match="optimizer: expected one of sgd, adam, adamw, rmsprop"):
        Trainer(small(), optimizer="lion")
    with pytest.raises(TypeError, match="average: expected a number, got '1'"):
        Trainer(small(), average="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="average: 4 of its parameters are not of the network"):
        Trainer(small(), average=ExponentialMovingAverage(small()))
