"""Softmax over the channels, and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _core
from ..graph.layout import SIZE, Placed
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .c_text import function


class Softmax(Operator):
    """``e^{x_k} / sum_j e^{x_j}`` over axis 0, for every pixel.

    The gradient from the output: ``y_k (dy_k - sum_j y_j dy_j)``.
    """

    reads = "y"
    in_place = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype) if over is None else over
        K, *rest = x.shape[1:]
        logarithm = self.name == "log_softmax"
        size = x.dtype.itemsize
        _core.softmax(x.data, None, y.data, size, x.blocks, K, math.prod(rest), logarithm)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        dx = run.over(dy)
        K, *rest = y.shape[1:]
        size = dy.dtype.itemsize
        logarithm = self.name == "log_softmax"
        _core.softmax(y.data, dy.data, dx.data, size, y.blocks, K, math.prod(rest), logarithm)
        return (dx,)

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        y, vectors = run.rows(inputs[0])
        logarithm = self.name == "log_softmax"
        run.kernels.softmax(y.data, None, y.data, SIZE, 1, y.shape[0], vectors, logarithm)
        found: Placed = y
        return found

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        classes, *rest = writer.graph.shapes[node.output]
        text = softmax_text(classes, math.prod(rest), self.name == "log_softmax")
        writer.call(self.name, text, [*inputs, y])


def softmax_text(classes: int, pixels: int, logarithm: bool) -> str:
    """Softmax over the first axis, or its logarithm."""
    at = f"[k * {pixels} + i]"
    whole, result = "sum", f"y{at} / whole"
    if logarithm:
        whole, result = "logf(sum)", f"x{at} - most - whole"
    return function(
        "x",
        f"""\
    for (int i = 0; i < {pixels}; i++) {{
        float most = x[i], sum = 0.0f;
        for (int k = 1; k < {classes}; k++)
            most = x{at} > most ? x{at} : most;
        for (int k = 0; k < {classes}; k++) {{
            y{at} = expf(x{at} - most);
            sum += y{at};
        }}
        const float whole = {whole};
        for (int k = 0; k < {classes}; k++)
            y{at} = {result};
    }}
""",
    )


Softmax("softmax")
Softmax("log_softmax")
