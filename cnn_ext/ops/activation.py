"""Activations as functions, forward and backward; the backward formulas use the output y."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..lanes import Lanes, contiguous, empty
from . import _check as check


def _elementwise(
    op: str,
    a: Any,
    b: Any,
    out: Any,
    parameter: float = 0.0,
    names: tuple[str, str] = ("y", "dy"),
) -> Any:
    # plain arrays and lanes alike: a run of numbers
    first_name, second_name = ("x", "") if b is None else names
    a = a if isinstance(a, Lanes) else check.real_array(a, first_name)
    if b is not None:
        b = b if isinstance(b, Lanes) else check.real_array(b, second_name)
        check.same_shape(b, second_name, a.shape)
        if isinstance(a, Lanes) is not isinstance(b, Lanes):
            raise TypeError(f"{second_name}: expected the layout of {first_name}")
    dtype = check.common_dtype(a, b)
    if isinstance(a, Lanes):
        if a.dtype != dtype or (b is not None and b.dtype != dtype):
            raise TypeError(f"{second_name}: expected {a.dtype}, got {b.dtype}")
        y = Lanes.empty(a.shape, dtype) if out is None else out
        if not isinstance(y, Lanes) or y.dtype != dtype:
            raise TypeError(f"out: expected lanes of {dtype}, got {type(out).__name__}")
        check.same_shape(y, "out", a.shape)
        second = None if b is None else b.data
        _core.elementwise(op, a.data, second, y.data, dtype.itemsize, a.data.size, parameter)
        return y
    first = contiguous(a, dtype)
    second = None if b is None else contiguous(b, dtype)
    plain = empty(a.shape, dtype)
    _core.elementwise(op, first, second, plain, dtype.itemsize, first.size, parameter)
    return check.into(plain, out)


def relu(x: Any, *, out: Any = None) -> Any:
    """``max(x, 0)``, for arrays of any shape or lanes; NaN stays NaN."""
    return _elementwise("relu", x, None, out)


def relu_backward(dy: Any, y: Any, *, out: Any = None) -> Any:
    """Gradient of `relu`: `dy` where the output is above 0, else 0."""
    return _elementwise("relu_back", y, dy, out)


def _slope(negative_slope: Any) -> float:
    if not isinstance(negative_slope, (int, float, np.integer, np.floating)):
        raise TypeError(f"negative_slope: expected a number, got {negative_slope!r}")
    if not 0 <= negative_slope < np.inf:
        raise ValueError(f"negative_slope: expected 0 or more, got {negative_slope!r}")
    return float(negative_slope)


def leaky_relu(x: Any, negative_slope: float = 0.01, *, out: Any = None) -> Any:
    """`x` where it is at least 0, else ``negative_slope * x``.

    Raises
    ------
    TypeError, ValueError
        If `negative_slope` is no number, or negative: then the output would not tell the sign of
        the input.
    """
    return _elementwise("leaky_relu", x, None, out, _slope(negative_slope))


def leaky_relu_backward(dy: Any, y: Any, negative_slope: float = 0.01, *, out: Any = None) -> Any:
    """Gradient of `leaky_relu` from its output."""
    return _elementwise("leaky_relu_back", y, dy, out, _slope(negative_slope))


def sigmoid(x: Any, *, out: Any = None) -> Any:
    """``1 / (1 + e^-x)``, for arrays of any shape or lanes, without overflow."""
    return _elementwise("sigmoid", x, None, out)


def sigmoid_backward(dy: Any, y: Any, *, out: Any = None) -> Any:
    """Gradient of `sigmoid`: ``dy y (1 - y)``."""
    return _elementwise("sigmoid_back", y, dy, out)


def tanh(x: Any, *, out: Any = None) -> Any:
    """Hyperbolic tangent, for arrays of any shape or lanes."""
    return _elementwise("tanh", x, None, out)


def tanh_backward(dy: Any, y: Any, *, out: Any = None) -> Any:
    """Gradient of `tanh`: ``dy (1 - y^2)``."""
    return _elementwise("tanh_back", y, dy, out)


def multiply(x: Any, factor: Any, *, out: Any = None) -> Any:
    """``x * factor`` number by number, two arrays or lanes of one shape; what dropout does."""
    return _elementwise("mul", x, factor, out, names=("x", "factor"))


def _softmax(y: Any, dy: Any, out: np.ndarray | None) -> Any:
    name = "x" if dy is None else "y"
    y = check.batch(y, name)
    if len(y.shape) < 2:
        raise ValueError(f"{name}: expected shape (N, K, ...), got {y.shape}")
    dtype = check.common_dtype(y, dy)
    first = check.packed(y, dtype, name)
    result = Lanes.empty(y.shape, dtype)
    K = y.shape[1]
    pixels = first.data[0].size // K // first.data.shape[-1] if first.blocks else 1
    second = None if dy is None else check.packed(dy, dtype, "dy").data
    _core.softmax(first.data, second, result.data, dtype.itemsize, first.blocks, K, pixels)
    return check.result(result, y, out)


def softmax(x: Any, *, out: np.ndarray | None = None) -> Any:
    """``e^{x_k} / sum_j e^{x_j}`` over axis 1, without overflow.

    Parameters
    ----------
    x : array_like, shape (N, K, ...), or Lanes
    out : ndarray, shape of x, optional
        Where to write the result.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    return _softmax(x, None, out)


def softmax_backward(dy: Any, y: Any, *, out: np.ndarray | None = None) -> Any:
    """Gradient of `softmax` from its output: ``y_k (dy_k - sum_j y_j dy_j)``.

    The Jacobian is ``y_k (1 - y_k)`` on the diagonal and ``-y_k y_j`` off it.
    """
    dy = check.batch(dy, "dy")
    y = check.batch(y, "y")
    check.same_shape(dy, "dy", y.shape)
    return _softmax(y, dy, out)
