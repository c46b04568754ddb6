"""Wrapped and replaced methods are called each time; a program takes its own images alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from recordings import X, Y, close, network, outputs_of
from training_steps import forward_program, recorded, training_program

from cnn_ext import Conv2d, Dropout, Linear, ReLU, Sequential, Trainer, ops
from cnn_ext.task import Task
from cnn_ext.training.backpropagation import Backpropagation
from cnn_ext.training.losses import LOSSES

# -------------------------------------------------------------------------- wrapped layers


def wrap(layer: Any, name: str, seen: list[Any]) -> None:
    inner = getattr(layer, name)
    setattr(layer, name, lambda value: (seen.append((value, inner(value))), seen[-1][1])[1])


@pytest.mark.parametrize("which", range(6))
def test_a_wrapped_forward_is_called_each_time_with_the_right_numbers(which: int) -> None:
    net = network().eval()
    plain = copy.deepcopy(net)
    wanted = net(X)  # recorded before it is wrapped
    seen: list[Any] = []
    wrap(net[which], "forward", seen)
    for _ in range(3):
        close(net(X), wanted)
    assert len(seen) == 3
    steps = [X, *plain.activations(X)]
    for x, y in seen:
        close(x, steps[which])
        close(y, steps[which + 1])
    del net[which].forward
    close(net(X), wanted)
    assert len(seen) == 3


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_wrapped_layer_in_training(which: int, name: str) -> None:
    net, plain = network().train(), network().train()
    back, truth = (Backpropagation(n, LOSSES["cross_entropy"], Task()) for n in (net, plain))
    wanted = truth(X, Y)[0]
    close(back(X, Y)[0], wanted)
    seen: list[Any] = []
    wrap(net[which], name, seen)
    for _ in range(3):
        close(back(X, Y)[0], wanted)
        for parameter, right in zip(net.parameters(), plain.parameters(), strict=True):
            close(parameter.grad, right.grad)
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["forward", "backward"])
@pytest.mark.parametrize("kind", [ReLU, Conv2d, Linear, Sequential])
def test_a_class_whose_method_was_replaced(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Sequential(Sequential(*network().layers[:4]), *network().layers[4:])
    plain = copy.deepcopy(net)
    wanted = outputs_of(net)
    back, truth = (Backpropagation(n.train(), LOSSES["mse"], Task()) for n in (net, plain))
    target = np.zeros((40, 3), np.float32)
    cost = truth(X, target)[0]
    close(back(X, target)[0], cost)
    close(net.eval()(X), wanted)
    calls = []
    original = getattr(kind, name)

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(self)
        return original(self, *args, **options)

    monkeypatch.setattr(kind, name, counted)
    for times in (1, 2):
        calls.clear()
        close(net.eval()(X), wanted)
        if kind is not Sequential:  # of which one is the network that is called
            assert bool(calls) == (name == "forward" and times == 1)  # while it is traced
        close(back.__call__(X, target)[0] if net.train() else 0, cost)
        assert bool(calls) == (name == "backward" or times == 1 or kind is Sequential)
        for parameter, right in zip(net.parameters(), plain.parameters(), strict=True):
            close(parameter.grad, right.grad)


def test_a_wrapped_inner_network() -> None:
    net = Sequential(Sequential(*network().layers[:4]), *network().layers[4:]).eval()
    wanted, seen = net(X), []
    wrap(net[0], "forward", seen)
    for _ in range(3):
        close(net(X), wanted)
    assert len(seen) == 3


def test_the_wrapped_network_itself() -> None:
    net = network().eval()
    wanted, seen = net(X), []
    wrap(net, "forward", seen)
    for _ in range(3):
        close(net(X), wanted)
    back = Backpropagation(net.train(), LOSSES["cross_entropy"], Task())
    for _ in range(3):
        cost = back(X, Y)[0]
    close(cost, ops.cross_entropy(wanted, Y)[0])
    assert len(seen) == 6


def test_a_subclass_that_adds_to_a_network_is_recorded() -> None:
    class Named(Sequential):
        name = "net"

    net = Named(Named(*network().layers)).eval()
    close(net(X), outputs_of(network()))
    assert recorded(net)


def test_dropout_that_stays_in_training_mode() -> None:
    net = Sequential(Linear(6, 6), Dropout(0.5), Linear(6, 2)).eval()
    x = np.random.default_rng(0).random((9, 6), np.float32)
    fixed = net(x)
    np.testing.assert_array_equal(net(x), fixed)
    net[1].train()
    drawn = [net(x) for _ in range(4)]
    assert all((drawn[0] != other).any() for other in drawn[1:])
    net[1].eval()
    np.testing.assert_array_equal(net(x), fixed)


# ------------------------------------------------------------------ arrays of its own alone


@pytest.mark.parametrize("wrong", [np.ones((64, 3, 8, 8), np.float32), np.ones((9, 1, 3, 3), "f4")])
def test_the_same_wrong_call_is_refused_each_time(wrong: np.ndarray) -> None:
    net = network()
    trainer = Trainer(net)
    trainer.train_on_batch(X, Y)
    weights = net.state_dict()
    for _ in range(3):
        with pytest.raises(ValueError, match="layer "):
            trainer.train_on_batch(wrong, np.zeros(len(wrong), int))
        with pytest.raises(ValueError, match="layer "):
            copy.copy(net).eval()(wrong)
        for name, array in net.state_dict().items():
            np.testing.assert_array_equal(array, weights[name])
    net.train()
    close(trainer.train_on_batch(X, Y), ops.cross_entropy(outputs_of_with(weights), Y)[0])


def outputs_of_with(weights: dict[str, np.ndarray]) -> np.ndarray:
    net = network()
    net.load_state_dict(weights)
    return outputs_of(net)


def test_programs_refuse_what_is_not_theirs() -> None:
    net = network()
    forward = forward_program(copy.deepcopy(net).eval(), X)
    training = training_program(net.train(), LOSSES["cross_entropy"], X)
    for run in (forward, lambda x: training.train([x], [Y])):
        with pytest.raises(TypeError, match="x: expected float32, as recorded, got float64"):
            run(X.astype("f8"))
        with pytest.raises(TypeError, match="x: expected float32, as recorded, got uint8"):
            run(X.astype("u1"))
        with pytest.raises(
            ValueError, match=r"images of \(1, 8, 8\), as recorded, got \(1, 8, 9\)"
        ):
            run(np.ones((40, 1, 8, 9), np.float32))
    net[0].weight.data = net[0].weight.data.copy()
    with pytest.raises(RuntimeError, match="other weights"):
        training.train([X], [Y])
