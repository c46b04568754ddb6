"""Convolution and linear layers as functions, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import _core
from ..graph.value import Value
from ..lanes import Lanes, contiguous, empty
from ..operators.conv2d import conv_sizes
from ..parameter import Kept
from ._single import on_arrays

Gradients = tuple[Any, np.ndarray, np.ndarray]


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
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
    if isinstance(x, Value):
        return x.emit("conv2d", weights=_weights(weight, bias), stride=stride, padding=padding,
                      dilation=dilation, groups=groups)  # fmt: skip
    x = check.batch(x, "x", 4)
    weight = check.real_array(weight, "weight")
    sizes = conv_sizes(x.shape[1:], weight.shape, stride, padding, dilation, groups)
    bias = None if bias is None else check.real_array(bias, "bias")
    dtype = check.common_dtype(x, weight, bias)
    w = check.plain(weight, "weight", weight.shape, dtype)
    b = None if bias is None else check.plain(bias, "bias", weight.shape[:1], dtype)
    lanes = check.packed(x, dtype)
    y = Lanes.empty((x.shape[0], *sizes.output), dtype)
    core = (lanes.blocks, *sizes)
    _core.conv2d(lanes.data, w, b, y.data, dtype.itemsize, core, None, lanes.images)
    return check.result(y, x, out)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlate sequences, as `conv2d` does images of one row.

    Parameters
    ----------
    x : array_like, shape (N, C, L)
    weight : array_like, shape (K, C / groups, R)
    bias : array_like, shape (K,), optional
    stride, dilation, groups : int
    padding : int, (left, right), "valid", "same" or "full"

    Returns
    -------
    ndarray, shape (N, K, Q)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    step, gap = check.whole(stride, "stride", 1), check.whole(dilation, "dilation", 1)
    sides: Any = padding
    if not isinstance(padding, str):
        ends = check.pair(padding, "padding", 0)
        sides = (0, 0, *ends)
    options = {"stride": (1, step), "padding": sides, "dilation": (1, gap), "groups": groups}
    if isinstance(x, Value):
        return x.emit("conv2d", weights=_weights(weight, bias), **options)
    batch: Any = check.batch(x, "x", 3)
    kernel = check.real_array(weight, "weight")
    if kernel.ndim != 3:
        raise ValueError(f"weight: expected shape (K, C / groups, R), got {kernel.shape}")
    rows = batch.reshape(*batch.shape[1:2], 1, batch.shape[2]) if isinstance(batch, Lanes) else (
        batch[:, :, None])  # fmt: skip
    y = conv2d(rows, kernel[:, :, None], bias, **options)
    return y.reshape(y.shape[1], y.shape[3]) if isinstance(y, Lanes) else y[:, :, 0]


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The gradient of `conv2d` to its input, as a function: each pixel is spread by the kernel.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W)
    weight : array_like, shape (C, K / groups, R, S)
    bias : array_like, shape (K,), optional
    stride, output_padding, dilation : int or (int, int)
    padding : int, (int, int) or (top, bottom, left, right)
        What is cut off the result on each side.
    groups : int

    Returns
    -------
    ndarray, shape (N, K, P, Q)
        ``P = (H - 1) stride - top - bottom + dilation (R - 1) + output_padding + 1``; Q likewise.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    options = {
        "stride": stride, "padding": padding, "output_padding": output_padding,
        "groups": groups, "dilation": dilation,
    }  # fmt: skip
    weights = _weights(weight, bias)
    if isinstance(x, Value):
        return x.emit("conv_transpose2d", weights=weights, **options)
    return on_arrays("conv_transpose2d", x, weights, options)


def _weights(weight: Any, bias: Any) -> dict[str, Any]:
    # of a node
    named = {"weight": weight, "bias": bias}
    return {
        name: array if isinstance(array, Kept) else check.real_array(array, name)
        for name, array in named.items()
        if array is not None
    }


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
    sizes = conv_sizes(x.shape[1:], weight.shape, stride, padding, dilation, groups)
    K = weight.shape[0]
    check.same_shape(dy, "dy", (x.shape[0], *sizes.output))
    dtype = check.common_dtype(x, dy, weight)
    w = check.plain(weight, "weight", weight.shape, dtype)
    x_lanes, dy_lanes = check.packed(x, dtype), check.packed(dy, dtype, "dy")
    N, pixels, core = dy_lanes.images, sizes.P * sizes.Q, (dy_lanes.blocks, *sizes)
    dw, db = empty(weight.shape, dtype), empty((K,), dtype)
    _core.conv2d_weight(dy_lanes.data, x_lanes.data, dw, dtype.itemsize, core, N)
    _core.channel_sum(dy_lanes.data, db, dtype.itemsize, dy_lanes.blocks, K, pixels, N)
    dx = None
    if need_dx:
        dx_lanes = Lanes.empty(x.shape, dtype)
        _core.conv2d_input(dy_lanes.data, w, dx_lanes.data, dtype.itemsize, core, N)
        dx = check.result(dx_lanes, dy, out[0])
    return dx, check.into(dw, out[1], "out[1]"), check.into(db, out[2], "out[2]")


def linear(x: Any, weight: Any, bias: Any = None, *, out: np.ndarray | None = None) -> Any:
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
    if isinstance(x, Value):
        return x.emit("linear", weights=_weights(weight, bias))
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
