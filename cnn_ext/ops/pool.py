"""Max and average pooling as functions, forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._arrays import plain_array
from ..lanes import Lanes
from . import _check as check

MOST_TAPS = {4: 2**23, 8: 2**52}  # that numbers of so many bytes can count


class Pool2dShape(NamedTuple):
    """All sizes of a pooling; `core`, after the number of planes, is what the kernels take."""

    output: tuple[int, int]
    core: tuple[int, ...]


def pool2d_shape(
    x_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Pool2dShape:
    """Check the sizes of a pooling of (C, H, W) inputs against each other.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that does not fit.
    """
    kernel = check.pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else check.pair(stride, "stride", 1)
    pads = check.pair(padding, "padding", 0)
    gaps = check.pair(dilation, "dilation", 1)
    for pad, size in zip(pads, kernel, strict=True):
        if pad > size // 2:
            raise ValueError(f"padding: expected at most half of kernel_size {kernel}, got {pads}")
    extent = []
    for size, window, step, pad, gap in zip(x_shape[1:], kernel, steps, pads, gaps, strict=True):
        spare = size + 2 * pad - gap * (window - 1) - 1
        count = -(-spare // step) + 1 if ceil_mode else spare // step + 1
        if count < 1:
            raise ValueError(
                f"kernel_size: a window of {kernel} (dilation {gaps}) does not fit into the padded "
                f"input of {x_shape[1] + 2 * pads[0]} x {x_shape[2] + 2 * pads[1]}"
            )
        # the first tap that is not before the input may be behind it
        if gap > size and any(start % gap >= size for start in range(-pad, 0, step)[:count]):
            raise ValueError(
                f"kernel_size: a window of {kernel} with dilation {gaps} and padding {pads} holds "
                f"no pixel of the input of {x_shape[1]} x {x_shape[2]}"
            )
        # a window that would begin in the padding behind the input is dropped
        extent.append(count - 1 if (count - 1) * step >= size + pad else count)
    core = (*x_shape[1:], *kernel, *extent, *steps, *gaps, *pads, *pads)
    return Pool2dShape((extent[0], extent[1]), core)


def max_pool2d_lanes(x: Lanes, shape: Pool2dShape, keep_place: bool) -> tuple[Lanes, Lanes | None]:
    """Maxima of the windows and, if asked, which tap of its window each one was."""
    y = Lanes.empty((*x.shape[:2], *shape.output), x.dtype)
    R, S = shape.core[2:4]
    if keep_place and R * S > MOST_TAPS[x.dtype.itemsize]:
        raise ValueError(f"kernel_size: {R} x {S} taps are too many to be counted in {x.dtype}")
    place = Lanes.empty(y.shape, x.dtype) if keep_place else None
    planes = x.blocks * x.shape[1]
    _core.max_pool2d(
        x.data,
        y.data,
        None if place is None else place.data,
        x.dtype.itemsize,
        (planes, *shape.core),
    )
    return y, place


def max_pool2d_lanes_backward(
    dy: Lanes, place: Lanes, x_shape: tuple[int, ...], shape: Pool2dShape
) -> Lanes:
    """Send each gradient to the tap that `max_pool2d_lanes` noted."""
    dx = Lanes.empty(x_shape, dy.dtype)
    planes = dx.blocks * x_shape[1]
    _core.max_pool2d_input(dy.data, place.data, dx.data, dy.dtype.itemsize, (planes, *shape.core))
    return dx


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: np.ndarray | None = None,
) -> Any:
    """Maxima of windows.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W), or Lanes
        float32 or float64; other real numbers are taken as float32.
    kernel_size, stride, dilation : int or (int, int)
        `stride` None means `kernel_size`.
    padding : int or (int, int)
        Places around the input that never win, at most half of `kernel_size`.
    ceil_mode : bool
        Keep windows that hang over the lower and right edge, even the only one.
    return_indices : bool
        Also return where in its plane (``h * W + w``) each maximum lies, the first one on a tie.
    out : ndarray, shape (N, C, P, Q), optional
        Where to write the result.

    Returns
    -------
    ndarray or Lanes, shape (N, C, P, Q)
    indices : ndarray of int64, shape (N, C, P, Q), if asked for

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 4)
    shape = pool2d_shape(x.shape[1:], kernel_size, stride, padding, dilation, ceil_mode)
    y, place = max_pool2d_lanes(check.packed(x, check.common_dtype(x)), shape, return_indices)
    answer = check.result(y, x, out)
    if place is None:
        return answer
    _, W, _, S, P, Q, step_h, step_w, gap_h, gap_w, top, left = shape.core[:12]
    tap = place.unpack().astype(np.int64)
    h = np.arange(P)[:, None] * step_h - top + tap // S * gap_h
    w = np.arange(Q) * step_w - left + tap % S * gap_w
    return answer, h * W + w


def max_pool2d_backward(
    dy: ArrayLike,
    indices: ArrayLike,
    input_shape: tuple[int, ...],
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `max_pool2d`: each one goes to the place of its maximum.

    Parameters
    ----------
    dy : array_like, shape (N, C, P, Q)
    indices : array_like of int, shape (N, C, P, Q)
        As `max_pool2d` returned them.
    input_shape : (N, C, H, W)
    out : ndarray, shape `input_shape`, optional
        Where to write the result.

    Returns
    -------
    ndarray, shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape, or an index lies outside its plane.
    """
    gradient = check.real_array(dy, "dy")
    place = plain_array(indices, "indices")
    N, C, H, W = check.extents(input_shape, "input_shape", "NCHW")
    if gradient.ndim != 4 or gradient.shape[:2] != (N, C):
        raise ValueError(f"dy: expected shape ({N}, {C}, P, Q), got {gradient.shape}")
    if place.dtype.kind not in "iu":
        raise TypeError(f"indices: expected whole numbers, got {place.dtype}")
    check.same_shape(place, "indices", gradient.shape)
    if place.size and (place.min() < 0 or place.max() >= H * W):
        raise ValueError(f"indices: expected 0 to {H * W - 1}, got {place.min()} to {place.max()}")
    dx = np.zeros((N * C, H * W), check.common_dtype(gradient))
    plane = np.arange(N * C).reshape(N, C, 1, 1)
    np.add.at(dx, (plane, place), gradient)
    return check.into(dx.reshape(N, C, H, W), out)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: np.ndarray | None = None,
) -> Any:
    """Means of windows.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W), or Lanes
        float32 or float64; other real numbers are taken as float32.
    kernel_size, stride : int or (int, int)
        `stride` None means `kernel_size`.
    padding : int or (int, int)
        Zeros around the input, at most half of `kernel_size`.
    ceil_mode : bool
        Keep windows that hang over the lower and right edge, even the only one.
    count_include_pad : bool
        Whether the zeros of the padding count in the divisor.
    out : ndarray, shape (N, C, P, Q), optional
        Where to write the result.

    Returns
    -------
    ndarray or Lanes, shape (N, C, P, Q)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 4)
    shape = pool2d_shape(x.shape[1:], kernel_size, stride, padding, 1, ceil_mode)
    lanes = check.packed(x, check.common_dtype(x))
    y = Lanes.empty((*x.shape[:2], *shape.output), lanes.dtype)
    core = (lanes.blocks * x.shape[1], *shape.core)
    _core.avg_pool2d(lanes.data, y.data, y.dtype.itemsize, core, bool(count_include_pad))
    return check.result(y, x, out)


def avg_pool2d_backward(
    dy: Any,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: np.ndarray | None = None,
) -> Any:
    """Gradient of `avg_pool2d`: each one is spread evenly over its window.

    Parameters
    ----------
    dy : array_like, shape (N, C, P, Q), or Lanes
    input_shape : (N, C, H, W)
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As given to `avg_pool2d`.
    out : ndarray, shape `input_shape`, optional
        Where to write the result.

    Returns
    -------
    ndarray or Lanes, shape `input_shape`

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    dy = check.batch(dy, "dy", 4)
    N, C, H, W = check.extents(input_shape, "input_shape", "NCHW")
    shape = pool2d_shape((C, H, W), kernel_size, stride, padding, 1, ceil_mode)
    check.same_shape(dy, "dy", (N, C, *shape.output))
    lanes = check.packed(dy, check.common_dtype(dy), "dy")
    dx = Lanes.empty((N, C, H, W), lanes.dtype)
    core = (lanes.blocks * C, *shape.core)
    _core.avg_pool2d_input(lanes.data, dx.data, dx.dtype.itemsize, core, bool(count_include_pad))
    return check.result(dx, dy, out)
