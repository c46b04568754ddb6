"""Convolution and linear layers as functions, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from ..parameter import Kept
from ._single import applied, gradients

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
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    weights = {"weight": _kernel(weight), "bias": bias}
    return applied("conv2d", x, options, weights, 4, out)


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
    weights = {"weight": _kernel(weight, 3), "bias": bias}
    return applied("conv2d", x, options, weights, 3)


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
    return applied("conv_transpose2d", x, options, {"weight": weight, "bias": bias}, 4)


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
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kernel = _kernel(weight)
    weights = {"weight": kernel, "bias": np.zeros(len(kernel), np.float32)}
    dx, dw, db = gradients("conv2d", dy, x, options, weights, 4, need_dx, out)
    return dx, dw, db


def _kernel(weight: Any, ndim: int = 4) -> Any:
    # of images or sequences, between which the operator does not distinguish
    if isinstance(weight, Kept):
        return weight
    array = check.real_array(weight, "weight")
    if array.ndim != ndim:
        form = "(K, C / groups, R, S)" if ndim == 4 else "(K, C / groups, R)"
        raise ValueError(f"weight: expected shape {form}, got {array.shape}")
    return array


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
    return applied("linear", x, {}, {"weight": weight, "bias": bias}, 2, out)


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
    need_dx, out
        As for `conv2d_backward`, which returns the same three.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    array = check.real_array(weight, "weight")
    weights = {"weight": array, "bias": np.zeros(array.shape[:1], np.float32)}
    dx, dw, db = gradients("linear", dy, x, {}, weights, 2, need_dx, out)
    return dx, dw, db
