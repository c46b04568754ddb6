"""Lanes without an image see zeros; whatever they make of them, no sum of gradients shows it."""

from __future__ import annotations

import numpy as np
import pytest
from training_steps import layer_by_layer, programmed

from cnn_ext import (
    AvgPool2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    _core,
    ops,
)
from cnn_ext.lanes import Lanes
from cnn_ext.training.losses import LOSSES

L = _core.lanes(4)
HUGE = 1e30  # whose square is infinite in single precision, not in double
WIDE = 24  # channels enough for Winograd's way
BODIES = {
    "winograd": lambda: [Conv2d(WIDE, WIDE, 3), ReLU(), Conv2d(WIDE, 2, 3)],
    "sigmoid": lambda: [Sigmoid(), Conv2d(WIDE, WIDE, 3), Sigmoid(), Conv2d(WIDE, 2, 3)],
    "tanh": lambda: [Tanh(), Conv2d(WIDE, 4, 3, stride=2, padding=1), Tanh(), Conv2d(4, 2, 2)],
    "leaky": lambda: [LeakyReLU(0.1), Conv2d(WIDE, 4, 3, groups=2, padding=1), LeakyReLU(0.1)],
    "softmax": lambda: [Softmax(), Conv2d(WIDE, 4, 2, padding=1), Softmax(), Conv2d(4, 2, 3)],
    "max": lambda: [MaxPool2d(2), Conv2d(WIDE, 4, 3, padding=1), ReLU(), MaxPool2d(3, 1, 1)],
    "average": lambda: [AvgPool2d(3, 2, 1), Conv2d(WIDE, 4, 1), Sigmoid(), GlobalAvgPool2d()],
}
SHAPE = (3, 12, 12)


def network(body: str) -> Sequential:
    """A network whose second convolution overflows on zeros, and on no image of `pictures`."""
    first, second = Conv2d(3, WIDE, 1), Conv2d(WIDE, WIDE, 3, padding=1)
    layers: list[Layer] = [first, second, *BODIES[body]()]
    features = int(np.prod(Sequential(*layers).output_shape(SHAPE)))
    net = Sequential(*layers, Flatten(), Linear(features, 5), Sigmoid(), Linear(5, 4))
    net.initialize("glorot", np.random.default_rng(0))
    assert first.bias is not None
    first.weight.data[0] = 0
    first.weight.data[0, 2] = -HUGE
    first.bias.data[0] = HUGE
    second.weight.data[:, 0] = HUGE * np.sign(second.weight.data[:, 0])
    return net


def pictures(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Their last channel is one everywhere."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((images, *SHAPE)).astype(np.float32)
    x[:, 2] = 1
    return x, rng.integers(0, 4, images)


@pytest.mark.parametrize("way", [layer_by_layer, programmed])
@pytest.mark.parametrize("images", [1, L - 1, L + 1])
@pytest.mark.parametrize("body", BODIES)
def test_gradients_without_an_image_in_some_lanes(body, images, way):
    loss = list(LOSSES)[list(BODIES).index(body) % len(LOSSES)]
    x, y = pictures(images)
    target = np.eye(4, dtype=np.float32)[y]
    zeros = network(body).layers[0](np.zeros((1, *SHAPE), np.float32))
    with np.errstate(all="ignore"):
        assert not np.isfinite(network(body).layers[1](zeros)).all()  # what empty lanes hold
    got = way(network(body), loss, x, target)
    wanted = layer_by_layer(network(body).astype(np.float64), loss, x.astype(float), target)
    for a, b in zip(got, wanted, strict=True):
        size = np.abs(b).max(axis=tuple(range(1, b.ndim)), keepdims=True)
        assert np.isfinite(a).all()
        assert (np.abs(a - b) <= 2e-3 * size + 1e-6).all()


@pytest.mark.parametrize("images", [1, L - 1, L, L + 1, 2 * L + 3])
@pytest.mark.parametrize("sizes", [(3, 5, 3, 1), (24, 24, 3, 1), (24, 24, 5, 2)], ids=str)
@pytest.mark.parametrize("fill", [7.0, np.inf, np.nan])
def test_convolution_of_lanes_that_are_not_empty(images, sizes, fill):
    C, K, R, padding = sizes
    rng = np.random.default_rng(2)
    x = rng.standard_normal((images, C, 8, 8)).astype(np.float32)
    w = rng.standard_normal((K, C, R, R)).astype(np.float32)
    dy = rng.standard_normal((images, K, 8, 8)).astype(np.float32)
    wanted = ops.conv2d_backward(dy, x, w, padding=padding)
    lanes = [Lanes.pack(dy), Lanes.pack(x)]
    for one in lanes:
        one.data[-1, ..., (images - 1) % L + 1 :] = fill
    y = ops.conv2d(lanes[1], w, padding=padding).unpack()
    assert y.tobytes() == ops.conv2d(x, w, padding=padding).tobytes()
    dx, dw, db = ops.conv2d_backward(*lanes, w, padding=padding)
    for got, right in zip((dx.unpack(), dw, db), wanted, strict=True):
        assert got.tobytes() == right.tobytes()


@pytest.mark.parametrize("images", [1, L - 1, L + 1])
@pytest.mark.parametrize("C", [2, 40])
def test_linear_layers_of_lanes_that_are_not_empty(images, C):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((images, C)).astype(np.float32)
    w = rng.standard_normal((5, C)).astype(np.float32)
    dy = rng.standard_normal((images, 5)).astype(np.float32)
    lanes = [Lanes.pack(dy), Lanes.pack(x)]
    for one in lanes:
        one.data[-1, ..., (images - 1) % L + 1 :] = np.nan
    dx, dw, db = ops.linear_backward(*lanes, w)
    for got, right in zip((dx.unpack(), dw, db), ops.linear_backward(dy, x, w), strict=True):
        assert got.tobytes() == right.tobytes()


def test_images_that_do_not_fill_the_blocks_are_refused():
    dy, db = np.zeros((2, 1, 1, L), np.float32), np.zeros(1, np.float32)
    _core.channel_sum(dy, db, 4, 2, 1, 1, L + 1)
    for images in (0, L, 2 * L + 1, -1):
        with pytest.raises(ValueError, match="images"):
            _core.channel_sum(dy, db, 4, 2, 1, 1, images)
