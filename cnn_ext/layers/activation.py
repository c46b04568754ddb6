"""Activation layers and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check as check
from .. import ops
from ..initializers import generator_of_its_own
from .module import BuiltIn


class ReLU(BuiltIn):
    """``max(x, 0)``."""

    keeps = ()

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(BuiltIn):
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
    keeps = ()

    def __init__(self, negative_slope: float = 0.01) -> None:
        ops.leaky_relu(0.0, negative_slope)
        self.negative_slope = float(negative_slope)

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)


class Sigmoid(BuiltIn):
    """``1 / (1 + e^-x)``; derivative ``y (1 - y)``."""

    keeps = ()

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Tanh(BuiltIn):
    """Hyperbolic tangent; derivative ``1 - y^2``."""

    keeps = ()

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Softmax(BuiltIn):
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
    keeps = ()

    def __init__(self, dim: int = 1) -> None:
        if dim != 1:
            raise ValueError(f"dim: expected 1, got {dim!r}")
        self.dim = 1

    def forward(self, x: Any) -> Any:
        return ops.softmax(x)


class Dropout(BuiltIn):
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
    keeps = ()

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = check.number(p, "p", 0, 1)
        self.rng = rng or generator_of_its_own()

    def forward(self, x: Any) -> Any:
        return x.emit("dropout", p=self.p, rng=self.rng) if self.training else x
