"""Checkpoints outside of `fit`, of copies, of other networks; and where there can be none."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import all_kinds, small, stripes
from resuming import WEIGHTS, At, X, Y, fit, left_by, resumed, trainer

from cnn_ext import (
    SGD,
    Conv2d,
    CostError,
    CSVLogger,
    Dropout2d,
    GroupNorm,
    JSONLogger,
    Layer,
    Linear,
    Module,
    Sequential,
    Trainer,
)


@pytest.fixture(scope="module")
def unbroken() -> tuple[Any, ...]:
    """What is left without any break."""
    one = trainer()
    return left_by(one, fit(one))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training.safetensors"


# ------------------------------------------------------------------------- outside of a training


def test_steps_by_hand(path: Path) -> None:
    one, other = trainer(), trainer(3)
    for _ in range(3):
        one.train_on_batch(X[:10], Y[:10])
    one.save(path)
    other.resume(path)
    assert left_by(one) == left_by(other) and one.average is not None
    for _ in range(2):
        a = one.train_on_batch(X[10:20], Y[10:20], WEIGHTS[:10])
        assert a == other.train_on_batch(X[10:20], Y[10:20], WEIGHTS[:10])
    assert left_by(one, fit(one)) == left_by(other, fit(other))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_step_by_hand_that_is_broken_off_moves_nothing() -> None:
    one = trainer()
    one.train_on_batch(X, Y)
    before = left_by(one)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.optimizer, "step", _interrupt)
        one.train_on_batch(X, Y)
    assert left_by(one) == before
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.average, "update", _interrupt)
        one.train_on_batch(X, Y)
    other = trainer()
    for _ in range(2):
        other.train_on_batch(X, Y)
    one._settle()
    assert left_by(one) == left_by(other)


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_training_that_is_given_up(path: Path) -> None:
    one = trainer()
    fit(one, At("batch_end", 5, lambda one: setattr(one, "stop_training", True)))
    one.train_on_batch(X, Y)
    one.save(path)
    other = resumed(path)
    assert other._resumed is None and left_by(one) == left_by(other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_resumed_and_saved_too(
    copied: Callable[[Trainer], Trainer], path: Path, unbroken: tuple[Any, ...]
) -> None:
    copies: list[Trainer] = []
    first = trainer()
    fit(first, At("batch_end", 9, lambda one: copies.append(copied(one))))
    assert copies[0]._run is None
    fit(first := trainer(), At("batch_end", 9, _stop))
    copied(first).save(path)
    second = copied(resumed(path))
    assert left_by(second, fit(second, At())) == unbroken


def _stop(one: Trainer) -> None:
    one.stop_training = True


def test_what_is_written_line_by_line_is_the_same(path: Path) -> None:
    def logs(name: str) -> list[Any]:
        return [CSVLogger(path.with_name(f"{name}.csv")), JSONLogger(path.with_name(name))]

    fit(trainer(), *logs("a"), At("batch_end", 15, lambda one: one.save(path)), *logs("b"))
    second = resumed(path)
    fit(second, *logs("b"), At(), *logs("c"))
    for name in "ab":
        assert path.with_name(f"{name}.csv").read_text().count("\n") == 9
    lines = [path.with_name(name).read_text().splitlines() for name in "abc"]
    assert [len(each) for each in lines] == [8, 8, 8] and lines[0][:3] == lines[1][:3]


# ------------------------------------------------------------------------------ where it may not


class Saving(Layer):
    """Saves while it computes."""

    trainer: Trainer

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.training:
            self.trainer.save("never")
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


def test_not_within_a_step_nor_a_fit(path: Path) -> None:
    layer = Saving()
    one = Trainer(Sequential(layer, *small().layers))
    layer.trainer = one
    for step in (lambda: one.train_on_batch(X, Y), lambda: one.fit(X, Y, progress=False)):
        with pytest.raises(RuntimeError, match="save: expected a call between two steps"):
            step()
    one = trainer()
    one.save(path)
    with pytest.raises(RuntimeError, match="resume: expected a call between two calls of fit"):
        fit(one, At("batch_end", 1, lambda one: one.resume(path)))
    one = resumed(path)
    assert one.average is not None
    with one.average.applied(), pytest.raises(ValueError, match="average: expected the weights"):
        one.save(path)


def test_the_state_of_a_callback_is_plain_data(path: Path) -> None:
    class Odd(At):
        def state_dict(self) -> dict[str, Any]:
            return {"seen": {1, 2}}

    with pytest.raises(TypeError, match="callbacks/2/seen: expected plain data .*, got set"):
        fit(trainer(), Odd(), checkpoint=path)
    one = trainer()
    assert fit(one, Odd("batch_end", 2, _stop)).stopped == "interrupted"  # nobody asked for it
    with pytest.raises(TypeError, match="got set"):
        one.save(path)


def test_weights_that_are_not_finite_are_not_saved(path: Path) -> None:
    one = trainer()
    one.save(path)
    before = path.read_bytes()
    one.net.parameters()[0].data[0] = np.nan
    with pytest.raises(ValueError, match="0.weight: expected finite numbers, got nan"):
        one.save(path)
    net = small()
    steep = Trainer(net, optimizer=SGD(net, 1e38, weight_decay=1e30))
    with pytest.raises(CostError), np.errstate(over="ignore"):
        steep.fit(*stripes(20), 1, 5, progress=False, checkpoint=path, every=1)
    assert path.read_bytes() == before


# -------------------------------------------------------------------------- other kinds of training


class Two(Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.a, self.b = Linear(36, 8, rng=rng), Linear(36, 8, rng=rng)
        self.kinds, self.number = Linear(8, 3, rng=rng), Linear(8, 1, rng=rng)

    def forward(self, x: Any, y: Any) -> Any:
        both = self.a(x) + self.b(y)
        return {"kinds": self.kinds(both), "number": self.number(both)}


def cubic(outputs: Any, targets: Any) -> tuple[float, np.ndarray]:
    difference = np.asarray(outputs) - targets
    return float((difference**4).mean()), 4 * difference**3 / difference.size


def two() -> tuple[Trainer, Any, Any]:
    flat = X.reshape(60, 36)
    losses = {"kinds": "cross_entropy", "number": "mse"}
    targets = {"kinds": Y, "number": Y[:, None].astype(np.float32)}
    return Trainer(Two(), losses, "rmsprop"), (flat, flat[::-1]), targets


def own_cost() -> tuple[Trainer, Any, Any]:
    net = all_kinds()  # a layer of one's own, float64
    seed: Any = np.random.Generator(np.random.MT19937(3))
    x = np.random.default_rng(0).random((60, 2, 7, 7))
    return Trainer(net, cubic, SGD(net, 1e-3, 0.9), seed=seed), x, np.eye(3)[Y]


def pictures() -> tuple[Trainer, Any, Any]:
    rng = np.random.default_rng(0)
    net = Sequential(Conv2d(1, 3, 3, padding="same", rng=rng), GroupNorm(1, 3), Dropout2d(0.2))
    return Trainer(net, "focal", "adamw"), (255 * X).astype(np.uint8), np.repeat(
        np.repeat(Y[:, None, None], 6, 1), 6, 2
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:x. numbers of root mean square")
@pytest.mark.parametrize("make", [two, own_cost, pictures])
@pytest.mark.parametrize("shuffle", [True, False])
def test_other_networks(make: Callable[[], Any], shuffle: bool, path: Path) -> None:
    options: dict[str, Any] = {"validation_split": 0.25, "shuffle": shuffle, "progress": False}

    def run(*callbacks: Any) -> tuple[Any, ...]:
        one, x, y = make()
        if not callbacks:
            one.resume(path)
        history = one.fit(x, y, 3, 10, callbacks=callbacks or [At()], **options)
        return left_by(one, history)

    unbroken = run(At("batch_end", 7, lambda one: one.save(path)))
    assert run() == unbroken
