"""What only moves numbers: padding, joining, transposing, slicing, repeating, reshaping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes
from .elementwise import apply


class Gather(Operator):
    """``y.flat[i] = x.flat[index.flat[i]]``, x being all inputs flattened and joined.

    An index of -1 gives `fill`.  The gradient of a number is the sum of those of its copies.
    """

    attributes = {"index": ..., "fill": 0.0}

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


class Reshape(Operator):
    """The same numbers in another shape."""

    attributes = {"shape": ...}
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

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        return str(model.reshape(inputs[0], tuple(node.attributes["shape"])))


Gather("gather")
Reshape("reshape")
