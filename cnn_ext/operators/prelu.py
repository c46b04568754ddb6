"""Parametric ReLU: a slope for each channel, or one for all, is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty


class PReLU(Operator):
    """`x` where it is at least 0, else ``slope[c] x``; the gradient of a slope is the sum of dy x.

    K. He et al., "Delving deep into rectifiers", 2015.
    """

    weights = ("slope",)
    reads = "x"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        slope = node.weights["slope"].shape
        if slope not in ((1,), x[:1]):
            raise ValueError(f"slope: expected shape (1,) or ({x[0]},), got {slope}")
        return x

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype)
        C, *rest = x.shape[1:]
        slope = run.weight(node, "slope")
        _core.prelu(x.data, slope, y.data, x.dtype.itemsize, x.blocks, C, math.prod(rest))
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        C, *rest = dy.shape[1:]
        size, pixels = dy.dtype.itemsize, math.prod(rest)
        slope = run.weight(node, "slope")
        if run.learns(node, "slope"):
            parts = empty((dy.blocks, C), dy.dtype)
            sizes = dy.blocks, C, pixels, dy.images
            _core.prelu_slope(dy.data, x_lanes.data, parts, size, *sizes)
            run.learn_parts(node, "slope", parts.reshape(-1, *slope.shape))
        if not wanted[0]:
            return (None,)
        dx = run.over(dy)
        _core.prelu_back(dy.data, x_lanes.data, slope, dx.data, size, dy.blocks, C, pixels)
        return (dx,)

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        (x,), rank = inputs, len(model.graph.shapes[node.output])
        return str(model.node("PRelu", x, model.weight(node, "slope", (-1, *(1,) * (rank - 1)))))


PReLU("prelu")
