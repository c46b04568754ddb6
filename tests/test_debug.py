"""The switches for debugging: the same bits without recordings; the layer of the first NaN."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from recordings import X, Y, network
from same_bits import NETS, hash_of, images_of

import cnn_ext
from cnn_ext import Conv2d, Flatten, Layer, Linear, Module, ReLU, Sequential, Trainer, _core, ops


@pytest.fixture
def debug() -> Iterator[None]:
    cnn_ext.set_debug(True)
    yield
    cnn_ext.set_debug(False)


def trained(name: str) -> tuple[str, np.ndarray]:
    """A hash of the weights after an epoch, and what the network then answers."""
    build, _, optimizer, augment = NETS[name]
    net, (x, y) = build(), images_of(name)
    trainer = Trainer(net, optimizer=optimizer(net.parameters()), seed=0)
    trainer.fit(x, y, epochs=1, batch_size=24, augment=augment, progress=False)
    return hash_of(net), net.eval()(x[:40])


@pytest.mark.parametrize("name", NETS)
def test_without_recordings_the_bits_are_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, answers = trained(name)
    recorded: list[object] = []
    record = _core.record
    monkeypatch.setattr(_core, "record", lambda *a: recorded.append(a) or record(*a))
    cnn_ext.set_recording(False)
    try:
        assert not cnn_ext.get_recording()
        assert trained(name)[0] == weights
        np.testing.assert_array_equal(trained(name)[1], answers)
        assert not recorded
    finally:
        cnn_ext.set_recording(True)
    trained(name)
    assert recorded


@pytest.mark.parametrize("name", NETS)
def test_whoever_watches_changes_nothing(name: str, debug: None) -> None:
    watched, answers = trained(name)
    cnn_ext.set_debug(False)
    assert trained(name)[0] == watched
    np.testing.assert_allclose(trained(name)[1], answers, rtol=1e-5, atol=1e-6)


class Block(Module):
    def __init__(self) -> None:
        self.a, self.b = Conv2d(1, 2, 3, padding=1), Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return x + self.b(ops.relu(self.a(x)))


class Own(Layer):
    """Divides by zero on the way there or on the way back."""

    def __init__(self, back: bool) -> None:
        self.back = back

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x if self.back else x * np.float32(np.inf)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * np.float32(np.nan)


def overflows(net: Sequential) -> None:
    net[3].weight.data[...] = 1e38
    net[3].bias.data[...] = 3e38


def weight(net: Sequential) -> None:
    net[5].weight.data[1, 2] = np.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (overflows, r"^3 \(Conv2d\): the output of conv2d has 0 NaN and \d+ inf.* inputs is \d"),
        (weight, r"^5 \(Linear\): weight of linear has 1 NaN .* shape \(3, 4\), the first at \(1"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_the_layer_is_named(
    spoil: Callable[[Sequential], None], message: str, training: bool, debug: None
) -> None:
    net = network().train(training)
    net(X)
    spoil(net)
    with pytest.raises(FloatingPointError, match=message):
        net(X)


def test_layers_within_modules_and_of_ones_own(debug: None) -> None:
    net = Sequential(Block(), ReLU(), Own(back=True), Flatten(), Linear(64, 3))
    net(X)
    with pytest.raises(FloatingPointError, match=r"^2 \(Own\): the gradient at an input of opaque"):
        net.backward(np.ones((40, 3)))
    net[0].b.bias.data[...] = np.inf
    with pytest.raises(FloatingPointError, match=r"^0\.b \(Conv2d\): bias of conv2d has 0 NaN"):
        net(X)
    with pytest.raises(FloatingPointError, match=r"^1 \(Own\): the output of opaque"):
        Sequential(ReLU(), Own(back=False))(X)


def test_inputs_and_the_gradient_of_the_cost(debug: None) -> None:
    net, x = network(), X.copy()
    x[7, 0, 3, 2] = np.nan
    said = r"the input of the network, 0 \(Conv2d\) has 1 NaN .* first at \(7, 0, 3, 2\)"
    with pytest.raises(FloatingPointError, match=said):
        net(x)
    net(X)
    dy = np.ones((40, 3), np.float32)
    dy[39, 2] = np.inf
    said = r"5 \(Linear\): the gradient that comes to the output of linear has .* at \(39, 2\)"
    with pytest.raises(FloatingPointError, match=said):
        net.backward(dy)
    with pytest.raises(FloatingPointError, match="0 \\(Conv2d\\)"):
        Trainer(net).fit(x, Y, epochs=1, batch_size=20, shuffle=False, progress=False)


def test_lanes_without_an_image_do_not_count(debug: None) -> None:
    net = Sequential(Conv2d(1, 1, 1), Conv2d(1, 1, 1))
    for layer, weight, bias in zip(net, (3e38, 2), (-3e38, 0), strict=True):
        layer.weight.data[...], layer.bias.data[...] = weight, bias
    ones = np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_array_equal(net(ones), 0 * ones)  # -3e38 times 2 where there is no image
    with pytest.raises(FloatingPointError, match=r"^1 \(Conv2d\): the output"):
        net(0 * ones)


@pytest.mark.parametrize("set_", [cnn_ext.set_recording, cnn_ext.set_debug])
def test_other_values_are_refused(set_: Callable[[Any], None]) -> None:
    with pytest.raises(TypeError, match="on: expected a bool, got 1"):
        set_(1)


def test_the_environment_sets_them() -> None:
    code = "import cnn_ext; print(cnn_ext.get_recording(), cnn_ext.get_debug())"
    for variables, expected in [
        ({}, "True False"),
        ({"CNN_EXT_RECORD": "0"}, "False False"),
        ({"CNN_EXT_DEBUG": "1"}, "False True"),
    ]:
        path = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path, "CNN_EXT_RECORD": "", "CNN_EXT_DEBUG": "",
                 **variables},
        )  # fmt: skip
        assert done.stdout.strip() == expected, done.stderr
