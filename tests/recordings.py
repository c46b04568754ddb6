"""A small network, its images, and its outputs layer by layer: for the tests of recordings."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from cnn_ext import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential

X = np.random.default_rng(0).random((40, 1, 8, 8), np.float32)
Y = np.arange(40) % 3


def network(seed: int = 1) -> Sequential:
    net = Sequential(
        Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Conv2d(4, 4, 3), Flatten(), Linear(4, 3)
    )
    net.initialize("he", np.random.default_rng(seed))
    return net


def outputs_of(net: Sequential, x: np.ndarray = X) -> np.ndarray:
    """Layer by layer on plain arrays, in evaluation mode."""
    for layer in copy.deepcopy(net).eval():
        x = layer.forward(x)
    return x


def close(got: Any, wanted: Any) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
