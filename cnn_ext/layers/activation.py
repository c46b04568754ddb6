"""Activation layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from .. import ops
from ..graph.operator import OPERATORS
from ..operators.elementwise import Elementwise
from ..parameter import Parameter
from .built_in import BuiltIn


class _Function(BuiltIn):
    # a function of `ops` without parameters

    function: ClassVar[Callable[..., Any]]

    def forward(self, x: Any) -> Any:
        return type(self).function(x)


class _OverChannels(_Function):
    arguments = ("dim",)

    def __init__(self, dim: int = 1) -> None:
        if dim != 1:
            raise ValueError(f"dim: expected 1, got {dim!r}")
        self.dim = 1


class ReLU(_Function):
    """``max(x, 0)``."""

    function = ops.relu


class LeakyReLU(BuiltIn):
    """`x` where it is at least 0, else ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If `negative_slope` is no number, or negative.
    """

    arguments = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        ops.leaky_relu(0.0, negative_slope)
        self.negative_slope = float(negative_slope)

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)


class Sigmoid(_Function):
    """``1 / (1 + e^-x)``; derivative ``y (1 - y)``."""

    function = ops.sigmoid


class Tanh(_Function):
    """Hyperbolic tangent; derivative ``1 - y^2``."""

    function = ops.tanh


class Softmax(_OverChannels):
    """``e^{x_k} / sum_j e^{x_j}`` over the channels.

    Not needed before the cross-entropy loss, which takes logits and contains it.

    Parameters
    ----------
    dim : int
        Must be 1, the axis of channels or classes.

    Raises
    ------
    ValueError
        If `dim` is not 1.
    """

    function = ops.softmax


class ReLU6(_Function):
    """``min(max(x, 0), 6)``."""

    function = ops.relu6


class ELU(BuiltIn):
    """`x` where it is above 0, else ``alpha (e^x - 1)``.

    Parameters
    ----------
    alpha : float
    """

    arguments = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        ops.elu(0.0, alpha)
        self.alpha = float(alpha)

    def forward(self, x: Any) -> Any:
        return ops.elu(x, self.alpha)


class SELU(_Function):
    """``1.0507 x`` where `x` is above 0, else ``1.0507 * 1.6733 (e^x - 1)``."""

    function = ops.selu


class GELU(BuiltIn):
    """``x Phi(x)``, with the distribution function of the normal distribution.

    Parameters
    ----------
    approximate : "none" or "tanh"
        "tanh" takes ``tanh(sqrt(2 / pi) (x + 0.044715 x^3))`` in its place.
    """

    arguments = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        ops.gelu(0.0, approximate)
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, self.approximate)


class SiLU(_Function):
    """``x / (1 + e^-x)``, also called swish."""

    function = ops.silu


class Hardswish(_Function):
    """``x min(max(x + 3, 0), 6) / 6``."""

    function = ops.hardswish


class Hardsigmoid(_Function):
    """``min(max(x / 6 + 1/2, 0), 1)``."""

    function = ops.hardsigmoid


class Softplus(BuiltIn):
    """``ln(1 + e^(beta x)) / beta``, and `x` itself where ``beta x`` is above the threshold.

    Parameters
    ----------
    beta, threshold : float
    """

    arguments = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        ops.softplus(0.0, beta, threshold)
        self.beta, self.threshold = float(beta), float(threshold)

    def forward(self, x: Any) -> Any:
        return ops.softplus(x, self.beta, self.threshold)


class Softsign(_Function):
    """``x / (1 + |x|)``."""

    function = ops.softsign


class Activation(BuiltIn):
    """Any elementwise function of the operators, also those that have no layer of their own.

    Parameters
    ----------
    name : str
        As in docs/operators.md, such as "softsign" or "abs".
    options : dict, optional
        Its attributes, such as ``{"negative_slope": 0.2}``.

    Raises
    ------
    TypeError, ValueError
        If no elementwise function has that name, or an option is none of its attributes.
    """

    arguments = ("name", "options")

    def __init__(self, name: str, options: Mapping[str, float] | None = None) -> None:
        if not isinstance(name, str) or not isinstance(options, (Mapping, type(None))):
            raise TypeError(f"expected a name and a dict of options, got {name!r}, {options!r}")
        if not isinstance(OPERATORS.get(name), Elementwise):
            functions = [key for key, kind in OPERATORS.items() if isinstance(kind, Elementwise)]
            raise ValueError(f"name: expected one of {', '.join(functions)}, got {name!r}")
        known, given = OPERATORS[name].attributes, options or {}
        self.name = name
        self.options = {key: check.number(given[key], key, -np.inf, np.inf) for key in given}
        missing = [key for key, default in known.items() if default is ...]
        if self.options.keys() - known.keys() or set(missing) - self.options.keys():
            raise ValueError(f"options: expected {list(known)} of {name}, got {options!r}")

    def forward(self, x: Any) -> Any:
        return x.emit(self.name, **self.options)


class LogSoftmax(_OverChannels):
    """The logarithm of `Softmax`, ``x_k - ln sum_j e^{x_j}``.

    Parameters
    ----------
    dim : int
        Must be 1, the axis of channels or classes.
    """

    function = ops.log_softmax


class PReLU(BuiltIn):
    """`x` where it is at least 0, else ``weight[c] x``; the slopes are learned.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels.
    init : float
        First value of the slopes.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
    """

    arguments = ("num_parameters", "init")
    keeps = ("weight",)

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = np.float32
    ) -> None:
        self.num_parameters = check.whole(num_parameters, "num_parameters", 1)
        self.init = check.number(init, "init", -np.inf, np.inf)
        self.weight = Parameter(np.full(self.num_parameters, init, check.float_dtype(dtype)))

    def forward(self, x: Any) -> Any:
        return ops.prelu(x, self.weight)
