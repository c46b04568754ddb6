"""Activations as functions, forward and backward; the gradients use the input x or the output y.

All but softmax and `prelu` take arrays of any shape or lanes, number by number.  NaN stays NaN,
infinities give the limit.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .. import _check as check
from .. import _core
from ..graph.operator import OPERATORS
from ..graph.value import Value
from ..lanes import Lanes, contiguous, empty
from ..parameter import Kept
from ._single import applied, gradients

SAVED = _core.SAVED  # what a gradient is told, "x" or "y"


def _elementwise(
    op: str,
    a: Any,
    b: Any,
    out: Any,
    p: float = 0.0,
    q: float = 0.0,
    second_name: str = "dy",
) -> Any:
    # plain arrays and lanes alike: a run of numbers
    if isinstance(a, Value):  # of a ReLU it is a clip, and there are no more parameters than names
        name = "clip" if op == "relu" else op
        options: dict[str, Any] = dict(zip(OPERATORS[name].attributes, (p, q), strict=False))
        return a.emit(name, **options)
    first_name = SAVED.get(op.removesuffix("_back"), "x") if b is not None else "x"
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
        _core.elementwise(op, a.data, second, y.data, dtype.itemsize, a.data.size, p, q)
        return y
    first = contiguous(a, dtype)
    second = None if b is None else contiguous(b, dtype)
    plain = empty(a.shape, dtype)
    _core.elementwise(op, first, second, plain, dtype.itemsize, first.size, p, q)
    return check.into(plain, out)


def relu(x: Any, *, out: Any = None) -> Any:
    """``max(x, 0)``, for arrays of any shape or lanes; NaN stays NaN."""
    return _elementwise("relu", x, None, out, 0.0, np.inf)


def relu_backward(dy: Any, y: Any, *, out: Any = None) -> Any:
    """Gradient of `relu`: `dy` where the output is above 0, else 0."""
    return _elementwise("relu_back", y, dy, out)


def _finite(value: Any, name: str) -> float:
    return check.number(value, name, -sys.float_info.max)


def leaky_relu(x: Any, negative_slope: float = 0.01, *, out: Any = None) -> Any:
    """`x` where it is at least 0, else ``negative_slope * x``.

    Raises
    ------
    TypeError, ValueError
        If `negative_slope` is no number, or negative: then the output would not tell the sign of
        the input.
    """
    slope = check.number(negative_slope, "negative_slope")
    return _elementwise("leaky_relu", x, None, out, slope)


def leaky_relu_backward(dy: Any, y: Any, negative_slope: float = 0.01, *, out: Any = None) -> Any:
    """Gradient of `leaky_relu` from its output."""
    slope = check.number(negative_slope, "negative_slope")
    return _elementwise("leaky_relu_back", y, dy, out, slope)


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
    return _elementwise("mul", x, factor, out, second_name="factor")


def relu6(x: Any, *, out: Any = None) -> Any:
    """``min(max(x, 0), 6)``."""
    return _elementwise("clip", x, None, out, 0.0, 6.0)


def relu6_backward(dy: Any, y: Any, *, out: Any = None) -> Any:
    """Gradient of `relu6`: `dy` where the output is inside 0 to 6, else 0."""
    return _elementwise("clip_back", y, dy, out, 0.0, 6.0)


def elu(x: Any, alpha: float = 1.0, *, out: Any = None) -> Any:
    """`x` where it is above 0, else ``alpha (e^x - 1)``.

    Raises
    ------
    TypeError, ValueError
        If `alpha` is no finite number.
    """
    return _elementwise("elu", x, None, out, _finite(alpha, "alpha"))


def elu_backward(dy: Any, x: Any, alpha: float = 1.0, *, out: Any = None) -> Any:
    """Gradient of `elu`: `dy` where the input is above 0, else ``dy alpha e^x``."""
    return _elementwise("elu_back", x, dy, out, _finite(alpha, "alpha"))


def selu(x: Any, *, out: Any = None) -> Any:
    """``1.0507 x`` where `x` is above 0, else ``1.0507 * 1.6733 (e^x - 1)`` (to all digits)."""
    return _elementwise("selu", x, None, out)


def selu_backward(dy: Any, x: Any, *, out: Any = None) -> Any:
    """Gradient of `selu`: ``1.0507 dy`` where `x` is above 0, else ``1.0507 * 1.6733 dy e^x``."""
    return _elementwise("selu_back", x, dy, out)


def _gelu(approximate: Any) -> str:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")
    return "gelu" if approximate == "none" else "gelu_tanh"


def gelu(x: Any, approximate: str = "none", *, out: Any = None) -> Any:
    """``x Phi(x)``, Phi the normal distribution: ``Phi(x) = (1 + erf(x / sqrt(2))) / 2``.

    Parameters
    ----------
    x : array_like or Lanes
    approximate : {"none", "tanh"}
        With "tanh", ``x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``.
    out : ndarray or Lanes, optional
        Where to write the result.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message names it.
    """
    return _elementwise(_gelu(approximate), x, None, out)


def gelu_backward(dy: Any, x: Any, approximate: str = "none", *, out: Any = None) -> Any:
    """Gradient of `gelu`: ``dy (Phi(x) + x e^(-x^2/2) / sqrt(2 pi))``, or of its approximation."""
    return _elementwise(_gelu(approximate) + "_back", x, dy, out)


def silu(x: Any, *, out: Any = None) -> Any:
    """``x / (1 + e^-x)``."""
    return _elementwise("silu", x, None, out)


def silu_backward(dy: Any, x: Any, *, out: Any = None) -> Any:
    """Gradient of `silu`: ``dy s (1 + x (1 - s))`` with ``s = 1 / (1 + e^-x)``."""
    return _elementwise("silu_back", x, dy, out)


def hardsigmoid(x: Any, *, out: Any = None) -> Any:
    """``min(max(x / 6 + 1/2, 0), 1)``."""
    return _elementwise("hardsigmoid", x, None, out, 1 / 6, 0.5)


def hardsigmoid_backward(dy: Any, x: Any, *, out: Any = None) -> Any:
    """Gradient of `hardsigmoid`: ``dy / 6`` where the input is inside -3 to 3, else 0."""
    return _elementwise("hardsigmoid_back", x, dy, out, 1 / 6, 0.5)


def hardswish(x: Any, *, out: Any = None) -> Any:
    """``x min(max(x + 3, 0), 6) / 6``."""
    return _elementwise("hardswish", x, None, out)


def hardswish_backward(dy: Any, x: Any, *, out: Any = None) -> Any:
    """Gradient of `hardswish`: 0 up to -3, `dy` from 3 on, between them ``dy (x / 3 + 1/2)``."""
    return _elementwise("hardswish_back", x, dy, out)


def _softplus(beta: Any, threshold: Any) -> tuple[float, float]:
    return (
        check.number(beta, "beta", sys.float_info.min),
        _finite(threshold, "threshold"),
    )


def softplus(x: Any, beta: float = 1, threshold: float = 20, *, out: Any = None) -> Any:
    """``ln(1 + e^(beta x)) / beta``, a smooth `relu`.

    Parameters
    ----------
    x : array_like or Lanes
    beta : float
        Above 0.
    threshold : float
        Where ``beta x`` is above it, the result is `x`.
    out : ndarray or Lanes, optional
        Where to write the result.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; the message names it.
    """
    return _elementwise("softplus", x, None, out, *_softplus(beta, threshold))


def softplus_backward(
    dy: Any, x: Any, beta: float = 1, threshold: float = 20, *, out: Any = None
) -> Any:
    """Gradient of `softplus`: ``dy / (1 + e^(-beta x))``, `dy` beyond the threshold."""
    return _elementwise("softplus_back", x, dy, out, *_softplus(beta, threshold))


def softsign(x: Any, *, out: Any = None) -> Any:
    """``x / (1 + |x|)``."""
    return _elementwise("softsign", x, None, out)


def softsign_backward(dy: Any, x: Any, *, out: Any = None) -> Any:
    """Gradient of `softsign`: ``dy / (1 + |x|)^2``."""
    return _elementwise("softsign_back", x, dy, out)


def prelu(x: Any, weight: Any, *, out: np.ndarray | None = None) -> Any:
    """`x` where it is at least 0, else ``weight[c] x`` in channel c.

    Parameters
    ----------
    x : array_like, shape (N, C, ...), or Lanes
    weight : array_like, shape (C,), or (1,) for all channels
    out : ndarray, shape of x, optional
        Where to write the result.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    slopes = weight if isinstance(weight, Kept) else check.real_array(weight, "weight")
    return applied("prelu", x, {}, {"slope": slopes}, out=out)


def prelu_backward(dy: Any, x: Any, weight: Any) -> tuple[Any, np.ndarray]:
    """Gradients of `prelu`: `dy`, where `x` is at most 0 ``weight[c] dy``; sums of ``dy x`` there.

    Returns
    -------
    dx : ndarray or Lanes, shape of x
    dweight : ndarray, shape of weight

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    slopes = {"slope": check.real_array(weight, "weight")}
    dx, dw = gradients("prelu", dy, x, {}, slopes, out=(None, None))
    return dx, dw


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
    return applied("softmax", x, {}, out=out)


def softmax_backward(dy: Any, y: Any, *, out: np.ndarray | None = None) -> Any:
    """Gradient of `softmax` from its output: ``y_k (dy_k - sum_j y_j dy_j)``.

    The Jacobian is ``y_k (1 - y_k)`` on the diagonal and ``-y_k y_j`` off it.
    """
    return gradients("softmax", dy, y, {}, out=(out,))[0]


def log_softmax(x: Any, *, out: np.ndarray | None = None) -> Any:
    """``x_k - ln sum_j e^{x_j}`` over axis 1, the logarithm of `softmax`; arguments as there."""
    return applied("log_softmax", x, {}, out=out)


def log_softmax_backward(dy: Any, y: Any, *, out: np.ndarray | None = None) -> Any:
    """Gradient of `log_softmax` from its output: ``dy_k - e^{y_k} sum_j dy_j``."""
    return gradients("log_softmax", dy, y, {}, out=(out,))[0]
