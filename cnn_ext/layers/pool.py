"""Pooling layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .. import _check as check
from .. import ops
from ..graph.value import N, joined
from ..ops.pool import pool_options
from .built_in import BuiltIn, image_sizes
from .conv import one


def window(
    kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The three as pairs, checked against each other."""
    options = pool_options(kernel_size, stride, padding)
    return options["kernel"], options["stride"], options["padding"]


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
    kernel_size, stride, padding, ceil_mode
        As for `MaxPool2d`.
    count_include_pad : bool
        Whether the zeros of the padding count in the divisor.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

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


class MaxPool1d(BuiltIn):
    """Maxima of windows of sequences (N, C, L); arguments as for `MaxPool2d`, each a number.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        dilation: int = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride, self.padding = _window1d(kernel_size, stride, padding)
        self.dilation = check.whole(dilation, "dilation", 1)
        self.ceil_mode = bool(ceil_mode)

    def forward(self, x: Any) -> Any:
        options = (1, self.kernel_size), (1, self.stride), (0, self.padding), (1, self.dilation)
        return _in_rows(x, lambda rows: ops.max_pool2d(rows, *options, self.ceil_mode))


class AvgPool1d(BuiltIn):
    """Means of windows of sequences (N, C, L); arguments as for `AvgPool2d`, each a number.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride, self.padding = _window1d(kernel_size, stride, padding)
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Any) -> Any:
        options = (1, self.kernel_size), (1, self.stride), (0, self.padding)
        more = self.ceil_mode, self.count_include_pad
        return _in_rows(x, lambda rows: ops.avg_pool2d(rows, *options, *more))


def _window1d(kernel_size: Any, stride: Any, padding: Any) -> tuple[int, int, int]:
    size = check.whole(one(kernel_size), "kernel_size", 1)
    step = size if stride is None else check.whole(one(stride), "stride", 1)
    pad = check.whole(one(padding), "padding", 0)
    if pad > size // 2:
        raise ValueError(f"padding: expected at most half of kernel_size {size}, got {pad}")
    return size, step, pad


def _in_rows(x: Any, step: Callable[[Any], Any]) -> Any:
    # sequences as images of one row
    if x.ndim != 3:
        raise ValueError(f"expected an input of (C, L), got {x.features}")
    C, L = x.features
    y = step(x.reshape(N, C, 1, L))
    return y.reshape(N, C, y.features[2])


class GlobalAvgPool2d(BuiltIn):
    """The mean of each channel, (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Any) -> Any:
        return ops.avg_pool2d(x, image_sizes(x)[1:])


class GlobalMaxPool2d(BuiltIn):
    """The maximum of each channel, (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Any) -> Any:
        return ops.max_pool2d(x, image_sizes(x)[1:])


class AdaptiveAvgPool2d(BuiltIn):
    """Means of as many windows as are asked for, whatever the size of the input.

    Window i of n along an axis of `size` pixels goes from ``i size // n`` to
    ``ceil((i + 1) size / n)``, as in PyTorch.

    Parameters
    ----------
    output_size : int or (int, int)
        None in a pair keeps the size of that axis.

    Raises
    ------
    TypeError, ValueError
        If `output_size` does not fit.
    """

    arguments = ("output_size",)

    def __init__(self, output_size: Any) -> None:
        sizes = output_size if check.is_list(output_size) else (output_size, output_size)
        if len(sizes) != 2:
            raise ValueError(f"output_size: expected a number or two, got {output_size!r}")
        self.output_size = tuple(
            None if size is None else check.whole(size, "output_size", 1) for size in sizes
        )

    def forward(self, x: Any) -> Any:
        image_sizes(x)
        for axis, wanted in zip((2, 3), self.output_size, strict=True):
            x = _adapted(x, axis, wanted)
        return x


def _adapted(x: Any, axis: int, wanted: int | None) -> Any:
    # means along one axis: equal windows are one pooling, others one after the other
    size = x.features[axis - 1]
    wanted = size if wanted is None else wanted
    if wanted == size:
        return x
    starts = [i * size // wanted for i in range(wanted)]
    ends = [-(-(i + 1) * size // wanted) for i in range(wanted)]
    steps = {b - a for a, b in itertools.pairwise(starts)} or {size}
    lengths = {end - start for start, end in zip(starts, ends, strict=True)}
    if len(steps) == len(lengths) == 1:
        kernel, stride = [1, 1], [1, 1]
        kernel[axis - 2], stride[axis - 2] = lengths.pop(), steps.pop()
        return ops.avg_pool2d(x, kernel, stride)
    parts = []
    for start, end in zip(starts, ends, strict=True):
        cut: list[Any] = [slice(None)] * 4
        cut[axis] = slice(start, end)
        parts.append(x[tuple(cut)].mean(axis, keepdim=True))
    return joined(parts, axis)
