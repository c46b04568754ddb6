"""Known networks by name, for images of any size that fits them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .initializers import Initializer
from .layers import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential


def _lenet5(channels: int) -> tuple[list[Module], list[int]]:
    # LeCun et al. 1998 with ReLU and maxima; 28 x 28 images as there, padded to 32 x 32
    return [
        Conv2d(channels, 6, 5, padding=2), ReLU(), MaxPool2d(2),
        Conv2d(6, 16, 5), ReLU(), MaxPool2d(2),
    ], [120, 84]  # fmt: skip


def _nielsen(channels: int) -> tuple[list[Module], list[int]]:
    # Nielsen, "Neural Networks and Deep Learning", chapter 6
    return [
        Conv2d(channels, 20, 5), ReLU(), MaxPool2d(2),
        Conv2d(20, 40, 5), ReLU(), MaxPool2d(2),
    ], [100]  # fmt: skip


def _tiny(channels: int) -> tuple[list[Module], list[int]]:
    # for 8 x 8 images and other small things
    return [
        Conv2d(channels, 16, 3, padding=1), ReLU(),
        Conv2d(16, 32, 3, padding=1), ReLU(), MaxPool2d(2),
    ], [64]  # fmt: skip


def _vgg6(channels: int) -> tuple[list[Module], list[int]]:
    # Simonyan and Zisserman 2014 in small: pairs of 3 x 3 convolutions
    layers: list[Module] = []
    for width in (32, 64, 128):
        layers += [Conv2d(channels, width, 3, padding=1), ReLU()]
        layers += [Conv2d(width, width, 3, padding=1), ReLU(), MaxPool2d(2)]
        channels = width
    return layers, [128]


ARCHITECTURES: dict[str, Callable[[int], tuple[list[Module], list[int]]]] = {
    "lenet5": _lenet5,
    "nielsen": _nielsen,
    "tiny": _tiny,
    "vgg6": _vgg6,
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
    name : "lenet5", "nielsen", "tiny" or "vgg6"
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
    layers, hidden = ARCHITECTURES[name](input_shape[0])
    features = math.prod(Sequential(*layers).output_shape(input_shape))
    layers.append(Flatten())
    for width in hidden:
        layers += [Linear(features, width), ReLU()]
        features = width
    layers.append(Linear(features, classes))
    net = Sequential(*layers)
    net.initialize(initializer, rng)
    return net
