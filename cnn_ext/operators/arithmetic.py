"""Arithmetic on two values that broadcast as in NumPy, sums and products also with a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from ..parameter import Kept
from .elementwise import apply
from .movement import gathered


class Binary(Operator):
    """Two values that broadcast, by the kernel of the operator's name."""

    in_place = True
    reads = "x"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        if len(shapes) != 2:
            raise ValueError(f"expected two values, got {len(shapes)}")
        return np.broadcast_shapes(*shapes)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        a, b = self.operands(run, node, inputs)
        y = Lanes.empty(a.shape, a.dtype) if over is None else over
        clip = node.attributes.get("clip")
        apply(self.name if clip is None else "add_clip", a.data, b.data, y.data, clip or ())
        return y

    def operands(self, run: Any, node: Node, inputs: Sequence[Lanes]) -> list[Lanes]:
        """Both values in the shape of the output."""
        shape = run.graph.shapes[node.output]
        return [broadcast(run, x, shape) for x in inputs]

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        a, b = self.operands(run, node, x)
        gradients: list[Lanes | None] = []
        for name, want, which in zip(node.inputs, wanted, "ab", strict=True):
            gradients.append(None)
            if want:
                dx = Lanes.empty(dy.shape, dy.dtype)
                apply(f"{self.name}_back_{which}", a.data, b.data, dx.data, (), dy.data)
                gradients[-1] = summed(dx, run.graph.shapes[name])
        return gradients


class WithConstant(Binary):
    """Two values, or one value and the weight "constant", which does not enlarge it."""

    weights = ("constant",)

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        constant = node.weights.get("constant")
        if constant is None or not shapes:
            return super().shape(node, *shapes)
        if len(shapes) != 1 or np.broadcast_shapes(shapes[0], constant.shape) != shapes[0]:
            raise ValueError(f"a constant of {constant.shape} would enlarge {shapes}")
        return shapes[0]

    def recordable(self, node: Node, shapes: Sequence[Shape]) -> bool:
        constant = node.weights.get("constant")
        # a spread copy would not follow what is learned
        return not isinstance(constant, Kept) or _channels(shapes[0], constant.shape) is not None

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        if "constant" not in node.weights:
            return super().forward(run, node, *inputs, over=over)
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype) if over is None else over
        by_constant(run, node, x, y, self.name)
        return y


class Add(WithConstant):
    """The gradient goes to both.  With a clip, which leaves zero as it is, for answers alone."""

    attributes = {"clip": None}
    reads = ""

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        learn_constant(run, node, dy)
        return [
            summed(dy, run.graph.shapes[name]) if want else None
            for name, want in zip(node.inputs, wanted, strict=True)
        ]


class Mul(WithConstant):
    """``dx1 = dy x2``, ``dx2 = dy x1``."""

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        if "constant" not in node.weights:
            return super().backward(run, node, dy, x, y, wanted)
        if run.learns(node, "constant"):
            product = Lanes.empty(dy.shape, dy.dtype)
            apply("mul", dy.data, x[0].data, product.data)
            learn_constant(run, node, product)
        if not wanted[0]:
            return (None,)
        dx = run.over(dy)
        by_constant(run, node, dy, dx, self.name)
        return (dx,)


def by_constant(run: Any, node: Node, x: Lanes, y: Lanes, op: str) -> None:
    """y = x + constant or x * constant."""
    shape = x.shape[1:]
    constant = run.weight(node, "constant")
    sizes = _channels(shape, constant.shape)
    if sizes is None:
        constant, sizes = run.spread(node, "constant", shape), (math.prod(shape), 1)
    w, b = (constant, None) if op == "mul" else (None, constant)
    clip = node.attributes.get("clip")
    _core.affine(x.data, w, b, y.data, x.dtype.itemsize, x.blocks, *sizes, clip)


def _channels(shape: Shape, constant: Shape) -> tuple[int, int] | None:
    # channels and pixels of an activation that has a number of the constant for each channel
    whole = (1,) * (len(shape) - len(constant)) + tuple(constant)
    count = math.prod(whole)
    for axis in range(len(shape) + 1):
        if math.prod(shape[:axis]) == count and whole == (*shape[:axis], *(1,) * len(shape[axis:])):
            return count, math.prod(shape[axis:])
    return None


def learn_constant(run: Any, node: Node, dy: Lanes) -> None:
    """The gradient of a constant that is learned: the sum over images, and where it broadcasts."""
    if not run.learns(node, "constant"):
        return
    shape = node.weights["constant"].shape
    part = summed(dy, (1,) * (len(dy.shape) - 1 - len(shape)) + shape)
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


def summed(dy: Lanes, shape: Shape) -> Lanes:
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
    apply("mul", y.data, factor, y.data)
    return y


Add("add")
Mul("mul")
for name in ("sub", "div", "minimum", "maximum", "pow"):
    Binary(name)
