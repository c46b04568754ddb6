"""Full connection, and the flattening before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from .. import ops
from ..initializers import Initializer
from .built_in import BuiltIn, WeightedLayer


class Flatten(BuiltIn):
    """(N, C, H, W) -> (N, C H W), channels first, then rows, then columns."""

    def forward(self, x: Any) -> Any:
        return x.flatten()


class Linear(WeightedLayer):
    """Full connection, ``y = x weight' + bias``; an input of more axes is flattened first.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    initializer : str or function (shape, rng) -> array
        One of "he", "glorot", "lecun", "normal", "zeros", "pytorch", "dirac".
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
        features = math.prod(x.features)
        if features != self.in_features:
            source = f"(N, {', '.join(map(str, x.features))})"
            raise ValueError(f"expected {self.in_features} features, got {features} from {source}")
        return ops.linear(x.flatten(), self.weight, self.bias)
