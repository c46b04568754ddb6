"""Convolutional layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from .. import ops
from ..initializers import Initializer
from .module import WeightedLayer


class Conv2d(WeightedLayer):
    """Feature detectors that slide over the image, see `ops.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
    stride, dilation : int or (int, int)
    padding : int, (int, int), (top, bottom, left, right), "valid", "same" or "full"
    groups : int
        A divisor of both numbers of channels.
    bias : bool
    initializer : str or function (shape, rng) -> array
        One of "he", "glorot", "lecun", "normal", "zeros", "pytorch".
    rng : numpy.random.Generator, optional
        For the first weights, by default as `cnn_ext.seed` says.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, R, S)
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
                 "groups", "bias")  # fmt: skip

    keeps = ("weight", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: str | Initializer = "pytorch",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_channels = check.whole(in_channels, "in_channels", 1)
        self.out_channels = check.whole(out_channels, "out_channels", 1)
        self.kernel_size = check.pair(kernel_size, "kernel_size", 1)
        self.stride = check.pair(stride, "stride", 1)
        self.dilation = check.pair(dilation, "dilation", 1)
        self.groups = check.whole(groups, "groups", 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % self.groups:
                raise ValueError(f"groups: expected a divisor of {name} {channels}, got {groups}")
        check.padding4(padding, self.kernel_size, self.stride, self.dilation)
        if isinstance(padding, str):
            self.padding: Any = padding
        else:
            self.padding = tuple(map(int, padding)) if check.is_list(padding) else int(padding)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.new_parameters(shape, bias, initializer, rng, dtype)

    def forward(self, x: Any) -> Any:
        options = self.stride, self.padding, self.dilation, self.groups
        return ops.conv2d(x, self.weight, self.bias, *options)
