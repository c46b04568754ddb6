"""Dropout: in training, some numbers, channels or whole images are left out by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes


class Dropout(Operator):
    """Each element, channel or image is 0 with probability `p`, the others go by ``1 - p``.

    What is left out follows from a seed, how often `draws` was asked before, the number of the
    image in the batch and that of the element: it is the same at any number of threads and on any
    CPU.
    The gradient goes the same way.  N. Srivastava et al., "Dropout", 2014.
    """

    attributes = {"p": ..., "draws": ..., "kind": "elements", "key": None}
    example = {"p": 0.5, "draws": None}

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        node.attributes["key"] = np.zeros(2, np.uint64)
        return shapes[0]

    def begin(self, node: Node, shape: Shape, images: int) -> None:
        node.attributes["key"][:] = node.attributes["draws"].next()

    def constants(self, node: Node) -> list[Any]:
        return [node.attributes["key"]]

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype)
        drop(node, x, y)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        dx = run.over(dy)
        drop(node, dy, dx)
        return (dx,)

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        return inputs[0]  # as in inference


def drop(node: Node, x: Lanes, y: Lanes) -> None:
    """Numbers that stay, divided, and zeros."""
    a, (C, *rest) = node.attributes, x.shape[1:]
    sizes = x.blocks, C, math.prod(rest)
    kind = _core.DROPOUT[a["kind"]]
    _core.dropout(x.data, a["key"], y.data, x.dtype.itemsize, *sizes, a["p"], kind)


Dropout("dropout")
