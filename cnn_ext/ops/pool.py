"""Max and average pooling as functions, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .._arrays import plain_array
from ..graph.value import Value
from ..operators.pool import max_pool, pool_sizes
from ._single import applied, gradients


def pool_options(kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> dict[str, Any]:
    """The arguments of a pooling as pairs, checked against each other."""
    kernel = check.pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else check.pair(stride, "stride", 1)
    pads = check.pair(padding, "padding", 0)
    if any(pad > size // 2 for pad, size in zip(pads, kernel, strict=True)):
        raise ValueError(f"padding: expected at most half of kernel_size {kernel}, got {pads}")
    gaps = check.pair(dilation, "dilation", 1)
    return {"kernel": kernel, "stride": steps, "padding": pads, "dilation": gaps}


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
    options = pool_options(kernel_size, stride, padding, dilation)
    if isinstance(x, Value):
        return x.emit("max_pool", **options, ceil_mode=ceil_mode)
    x = check.batch(x, "x", 4)
    s = pool_sizes(x.shape[1:], ceil_mode=ceil_mode, **options)
    y, argmax = max_pool(check.packed(x, check.common_dtype(x)), s, return_indices)
    answer = check.result(y, x, out)
    if argmax is None:
        return answer
    tap = argmax.unpack().astype(np.int64)
    h = np.arange(s.P)[:, None] * s.step_h - s.top + tap // s.S * s.gap_h
    w = np.arange(s.Q) * s.step_w - s.left + tap % s.S * s.gap_w
    return answer, h * s.W + w


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
    x, kernel_size, stride, ceil_mode, out
        As for `max_pool2d`.
    padding : int or (int, int)
        Zeros around the input, at most half of `kernel_size`.
    count_include_pad : bool
        Whether the zeros of the padding count in the divisor.

    Returns
    -------
    ndarray or Lanes, shape (N, C, P, Q)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    options = _mean_options(kernel_size, stride, padding, ceil_mode, count_include_pad)
    return applied("avg_pool", x, options, ndim=4, out=out)


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
    shape = check.extents(input_shape, "input_shape", "NCHW")
    options = _mean_options(kernel_size, stride, padding, ceil_mode, count_include_pad)
    return gradients("avg_pool", dy, shape, options, ndim=4, out=(out,))[0]


def _mean_options(
    kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool
) -> dict[str, Any]:
    options = pool_options(kernel_size, stride, padding)
    del options["dilation"]
    return {**options, "ceil_mode": ceil_mode, "count_include_pad": bool(count_include_pad)}
