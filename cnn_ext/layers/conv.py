"""Convolutional layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from .. import ops
from ..initializers import Initializer
from .built_in import WeightedLayer


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
        One of "he", "glorot", "lecun", "normal", "zeros", "pytorch", "dirac".
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
        self.in_channels, self.out_channels, self.groups = _channels(
            in_channels, out_channels, groups
        )
        self.kernel_size = check.pair(kernel_size, "kernel_size", 1)
        self.stride = check.pair(stride, "stride", 1)
        self.dilation = check.pair(dilation, "dilation", 1)
        check.padding4(padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else _plain(padding)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.new_parameters(shape, bias, initializer, rng, dtype)

    def forward(self, x: Any) -> Any:
        options = self.stride, self.padding, self.dilation, self.groups
        return ops.conv2d(x, self.weight, self.bias, *options)


class Conv1d(WeightedLayer):
    """Feature detectors that slide along sequences (N, C, L), see `ops.conv1d`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride : int
    padding : int, (left, right), "valid", "same" or "full"
    dilation, groups : int
    bias : bool
    initializer, rng, dtype
        As for `Conv2d`.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, R)
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
                 "groups", "bias")  # fmt: skip

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: Any = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: str | Initializer = "pytorch",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_channels, self.out_channels, self.groups = _channels(
            in_channels, out_channels, groups
        )
        self.kernel_size = check.whole(one(kernel_size), "kernel_size", 1)
        self.stride = check.whole(one(stride), "stride", 1)
        self.dilation = check.whole(one(dilation), "dilation", 1)
        self.padding: Any = one(padding)
        if isinstance(padding, str):
            check.padding4(padding, (1, self.kernel_size), (1, self.stride), (1, self.dilation))
        else:
            ends = check.pair(self.padding, "padding", 0)
            self.padding = ends if check.is_list(self.padding) else ends[0]
        shape = (self.out_channels, self.in_channels // self.groups, self.kernel_size)
        self.new_parameters(shape, bias, initializer, rng, dtype)

    def forward(self, x: Any) -> Any:
        options = self.stride, self.padding, self.dilation, self.groups
        return ops.conv1d(x, self.weight, self.bias, *options)


class ConvTranspose2d(WeightedLayer):
    """A convolution on the way back, see `ops.conv_transpose2d`: images become larger.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or (int, int)
    padding : int, (int, int) or (top, bottom, left, right)
    output_padding : int or (int, int)
        Rows and columns more, below and on the right.
    groups : int
    bias : bool
    dilation : int or (int, int)
    initializer, rng, dtype
        As for `Conv2d`.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, R, S)
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("in_channels", "out_channels", "kernel_size", "stride", "padding",
                 "output_padding", "groups", "bias", "dilation")  # fmt: skip

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        *,
        initializer: str | Initializer = "pytorch",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_channels, self.out_channels, self.groups = _channels(
            in_channels, out_channels, groups
        )
        self.kernel_size = check.pair(kernel_size, "kernel_size", 1)
        self.stride = check.pair(stride, "stride", 1)
        self.output_padding = check.pair(output_padding, "output_padding", 0)
        self.dilation = check.pair(dilation, "dilation", 1)
        if isinstance(padding, str):
            raise TypeError(f"padding: expected numbers, got {padding!r}")
        check.padding4(padding, self.kernel_size, self.stride, self.dilation)
        self.padding = _plain(padding)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.new_parameters(shape, bias, initializer, rng, dtype, self.out_channels)

    def forward(self, x: Any) -> Any:
        options = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return ops.conv_transpose2d(x, self.weight, self.bias, *options)


def one(size: Any) -> Any:
    """A size, or one in a list, as PyTorch has it for sequences."""
    return size[0] if check.is_list(size) and len(size) == 1 else size


def _channels(in_channels: Any, out_channels: Any, groups: Any) -> tuple[int, int, int]:
    inputs = check.whole(in_channels, "in_channels", 1)
    outputs = check.whole(out_channels, "out_channels", 1)
    parts = check.whole(groups, "groups", 1)
    for name, channels in (("in_channels", inputs), ("out_channels", outputs)):
        if channels % parts:
            raise ValueError(f"groups: expected a divisor of {name} {channels}, got {groups}")
    return inputs, outputs, parts


def _plain(padding: Any) -> Any:
    return tuple(map(int, padding)) if check.is_list(padding) else int(padding)
