"""Full connection, and the flattening before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import ops
from ..initializers import Initializer
from ..ops import _check as check
from .layer import Layer, WeightedLayer


def flatten(x: Any) -> Any:
    """(N, ...) -> (N, features), for arrays and lanes, without a copy where there can be none."""
    features = math.prod(x.shape[1:])
    return x.reshape(x.shape[0], features) if isinstance(x, np.ndarray) else x.reshape(features)


def unflatten(dx: Any, shape: tuple[int, ...]) -> Any:
    """The way back to (N, *shape)."""
    return dx.reshape(dx.shape[0], *shape) if isinstance(dx, np.ndarray) else dx.reshape(*shape)


class Flatten(Layer):
    """(N, C, H, W) -> (N, C H W), channels first, then rows, then columns."""

    takes_lanes = True
    keeps = ()

    def forward(self, x: Any) -> Any:
        x = check.batch(x, "x")
        self.save_for_backward(x.shape[1:])
        return flatten(x)

    def backward(self, dy: Any) -> Any:
        (shape,) = self.saved()
        return unflatten(check.batch(dy, "dy"), shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(input_shape),)


class Linear(WeightedLayer):
    """Full connection, ``y = x weight' + bias``; an input of more axes is flattened first.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    initializer : str or function (shape, rng) -> array
        One of "he", "glorot", "lecun", "normal", "zeros", "pytorch".
    rng : numpy.random.Generator, optional
        For the first weights, by default as `cnn_ext.seed` says.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("in_features", "out_features", "bias")

    takes_lanes = True
    keeps = ("weight", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        initializer: str | Initializer = "pytorch",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_features = check.whole(in_features, "in_features", 1)
        self.out_features = check.whole(out_features, "out_features", 1)
        self.new_parameters((self.out_features, self.in_features), bias, initializer, rng, dtype)

    def forward(self, x: Any) -> Any:
        x = self.own_dtype(x)
        self.output_shape(x.shape[1:])
        rows = flatten(x)
        y = ops.linear(rows, self.weight.data, None if self.bias is None else self.bias.data)
        self.save_for_backward(rows, x.shape[1:])
        return y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        rows, shape = self.saved()
        dx = self.take_gradients(ops.linear_backward(dy, rows, self.weight.data, need_dx=need_dx))
        return unflatten(dx, shape) if need_dx else None

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        features = math.prod(input_shape)
        if features != self.in_features:
            source = f"(N, {', '.join(map(str, input_shape))})"
            raise ValueError(f"expected {self.in_features} features, got {features} from {source}")
        return (self.out_features,)

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        return self.weight.data.size
