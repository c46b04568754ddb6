"""Parametric ReLU: a slope for each channel, or one for all, is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import Placed
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from .arithmetic import binary_c, with_spread


class PReLU(Operator):
    """``x`` where x is at least 0, else ``slope[c] x``.

    The gradient of a slope is the sum of dy x where x is at most 0.  K. He et al., "Delving deep
    into rectifiers", 2015.
    """

    weights = ("slope",)
    example = {"slope": (64,)}
    reads = "x"
    c_goes_on = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        slope = node.weights["slope"].shape
        if slope not in ((1,), x[:1]):
            raise ValueError(f"weight: expected shape (1,) or ({x[0]},), got {slope}")
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

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        return with_spread(run, node, inputs[0], _slope(run.graph, node), "prelu")

    def keeps_zero(self, node: Node) -> bool:
        return True

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        text = "{a} < 0.0f ? {a} * {b} : {a}"
        binary_c(writer, node, inputs, y, after, text, _slope(writer.graph, node))

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        (x,), rank = inputs, len(model.graph.shapes[node.output])
        return str(model.node("PRelu", x, model.weight(node, "slope", (-1, *(1,) * (rank - 1)))))


def _slope(graph: Graph, node: Node) -> np.ndarray:
    # of a shape that broadcasts over the input
    slope: np.ndarray = node.weights["slope"]
    return slope.reshape(-1, *(1,) * (len(graph.shapes[node.output]) - 1))


PReLU("prelu")
