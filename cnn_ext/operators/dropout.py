"""Dropout: in training, some numbers are left out by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .elementwise import apply


class Dropout(Operator):
    """Each number is 0 with probability `p`, the others are divided by ``1 - p``.

    `rng` draws.  The gradient goes the same way.
    """

    attributes = {"p": ..., "rng": ...}

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        return shapes[0]

    def recordable(self, node: Node, shapes: Sequence[Shape]) -> bool:
        return False

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        p, rng = node.attributes["p"], node.attributes["rng"]
        keep = rng.random(x.shape, np.float32) >= p
        factor = Lanes.pack(keep.astype(x.dtype) / x.dtype.type(max(1 - p, 1e-30)))
        run.keep(factor)
        y = Lanes.empty(x.shape, x.dtype)
        apply("mul", x.data, factor.data, y.data)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        dx = run.over(dy)
        apply("mul", dy.data, run.kept().data, dx.data)
        return (dx,)

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        return inputs[0]  # as in inference


Dropout("dropout")
