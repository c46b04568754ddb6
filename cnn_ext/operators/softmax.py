"""Softmax over the channels, and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes


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

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        op = "LogSoftmax" if self.name == "log_softmax" else "Softmax"
        return str(model.node(op, *inputs, axis=1))


Softmax("softmax")
Softmax("log_softmax")
