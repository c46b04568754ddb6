"""A graph as calls of kernels for a block of LANES images, lanes over the images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core
from ..lanes import empty
from ..scale import scale_of
from .graph import Graph, Node
from .layout import FLOAT, SIZE, Packed, constant, places
from .rules import conv_shape, in_order

Array = np.ndarray


class ByBatch:
    """Calls the kernels for a block of images, while a recorder listens.

    Parameters
    ----------
    graph : Graph
    packed : Packed
        Filled at the start, shared by all that record the same graph.
    """

    def __init__(self, graph: Graph, packed: Packed) -> None:
        self.graph = graph
        self.packed = packed
        self.lanes: int = _core.lanes(SIZE)
        for node in graph.nodes:
            if "constant" in node.weights and node.output not in packed:
                shape = graph.shapes[node.output]
                packed.need(math.prod(shape) * self.lanes)
                lanes = np.empty((*shape, self.lanes), FLOAT)
                lanes[...] = np.broadcast_to(node.weights["constant"], shape)[..., None]
                packed[node.output] = [constant(lanes)]

    def __call__(self, x: Array, out: Array) -> None:
        """From plain `x`, (LANES, ...), to plain `out`."""
        graph = self.graph
        last = in_order(graph, self._packed_input(x), self._step)
        _core.unpack(last, out, SIZE, len(x), math.prod(graph.output_shape))

    def _step(self, node: Node, inputs: list[Array], clip: Any, name: str) -> Array:
        value: Array = getattr(self, "_" + node.op)(node, *inputs, clip=clip)
        return value

    def _packed_input(self, x: Array) -> Array:
        graph = self.graph
        scale = scale_of(x.dtype, graph.byte_scale)
        packed = self._empty(graph.input)
        _core.pack(x, packed, SIZE, len(x), math.prod(graph.input_shape), scale)
        return packed

    def _empty(self, name: str) -> Array:
        return empty((math.prod(self.graph.shapes[name]) * self.lanes,), FLOAT)

    def _conv2d(self, node: Node, x: Array, clip: Any) -> Array:
        y = self._empty(node.output)
        w, bias = node.weights["weight"], node.weights.get("bias")
        _core.conv2d(x, w, bias, y, SIZE, conv_shape(self.graph, node), clip)
        return y

    def _linear(self, node: Node, x: Array, clip: Any) -> Array:
        K, C = node.weights["weight"].shape
        y = self._empty(node.output)
        _core.linear(x, node.weights["weight"], node.weights.get("bias"), y, SIZE, 1, C, K, clip)
        return y

    def _pool(self, node: Node, x: Array, clip: Any) -> Array:
        a = node.attributes
        C, H, W = self.graph.shapes[node.inputs[0]]
        _, P, Q = self.graph.shapes[node.output]
        gaps = a.get("dilation", (1, 1))
        top, bottom, left, right = a["padding"]
        shape = (C, H, W, *a["kernel"], P, Q, *a["stride"], *gaps, top, left, bottom, right)
        y = self._empty(node.output)
        if node.op == "max_pool":
            _core.max_pool2d(x, y, None, SIZE, shape)
        else:
            _core.avg_pool2d(x, y, SIZE, shape, a["count_include_pad"])
        return y

    _max_pool = _avg_pool = _pool

    def _unary(self, node: Node, x: Array, clip: Any) -> Array:
        low, high = node.attributes.get("low", 0.0), node.attributes.get("high", 0.0)
        y = self._empty(node.output)
        slope = node.attributes.get("negative_slope", low)
        _core.elementwise(node.op, x, None, y, SIZE, y.size, slope, high)
        return y

    _clip = _leaky_relu = _sigmoid = _tanh = _unary

    def _binary(self, node: Node, x: Array, *others: Array, clip: Any) -> Array:
        shape = self.graph.shapes[node.output]
        y = self._empty(node.output)
        if others:
            other = self._broadcast(others[0], node.inputs[1], shape)
        else:
            other = self.packed[node.output][0]
        op = "add" if node.op == "add" else "scale"
        x = self._broadcast(x, node.inputs[0], shape)
        _core.elementwise(op, x, other, y, SIZE, y.size, 0.0)
        return y

    _add = _mul = _binary

    def _broadcast(self, x: Array, name: str, shape: tuple[int, ...]) -> Array:
        own = self.graph.shapes[name]
        if own == shape:
            return x
        L, size, tables = self.lanes, math.prod(shape), self.packed.tables
        if (own, shape) not in tables:
            every = np.arange(0, math.prod(own) * L, L).reshape(own)
            tables[own, shape] = places(np.broadcast_to(every, shape))
        self.packed.need(2 * size)
        y = empty((size * L,), FLOAT)
        _core.move(x, y, SIZE, tables[own, shape], self.packed.grid(0, (size, L)), L)
        return y

    def _softmax(self, node: Node, x: Array, clip: Any) -> Array:
        C, *rest = self.graph.shapes[node.output]
        y = self._empty(node.output)
        _core.softmax(x, None, y, SIZE, 1, C, math.prod(rest), node.op == "log_softmax")
        return y

    _log_softmax = _softmax

    def _gather(self, node: Node, *inputs: Array, clip: Any) -> Array:
        y = self._empty(node.output)
        index, tables = node.attributes["index"].reshape(-1), self.packed.tables
        if (index < 0).any():
            _core.fill(y, SIZE, node.attributes["fill"])
        self.packed.need(2 * index.size)
        if node.output not in tables:
            tables[node.output] = []
            start = 0
            for name in node.inputs:
                end = start + math.prod(self.graph.shapes[name])
                here = np.flatnonzero((start <= index) & (index < end))
                source = (index[here].astype(np.intp) - start) * self.lanes
                tables[node.output].append((places(source), places(here * self.lanes)))
                start = end
        for x, (source, target) in zip(inputs, tables[node.output], strict=True):
            if source.size:
                _core.move(x, y, SIZE, source, target, self.lanes)
        return y

    def _reshape(self, node: Node, x: Array, clip: Any) -> Array:
        return x
