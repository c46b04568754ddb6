"""Activation layers and dropout; the backward passes use the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..initializers import generator_of_its_own
from ..lanes import Lanes
from ..ops import _check as check
from .layer import Layer


class ReLU(Layer):
    """``max(x, 0)``."""

    takes_lanes = True
    keeps = ()

    def forward(self, x: Any, *, out: Any = None) -> Any:
        y = ops.relu(x, out=out)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any, *, out: Any = None) -> Any:
        (y,) = self.saved()
        return ops.relu_backward(dy, y, out=out)


class LeakyReLU(Layer):
    """`x` where it is at least 0, else ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If `negative_slope` is no number, or negative.
    """

    arguments = ("negative_slope",)
    takes_lanes = True
    keeps = ()

    def __init__(self, negative_slope: float = 0.01) -> None:
        ops.leaky_relu(0.0, negative_slope)
        self.negative_slope = float(negative_slope)

    def forward(self, x: Any) -> Any:
        y = ops.leaky_relu(x, self.negative_slope)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any) -> Any:
        (y,) = self.saved()
        return ops.leaky_relu_backward(dy, y, self.negative_slope)


class Sigmoid(Layer):
    """``1 / (1 + e^-x)``; derivative ``y (1 - y)``."""

    takes_lanes = True
    keeps = ()

    def forward(self, x: Any) -> Any:
        y = ops.sigmoid(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any) -> Any:
        return ops.sigmoid_backward(dy, *self.saved())


class Tanh(Layer):
    """Hyperbolic tangent; derivative ``1 - y^2``."""

    takes_lanes = True
    keeps = ()

    def forward(self, x: Any) -> Any:
        y = ops.tanh(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any) -> Any:
        return ops.tanh_backward(dy, *self.saved())


class Softmax(Layer):
    """``e^{x_k} / sum_j e^{x_j}`` over the channels.

    Not needed before the cross-entropy loss, which takes logits and contains it.

    Parameters
    ----------
    dim : int
        Must be 1, the axis of channels or classes.

    Raises
    ------
    ValueError
        If `dim` is not 1.
    """

    arguments = ("dim",)
    takes_lanes = True
    keeps = ()

    def __init__(self, dim: int = 1) -> None:
        if dim != 1:
            raise ValueError(f"dim: expected 1, got {dim!r}")
        self.dim = 1

    def forward(self, x: Any) -> Any:
        y = ops.softmax(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Any) -> Any:
        return ops.softmax_backward(dy, *self.saved())


class Dropout(Layer):
    """In training, sets each number to 0 with probability `p` and divides the rest by ``1 - p``.

    Parameters
    ----------
    p : float
        0 to 1.
    rng : numpy.random.Generator, optional
        Where the choice comes from, by default as `cnn_ext.seed` says; a `Trainer` gives one that
        follows its own seed.

    Raises
    ------
    TypeError, ValueError
        If `p` is no number from 0 to 1.
    """

    arguments = ("p",)
    takes_lanes = True
    keeps = ()

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = check.number(p, "p", 0, 1)
        self.rng = rng or generator_of_its_own()

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        x = check.batch(x, "x")
        dtype = check.common_dtype(x)
        keep = self.rng.random(x.shape, np.float32) >= self.p
        factor: Any = keep.astype(dtype) / dtype.type(max(1 - self.p, 1e-30))
        if isinstance(x, Lanes):
            factor = Lanes.pack(factor)
        self.save_for_backward(factor)
        return ops.multiply(x, factor)

    def backward(self, dy: Any) -> Any:
        return ops.multiply(dy, *self.saved())
