"""Pooling layers."""

from __future__ import annotations

from typing import Any

from .. import _check as check
from .. import ops
from .module import BuiltIn


def window(
    kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The three as pairs, checked against each other."""
    kernel = check.pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else check.pair(stride, "stride", 1)
    pads = check.pair(padding, "padding", 0)
    if any(pad > size // 2 for pad, size in zip(pads, kernel, strict=True)):
        raise ValueError(f"padding: expected at most half of kernel_size {kernel}, got {pads}")
    return kernel, steps, pads


class MaxPool2d(BuiltIn):
    """Maxima of windows, see `ops.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int)
        `stride` None means `kernel_size`; `padding` is at most half of it.
    ceil_mode : bool
        Keep windows that hang over the edge.  By name alone, since PyTorch has `return_indices` in
        this place.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    keeps = ()

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride, self.padding = window(kernel_size, stride, padding)
        self.dilation = check.pair(dilation, "dilation", 1)
        self.ceil_mode = bool(ceil_mode)

    def forward(self, x: Any) -> Any:
        options = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        return ops.max_pool2d(x, *options)


class AvgPool2d(BuiltIn):
    """Means of windows, see `ops.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        `stride` None means `kernel_size`; `padding` is at most half of it.
    ceil_mode : bool
        Keep windows that hang over the edge.
    count_include_pad : bool
        Whether the zeros of the padding count in the divisor.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    keeps = ()

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride, self.padding = window(kernel_size, stride, padding)
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Any) -> Any:
        options = self.kernel_size, self.stride, self.padding, self.ceil_mode
        return ops.avg_pool2d(x, *options, self.count_include_pad)


class GlobalAvgPool2d(BuiltIn):
    """The mean of each channel, (N, C, H, W) -> (N, C, 1, 1)."""

    keeps = ()

    def forward(self, x: Any) -> Any:
        if x.ndim != 4:
            raise ValueError(f"expected an input of (C, H, W), got {x.features}")
        return ops.avg_pool2d(x, x.features[1:])
