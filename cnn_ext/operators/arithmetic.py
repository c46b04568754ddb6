"""Arithmetic on two values that broadcast as in NumPy, sums and products also with a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.bytes import Bytes
from ..graph.layout import FLOAT, NO_BORDER, SIZE, Placed, constant, room
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from ..parameter import Kept
from .bytes import add as add_bytes
from .bytes import numbers_of
from .c_text import check_rows, clip, function
from .elementwise import apply
from .movement import gathered


class Binary(Operator):
    """Two values that broadcast, by the kernel of the operator's name.

    Parameters
    ----------
    name : str
        As in src/kernels/functions.h, which has its formula and those of its derivatives.
    formula : str
        For people.
    c : str
        For compilers, of ``{a}`` and ``{b}``.
    keeps_zero : bool
        Whether it makes zero of two zeros.
    """

    inputs = "a, b"
    in_place = True
    reads = "x"
    c_goes_on = True

    def __init__(self, name: str, formula: str, c: str, onnx: str, keeps_zero: bool = True) -> None:
        super().__init__(name)
        self.formula = formula
        self._c, self._onnx = c, onnx
        self._keeps_zero = keeps_zero

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        if len(shapes) != 2:
            raise ValueError(f"expected two values, got {len(shapes)}")
        return np.broadcast_shapes(*shapes)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        a, b = self.operands(run, node, inputs)
        y = Lanes.empty(a.shape, a.dtype) if over is None else over
        name, bounds = self.kernel(node)
        apply(name, a.data, b.data, y.data, bounds)
        return y

    def kernel(self, node: Node) -> tuple[str, tuple[float, ...]]:
        """The name of the kernel and its parameters."""
        return self.name, ()

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

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        shape = run.graph.shapes[node.output]
        keeps = self.keeps_zero(node)
        a = run.broadcast(inputs[0], shape, run.border[node.output] if keeps else NO_BORDER)
        b = run.broadcast(inputs[1], shape, a.border if keeps else NO_BORDER)
        if not keeps or (a.lanes, a.border) != (b.lanes, b.border):
            a, b = run.borderless(a), run.borderless(b)
        y: Placed = a.like(room(a.data.size))
        name, bounds = self.kernel(node)
        run.kernels.elementwise(name, a.data, b.data, y.data, SIZE, a.data.size, *bounds)
        return y

    def keeps_zero(self, node: Node) -> bool:
        return self._keeps_zero

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        binary_c(writer, node, inputs, y, after, self._c, node.weights.get("constant"))

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        # axes are aligned from the back, so the batch must not meet any other axis
        shapes = [model.graph.shapes[name] for name in node.inputs]
        rank = max(map(len, shapes))
        fitting = [
            x if len(shape) == rank else model.reshape(x, (1,) * (rank - len(shape)) + shape)
            for x, shape in zip(inputs, shapes, strict=True)
        ]
        return str(model.clip(model.node(self._onnx, *fitting), node.attributes.get("clip")))


class WithConstant(Binary):
    """Two values, or one value and the weight "constant", which does not enlarge it."""

    inputs = "a, b or x"
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

    def prepare(self, run: Any, node: Node) -> None:
        constant, shape = node.weights.get("constant"), run.graph.shapes[node.output]
        if constant is not None and _channels(shape, constant.shape) is None:
            run.spread(node, "constant", shape)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        if "constant" not in node.weights:
            return super().forward(run, node, *inputs, over=over)
        (x,) = inputs
        y = Lanes.empty(x.shape, x.dtype) if over is None else over
        by_constant(run, node, x, y, self.name)
        return y

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        if "constant" not in node.weights:
            return super().image(run, node, *inputs)
        return with_spread(run, node, inputs[0], node.weights["constant"], *self.kernel(node))

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        if "constant" not in node.weights:
            return super().onnx(model, node, *inputs)
        y = model.node(self._onnx, *inputs, model.weight(node, "constant"))
        return str(model.clip(y, node.attributes.get("clip")))


class Add(WithConstant):
    """The gradient goes to both.  With a clip, which leaves zero as it is, for answers alone."""

    attributes = {"clip": None, "quantize": None}
    reads = ""

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        low, high = node.attributes["clip"] or (0.0, 0.0)
        if not low <= 0 <= high:  # zeros around a sum stay zeros
            raise ValueError(f"clip: expected bounds with 0 between them, got {low, high}")
        return super().shape(node, *shapes)

    def takes_bytes(self, node: Node) -> bool:
        return node.attributes["quantize"] is not None and not node.weights

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        if all(isinstance(x, Bytes) for x in inputs) and inputs[0].shape == inputs[-1].shape:
            return add_bytes(run, node, *inputs)
        return super().image(run, node, *(numbers_of(run, x) for x in inputs))

    def kernel(self, node: Node) -> tuple[str, tuple[float, ...]]:
        clip = node.attributes["clip"]
        return (self.name, ()) if clip is None else ("add_clip", clip)

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


def with_spread(
    run: Any, node: Node, x: Placed, operand: np.ndarray, op: str, bounds: Sequence[float] = ()
) -> Placed:
    """One image and a constant that broadcasts over it; in the border it is zero."""
    name, shape = node.output, run.graph.shapes[node.output]
    x = run.broadcast(x, shape, run.border[name])
    if name not in run.packed:
        run.packed.need(x.data.size)
        spread = np.zeros(x.data.shape, FLOAT)
        spread[x.at(run.packed)] = np.broadcast_to(operand, shape).reshape(-1)
        run.packed[name] = [constant(spread)]
    y = x.like(room(x.data.size))
    run.kernels.elementwise(op, x.data, run.packed[name][0], y.data, SIZE, x.data.size, *bounds)
    return y


def binary_c(
    writer: Any, node: Node, inputs: Sequence[str], y: str, after: str, of: str,
    weight: np.ndarray | None,
) -> None:  # fmt: skip
    """Write an expression of two values, or of one and a constant."""
    operands = [writer.graph.shapes[name] for name in node.inputs]
    arguments = list(inputs)
    if weight is not None:
        check_rows(weight.size)
        arguments.append(writer.constant("c", weight))
        operands.append(weight.shape)
    bounds = node.attributes.get("clip")
    of = of if bounds is None else clip(writer, f"({of})", *bounds)
    text = binary_text(of, writer.graph.shapes[node.output], operands, after)
    writer.call(node.op, text, [*inputs, y], *arguments, y)


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


def _merged(shape: Shape, operands: Sequence[Shape]) -> tuple[list[int], list[list[int]]]:
    """Axes of a broadcast, as few as will do, and the steps of each operand along them."""
    steps = []
    for operand in operands:
        wide = (1,) * (len(shape) - len(operand)) + tuple(operand)
        steps.append([math.prod(wide[i + 1 :]) if n > 1 else 0 for i, n in enumerate(wide)])
    sizes: list[int] = []
    columns: list[list[int]] = []
    for size, column in zip(shape, zip(*steps, strict=True), strict=True):
        if sizes and columns[-1] == [step * size for step in column]:
            sizes[-1] *= size
            columns[-1] = list(column)
        elif size > 1:
            sizes.append(size)
            columns.append(list(column))
    return sizes, [list(row) for row in zip(*columns, strict=True)] or [[], []]


def binary_text(of: str, shape: Shape, operands: Sequence[Shape], after: str) -> str:
    """C of an expression of ``{a}`` and ``{b}`` for operands that broadcast to `shape`."""
    sizes, steps = _merged(shape, operands)
    body = ""
    for axis, size in enumerate(sizes):
        body += f"{'    ' * (axis + 1)}for (int i{axis} = 0; i{axis} < {size}; i{axis}++)\n"
    places = [
        " + ".join(f"i{axis} * {step}" for axis, step in enumerate(row) if step) or "0"
        for row in (*steps, [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))])
    ]
    both = of.format(a=f"a[{places[0]}]", b=f"b[{places[1]}]")
    value = after.format(v=f"({both})")
    return function("ab", f"{body}{'    ' * (len(sizes) + 1)}y[{places[2]}] = {value};\n")


Add("add", "a + b, or x + constant", "{a} + {b}", "Add")
Mul("mul", "a b, or x constant", "{a} * {b}", "Mul")
Binary("sub", "a - b", "{a} - {b}", "Sub")
Binary("div", "a / b", "{a} / {b}", "Div", keeps_zero=False)
Binary("minimum", "the smaller of a and b", "{b} > {a} || {a} != {a} ? {a} : {b}", "Min")
Binary("maximum", "the greater of a and b", "{a} > {b} || {a} != {a} ? {a} : {b}", "Max")
Binary("pow", "a^b", "powf({a}, {b})", "Pow", keeps_zero=False)
