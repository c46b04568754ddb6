"""Sums and products of two values that broadcast as in NumPy, or of a value and a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from .elementwise import apply
from .movement import gathered


class Binary(Operator):
    """Two values, or one value and the weight "constant", which does not enlarge it."""

    weights = ("constant",)
    in_place = True
    kernel: str

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        if len(shapes) + len(node.weights) != 2 or not shapes:
            raise ValueError("expected two values, or one value and a constant")
        constant = node.weights.get("constant")
        other = shapes[1] if constant is None else constant.shape
        shape = np.broadcast_shapes(shapes[0], other)
        if constant is not None and shape != shapes[0]:
            raise ValueError(f"a constant of {other} would enlarge the value of {shapes[0]}")
        return shape

    def operands(self, run: Any, node: Node, *inputs: Lanes) -> tuple[Any, Any]:
        """Two arrays of the output's size."""
        shape = run.graph.shapes[node.output]
        first = broadcast(run, inputs[0], shape).data
        if len(inputs) > 1:
            return first, broadcast(run, inputs[1], shape).data
        return first, run.constant(node, "constant", shape)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        a, b = self.operands(run, node, *inputs)
        y = over
        if y is None:
            first, shape = inputs[0], run.graph.shapes[node.output]
            y = Lanes.empty((first.images, *shape), first.dtype)
        apply_each(self.kernel, a, b, y.data)
        return y


class Add(Binary):
    """The gradient goes to both."""

    same_memory = False
    kernel = "add"

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        learn_constant(run, node, dy)
        return [
            summed(run, dy, run.graph.shapes[name]) if want else None
            for name, want in zip(node.inputs, wanted, strict=True)
        ]


class Mul(Binary):
    """``dx1 = dy x2``, ``dx2 = dy x1``."""

    reads = "x"
    kernel = "scale"

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        a, b = self.operands(run, node, *x)
        if run.learns(node, "constant"):
            learn_constant(run, node, _times(dy, a))
        return [
            summed(run, _times(dy, other), run.graph.shapes[name]) if want else None
            for name, want, other in zip(node.inputs, wanted, (b, a), strict=False)
        ]


def _times(dy: Lanes, other: Any) -> Lanes:
    product = Lanes.empty(dy.shape, dy.dtype)
    apply_each("scale", dy.data, other, product.data)
    return product


def apply_each(kernel: str, a: Any, b: Any, y: Any) -> None:
    """A kernel on two arrays of blocks, or on one and a constant that is the same for each."""
    if a.size == b.size:
        apply(kernel, a, b, y)
    else:
        for here, out in zip(a, y, strict=True):
            apply(kernel, here, b, out)


def learn_constant(run: Any, node: Node, dy: Lanes) -> None:
    """The gradient of a constant that is learned: the sum over images, and where it broadcasts."""
    if not run.learns(node, "constant"):
        return
    shape = node.weights["constant"].shape
    part = summed(run, dy, (1,) * (len(dy.shape) - 1 - len(shape)) + shape)
    count = math.prod(shape)
    gradient = empty((count,), dy.dtype)
    size = dy.dtype.itemsize
    _core.channel_sum(part.data, gradient, size, part.blocks, count, 1, part.images)
    run.learn(node, "constant", gradient.reshape(shape))


def broadcast(run: Any, x: Lanes, shape: Shape) -> Lanes:
    """The value in a larger shape, by repetition."""
    own = x.shape[1:]
    if own == shape:
        return x
    every = np.arange(math.prod(own)).reshape(own)
    return gathered(run, ("broadcast", own, shape), [x], np.broadcast_to(every, shape), 0.0)


def summed(run: Any, dy: Lanes, shape: Shape) -> Lanes:
    """The way back from `broadcast`: the sum over the axes that were repeated."""
    own = dy.shape[1:]
    if own == shape:
        return dy
    whole = (1,) * (len(own) - len(shape)) + shape
    for axis, (size, wanted) in enumerate(zip(own, whole, strict=True)):
        if size != wanted:
            dy = axis_sum(dy, axis)
    return dy.reshape(*shape)


def axis_sum(x: Lanes, axis: int) -> Lanes:
    """The sum over one axis of every image, which stays as an axis of 1."""
    shape = x.shape[1:]
    before, size, after = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    y = Lanes.empty((x.images, *shape[:axis], 1, *shape[axis + 1 :]), x.dtype)
    window = (size, after, size, 1, 1, after, 1, 1, 1, 1, 0, 0, 0, 0)
    item = x.dtype.itemsize
    _core.avg_pool2d(x.data, y.data, item, (x.blocks * before, *window), True)
    factor = empty(y.data.shape, x.dtype)
    _core.fill(factor, item, float(size))
    apply("scale", y.data, factor, y.data)
    return y


Add("add")
Mul("mul")
