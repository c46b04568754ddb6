"""What an ONNX model becomes while it is read: constants, and values of the graph being built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from ..graph.graph import Graph
from ..graph.node import Shape

# A model is read as if its batch had so many images.  It is a prime that no file has for a size,
# so the batch is found again in whatever the model computes from the shapes of its values.
BATCH = 1_000_000_007
ENDLESS = 2**31 - 1  # so many images or more mean all of them
ROOM = 2**25  # numbers in the tables and constants that are made, beside those of the file


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the graph as the model sees it.

    `shape` is the model's, with the batch; the graph may have the same numbers in another shape.
    `table` says which of the graph's numbers stands where; None means all, in their order.
    """

    name: str
    shape: Shape
    table: np.ndarray | None = None


class Classes(Value):
    """Scores, (N, K, ...), of which the model has the place of the greatest alone."""


@dataclass(frozen=True, eq=False)
class OnGrid(Value):
    """Numbers that the model has as bytes: scale and zero point, until they are numbers again."""

    grid: tuple[float, int] = (1.0, 0)


Operand = Value | np.ndarray  # arrays are constants
Some = TypeVar("Some", Value, np.ndarray, Operand)


def image_shape(shape: Shape) -> Shape:
    """The shape of the graph, (F,) or (C, H, W), that is nearest to any shape."""
    while len(shape) in (2, 4, 5, 6) and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return shape if len(shape) in (1, 3) else (math.prod(shape),)


class Builder:
    """The graph that is being built.

    Parameters
    ----------
    shape : tuple of int
        Of the model's input.  If its first size is `BATCH`, axis 0 counts images everywhere;
        otherwise all of the input is one image, and its axes are like any others.
    fixed : int or None
        The size of the batch that the model was made for, if it was made for one only.
    room : int
        How many numbers may be in tables and constants that are made.
    """

    def __init__(self, shape: Shape, fixed: int | None, room: int) -> None:
        self.batched = shape[0] == BATCH
        self.fixed = fixed
        self.room = room
        self.input_shape = one_image(shape)
        self.graph = Graph(image_shape(self.input_shape))
        self.input = Value(self.graph.input, shape)
        self._formed: dict[tuple[Value, Shape], str] = {}
        #: constants that the model has as signed bytes, with the scale of each row or of all
        self.grids: list[tuple[np.ndarray, np.ndarray]] = []

    def need(self, count: int) -> None:
        """Take note of so many numbers; a small file must not become large in memory."""
        self.room -= count
        if self.room < 0:
            raise ValueError(f"{count} more numbers would be too many for a file of this size")

    # ---------------------------------------------------------------------------------- shapes

    def inner(self, value: Value) -> Shape:
        """The part of the shape that one image has, of which tables are."""
        return value.shape[1:] if self.batched else value.shape

    def outer(self, inner: Sequence[int]) -> Shape:
        """The shape of a value of which one image has `inner`."""
        return (BATCH, *inner) if self.batched else tuple(inner)

    def image(self, value: Value) -> Shape:
        """The shape without axis 0, which must count images."""
        if value.shape[0] != (BATCH if self.batched else 1) or len(value.shape) < 2:
            raise ValueError(f"axis 0 of {said(value.shape)} does not count images")
        return value.shape[1:]

    def axes(self, operand: Operand, axes: Sequence[int]) -> tuple[int, ...]:
        """Where these axes are in the constant or in what one image has of the value."""
        rank = len(operand.shape)
        found = tuple(axis + rank if axis < 0 else axis for axis in axes)
        if not all(0 <= axis < rank for axis in found) or len(set(found)) < len(found):
            raise ValueError(f"expected axes of {said(operand.shape)}, got {tuple(axes)}")
        if isinstance(operand, Value) and self.batched:
            if 0 in found:
                raise ValueError("axis 0 counts images, which stay apart")
            found = tuple(axis - 1 for axis in found)
        return found

    def counts(self, operand: Operand, axis: int) -> bool:
        """Whether this axis of the operand, maybe counted from the last, counts images."""
        batched = isinstance(operand, Value) and self.batched
        return batched and axis in (0, -len(operand.shape))

    def all_images(self, count: int) -> bool:
        """Whether so many images are all that there are."""
        return count == BATCH or count >= (self.fixed or ENDLESS)

    def reshape(self, operand: Some, shape: Sequence[int]) -> Some:
        """The same numbers in another shape."""
        shape = tuple(int(size) for size in shape)
        if math.prod(shape) != math.prod(operand.shape):
            raise ValueError(f"{said(operand.shape)} cannot become {said(shape)}")
        if isinstance(operand, np.ndarray):
            return cast(Some, operand.reshape(shape))
        if self.batched and shape[:1] != (BATCH,):
            raise ValueError(f"{said(shape)} would mix the images of {said(operand.shape)}")
        table = operand.table
        if table is not None:
            table = table.reshape(shape[1:] if self.batched else shape)
        return cast(Some, Value(operand.name, shape, table))

    # ---------------------------------------------------------------------------------- tables

    def table(self, value: Value) -> np.ndarray:
        """Which number of the graph's value stands where, for one image."""
        if value.table is not None:
            return value.table
        shape = self.inner(value)
        self.need(math.prod(shape))
        return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)

    def moves_all(self, value: Value) -> bool:
        """Whether the value has each number of the graph's once, so that functions may go first."""
        size, table = math.prod(self.graph.shapes[value.name]), value.table
        if table is None:
            return True
        return (
            table.size == size and 0 <= table.min() and bool(np.bincount(table.ravel()).max() == 1)
        )

    def before(self, value: Value, constant: np.ndarray) -> np.ndarray:
        """A constant for the graph's value, of one for a value that `moves_all`."""
        shape = self.graph.shapes[value.name]
        self.need(math.prod(shape))
        whole = np.empty(math.prod(shape), constant.dtype)
        whole[self.table(value).ravel()] = np.broadcast_to(constant, self.inner(value)).ravel()
        whole = whole.reshape(shape)
        for axis in range(len(shape)):
            first = whole.take([0], axis)
            whole = first if np.array_equal(np.broadcast_to(first, whole.shape), whole) else whole
        return whole

    def layout(self, operand: Operand, change: Callable[[np.ndarray], np.ndarray]) -> Operand:
        """The operand after a change that only moves, repeats or leaves out numbers."""
        if isinstance(operand, np.ndarray):
            array = np.asarray(change(operand))
            self.need(array.size)
            return array
        table = change(self.table(operand))
        self.need(table.size)
        if not table.size:
            raise ValueError(f"nothing is left of {said(operand.shape)}")
        shape = self.outer(table.shape)
        whole = math.prod(self.graph.shapes[operand.name])
        if table.size == whole and np.array_equal(table.ravel(), np.arange(whole)):
            return Value(operand.name, shape)
        return Value(operand.name, shape, np.ascontiguousarray(table))

    def moved(self, value: Value, change: Callable[[np.ndarray], np.ndarray]) -> Value:
        """As `layout`, of a value."""
        return cast(Value, self.layout(value, change))

    def expand(self, operand: Some, inner: Shape) -> Some:
        """The operand broadcast to a shape (of one image)."""
        self.need(math.prod(inner))
        return cast(Some, self.layout(operand, lambda table: np.broadcast_to(table, inner)))

    # ------------------------------------------------------------------------ nodes of the graph

    def form(self, value: Value, shape: Shape) -> str:
        """The name of a value of the graph that has these numbers in this shape."""
        key = value, shape
        if key not in self._formed:
            name = value.name
            if value.table is not None:
                index = value.table.reshape(shape)
                name = self.graph.add("gather", name, index=index, fill=0.0)
            elif self.graph.shapes[name] != shape:
                name = self.graph.add("reshape", name, shape=shape)
            self._formed[key] = name
        return self._formed[key]

    def each(
        self,
        value: Value,
        op: str,
        weights: Mapping[str, np.ndarray] | None = None,
        **attributes: Any,
    ) -> Value:
        """Add a node that works on every number by itself; weights are for each channel."""
        name, table = value.name, value.table
        if weights or not self.moves_all(value):
            name, table = self.form(value, image_shape(self.inner(value))), None
        return Value(self.graph.add(op, name, weights=weights, **attributes), value.shape, table)

    def constant(self, array: np.ndarray, like: Operand) -> Value:
        """A value that is the same for every image, beside one of some number of axes."""
        rank = len(like.shape) - self.batched
        inner = (1,) * (rank - array.ndim) + array.shape
        shape = image_shape(inner)
        self.need(2 * array.size)
        nothing = np.full(shape, -1, np.int32)
        name = self.graph.add("gather", self.graph.input, index=nothing, fill=0.0)
        name = self.graph.add("add", name, weights={"constant": array.reshape(shape)})
        return Value(name, self.outer(inner))

    def finish(self, value: Value) -> None:
        """Make a value the output of the graph."""
        shape = one_image(value.shape)
        self.graph.output = self.form(value, image_shape(shape))
        self.graph.outer_shapes(self.input_shape, shape)
        for node in self.graph.nodes:
            weight = node.weights.get("weight")
            if node.op in ("conv2d", "linear") and weight is not None:
                scale = self._scale_of(np.asarray(weight))
                if scale is not None:
                    node.weights = {**node.weights, "weight_scale": scale}

    def _scale_of(self, weight: np.ndarray) -> np.ndarray | None:
        # of each row of a weight that was dequantised, if a row has one
        rows = weight.reshape(len(weight), -1)
        for array, scale in self.grids:
            if array.size != weight.size:
                continue
            for known in (array.reshape(len(array), -1), array.T.reshape(array.shape[-1], -1)):
                fits = known.shape == rows.shape and scale.size in (1, len(rows))
                if fits and np.array_equal(known, rows):
                    return np.ascontiguousarray(np.broadcast_to(scale, (len(rows),)))
        return None


def one_image(shape: Shape) -> Shape:
    """The shape without an axis that counts images, or has one."""
    return shape[1:] if shape[:1] in ((1,), (BATCH,)) else shape


def said(shape: Sequence[int]) -> str:
    """A shape for a message, with the batch as N."""
    names = []
    for size in shape:
        times, rest = divmod(size, BATCH)
        names.append(str(size) if rest or not size else "N" if times == 1 else f"{times} N")
    return f"({', '.join(names)})"
