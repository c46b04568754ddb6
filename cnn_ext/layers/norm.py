"""Normalisation layers: by the statistics of the batch, of groups of channels, or of a pixel."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from ..graph.value import N
from ..parameter import Buffer, Parameter
from .built_in import BuiltIn, check_channels


class _Affine(BuiltIn):
    # a factor and a summand for each channel, which are learned

    keeps: ClassVar[tuple[str, ...]] = ("weight", "bias")

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, channels: int, affine: bool, bias: bool, dtype: DTypeLike) -> None:
        kind = check.float_dtype(dtype)
        self.weight = Parameter(np.ones(channels, kind)) if affine else None
        self.bias = Parameter(np.zeros(channels, kind)) if affine and bias else None

    def _weights(self) -> dict[str, Any]:
        named = {"weight": self.weight, "bias": self.bias}
        return {name: kept for name, kept in named.items() if kept is not None}


class _BatchNorm(_Affine):
    """See `BatchNorm2d`."""

    ndim: tuple[int, ...]

    arguments = ("num_features", "eps", "momentum", "affine", "track_running_stats")
    keeps = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.num_features = C = check.whole(num_features, "num_features", 1)
        self.eps = check.number(eps, "eps")
        self.momentum = None if momentum is None else check.number(momentum, "momentum", 0, 1)
        self.affine, self.track_running_stats = bool(affine), bool(track_running_stats)
        self._make(C, self.affine, True, dtype)
        kind = check.float_dtype(dtype)
        tracked = self.track_running_stats
        self.running_mean = Buffer(np.zeros(C, kind)) if tracked else None
        self.running_var = Buffer(np.ones(C, kind)) if tracked else None
        self.num_batches_tracked = Buffer(np.zeros((), kind)) if tracked else None

    def forward(self, x: Any) -> Any:
        if x.ndim not in self.ndim:
            wanted = " or ".join(map(str, self.ndim))
            raise ValueError(f"expected an input of {wanted} axes, got {x.shape}")
        check_channels(x, self.num_features)
        weights = self._weights()
        if self.track_running_stats:
            weights |= {
                "mean": self.running_mean, "var": self.running_var,
                "tracked": self.num_batches_tracked,
            }  # fmt: skip
        training = (self.training and self.trainable) or not self.track_running_stats
        options = {"eps": self.eps, "momentum": self.momentum, "training": training}
        return x.emit("batch_norm", weights=weights, **options)


class BatchNorm2d(_BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of images (N, C, H, W).

    In training mean and variance are those of the batch, and the running ones move towards them:
    ``running = (1 - momentum) running + momentum seen``, the variance being the unbiased one.  In
    evaluation mode the running ones are taken, and in training where `trainable` was set to False.
    S. Ioffe, C. Szegedy, "Batch normalization", 2015.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
    momentum : float or None
        None takes the mean over all batches so far.
    affine : bool
        Whether weight and bias are learned, or 1 and 0.
    track_running_stats : bool
        If False, the statistics are always those of the batch.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var : Buffer, shape (num_features,), or None
    num_batches_tracked : Buffer, shape (), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    ndim = (4,)


class BatchNorm1d(_BatchNorm):
    """As `BatchNorm2d`, for vectors (N, F) and sequences (N, C, L)."""

    ndim = (2, 3)


class GroupNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over groups of channels of each image.

    Y. Wu, K. He, "Group normalization", 2018.

    Parameters
    ----------
    num_groups, num_channels : int
        The first divides the second.
    eps : float
    affine : bool
        Whether weight and bias are learned, or 1 and 0.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("num_groups", "num_channels", "eps", "affine")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.num_groups = check.whole(num_groups, "num_groups", 1)
        self.num_channels = check.whole(num_channels, "num_channels", 1)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"num_groups: expected a divisor of {num_channels} channels, got {num_groups}"
            )
        self.eps, self.affine = check.number(eps, "eps"), bool(affine)
        self._make(self.num_channels, self.affine, True, dtype)

    def forward(self, x: Any) -> Any:
        check_channels(x, self.num_channels)
        return x.emit("group_norm", weights=self._weights(), groups=self.num_groups, eps=self.eps)


class LayerNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the channels, at each pixel by itself.

    For vectors (N, F) it is `torch.nn.LayerNorm(F)`, for images what ConvNeXt calls LayerNorm.
    J. Ba et al., "Layer normalization", 2016.

    Parameters
    ----------
    normalized_shape : int or (int,)
        Channels, or features.
    eps : float
    elementwise_affine, bias : bool
        Whether weight and bias are learned, or 1 and 0.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape (normalized_shape,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("normalized_shape", "eps", "elementwise_affine", "bias")

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        shape = normalized_shape
        if check.is_list(shape):
            if len(shape) != 1:
                raise ValueError(f"normalized_shape: expected the channels alone, got {shape!r}")
            shape = shape[0]
        self.normalized_shape = check.whole(shape, "normalized_shape", 1)
        self.eps, self.elementwise_affine = check.number(eps, "eps"), bool(elementwise_affine)
        self._make(self.normalized_shape, self.elementwise_affine, bool(bias), dtype)

    def to_config(self) -> dict[str, Any]:
        return {"type": type(self).__name__, **self._shown()}

    def _shown(self) -> dict[str, Any]:
        return {
            "normalized_shape": self.normalized_shape, "eps": self.eps,
            "elementwise_affine": self.elementwise_affine, "bias": self.bias is not None,
        }  # fmt: skip

    def forward(self, x: Any) -> Any:
        check_channels(x, self.normalized_shape)
        weights = self._weights()
        return x.emit("group_norm", weights=weights, groups=1, eps=self.eps, across=True)


class LocalResponseNorm(BuiltIn):
    """``x / (k + alpha / size * sum of squares of neighbouring channels)^beta``.

    A. Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.

    Parameters
    ----------
    size : int
        Channels that count as neighbours.
    alpha, beta, k : float

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("size", "alpha", "beta", "k")

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = check.whole(size, "size", 1)
        self.alpha = check.number(alpha, "alpha")
        self.beta = check.number(beta, "beta")
        self.k = check.number(k, "k")

    def forward(self, x: Any) -> Any:
        C, *rest = x.features
        pixels = math.prod(rest)
        before = self.size // 2
        sides = (before, self.size - 1 - before, 0, 0)
        squares = x.emit("square").reshape(N, 1, C, pixels)
        means = squares.emit("avg_pool", kernel=(self.size, 1), stride=(1, 1), padding=sides)
        scale = (means.reshape(N, *x.features) * self.alpha + self.k).emit(
            "power", exponent=-self.beta
        )
        return x * scale
