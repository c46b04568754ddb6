"""Pooling layers."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops import _check as check
from ..ops.pool import Pool2dShape, max_pool2d_lanes, max_pool2d_lanes_backward, pool2d_shape
from .layer import Layer


def image(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """`input_shape` as (C, H, W)."""
    if len(input_shape) != 3:
        raise ValueError(f"expected an input of (C, H, W), got {input_shape}")
    return input_shape[0], input_shape[1], input_shape[2]


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


class MaxPool2d(Layer):
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
    takes_lanes = True
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

    def _shape(self, input_shape: tuple[int, ...]) -> Pool2dShape:
        return pool2d_shape(
            image(input_shape), self.kernel_size, self.stride, self.padding, self.dilation,
            self.ceil_mode,
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        x = check.batch(x, "x", 4)
        shape = self._shape(x.shape[1:])
        lanes = check.packed(x, check.common_dtype(x))
        y, place = max_pool2d_lanes(lanes, shape, self.training)
        self.save_for_backward(place, x.shape, shape)
        return check.result(y, x)

    def backward(self, dy: Any) -> Any:
        place, x_shape, shape = self.saved()
        dy = check.batch(dy, "dy", 4)
        check.same_shape(dy, "dy", place.shape)
        dx = max_pool2d_lanes_backward(check.packed(dy, place.dtype), place, x_shape, shape)
        return check.result(dx, dy)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], *self._shape(input_shape).output)


class AvgPool2d(Layer):
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
    takes_lanes = True
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

    @property
    def _options(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def forward(self, x: Any) -> Any:
        x = check.batch(x, "x", 4)
        self.save_for_backward(x.shape)
        return ops.avg_pool2d(x, *self._options)

    def backward(self, dy: Any) -> Any:
        (x_shape,) = self.saved()
        return ops.avg_pool2d_backward(dy, x_shape, *self._options)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        kernel_size, stride, padding, ceil_mode, _ = self._options
        shape = pool2d_shape(image(input_shape), kernel_size, stride, padding, 1, ceil_mode)
        return (input_shape[0], *shape.output)


class GlobalAvgPool2d(Layer):
    """The mean of each channel, (N, C, H, W) -> (N, C, 1, 1)."""

    takes_lanes = True
    keeps = ()

    def forward(self, x: Any) -> Any:
        x = check.batch(x, "x", 4)
        self.save_for_backward(x.shape)
        return ops.avg_pool2d(x, x.shape[2:])

    def backward(self, dy: Any) -> Any:
        (x_shape,) = self.saved()
        return ops.avg_pool2d_backward(dy, x_shape, x_shape[2:])

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (image(input_shape)[0], 1, 1)
