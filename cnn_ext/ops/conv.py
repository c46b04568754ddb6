"""Convolution and linear layers as functions, forward and backward."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from ..lanes import Lanes, contiguous, empty
from . import _check as check

Gradients = tuple[Any, np.ndarray, np.ndarray]


class Conv2dShape(NamedTuple):
    """All sizes of a convolution; `core` is what the kernels take."""

    output: tuple[int, int]
    core: tuple[int, ...]


def conv2d_shape(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Conv2dShape:
    """Check the sizes of a convolution of (C, H, W) inputs against each other.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that does not fit.
    """
    if len(w_shape) != 4 or 0 in w_shape:
        raise ValueError(f"weight: expected shape (K, C / groups, R, S), got {w_shape}")
    groups = check.whole(groups, "groups", 1)
    step_h, step_w = check.pair(stride, "stride", 1)
    gap_h, gap_w = check.pair(dilation, "dilation", 1)
    (C, H, W), (K, C_group, R, S) = x_shape, w_shape
    if K % groups:
        raise ValueError(f"groups: expected a divisor of the {K} output channels, got {groups}")
    if C != C_group * groups:
        raise ValueError(f"x: expected {C_group * groups} channels, got {C} from {x_shape}")
    top, bottom, left, right = check.padding4(padding, (R, S), (step_h, step_w), (gap_h, gap_w))
    spare_h = H + top + bottom - gap_h * (R - 1) - 1
    spare_w = W + left + right - gap_w * (S - 1) - 1
    if spare_h < 0 or spare_w < 0:
        raise ValueError(
            f"weight: a kernel of {R} x {S} (dilation {gap_h}, {gap_w}) does not fit into the "
            f"padded input of {H + top + bottom} x {W + left + right}"
        )
    P, Q = spare_h // step_h + 1, spare_w // step_w + 1
    if max(P, Q) > check.LARGEST:
        raise ValueError(f"padding: an output of {P} x {Q} is too large")
    core = (groups, C_group, K // groups, H, W, R, S, P, Q, step_h, step_w, top, left, gap_h, gap_w)
    return Conv2dShape((P, Q), core)


def conv2d(
    x: Any,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: np.ndarray | None = None,
) -> Any:
    """Cross-correlate a batch with feature detectors, as a convolutional layer does.

    ``y[n,k,p,q] = bias[k] + sum_{c,r,s} x[n, c, p*stride + r*dilation - padding, ...] w[k,c,r,s]``

    Parameters
    ----------
    x : array_like, shape (N, C, H, W), or Lanes
        float32 or float64; other real numbers are taken as float32.
    weight : array_like, shape (K, C / groups, R, S)
    bias : array_like, shape (K,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), (top, bottom, left, right), "valid", "same" or "full"
        Zeros around the input: none for "valid", as many as keep H x W for "same" (stride 1), so
        many that every tap meets every pixel for "full".
    groups : int
        Output channel k sees the input channels of its group alone.
    out : ndarray, shape (N, K, P, Q), optional
        Where to write the result.

    Returns
    -------
    ndarray or Lanes, shape (N, K, P, Q)
        ``P = (H + top + bottom - dilation (R - 1) - 1) // stride + 1``; Q likewise.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 4)
    weight = check.real_array(weight, "weight")
    shape = conv2d_shape(x.shape[1:], weight.shape, stride, padding, dilation, groups)
    bias = None if bias is None else check.real_array(bias, "bias")
    dtype = check.common_dtype(x, weight, bias)
    w = check.plain(weight, "weight", weight.shape, dtype)
    b = None if bias is None else check.plain(bias, "bias", weight.shape[:1], dtype)
    lanes = check.packed(x, dtype)
    y = Lanes.empty((x.shape[0], weight.shape[0], *shape.output), dtype)
    core = (lanes.blocks, *shape.core)
    _core.conv2d(lanes.data, w, b, y.data, dtype.itemsize, core, None, lanes.images)
    return check.result(y, x, out)


def conv2d_backward(
    dy: Any,
    x: Any,
    weight: ArrayLike,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    need_dx: bool = True,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] = (None, None, None),
) -> Gradients:
    """Gradients of `conv2d` to its input, weights and bias.

    The gradient to the input is the full cross-correlation of `dy` with the kernel rotated by 180
    degrees, done by the forward kernel; ``dw[k,c,r,s] = sum dy[n,k,p,q] x[n,c,p+r,q+s]`` and
    ``db[k] = sum dy[n,k,p,q]`` (for stride 1).

    Parameters
    ----------
    dy : array_like, shape (N, K, P, Q), or Lanes
        Gradient of the cost at the output.
    x, weight, stride, padding, dilation, groups
        As given to `conv2d`.
    need_dx : bool
        If False, dx is not computed and None is returned for it.
    out : (dx, dweight, dbias), optional
        Arrays to write the results to; each may be None.

    Returns
    -------
    dx : ndarray or Lanes, shape of x
    dweight : ndarray, shape of weight
    dbias : ndarray, shape (K,)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 4)
    dy = check.batch(dy, "dy", 4)
    weight = check.real_array(weight, "weight")
    shape = conv2d_shape(x.shape[1:], weight.shape, stride, padding, dilation, groups)
    K = weight.shape[0]
    check.same_shape(dy, "dy", (x.shape[0], K, *shape.output))
    dtype = check.common_dtype(x, dy, weight)
    w = check.plain(weight, "weight", weight.shape, dtype)
    x_lanes, dy_lanes = check.packed(x, dtype), check.packed(dy, dtype, "dy")
    N, pixels, core = dy_lanes.images, math.prod(shape.output), (dy_lanes.blocks, *shape.core)
    dw, db = empty(weight.shape, dtype), empty((K,), dtype)
    _core.conv2d_weight(dy_lanes.data, x_lanes.data, dw, dtype.itemsize, core, N)
    _core.channel_sum(dy_lanes.data, db, dtype.itemsize, dy_lanes.blocks, K, pixels, N)
    dx = None
    if need_dx:
        dx_lanes = Lanes.empty(x.shape, dtype)
        _core.conv2d_input(dy_lanes.data, w, dx_lanes.data, dtype.itemsize, core, N)
        dx = check.result(dx_lanes, dy, out[0])
    return dx, check.into(dw, out[1], "out[1]"), check.into(db, out[2], "out[2]")


def linear(
    x: Any, weight: ArrayLike, bias: ArrayLike | None = None, *, out: np.ndarray | None = None
) -> Any:
    """Full connection, ``y = x weight' + bias``.

    Parameters
    ----------
    x : array_like, shape (N, C), or Lanes
    weight : array_like, shape (K, C)
    bias : array_like, shape (K,), optional
    out : ndarray, shape (N, K), optional
        Where to write the result.

    Returns
    -------
    ndarray or Lanes, shape (N, K)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 2)
    weight = linear_weight(weight, x.shape[1])
    bias = None if bias is None else check.real_array(bias, "bias")
    dtype = check.common_dtype(x, weight, bias)
    K, C = weight.shape
    w = check.plain(weight, "weight", (K, C), dtype)
    b = None if bias is None else check.plain(bias, "bias", (K,), dtype)
    lanes = check.packed(x, dtype)
    y = Lanes.empty((x.shape[0], K), dtype)
    _core.linear(lanes.data, w, b, y.data, dtype.itemsize, lanes.blocks, C, K)
    return check.result(y, x, out)


def linear_weight(weight: ArrayLike, features: int) -> np.ndarray:
    """`weight` as an array, checked against the number of input features."""
    array = check.real_array(weight, "weight")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"weight: expected shape (K, C), got {array.shape}")
    if array.shape[1] != features:
        raise ValueError(f"x: expected {array.shape[1]} features, got {features}")
    return array


def linear_backward(
    dy: Any,
    x: Any,
    weight: ArrayLike,
    *,
    need_dx: bool = True,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] = (None, None, None),
) -> Gradients:
    """Gradients of `linear`: ``dx = dy weight``, ``dweight = dy' x``, ``dbias = sum of dy``.

    Parameters
    ----------
    dy : array_like, shape (N, K), or Lanes
    x, weight
        As given to `linear`.
    need_dx : bool
        If False, dx is not computed and None is returned for it.
    out : (dx, dweight, dbias), optional
        Arrays to write the results to; each may be None.

    Returns
    -------
    dx : ndarray or Lanes, shape (N, C)
    dweight : ndarray, shape (K, C)
    dbias : ndarray, shape (K,)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    x = check.batch(x, "x", 2)
    dy = check.batch(dy, "dy", 2)
    weight = linear_weight(weight, x.shape[1])
    K, C = weight.shape
    N = x.shape[0]
    check.same_shape(dy, "dy", (N, K))
    dtype = check.common_dtype(x, dy, weight)
    w = check.plain(weight, "weight", (K, C), dtype)
    dy_lanes = check.packed(dy, dtype, "dy")
    dw, db = empty((K, C), dtype), empty((K,), dtype)
    if C < _core.lanes(dtype.itemsize):  # too few features for a vector: a 1 x 1 convolution
        core = (dy_lanes.blocks, 1, C, K, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1)
        _core.conv2d_weight(dy_lanes.data, check.packed(x, dtype).data, dw, dtype.itemsize, core, N)
    else:
        rows = contiguous(x.unpack() if isinstance(x, Lanes) else x, dtype)
        _core.linear_weight(dy_lanes.data, rows, dw, dtype.itemsize, N, C, K)
    _core.channel_sum(dy_lanes.data, db, dtype.itemsize, dy_lanes.blocks, K, 1, N)
    dx = None
    if need_dx:
        dx_lanes = Lanes.empty((N, C), dtype)
        _core.linear_input(dy_lanes.data, w, dx_lanes.data, dtype.itemsize, dy_lanes.blocks, C, K)
        dx = check.result(dx_lanes, dy, out[0])
    return dx, check.into(dw, out[1], "out[1]"), check.into(db, out[2], "out[2]")
