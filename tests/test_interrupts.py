"""No state survives an interrupt, wherever it comes: recordings, threads, modes, gradients."""

from __future__ import annotations

import copy
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from interrupting import every_interrupt, timer_signals

import cnn_ext
from cnn_ext import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, Trainer, ops
from cnn_ext.layers.running import evaluation_mode
from cnn_ext.task import Task
from cnn_ext.training.backpropagation import Backpropagation

X = np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
Y = np.arange(5) % 3


def network(*more: cnn_ext.Layer) -> Sequential:
    rng = np.random.default_rng(1)
    net = Sequential(Conv2d(1, 2, 3), ReLU(), MaxPool2d(2), *more, Flatten(), Linear(8, 3))
    net.initialize("he", rng)
    return net


def outputs_of(net: Sequential, x: np.ndarray = X) -> np.ndarray:
    """Layer by layer on plain arrays, in evaluation mode."""
    for layer in copy.deepcopy(net).eval():
        x = layer.forward(x)
    return x


def assert_nothing_is_left(threads: int) -> None:
    assert cnn_ext.get_num_threads() == threads
    x = np.array([[-1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(ops.relu(x), [[0, 2, 3]])  # not noted, but done
    np.testing.assert_allclose(ops.linear(x, np.full((1, 3), 2, np.float32)), [[8]])


def modes(net: Sequential) -> list[bool]:
    return [layer.training for _, layer in net.named_modules()]


@pytest.fixture
def threads() -> Any:
    before = cnn_ext.get_num_threads()
    cnn_ext.set_num_threads(3)
    yield cnn_ext.get_num_threads()
    cnn_ext.set_num_threads(before)


def test_building_a_training_program(threads: int) -> None:
    net = network().train()
    truth = copy.deepcopy(net)
    cost, gradient = ops.cross_entropy(truth.forward(X), Y)
    truth.backward(gradient)
    trainer: list[Trainer] = []

    def first_step() -> None:
        trainer[:] = [Trainer(net, num_threads=2)]
        back = trainer[0]._backpropagate
        with trainer[0]._threads():
            back(X, Y)

    for event in every_interrupt(first_step, step=3):
        assert_nothing_is_left(threads)
        for parameter, right in zip(net.parameters(), truth.parameters(), strict=True):
            if parameter.grad is not None:  # the program's, or none: never what a recording left
                np.testing.assert_allclose(parameter.grad, right.grad, 1e-3, 1e-6)
        if event % 9 == 0:
            got, _ = trainer[0]._backpropagate(X, Y) if trainer else (cost, None)
            np.testing.assert_allclose(got, cost, rtol=1e-5)
        for parameter in net.parameters():
            parameter.grad = None


def test_a_training_step(threads: int) -> None:
    net = network().train()
    trainer = Trainer(net, num_threads=2)
    loss = trainer.loss

    def step() -> None:
        trainer._backpropagate = Backpropagation(net, loss, Task())
        trainer.train_on_batch(X, Y)

    for _ in every_interrupt(step, step=7):
        assert_nothing_is_left(threads)
        assert all(modes(net))
        wanted, _ = ops.cross_entropy(outputs_of(net), Y)
        np.testing.assert_allclose(trainer.train_on_batch(X, Y), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("opcodes", [False, True])
def test_calling_a_network(threads: int, opcodes: bool) -> None:
    net = network().eval()
    wanted = outputs_of(net)

    def call() -> None:
        vars(net).pop("_traces", None)
        net(X)

    for event in every_interrupt(call, opcodes, 41 if opcodes else 1):
        assert_nothing_is_left(threads)
        assert not any(modes(net))
        if event % 5 == 0:
            np.testing.assert_allclose(net(X), wanted, rtol=1e-4, atol=1e-6)


def test_compiling(threads: int) -> None:
    net = network().eval()
    for _ in every_interrupt(lambda: net.compile((1, 6, 6)), step=67):
        assert_nothing_is_left(threads)
    np.testing.assert_allclose(net.compile((1, 6, 6))(X), outputs_of(net), rtol=1e-4, atol=1e-6)


USES: dict[str, Callable[[Trainer], Any]] = {
    "outputs": lambda trainer: trainer.outputs(X),
    "evaluate": lambda trainer: trainer.evaluate(X, Y),
    "activations": lambda trainer: trainer.net.activations(X),
}


@pytest.mark.parametrize("use", USES)
def test_evaluation_gives_the_modes_back(threads: int, use: str) -> None:
    net = network(Dropout(0.5), Sequential(Dropout(0.1), ReLU()))
    trainer = Trainer(net, num_threads=2)
    net.train()
    net.layers[3].eval()
    wanted, before = outputs_of(net), modes(net)
    assert True in before and False in before
    for _ in every_interrupt(lambda: USES[use](trainer), step=2):
        assert_nothing_is_left(threads)
        assert modes(net) == before
    np.testing.assert_allclose(trainer.outputs(X), wanted, rtol=1e-4, atol=1e-6)
    assert modes(net) == before


class Switch(cnn_ext.Layer):
    """A layer that hands its mode on by hand."""

    def __init__(self) -> None:
        self.inner = Dropout(0.5)

    def train(self, mode: bool = True) -> Switch:
        super().train(mode)
        self.inner.train(mode)
        return self


def test_layers_that_hand_their_mode_on() -> None:
    layer = Switch()
    with evaluation_mode(Sequential(layer).train()):
        assert not layer.training and not layer.inner.training
    assert layer.training and layer.inner.training


class Stubborn(Dropout):
    """A layer that refuses one mode."""

    def train(self, mode: bool = True) -> Stubborn:
        if mode == self.refused:
            raise ValueError("not now")
        super().train(mode)
        return self


@pytest.mark.parametrize("refused", [False, True])
def test_a_layer_that_refuses_a_mode_does_not_keep_the_others(refused: bool) -> None:
    net = Sequential(Dropout(0.1), Stubborn(0.5), Dropout(0.2))
    net.layers[1].refused = refused
    with pytest.raises(ValueError, match="not now"), evaluation_mode(net):
        assert not any(modes(net)[1:2])
    assert all(modes(net))


@pytest.mark.parametrize("opcodes", [False, True])
def test_threads(threads: int, opcodes: bool) -> None:
    def block() -> None:
        with cnn_ext.threads(1):
            ops.relu(X)

    for _ in every_interrupt(block, opcodes):
        assert_nothing_is_left(threads)


@pytest.mark.parametrize("opcodes", [False, True])
def test_a_block_whose_own_lines_are_interrupted(threads: int, opcodes: bool) -> None:
    # the `with` line itself is met once more on the way out, where Python calls no `__exit__`
    source = "with cnn_ext.threads(1):\n    with evaluation_mode(net):\n        pass\n"
    inside = compile(source, cnn_ext.__file__, "exec")
    net = network(Dropout(0.5)).train()
    for _ in every_interrupt(lambda: exec(inside, {**globals(), "net": net}), opcodes):
        assert_nothing_is_left(threads)
        assert all(modes(net))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_signals(threads: int) -> None:
    net = network(Dropout(0.5)).train()
    plain = network().train()
    trainer, other = Trainer(net, num_threads=2), Trainer(plain, num_threads=1)
    wanted = outputs_of(net)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        vars(net).pop("_traces", None)
        other._backpropagate = Backpropagation(plain, other.loss, Task())
        trainer.outputs(X)
        other._backpropagate(X, Y)
        with cnn_ext.threads(1):
            ops.relu(X)

    rng = np.random.default_rng(0)
    hits, end = 0, time.monotonic() + 1.5
    with timer_signals(interrupt):
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 3e-3))
                work()
            except KeyboardInterrupt:
                hits += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                hits += 1
            assert_nothing_is_left(threads)
            assert all(modes(net))
    assert hits > 20
    np.testing.assert_allclose(trainer.outputs(X), wanted, rtol=1e-4, atol=1e-6)
