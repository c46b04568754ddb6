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
    """``e^x[k] / sum_j e^x[j]`` over the channels, for every pixel.

    The gradient from the output: ``y[k] (dy[k] - sum_j y[j] dy[j])``.
    """

    reads = "y"
    in_place = True
    logarithm = False

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype) if over is None else over
        K, *rest = x.shape[1:]
        size = x.dtype.itemsize
        _core.softmax(x.data, None, y.data, size, x.blocks, K, math.prod(rest), self.logarithm)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        dx = run.over(dy)
        K, *rest = y.shape[1:]
        size = dy.dtype.itemsize
        _core.softmax(y.data, dy.data, dx.data, size, y.blocks, K, math.prod(rest), self.logarithm)
        return (dx,)

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        y, vectors = run.rows(inputs[0])
        run.kernels.softmax(y.data, None, y.data, SIZE, 1, y.shape[0], vectors, self.logarithm)
        found: Placed = y
        return found

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        classes, *rest = writer.graph.shapes[node.output]
        text = softmax_text(classes, math.prod(rest), self.logarithm)
        writer.call(self.name, text, [*inputs, y])

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        op = "LogSoftmax" if self.name == "log_softmax" else "Softmax"
        return str(model.node(op, *inputs, axis=1))


class LogSoftmax(Softmax):
    """``x[k] - ln sum_j e^x[j]`` over the channels, for every pixel.

    The gradient from the output: ``dy[k] - e^y[k] sum_j dy[j]``.
    """

    logarithm = True


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
LogSoftmax("log_softmax")
