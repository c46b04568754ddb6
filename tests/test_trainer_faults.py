"""What goes wrong in training: arguments, Ctrl-C, costs that are no numbers; and what is shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import small, stripes
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import SGD, CostError, EarlyStopping, Epoch, Layer, Linear, Sequential, Trainer

# --------------------------------------------------------------------------------- arguments

X, Y = stripes(20)
NONE = X[:0], Y[:0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"x": X[:19]}, ValueError, "y: expected 19 targets, one for each image, got shape"),
        ({"y": Y[:19]}, ValueError, "y: expected 20 targets, one for each image, got shape"),
        ({"y": 3}, ValueError, r"y: expected 20 targets, one for each image, got shape \(\)"),
        ({"x": NONE[0], "y": NONE[1]}, ValueError, "x: expected at least one image, got none"),
        ({"x": [], "y": []}, ValueError, "x: expected at least one image, got none"),
        ({"epochs": 0}, ValueError, "epochs: expected 1 to"),
        ({"epochs": 1.5}, TypeError, "epochs: expected a whole number, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size: expected 1 to"),
        ({"batch_size": "all"}, TypeError, "batch_size: expected a whole number"),
        ({"validation_split": 1.0}, ValueError, "validation_split: expected a part that leaves"),
        ({"validation_split": 0.01}, ValueError, "validation_split: expected a part that leaves"),
        ({"validation_split": -0.1}, ValueError, "validation_split: expected 0 to 1, got -0.1"),
        ({"validation_split": "half"}, TypeError, "validation_split: expected a number"),
        (
            {"validation_split": 0.1, "validation_data": (X, Y)},
            ValueError,
            "validation_split: expected 0 with validation_data",
        ),
        ({"validation_data": NONE}, ValueError, r"validation_data\[0\]: expected at least one"),
        ({"validation_data": (X, Y[1:])}, ValueError, r"validation_data\[1\]: expected 20 targets"),
        ({"x": None}, TypeError, "x: expected images in an array, got NoneType"),
        ({"x": iter(X)}, TypeError, "x: expected images in an array, got"),
        ({"validation_data": X}, TypeError, r"validation_data: expected \(x, y\)"),
        ({"validation_data": (X, Y, Y, Y)}, TypeError, r"validation_data: expected \(x, y\)"),
        ({"callbacks": [print, 3]}, TypeError, "callbacks: expected functions in a list, got"),
        ({"callbacks": print}, TypeError, "callbacks: expected functions in a list, got"),
        ({"schedule": "square"}, ValueError, "schedule: expected one of"),
        ({"early_stopping": 2}, ValueError, "early_stopping: expected validation_data or"),
        ({"early_stopping": 0, "validation_split": 0.2}, ValueError, "patience: expected 1 to"),
        ({"early_stopping": 1.5, "validation_split": 0.2}, TypeError, "patience: expected a whole"),
        ({"y": Y + 1}, ValueError, "^y: expected classes 0 to 2, got .* to 3"),
        ({"y": Y - 1}, ValueError, "^y: expected classes 0 to 2, got -1"),
        ({"y": Y / 2}, TypeError, "^y: expected whole class numbers, got float64"),
        ({"y": np.array(["a", "b", "c"])[Y]}, TypeError, "^y: expected class numbers, got texts"),
        ({"y": np.eye(4)[Y]}, ValueError, r"^y: expected shape \(20,\) or \(20, 3\)"),
        (
            {"x": X[:, 0]},
            ValueError,
            r"got \(6, 6\); a batch is \(N, C, H, W\), with C = 1 for grey",
        ),
        ({"x": X.transpose(0, 2, 3, 1)}, ValueError, r"1 channels, .*; channels come first"),
        ({"x": np.where(X > 1, np.nan, X)}, CostError, "the cost is nan, as x has numbers that"),
        ({"x": X[..., :4]}, ValueError, r"layer 5 \(Linear\): expected 16 features, got 8"),
        ({"x": X.astype(complex)}, TypeError, "x: expected real numbers"),
    ],
)
def test_arguments_of_fit(options: dict[str, Any], error: type[Exception], message: str) -> None:
    trainer = Trainer(small())
    before = trainer.net.state_dict()
    arguments: dict[str, Any] = {"x": X, "y": Y, "progress": False}
    with pytest.raises(error, match=message):
        trainer.fit(**arguments | options)
    for name, array in trainer.net.state_dict().items():
        assert_array_equal(array, before[name])
    assert trainer.optimizer.lr == 0.05


def test_arguments_of_the_other_calls() -> None:
    trainer = Trainer(small())
    with pytest.raises(ValueError, match="x: expected at least one image, got none"):
        trainer.evaluate(*NONE)
    with pytest.raises(ValueError, match="y: expected 20 targets"):
        trainer.evaluate(X, Y[1:])
    with pytest.raises(ValueError, match=r"batch_size: expected 1 to 2\*\*31 - 1, got 0"):
        trainer.predict(X, batch_size=0)
    with pytest.raises(ValueError, match="^y: expected shape"):
        trainer.train_on_batch(X, Y[1:])
    with pytest.raises(ValueError, match=r"^y: expected shape \(20, 3\), got \(20,\)"):
        Trainer(small(), "mse").train_on_batch(X, Y)
    with pytest.raises(ValueError, match="expected at least one image"):
        trainer.train_on_batch(*NONE)
    with pytest.raises(TypeError, match="net: expected a Module, got int"):
        Trainer(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="min_delta: expected 0 or more, got -1"):
        EarlyStopping(min_delta=-1)
    with pytest.raises(TypeError, match="optimizer: expected an Optimizer or a name, got int"):
        Trainer(small(), optimizer=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed: expected a whole number from 0, or None, got 'a'"):
        Trainer(small(), seed="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed: expected a whole number from 0, or None, got -1"):
        Trainer(small(), seed=-1)
    Trainer(small(), seed=2**70)


def test_an_optimizer_of_other_weights_is_refused() -> None:
    net = small()
    with pytest.raises(ValueError, match="optimizer: 4 of its parameters are not of the network"):
        Trainer(net, optimizer=SGD(small().parameters()))
    trainer = Trainer(net)
    net.layers[-1] = Linear(16, 3)
    before = net.state_dict()
    with pytest.raises(ValueError, match="has 2 that it does not move; was a layer replaced?"):
        trainer.fit(X, Y, progress=False)
    for name, array in net.state_dict().items():
        assert_array_equal(array, before[name])
    trainer.optimizer = SGD(net.parameters(), lr=0.1)
    best: list[tuple[float, dict[str, np.ndarray]]] = []
    trainer.fit(
        X, Y, 6, validation_data=(X, (Y + 1) % 3), early_stopping=2, progress=False,
        callbacks=[lambda _, e: best.append((e.validation_cost or 0.0, net.state_dict()))],
    )  # fmt: skip
    for name, array in net.state_dict().items():
        assert_array_equal(array, min(best, key=lambda pair: pair[0])[1][name])
    before = net.state_dict()
    some = Trainer(net, optimizer=SGD(net.parameters()[-2:]))  # the others stay as they are
    some.fit(X, Y, progress=False)
    moved = [name for name, array in net.state_dict().items() if (array != before[name]).any()]
    assert moved == list(before)[-2:]


def test_one_number_type_is_wanted() -> None:
    net = Sequential(Linear(2, 2), Linear(2, 2, dtype="float64"))
    message = r"net: expected one number type, got \['float32', 'float64'\]; astype converts all"
    with pytest.raises(ValueError, match=message):
        Trainer(net)
    Trainer(net.astype("float32")).train_on_batch(np.ones((3, 2)), [0, 1, 1])


# ------------------------------------------------------------------------------------- Ctrl-C


def test_an_interrupt_returns_the_history_and_a_network_that_works() -> None:
    seen = []

    def interrupt(trainer: Trainer, epoch: Epoch) -> None:
        seen.append(trainer.net.state_dict())
        if epoch.number == 2:
            raise KeyboardInterrupt

    net = small(dropout=0.5)
    trainer = Trainer(net)
    history = trainer.fit(X, Y, 5, 8, schedule="cosine", callbacks=[interrupt], progress=False)
    assert history.stopped == "interrupted" and history["number"] == [1, 2]
    for name, array in net.state_dict().items():
        assert_array_equal(array, seen[-1][name])
    assert not any(layer.training for layer in net)
    assert trainer.optimizer.lr == 0.05
    assert np.isfinite(net(X)).all()
    assert len(trainer.fit(X, Y, 1, 8, progress=False)) == 1


def test_an_interrupt_within_an_epoch_keeps_those_before_and_the_best_weights() -> None:
    class Impatient(Layer):
        passes = 0

        def forward(self, x: Any) -> Any:
            type(self).passes += self.training
            if self.passes == 8:
                raise KeyboardInterrupt
            return x

        def backward(self, dy: Any) -> Any:
            return dy

    best: list[Any] = []
    net = Sequential(Impatient(), *small())
    history = Trainer(net).fit(
        X, Y, 9, 8, (X, Y), early_stopping=5,
        callbacks=[lambda trainer, epoch: best.append((epoch.validation_cost, net.state_dict()))],
        progress=False,
    )  # fmt: skip
    assert history.stopped == "interrupted" and len(history) == 2  # three batches an epoch
    _, weights = min(best, key=lambda pair: pair[0])
    for name, array in net.state_dict().items():
        assert_array_equal(array, weights[name])


PROGRAM = """
    import signal, sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    from networks import small, stripes
    import cnn_ext

    signal.signal(signal.SIGINT, signal.default_int_handler)
    x, y = stripes(200)
    net = small(dropout=0.2)
    trainer = cnn_ext.Trainer(net)
    say = lambda trainer, epoch: print("epoch", epoch.number, flush=True)
    history = trainer.fit(x, y, 10**6, 10, callbacks=[say], progress=False)
    assert history.stopped == "interrupted", history.stopped
    assert len(history) >= 2 and trainer.optimizer.lr == 0.05 and not net[0].training
    assert all(np.isfinite(p.data).all() for p in net.parameters())
    assert np.isfinite(net(x)).all() and trainer.evaluate(x, y)["cost"] < 2
    trainer.fit(x, y, 1, 10, progress=False)
    print("usable", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGINT to send to one process")
def test_a_real_ctrl_c() -> None:
    program = textwrap.dedent(PROGRAM.format(tests=str(Path(__file__).parent)))
    root = str(Path(cnn_ext.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() not in ("epoch 2\n", ""):
            pass
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert output.endswith("usable\n")


# ----------------------------------------------------------------------- costs that are no numbers


def poisoned(at: int, value: float = np.nan) -> tuple[np.ndarray, np.ndarray]:
    x, y = stripes(40)
    x[at, 0, 2, 3] = value
    return x, y


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cost_that_is_no_number_says_where_and_leaves_good_weights(value: float) -> None:
    x, y = poisoned(25, value)
    net, healthy = small(), small()
    trainer = Trainer(net)
    message = (
        "the cost is (nan|inf), as x has numbers that are not finite, in epoch 1, batch 3 of 4, "
        "learning rate 0.05; the network has the last weights whose cost was finite"
    )
    with pytest.raises(CostError, match=message):
        trainer.fit(x, y, 2, 10, shuffle=False, progress=False)
    other = Trainer(healthy)  # the weights before the second step are the last with a known cost
    other.train_on_batch(x[:10], y[:10])
    for name, array in net.state_dict().items():
        assert array.tobytes() == healthy.state_dict()[name].tobytes()
    assert trainer.optimizer.lr == 0.05 and not net[0].training


def test_divergence_leaves_good_weights_and_training_can_go_on() -> None:
    x, y = stripes(40)
    net = small()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 1e20, momentum=0.9))
    seen: list[dict[str, np.ndarray]] = []
    step = trainer._gradients

    def noting_step(*batch: Any) -> Any:
        weights = net.state_dict()
        answer = step(*batch)
        seen.append(weights)  # their cost was finite
        return answer

    trainer._gradients = noting_step  # type: ignore[method-assign]
    with pytest.raises(CostError, match="in epoch 1, .* learning rate 1e\\+20"):
        trainer.fit(x, y, 3, 10, progress=False)
    for name, array in net.state_dict().items():
        assert array.tobytes() == seen[-1][name].tobytes()
    del trainer._gradients
    assert np.isfinite(net(x)).all()
    trainer.optimizer.lr = 0.01
    fresh = small()
    fresh.load_state_dict(net.state_dict())
    other = Trainer(fresh, optimizer=SGD(fresh.parameters(), 0.01, momentum=0.9))
    for each in (trainer, other):  # nothing is left of the velocity that led astray
        each.train_on_batch(x, y)
    for name, array in net.state_dict().items():
        assert array.tobytes() == fresh.state_dict()[name].tobytes()
    history = trainer.fit(x, y, 3, 10, progress=False)
    assert history["cost"][-1] < history["cost"][0]


def test_on_the_first_batch_the_weights_are_those_of_the_caller() -> None:
    x, y = poisoned(0)
    net = small()
    trainer = Trainer(net)
    trainer.fit(*stripes(40), 1, 10, progress=False)
    mine = small(seed=5).state_dict()
    net.load_state_dict(mine)
    for train in (
        lambda: trainer.fit(x, y, 1, 10, shuffle=False, progress=False),
        lambda: trainer.train_on_batch(x, y),
    ):
        with pytest.raises(CostError, match="the cost is nan"):
            train()
        for name, array in net.state_dict().items():
            assert array.tobytes() == mine[name].tobytes()


def test_validation_images_without_a_cost() -> None:
    x, y = stripes(40)
    net = small()
    trainer = Trainer(net)
    message = "the cost of the validation images is nan after epoch 1, learning rate 0.05"
    with pytest.raises(CostError, match=message):
        trainer.fit(x, y, 3, 40, validation_data=poisoned(3), progress=False)
    for name, array in net.state_dict().items():
        assert array.tobytes() == small().state_dict()[name].tobytes()


def test_the_very_last_step_is_watched_too() -> None:
    x, y = stripes(40)
    net = small()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 1e38, weight_decay=1e30))
    with pytest.raises(CostError, match="the last step of epoch 1, .* weights that are not finite"):
        trainer.fit(x, y, 1, 40, progress=False)
    for name, array in net.state_dict().items():
        assert array.tobytes() == small().state_dict()[name].tobytes()


def test_good_weights_survive_a_conversion() -> None:
    x, y = stripes(40)
    net = small()
    trainer = Trainer(net)
    net.astype("float64")
    trainer.train_on_batch(x, y)
    state = net.state_dict()
    net.load_state_dict({name: array + 1e-12 for name, array in state.items()})
    exact = net.state_dict()
    trainer.train_on_batch(x, y)
    with pytest.raises(CostError):
        trainer.train_on_batch(*poisoned(0))
    for name, array in net.state_dict().items():
        assert array.tobytes() == exact[name].tobytes()


def test_other_errors_leave_the_rate_and_the_mode_in_order() -> None:
    def fail(trainer: Trainer, epoch: Epoch) -> None:
        raise RuntimeError("callback")

    net = small()
    trainer = Trainer(net)
    with pytest.raises(RuntimeError, match="callback"):
        trainer.fit(X, Y, 2, 8, schedule="one-cycle", callbacks=[fail], progress=False)
    assert trainer.optimizer.lr == 0.05 and not net.training
