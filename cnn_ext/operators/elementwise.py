"""Functions of every number by itself: activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from ..graph.layout import SIZE, Placed, room
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .c_text import clip, number, unary

# v, as far as the other factor is not 0, since minus infinity times 0 is NaN
FAR = "(v < -200.0f ? -200.0f : v)"


class Elementwise(Operator):
    """A function of one number that the kernels know under the operator's name.

    Parameters
    ----------
    name : str
        As in src/kernels/functions.h, which has its formula and that of its derivative.
    formula : str
        For people.
    c : str
        For compilers, of `v` and the attributes; `c_before` is what must stand before.
    keeps_zero : bool
        Whether it makes zero of zero.
    onnx : str or function of a Writer, the node and the name of x
        Its operator in ONNX, which has the same attributes, or what writes it.
    **attributes
        Up to two numbers that the formulas have as p and q, with their defaults.
    """

    in_place = True
    c_goes_on = True

    def __init__(
        self,
        name: str,
        formula: str,
        c: str = "",
        onnx: str | Callable[[Any, Node, str], str] = "",
        keeps_zero: bool = False,
        c_before: str = "",
        **attributes: Any,
    ) -> None:
        super().__init__(name)
        self.formula = formula
        self.reads = _core.SAVED[name]  # type: ignore[misc]
        self.attributes = attributes  # type: ignore[misc]
        self._c, self._c_before = c, c_before
        self._keeps_zero = keeps_zero
        self.written = onnx

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

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        (x,) = inputs
        if not self.keeps_zero(node):
            x = run.borderless(x)
        y = x.like(room(x.data.size))
        name, parameters = self.kernel(node)
        run.kernels.elementwise(name, x.data, None, y.data, SIZE, x.data.size, *parameters)
        return y

    def keeps_zero(self, node: Node) -> bool:
        return self._keeps_zero

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        whole = after.format(v=self.expression(writer, node, "{v}"))
        writer.call(
            "unary", unary(math.prod(writer.graph.shapes[node.output]), whole), [*inputs, y]
        )

    def expression(self, writer: Any, node: Node, v: str) -> str:
        """Its number for that of an expression, in C."""
        if self._c_before:
            writer.define_text(self._c_before)
        name = f"{self.name}_of"  # libm has some of the others
        parameters = ", ".join(f"float {key}" for key in ("v", *self.attributes))
        writer.define(f"{name}({parameters})", self._c)
        values = [number(node.attributes[key]) for key in self.attributes]
        return f"{name}({', '.join([v, *values])})"

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        if callable(self.written):
            return self.written(model, node, *inputs)
        return str(model.node(self.written, *inputs, **node.attributes))


class Power(Elementwise):
    """One exponent for all numbers."""

    example = {"exponent": 1.5}


class Clip(Elementwise):
    """Bounds, of which one may be missing."""

    example = {"low": 0.0}

    def keeps_zero(self, node: Node) -> bool:
        return bool(node.attributes["low"] <= 0 <= node.attributes["high"])

    def kernel(self, node: Node) -> tuple[str, tuple[float, ...]]:
        low, high = node.attributes["low"], node.attributes["high"]
        return ("relu", ()) if (low, high) == (0.0, math.inf) else ("clip", (low, high))

    def expression(self, writer: Any, node: Node, v: str) -> str:
        return clip(writer, v, node.attributes["low"], node.attributes["high"])


class LeakyReLU(Elementwise):
    """A line with a bend at 0; its gradient takes the sign of x from y."""

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        if node.attributes["negative_slope"] < 0:
            raise ValueError("negative_slope: training expects 0 or more")
        return super().backward(run, node, dy, x, y, wanted)


def apply(op: str, a: Any, b: Any, y: Any, parameters: Sequence[float] = (), c: Any = None) -> None:
    """One kernel over arrays of the same number of numbers, in any layout."""
    p, q = (*parameters, 0.0, 0.0)[:2]
    _core.elementwise(op, a, b, y, a.dtype.itemsize, a.size, p, q, c)


# ------------------------------------------------------------------------------- forms in ONNX


def _clip(model: Any, node: Node, x: str) -> str:
    return str(model.clip(x, (node.attributes["low"], node.attributes["high"])))


def _bfloat16(model: Any, node: Node, x: str) -> str:
    kinds = model.onnx.TensorProto
    return str(model.node("Cast", model.node("Cast", x, to=kinds.BFLOAT16), to=kinds.FLOAT))


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


def _mish(model: Any, node: Node, x: str) -> str:
    return str(model.node("Mul", x, model.node("Tanh", model.node("Softplus", x))))


def _square(model: Any, node: Node, x: str) -> str:
    return str(model.node("Mul", x, x))


def _power(model: Any, node: Node, x: str) -> str:
    return str(model.node("Pow", x, model.tensor(node.attributes["exponent"])))


EQUAL = 17.0  # from here on softplus is x in float32

Clip(
    "clip",
    "min(max(x, low), high); ReLU is low 0 and high infinity",
    low=-math.inf,
    high=math.inf,
    onnx=_clip,
)
LeakyReLU(
    "leaky_relu",
    "x where x > 0, else negative_slope x",
    "v > 0.0f ? v : v * negative_slope",
    keeps_zero=True,
    negative_slope=0.01,
    onnx=_leaky_relu,
)
Elementwise(
    "bfloat16",
    "the nearest number of eight significant bits, the even one of two that are as near",
    "v != v ? v : (union both){.bits = ((union both){v}.bits + 0x7fffu"
    " + ((union both){v}.bits >> 16 & 1u)) & 0xffff0000u}.number",
    keeps_zero=True,
    onnx=_bfloat16,
    c_before="union both { float number; unsigned bits; };\n",
)
Elementwise("sigmoid", "1 / (1 + e^-x)", "1.0f / (1.0f + expf(-v))", onnx="Sigmoid")
Elementwise("tanh", "tanh x", "tanhf(v)", keeps_zero=True, onnx="Tanh")
Elementwise(
    "elu",
    "x where x > 0, else alpha (e^x - 1)",
    "v > 0.0f ? v : alpha * expm1f(v)",
    keeps_zero=True,
    alpha=1.0,
    onnx="Elu",
)
Elementwise(
    "selu",
    "1.0507 x where x > 0, else 1.0507 1.67326 (e^x - 1)",
    "1.05070099f * (v > 0.0f ? v : 1.67326324f * expm1f(v))",
    keeps_zero=True,
    onnx="Selu",
)
Elementwise(
    "gelu",
    "x Phi(x), where Phi(x) = (1 + erf(x / sqrt 2)) / 2",
    f"0.5f * {FAR} * erfcf(v * -0.707106781f)",
    keeps_zero=True,
    onnx=_gelu,
)
Elementwise(
    "gelu_tanh",
    "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
    f"{FAR} / (1.0f + expf(v * (v * v * -0.0713548163f - 1.59576912f)))",
    keeps_zero=True,
    onnx=_gelu_tanh,
)
Elementwise("silu", "x / (1 + e^-x)", f"{FAR} / (1.0f + expf(-v))", keeps_zero=True, onnx=_silu)
Elementwise(
    "hardsigmoid",
    "min(max(alpha x + beta, 0), 1)",
    "v * alpha + beta < 0.0f ? 0.0f : v * alpha + beta > 1.0f ? 1.0f : v * alpha + beta",
    alpha=1 / 6,
    beta=0.5,
    onnx="HardSigmoid",
)
Elementwise(
    "hardswish",
    "x min(max(x + 3, 0), 6) / 6",
    "v < -3.0f ? 0.0f : v * ((v > 3.0f ? 6.0f : v + 3.0f) / 6.0f)",
    keeps_zero=True,
    onnx="HardSwish",
)
Elementwise(
    "softplus",
    "x where beta x > threshold, else ln(1 + e^(beta x)) / beta",
    "v * beta > threshold ? v : (fmaxf(v * beta, 0.0f) + log1pf(expf(-fabsf(v * beta)))) / beta",
    beta=1.0,
    threshold=20.0,
    onnx=_softplus,
)
Elementwise(
    "mish",
    "x tanh(ln(1 + e^x))",
    f"{FAR} * tanhf(log1pf(expf(v)))",
    keeps_zero=True,
    onnx=_mish,
)
Elementwise(
    "softsign",
    "x / (1 + |x|)",
    "fabsf(v) > 1e30f ? copysignf(1.0f, v) : v / (1.0f + fabsf(v))",
    keeps_zero=True,
    onnx="Softsign",
)
Elementwise("abs", "|x|", "fabsf(v)", keeps_zero=True, onnx="Abs")
Elementwise("neg", "-x", "-v", keeps_zero=True, onnx="Neg")
Elementwise("exp", "e^x", "expf(v)", onnx="Exp")
Elementwise("log", "ln x", "logf(v)", onnx="Log")
Elementwise("sqrt", "sqrt x", "sqrtf(v)", keeps_zero=True, onnx="Sqrt")
Elementwise("reciprocal", "1 / x", "1.0f / v", onnx="Reciprocal")
Elementwise("square", "x^2", "v * v", keeps_zero=True, onnx=_square)
Elementwise(
    "erf",
    "2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x",
    "erff(v)",
    keeps_zero=True,
    onnx="Erf",
)
Power("power", "x^exponent", "powf(v, exponent)", exponent=..., onnx=_power)
