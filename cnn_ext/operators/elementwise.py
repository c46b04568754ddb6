"""Functions of every number by itself: activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes


class Elementwise(Operator):
    """A function of one number that the kernels know under the operator's name.

    Parameters
    ----------
    name : str
        As in src/kernels/functions.h, which has its formula and that of its derivative.
    keeps_zero : bool
        Whether it makes zero of zero.
    onnx : str or function of a Writer, the node and the name of x
        Its operator in ONNX, which has the same attributes, or what writes it.
    **attributes
        Up to two numbers that the formulas have as p and q, with their defaults.
    """

    in_place = True

    def __init__(
        self,
        name: str,
        keeps_zero: bool = False,
        onnx: str | Callable[[Any, Node, str], str] = "",
        **attributes: Any,
    ) -> None:
        super().__init__(name)
        self.reads = _core.SAVED[name]  # type: ignore[misc]
        self.attributes = attributes  # type: ignore[misc]
        self._keeps_zero = keeps_zero
        self.written = onnx

    def keeps_zero(self, node: Node) -> bool:
        """Whether zeros become zeros, so that a border of them stays one."""
        return self._keeps_zero

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        for key in self.attributes:
            node.attributes[key] = float(node.attributes[key])
        return x

    def kernel(self, node: Node) -> tuple[str, tuple[float, ...]]:
        """The name of the kernel and its parameters."""
        return self.name, tuple(node.attributes[key] for key in self.attributes)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype) if over is None else over
        name, parameters = self.kernel(node)
        apply(name, x.data, None, y.data, parameters)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        seen = y if self.reads == "y" else x[0]
        name, parameters = self.kernel(node)
        dx = run.over(dy)
        apply(f"{name}_back", seen.data, dy.data, dx.data, parameters)
        return (dx,)

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        if callable(self.written):
            return self.written(model, node, *inputs)
        return str(model.node(self.written, *inputs, **node.attributes))


class Clip(Elementwise):
    """``min(max(x, low), high)``; ReLU is low 0 and high infinity."""

    def keeps_zero(self, node: Node) -> bool:
        return bool(node.attributes["low"] <= 0 <= node.attributes["high"])

    def kernel(self, node: Node) -> tuple[str, tuple[float, ...]]:
        low, high = node.attributes["low"], node.attributes["high"]
        return ("relu", ()) if (low, high) == (0.0, math.inf) else ("clip", (low, high))


def apply(op: str, a: Any, b: Any, y: Any, parameters: Sequence[float] = (), c: Any = None) -> None:
    """One kernel over arrays of the same number of numbers, in any layout."""
    p, q = (*parameters, 0.0, 0.0)[:2]
    _core.elementwise(op, a, b, y, a.dtype.itemsize, a.size, p, q, c)


# ------------------------------------------------------------------------------- forms in ONNX


def _clip(model: Any, node: Node, x: str) -> str:
    return str(model.clip(x, (node.attributes["low"], node.attributes["high"])))


def _leaky_relu(model: Any, node: Node, x: str) -> str:
    return str(model.node("LeakyRelu", x, alpha=node.attributes["negative_slope"]))


def _silu(model: Any, node: Node, x: str) -> str:
    return str(model.node("Mul", x, model.node("Sigmoid", x)))


def _gelu(model: Any, node: Node, x: str) -> str:
    # x/2 (1 + erf(x / sqrt 2))
    erf = model.node("Erf", model.node("Mul", x, model.tensor(math.sqrt(0.5))))
    return _half(model, x, erf)


def _gelu_tanh(model: Any, node: Node, x: str) -> str:
    # x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
    cube = model.node("Mul", model.node("Mul", x, x), x)
    inner = model.node("Add", x, model.node("Mul", cube, model.tensor(0.044715)))
    scaled = model.node("Mul", inner, model.tensor(math.sqrt(2 / math.pi)))
    return _half(model, x, model.node("Tanh", scaled))


def _half(model: Any, x: str, part: str) -> str:
    half = model.node("Mul", x, model.tensor(0.5))
    return str(model.node("Mul", half, model.node("Add", part, model.tensor(1.0))))


def _softplus(model: Any, node: Node, x: str) -> str:
    beta, threshold = node.attributes["beta"], node.attributes["threshold"]
    scaled = x if beta == 1 else model.node("Mul", x, model.tensor(beta))
    y = model.node("Softplus", scaled)
    y = y if beta == 1 else model.node("Mul", y, model.tensor(1 / beta))
    if threshold >= EQUAL:
        return str(y)
    return str(model.node("Where", model.node("Greater", scaled, model.tensor(threshold)), x, y))


def _square(model: Any, node: Node, x: str) -> str:
    return str(model.node("Mul", x, x))


def _power(model: Any, node: Node, x: str) -> str:
    return str(model.node("Pow", x, model.tensor(node.attributes["exponent"])))


EQUAL = 17.0  # from here on softplus is x in float32

Clip("clip", onnx=_clip, low=-math.inf, high=math.inf)
Elementwise("leaky_relu", keeps_zero=True, onnx=_leaky_relu, negative_slope=0.01)
Elementwise("sigmoid", onnx="Sigmoid")
Elementwise("tanh", keeps_zero=True, onnx="Tanh")
Elementwise("elu", keeps_zero=True, onnx="Elu", alpha=1.0)
Elementwise("selu", keeps_zero=True, onnx="Selu")
Elementwise("gelu", keeps_zero=True, onnx=_gelu)
Elementwise("gelu_tanh", keeps_zero=True, onnx=_gelu_tanh)
Elementwise("silu", keeps_zero=True, onnx=_silu)
Elementwise("hardsigmoid", onnx="HardSigmoid", alpha=1 / 6, beta=0.5)
Elementwise("hardswish", keeps_zero=True, onnx="HardSwish")
Elementwise("softplus", onnx=_softplus, beta=1.0, threshold=20.0)
Elementwise("softsign", keeps_zero=True, onnx="Softsign")
Elementwise("abs", keeps_zero=True, onnx="Abs")
Elementwise("neg", keeps_zero=True, onnx="Neg")
Elementwise("exp", onnx="Exp")
Elementwise("log", onnx="Log")
Elementwise("sqrt", keeps_zero=True, onnx="Sqrt")
Elementwise("reciprocal", onnx="Reciprocal")
Elementwise("square", keeps_zero=True, onnx=_square)
Elementwise("erf", keeps_zero=True, onnx="Erf")
Elementwise("power", onnx=_power, exponent=...)
