"""Functions of every number by itself: activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    **attributes
        Up to two numbers that the formulas have as p and q, with their defaults.
    """

    in_place = True

    def __init__(self, name: str, keeps_zero: bool = False, **attributes: Any) -> None:
        super().__init__(name)
        self.reads = _core.SAVED[name]  # type: ignore[misc]
        self.attributes = attributes  # type: ignore[misc]
        self._keeps_zero = keeps_zero

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


Clip("clip", low=-math.inf, high=math.inf)
Elementwise("leaky_relu", keeps_zero=True, negative_slope=0.01)
Elementwise("sigmoid")
Elementwise("tanh", keeps_zero=True)
Elementwise("elu", keeps_zero=True, alpha=1.0)
Elementwise("selu", keeps_zero=True)
Elementwise("gelu", keeps_zero=True)
Elementwise("gelu_tanh", keeps_zero=True)
Elementwise("silu", keeps_zero=True)
Elementwise("hardsigmoid", alpha=1 / 6, beta=0.5)
Elementwise("hardswish", keeps_zero=True)
Elementwise("softplus", beta=1.0, threshold=20.0)
Elementwise("softsign", keeps_zero=True)
Elementwise("abs", keeps_zero=True)
Elementwise("neg", keeps_zero=True)
Elementwise("exp")
Elementwise("log")
Elementwise("sqrt", keeps_zero=True)
Elementwise("reciprocal")
Elementwise("square", keeps_zero=True)
Elementwise("erf", keeps_zero=True)
Elementwise("power", exponent=...)
