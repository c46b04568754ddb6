"""What only moves numbers: padding, joining, transposing, slicing, repeating, reshaping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.bytes import Bytes
from ..graph.layout import FLOAT, SIZE, Placed, places
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .c_text import check_rows, number
from .elementwise import apply

GATHER = """\
static void gather(const float *const *from, const int (*run)[4], int runs, float *restrict y)
{
    /* a run: which source, where it begins there, step, length */
    for (int i = 0; i < runs; i++) {
        const float *x = from[run[i][0]] + run[i][1];
        for (int j = 0; j < run[i][3]; j++)
            *y++ = x[j * run[i][2]];
    }
}
"""


class Gather(Operator):
    """``y.flat[i] = x.flat[index.flat[i]]``, x being all inputs flattened and joined.

    An index of -1 gives `fill`.  The gradient of a number is the sum of those of its copies.
    """

    inputs = "x, ..."
    attributes = {"index": ..., "fill": 0.0}
    example = {"x": (16, 14, 14), "index": np.arange(16 * 196).reshape(16, 196).T}

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        index = node.attributes["index"]
        size = sum(map(math.prod, shapes))
        if index.size and not (-1 <= index.min() and index.max() < size):
            raise ValueError(
                f"index: expected -1 to {size - 1}, got {index.min()} to {index.max()}"
            )
        return tuple(index.shape)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        a = node.attributes
        return gathered(run, node.output, inputs, a["index"], a["fill"])

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        shapes = [run.graph.shapes[name] for name in node.inputs]
        index = node.attributes["index"].reshape(-1)
        flat = dy.reshape(math.prod(dy.shape[1:]))
        gradients: list[Any] = []
        start = 0
        for shape, want in zip(shapes, wanted, strict=True):
            count = math.prod(shape)
            here = np.flatnonzero((start <= index) & (index < start + count))
            gradients.append(None)
            if want:
                source = index[here] - start
                key = node.output, "back", start
                gradients[-1] = scattered(run, key, flat, here, source, shape)
            start += count
        return gradients

    def image(self, run: Any, node: Node, *inputs: Placed) -> Placed:
        name, tables = node.output, run.packed.tables
        y: Placed = run.make(run.graph.shapes[name], run.border[name], moved=True)
        if name not in tables:
            index = node.attributes["index"].reshape(-1)
            run.packed.need(2 * index.size)
            target, start = y.at(run.packed), 0
            filled = places(target[index < 0])
            tables[name] = [(np.zeros_like(filled), filled)]
            for x in inputs:
                count = math.prod(x.shape)
                here = (start <= index) & (index < start + count)
                source = x.at(run.packed)[index[here] - start]
                tables[name].append((places(source), places(target[here])))
                start += count
            run.packed[name] = [np.full(1, node.attributes["fill"], FLOAT)]
        sources = (run.packed[name][0], *(x.data for x in inputs))
        for data, (source, target) in zip(sources, tables[name], strict=True):
            if source.size:
                run.kernels.move(data, y.data, SIZE, source, target, 1)
        return y

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        sizes = [math.prod(writer.graph.shapes[name]) for name in node.inputs]
        found = runs(node.attributes["index"], sizes)
        table = writer.constant("t", found)
        sources = ", ".join([*inputs, "&fill"])
        writer.define_text(GATHER)
        writer.line(
            f"{{\n        static const float fill = {number(node.attributes['fill'])};\n"
            f"        const float *const from[] = {{{sources}}};\n"
            f"        gather(from, {table}, {len(found)}, {y});\n    }}",
            *inputs, y,
        )  # fmt: skip

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        index, shapes = node.attributes["index"], [model.graph.shapes[name] for name in node.inputs]
        size = sum(map(math.prod, shapes))
        flat = [
            x if len(shape) == 1 else model.node("Flatten", x)
            for x, shape in zip(inputs, shapes, strict=True)
        ]
        x = flat[0] if len(flat) == 1 else model.node("Concat", *flat, axis=1)
        if (index < 0).any():  # one more number at the end
            x = model.node("Pad", x, model.tensor([0, 0, 0, 1], np.int64),
                           model.tensor(node.attributes["fill"]))  # fmt: skip
        where = np.where(index < 0, size, index).ravel()
        x = model.node("Gather", x, model.tensor(where, np.int64), axis=1)
        return str(x if index.ndim == 1 else model.reshape(x, index.shape))


def gathered(run: Any, key: Any, inputs: Sequence[Lanes], index: np.ndarray, fill: float) -> Lanes:
    """Numbers of inputs in lanes where the index says; the run keeps offsets under `key`."""
    tables = run.tables
    run.packed.need(2 * index.size)
    first = inputs[0]
    L, size = first.data.shape[-1], first.dtype.itemsize
    y = Lanes.empty((first.images, *index.shape), first.dtype)
    if (key, L) not in tables:
        flat, start, parts = index.reshape(-1), 0, []
        for x in inputs:
            end = start + math.prod(x.shape[1:])
            here = np.flatnonzero((start <= flat) & (flat < end))
            parts.append((offsets((flat[here] - start) * L), offsets(here * L)))
            start = end
        tables[key, L] = bool((flat < 0).any()), parts
    filled, parts = tables[key, L]
    if filled:
        _core.fill(y.data, size, fill)
    for x, (source, target) in zip(inputs, parts, strict=True):
        if source.size:
            for block in range(first.blocks):
                _core.move(x.data[block], y.data[block], size, source, target, L)
    return y


def scattered(
    run: Any, key: Any, dy: Lanes, source: np.ndarray, target: np.ndarray, shape: Shape
) -> Lanes:
    """The sum at each target of what moves there from its sources, zero elsewhere."""
    tables = run.tables
    L, size = dy.data.shape[-1], dy.dtype.itemsize
    if (key, L) not in tables:
        # targets that come more than once take one source after the other
        order = np.argsort(target, kind="stable")
        ordered = target[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
        turn = np.arange(len(ordered)) - np.repeat(first, np.diff(np.r_[first, len(ordered)]))
        rounds = [order[turn == i] for i in range(int(turn.max(initial=-1)) + 1)]
        tables[key, L] = [(offsets(source[r] * L), offsets(target[r] * L)) for r in rounds]
    dx = Lanes.empty((dy.images, *shape), dy.dtype)
    _core.fill(dx.data, size, 0.0)
    for i, (from_, to) in enumerate(tables[key, L]):
        here = dx
        if i:
            here = Lanes.empty(dx.shape, dx.dtype)
            _core.fill(here.data, size, 0.0)
        for block in range(dy.blocks):
            _core.move(dy.data[block], here.data[block], size, from_, to, L)
        if i:
            apply("add", dx.data, here.data, dx.data)
    return dx


def offsets(numbers: Any) -> np.ndarray:
    """A table as the kernels take it."""
    return np.ascontiguousarray(numbers, np.intp).reshape(-1)


def runs(index: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """An index as runs (source, start, step, length); the last source is what fills."""
    flat = index.ravel().astype(np.int64)
    starts = np.cumsum([0, *sizes])
    source = np.where(flat < 0, len(sizes), np.searchsorted(starts, flat, "right") - 1)
    place = np.where(flat < 0, 0, flat - starts[source])
    step = np.diff(place)
    same = np.diff(source) == 0
    changes = np.flatnonzero((step[1:] != step[:-1]) | ~same[1:] | ~same[:-1]) + 1
    check_rows(len(changes) + 1)
    ends = iter([*changes.tolist(), len(step)])
    found, first, end = [], 0, next(ends)
    while first < len(flat):
        while end <= first < len(step):
            end = next(ends)
        if first < len(step) and same[first]:
            found.append((source[first], place[first], step[first], end - first + 1))
            first = end + 1
        else:
            found.append((source[first], place[first], 0, 1))
            first += 1
    return np.array(found, np.int64)


class Reshape(Operator):
    """The same numbers in another shape."""

    attributes = {"shape": ...}
    example = {"shape": (64 * 28 * 28,)}
    same_memory = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        node.attributes["shape"] = shape = tuple(node.attributes["shape"])
        if math.prod(shape) != math.prod(x):
            raise ValueError(f"{x} cannot become {shape}")
        return shape

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        return inputs[0].reshape(*node.attributes["shape"])

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        return (dy.reshape(*run.graph.shapes[node.inputs[0]]),)

    def takes_bytes(self, node: Node) -> bool:
        return True

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        (x,), shape = inputs, run.graph.shapes[node.output]
        return x._replace(shape=shape) if isinstance(x, Bytes) else x.as_shape(shape, run.packed)

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        return str(model.reshape(inputs[0], tuple(node.attributes["shape"])))


Gather("gather")
Reshape("reshape")
