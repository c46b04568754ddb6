"""Known networks by name, for images of any size that fits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from .initializers import Initializer
from .layers import (
    GELU,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Residual,
    Sequential,
)
from .scale import scale_of

CHUNK = 256  # images whose patches are taken at once


class Body(NamedTuple):
    """All of a network but its last layers."""

    layers: list[Module]
    hidden: Sequence[int] = ()  # widths of linear layers, each followed by ReLU
    bias: bool = True  # of the last layer
    gain: float = 1.0  # of its first weights


def _lenet5(channels: int) -> Body:
    # LeCun et al. 1998 with ReLU and maxima; 28 x 28 images as there, padded to 32 x 32
    return Body([
        Conv2d(channels, 6, 5, padding=2), ReLU(), MaxPool2d(2),
        Conv2d(6, 16, 5), ReLU(), MaxPool2d(2),
    ], [120, 84])  # fmt: skip


def _nielsen(channels: int) -> Body:
    # Nielsen, "Neural Networks and Deep Learning", chapter 6
    return Body([
        Conv2d(channels, 20, 5), ReLU(), MaxPool2d(2),
        Conv2d(20, 40, 5), ReLU(), MaxPool2d(2),
    ], [100])  # fmt: skip


def _tiny(channels: int) -> Body:
    # for 8 x 8 images and other small things
    return Body([
        Conv2d(channels, 16, 3, padding=1), ReLU(),
        Conv2d(16, 32, 3, padding=1), ReLU(), MaxPool2d(2),
    ], [64])  # fmt: skip


def _vgg6(channels: int) -> Body:
    # Simonyan and Zisserman 2014 in small: pairs of 3 x 3 convolutions
    layers: list[Module] = []
    for width in (32, 64, 128):
        layers += [Conv2d(channels, width, 3, padding=1), ReLU()]
        layers += [Conv2d(width, width, 3, padding=1), ReLU(), MaxPool2d(2)]
        channels = width
    return Body(layers, [128])


def _normalized(*layers: Module, activation: type[Module] = ReLU) -> list[Module]:
    # each convolution without a bias, then batch normalisation and an activation
    made: list[Module] = []
    for layer in layers:
        made += [layer, BatchNorm2d(layer.out_channels), activation()]  # type: ignore[attr-defined]
    return made


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> Conv2d:
    return Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)


def _residual(inputs: int, outputs: int, stride: int) -> list[Module]:
    # He et al. 2015: two convolutions of 3 x 3, and what came in
    body = [*_normalized(_conv(inputs, outputs, 3, stride)), _conv(outputs, outputs)]
    shortcut = None
    if stride > 1 or inputs != outputs:
        shortcut = Sequential(_conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))
    return [Residual(Sequential(*body, BatchNorm2d(outputs)), shortcut), ReLU()]


def _resnet(channels: int, blocks: int) -> Body:
    layers, inputs = _normalized(_conv(channels, 16)), 16
    for outputs in (16, 32, 64):
        for block in range(blocks):
            layers += _residual(inputs, outputs, 2 if block == 0 and outputs > 16 else 1)
            inputs = outputs
    return Body([*layers, GlobalAvgPool2d()])


def _resnet8(channels: int) -> Body:
    # MLPerf Tiny's network for pictures of 32 x 32, Banbury et al. 2021
    return _resnet(channels, 1)


def _resnet20(channels: int) -> Body:
    # He et al. 2015, section 4.2
    return _resnet(channels, 3)


def _separable(inputs: int, outputs: int, stride: int = 1) -> list[Module]:
    # each channel by itself, then all of each pixel
    return _normalized(_conv(inputs, inputs, 3, stride, inputs), _conv(inputs, outputs, 1))


def _mobilenet_025(channels: int) -> Body:
    # Howard et al. 2017 with a quarter of the channels, as in MLPerf Tiny (96 x 96)
    layers, inputs = _normalized(_conv(channels, 8, 3, 2)), 8
    steps = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2)]
    for outputs, stride in [*steps, (256, 1)]:
        layers += _separable(inputs, outputs, stride)
        inputs = outputs
    return Body([*layers, GlobalAvgPool2d()])


def _dscnn(channels: int) -> Body:
    # keyword spotting, Zhang et al. 2017; MLPerf Tiny's takes 49 x 10 features of sound
    first = Conv2d(channels, 64, (10, 4), 2, (4, 5, 1, 1), bias=False)
    layers = [*_normalized(first), Dropout(0.2)]
    for _ in range(4):
        layers += _separable(64, 64)
    return Body([*layers, Dropout(0.4), GlobalAvgPool2d()])


def _airbench(channels: int, widths: tuple[int, int, int] = (64, 256, 256)) -> Body:
    # Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"; `whiten` goes before training.
    # His factor of the outputs, 1/9, is part of the last weights here, and of their learning rate.
    inputs = 8 * channels
    layers: list[Module] = [Conv2d(channels, inputs, 2), GELU()]
    for width in widths:
        layers += [Conv2d(inputs, width, 3, padding=1, bias=False), MaxPool2d(2)]
        layers += [_shifted(width), GELU()]
        layers += [Conv2d(width, width, 3, padding=1, bias=False), _shifted(width), GELU()]
        inputs = width
    return Body([*layers, MaxPool2d(3)], bias=False, gain=1 / 9)


def _shifted(width: int) -> BatchNorm2d:
    # only the summand is learned
    layer = BatchNorm2d(width, 1e-12, 0.4)
    assert layer.weight is not None
    layer.weight.trainable = False
    return layer


def _airbench_wide(channels: int) -> Body:
    # the widths of "airbench95.py"
    return _airbench(channels, (128, 384, 384))


def _airbench_slim(channels: int) -> Body:
    # for digits
    return _airbench(channels, (32, 64, 128))


def _allconv_10k(channels: int) -> Body:
    # convolutions alone, fewer than 10,000 parameters for grey images
    layers = [
        *_normalized(_conv(channels, 10), _conv(10, 14)), MaxPool2d(2),
        *_normalized(_conv(14, 16), _conv(16, 16)), MaxPool2d(2), *_normalized(_conv(16, 22)),
    ]  # fmt: skip
    return Body([*layers, GlobalAvgPool2d()])


def _plain(channels: int, widths: tuple[int, ...]) -> Body:
    # pairs of 3 x 3 convolutions, each pair on half as many pixels; the mean over pixels at the end
    layers: list[Module] = []
    for number, width in enumerate(widths):
        layers += [MaxPool2d(2)] if number else []
        layers += _normalized(_conv(channels, width))
        layers += _normalized(_conv(width, width)) if number else []
        channels = width
    return Body([*layers, GlobalAvgPool2d()])


def _quick(channels: int) -> Body:
    # nielsen with batch normalisation and fewer channels
    layers: list[Module] = []
    for width in (12, 32):
        layers += [Conv2d(channels, width, 5, bias=False), MaxPool2d(2)]
        layers += [BatchNorm2d(width), ReLU()]
        channels = width
    return Body(layers, [64])


ARCHITECTURES: dict[str, Callable[[int], Body]] = {
    "lenet5": _lenet5,
    "nielsen": _nielsen,
    "tiny": _tiny,
    "vgg6": _vgg6,
    "resnet8": _resnet8,
    "resnet20": _resnet20,
    "mobilenet_025": _mobilenet_025,
    "dscnn": _dscnn,
    "airbench": _airbench,
    "airbench_wide": _airbench_wide,
    "airbench_slim": _airbench_slim,
    "allconv_10k": _allconv_10k,
    "plain2": partial(_plain, widths=(32, 64)),
    "plain3": partial(_plain, widths=(16, 32, 64)),
    "plain4": partial(_plain, widths=(16, 32, 64, 128)),
    "quick": _quick,
}


def build(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    initializer: str | Initializer = "he",
    rng: np.random.Generator | None = None,
) -> Sequential:
    """A network of `ARCHITECTURES` by name.

    Parameters
    ----------
    name : str
        "lenet5", "nielsen", "tiny", "vgg6", "resnet8", "resnet20", "mobilenet_025", "dscnn",
        "airbench", "airbench_wide", "airbench_slim", "allconv_10k", "plain2", "plain3", "plain4" or
        "quick".
    input_shape : (C, H, W)
    classes : int
        Number of outputs, the logits of the classes.
    initializer : str or function
        See `initializers`.
    rng : numpy.random.Generator, optional
        For the first values of the weights.

    Raises
    ------
    ValueError
        If the name is unknown or the images are too small; the message names the layer.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"name: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    layers, hidden, bias, gain = ARCHITECTURES[name](input_shape[0])
    features = math.prod(Sequential(*layers).output_shape(input_shape))
    layers.append(Flatten())
    for width in hidden:
        layers += [Linear(features, width), ReLU()]
        features = width
    last = Linear(features, classes, bias)
    net = Sequential(*layers, last)
    net.initialize(initializer, rng)
    last.weight.data *= last.weight.data.dtype.type(gain)
    return net


def whiten(net: Sequential, x: np.ndarray, eps: float = 5e-4) -> None:
    """Give the first convolution weights and biases that whiten patches of images, and keep them.

    The filters are the eigenvectors of the covariance of the patches, divided by the roots of the
    eigenvalues, with both signs; biases subtract the mean patch.  As the first step of "airbench",
    whose images are normalised before.

    Parameters
    ----------
    net : Sequential
        Begins with a convolution of twice as many filters as a patch has numbers, with biases.
    x : ndarray, shape (N, C, H, W)
        Images, as they are trained on.
    eps : float
        Added to the eigenvalues, as a part of their mean.

    Raises
    ------
    ValueError
        If the network or the images do not fit.
    """
    first = net[0]
    if not isinstance(first, Conv2d) or first.groups != 1 or first.bias is None:
        raise ValueError(
            f"net: expected a convolution with biases at the beginning, got {first!r:.99}"
        )
    (C, R, S), K = first.weight.shape[1:], len(first.weight.data)
    count = C * R * S
    if K != 2 * count:
        raise ValueError(f"net: expected {2 * count} filters of {C} x {R} x {S}, got {K}")
    if x.ndim != 4 or x.shape[1] != C or not len(x) or x.shape[2] < R or x.shape[3] < S:
        raise ValueError(f"x: expected images (N, {C}, H, W), got shape {x.shape}")
    scale = scale_of(x.dtype, net.byte_scale)
    number, total, products = 0, np.zeros(count), np.zeros((count, count))
    for start in range(0, len(x), CHUNK):
        part = np.lib.stride_tricks.sliding_window_view(x[start : start + CHUNK], (R, S), (2, 3))
        rows = part.transpose(0, 2, 3, 1, 4, 5).reshape(-1, count) * np.float64(scale)
        number, total, products = number + len(rows), total + rows.sum(0), products + rows.T @ rows
    mean = total / number
    values, vectors = np.linalg.eigh(products / number - np.outer(mean, mean))
    filters = (vectors / np.sqrt(np.maximum(values, 0) + eps * values.mean())).T[::-1]
    first.weight.data[...] = np.concatenate([filters, -filters]).reshape(K, C, R, S)
    first.bias.data[...] = np.concatenate([-filters @ mean, filters @ mean])
    first.weight.trainable = first.bias.trainable = False
