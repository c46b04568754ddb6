"""A graph as calls of kernels for one image at a time, lanes over output channels.

An activation of (C, H, W) lies in blocks of LANES channels, (blocks, height, width, LANES), within
a border of zeros where a convolution wants padding.  What lies where is told by tables of places,
so that flattening costs nothing and everything else that only moves numbers is one kernel.  Every
sum is taken in the order of `by_batch`: the answers are the same, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.node import Node, Shape
from ..graph.operator import OPERATORS
from ..lanes import empty
from ..scale import scale_of
from .layout import (
    FLOAT,
    MOST,
    NO_BORDER,
    SIZE,
    Border,
    NoRoom,
    Packed,
    Value,
    constant,
    image,
    places,
)
from .packing import blocks, filters, parts, winograd_blocks
from .rules import (
    borders,
    check_memory,
    in_order,
    is_pairs,
    keeps_zero,
    pixels_pay,
    winograd_pays,
)


class ByImage:
    """Calls the kernels for one image, while a recorder listens.

    Parameters
    ----------
    graph : Graph
    packed : Packed
        Filled here, shared by all that record the same graph.
    """

    def __init__(self, graph: Graph, packed: Packed) -> None:
        self.graph = graph
        self.packed = packed
        self.kernels: Any = _core
        self.lanes: int = _core.lanes(SIZE)
        self.border = borders(graph)

    def prepare(self) -> None:
        """Fill `packed`, without a call of a kernel but for Winograd's transform of weights.

        Raises
        ------
        ValueError
            If values, tables or constants would have more numbers than a plan may have.
        """
        graph = self.graph
        check_memory(graph, self.border, self.lanes)
        for node in graph.nodes:
            if node.op == "conv2d" and winograd_pays(graph, node):
                weight, bias = node.weights["weight"], node.weights.get("bias")
                self.packed[node.output] = winograd_blocks(weight, bias, self.lanes)
        self.kernels = _Nothing(self.packed)
        self(np.zeros(graph.input_shape, FLOAT), np.empty(graph.output_shape, FLOAT))

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None:
        """From plain `x`, of the graph's input shape, to plain `out`."""
        graph = self.graph
        last = in_order(graph, self._input(x), self._step)
        with _named(f"the output of {graph.output_shape}"):
            C, H, W = image(last.shape)
            if last.lanes == self.lanes > 1 < H * W and last.border == NO_BORDER:
                self.kernels.unpack(last.data, out, SIZE, C, H * W)  # channels as if images
                return
            if last.lanes == 1:
                steps, data = (last.plane, last.row), last.data[last.first :]
                self.kernels.place(data, out, SIZE, (C, H, W), steps, (H * W, W), 0, 1.0)
                return
            whole = self.packed.grid(0, (out.size, 1))
            self.kernels.move(last.data, out, SIZE, last.at(self.packed), whole, 1)

    def _step(self, node: Node, inputs: list[Value]) -> Value:
        with _named(self.graph.said(node)):
            clip = node.attributes.get("clip")
            value: Value = getattr(self, "_" + node.op)(node, *inputs, clip=clip, name=node.output)
        return value

    # ------------------------------------------------------------------------------------- places

    def _make(
        self, shape: Shape, border: Border = NO_BORDER, lanes: int = 0, row: int = 0
    ) -> Value:
        # Room for an activation; zeros in its border.  Plain images have more room behind them.
        C, H, W = image(shape)
        L = lanes or self.lanes
        top, bottom, left, right = border
        row = row or (W + left + right) * L
        plane = (H + top + bottom) * row
        first = top * row + left * L
        data = _room(-(-C // L) * plane + (2 * self.lanes if L == 1 else 0))
        if border != NO_BORDER and L > 1 and C % L == 0:
            self.kernels.border(data, SIZE, (C // L, H, W * L), (plane, row), first)
        elif border != NO_BORDER or (L > 1 and C % L):
            self.kernels.fill(data, SIZE, 0.0)
        return Value(data, shape, None, L, first, plane, row, border)

    def _input(self, x: np.ndarray) -> Value:
        with _named(f"the input of {self.graph.input_shape}"):
            return self._placed(x)

    def _placed(self, x: np.ndarray) -> Value:
        graph = self.graph
        shape = graph.shapes[graph.input]
        C, H, W = image(shape)
        border = self.border[graph.input]
        tight = border == NO_BORDER and not self._wide_input()
        if tight and x.dtype == FLOAT:
            return Value(x.reshape(-1), shape, None, 1, 0, H * W, W)
        value = self._make(shape, border, 1)
        if tight:  # bytes go the way of numbers through the graph, since they share packed weights
            value.data = value.data[: x.size]
        self.kernels.place(
            x, value.data, SIZE, (C, H, W), (H * W, W), (value.plane, value.row), value.first,
            scale_of(x.dtype, graph.byte_scale),
        )  # fmt: skip
        return value

    def _wide_input(self) -> bool:
        # whether a convolution with lanes over pixels reads beyond the input
        graph = self.graph
        return any(
            node.op == "conv2d" and graph.input in node.inputs
            and pixels_pay(node, graph.shapes[node.output], self.lanes) for node in graph.nodes
        )  # fmt: skip

    def _regular(self, x: Value, border: Border = NO_BORDER, lanes: int = 0) -> Value:
        # x in the usual way, in blocks of LANES (or so many) channels, within such a border or more
        enough = all(has >= needs for has, needs in zip(x.border, border, strict=True))
        if x.lanes and enough and (not lanes or x.lanes == lanes):
            return x
        return self._spread(x, x.shape, border, lanes)

    def _borderless(self, x: Value) -> Value:
        return x if x.lanes > 1 and x.border == NO_BORDER else self._spread(x, x.shape, NO_BORDER)

    # ---------------------------------------------------------------------------------- operators

    def _weights(
        self, name: str, rows: Callable[[], np.ndarray], bias: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if name not in self.packed:
            self.packed[name] = blocks(rows(), bias, self.lanes)
        return self.packed[name][0], self.packed[name][1]

    def _block_places(self, w: np.ndarray, y: Value, first: int = 0) -> tuple[np.ndarray, ...]:
        # of the taps and blocks of weights, and of the blocks of y from one on
        grid, (count, taps, L) = self.packed.grid, w.shape
        return (
            grid(0, (taps, L)),
            grid(0, (count, taps * L)),
            grid(first * y.plane, (count, y.plane)),
        )

    def _conv2d(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        a, weight = node.attributes, node.weights["weight"]
        K, C_group, R, S = weight.shape
        C, groups, grid = x.shape[0], a["groups"], self.packed.grid
        if winograd_pays(self.graph, node):
            return self._winograd(node, x, clip, name)
        if (
            x.lanes == 1
            and x.data.size > math.prod(x.shape)
            and pixels_pay(node, self.graph.shapes[node.output], self.lanes)
        ):
            return self._pixels(node, x, clip, name)
        depthwise = groups == C == K and C > 1
        x = self._regular(x, a["padding"], self.lanes if depthwise else 0)
        (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
        top, _, left, _ = a["padding"]
        _, P, Q = self.graph.shapes[node.output]
        y = self._make(self.graph.shapes[name], self.border[name])
        first = x.first - top * x.row - left * x.lanes
        pixels = grid(first, (P, step_h * x.row), (Q, step_w * x.lanes))
        targets = grid(y.first, (P, y.row), (Q, y.lanes))
        bias, window = node.weights.get("bias"), ((R, gap_h * x.row), (S, gap_w * x.lanes))
        if depthwise:
            w, b = self._weights(node.output, lambda: weight.reshape(K, R * S), bias)
            tables = pixels, targets, grid(0, *window), *self._block_places(w, y)
            self.kernels.depthwise(x.data, w, b, y.data, SIZE, tables, x.plane, clip)
            return y
        taps = grid(0, *x.channels(), *window)
        for block, k, own in parts(K, groups, self.lanes):
            rows = partial(filters, weight, k, own, groups)
            part = None if bias is None else bias[k.start : k.stop]
            w, b = self._weights(f"{node.output} from {block}", rows, part)
            each = C_group * R * S
            seen = taps[own.start * each : own.stop * each]
            tables = pixels, targets, seen, *self._block_places(w, y, block)
            self.kernels.channel_conv(x.data, w, b, y.data, SIZE, tables, clip)
        return y

    def _pixels(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        # few channels: lanes over neighbouring pixels
        a, weight = node.attributes, node.weights["weight"]
        K, C, R, S = weight.shape
        L = self.lanes
        gap_h, gap_w = a["dilation"]
        top, _, left, _ = a["padding"]
        x = self._regular(x, a["padding"], 1)
        _, P, Q = self.graph.shapes[name]
        if node.output not in self.packed:
            bias = np.zeros(K, FLOAT)
            bias[:] = node.weights.get("bias", 0.0)
            self.packed[node.output] = [constant(weight), constant(bias)]
        w, bias = self.packed[node.output]
        y = self._make((K, P, Q), lanes=1, row=-(-Q // L) * L)
        grid, vectors = self.packed.grid, -(-Q // L)
        tables = (
            grid(0, (K, C * R * S)),
            grid(0, (K, y.plane)),
            grid(0, (C * R * S, 1)),
            grid(0, (C, x.plane), (R, gap_h * x.row), (S, gap_w)),
            grid(x.first - top * x.row - left, (P, x.row), (vectors, L)),
            grid(0, (P, y.row), (vectors, L)),
        )
        self.kernels.pixel_conv(w, x.data, bias, y.data, SIZE, tables, clip)
        return y

    def _winograd(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        weight = node.weights["weight"]
        K, C, R, _ = weight.shape
        L = self.lanes
        u, bias = self.packed[node.output]
        x = self._borderless(x)
        y = self._make(self.graph.shapes[name], self.border[name])
        top, _, left, _ = node.attributes["padding"]
        shape = (-(-C // L), C, -(-K // L), K, *x.shape[1:], *y.shape[1:], top, left, R)
        self.kernels.channel_winograd(
            x.data, u, weight, bias, y.data, SIZE, shape, (y.plane, y.row), y.first, clip
        )
        return y

    def _linear(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        weight, grid = node.weights["weight"], self.packed.grid
        w, bias = self._weights(node.output, lambda: weight, node.weights.get("bias"))
        y = self._make(self.graph.shapes[name])
        origin = grid(0, (1, 1))
        tables = (origin, origin, x.at(self.packed), *self._block_places(w, y))
        self.kernels.channel_conv(x.data, w, bias, y.data, SIZE, tables, clip)
        return y

    def _pool(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        a = node.attributes
        if x.lanes == 1 and is_pairs(node) and x.data.size > x.plane * x.shape[0]:
            y = self._make(self.graph.shapes[name], lanes=1)
            self.kernels.pool_pairs(
                x.data, y.data, SIZE, y.shape, (x.plane, x.row), (y.plane, y.row)
            )
            return y
        x = self._regular(x, lanes=self.lanes)
        y = self._make(self.graph.shapes[name], self.border[name])
        gaps = a.get("dilation", (1, 1))
        top, bottom, left, right = a["padding"]
        window = (*a["kernel"], *y.shape[1:], *a["stride"], *gaps, top, left, bottom, right)
        shape = (-(-x.shape[0] // self.lanes), *x.shape[1:], *window)
        steps = (x.plane, x.row, y.plane, y.row)
        count = a["count_include_pad"] if node.op == "avg_pool" else None
        self.kernels.pool_channels(x.data, y.data, SIZE, shape, steps, (x.first, y.first), count)
        return y

    _max_pool = _avg_pool = _pool

    def _unary(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        operator: Any = OPERATORS[node.op]
        op, parameters = operator.kernel(node)
        if not keeps_zero(node):
            x = self._borderless(x)
        y = x.like(empty(x.data.shape, FLOAT))
        first, second = (*parameters, 0.0, 0.0)[:2]
        self.kernels.elementwise(op, x.data, None, y.data, SIZE, x.data.size, first, second)
        return y

    _clip = _leaky_relu = _sigmoid = _tanh = _unary

    def _binary(self, node: Node, x: Value, *others: Value, clip: Any, name: str) -> Value:
        shape = self.graph.shapes[name]
        x = self._broadcast(x, shape, self.border[name])
        if others:
            other = self._broadcast(others[0], shape, x.border)
            if (other.lanes, other.border) != (x.lanes, x.border):
                x, other = (self._spread(value, shape, NO_BORDER) for value in (x, other))
            operand = other.data
        else:
            if name not in self.packed:
                self.packed.need(x.data.size)
                spread = np.zeros(x.data.shape, FLOAT)
                operand = np.broadcast_to(node.weights["constant"], shape)
                spread[x.at(self.packed)] = operand.reshape(-1)
                self.packed[name] = [constant(spread)]
            operand = self.packed[name][0]
        y = x.like(empty(x.data.shape, FLOAT))
        op, bounds = node.op if clip is None else "add_clip", clip or (0.0, 0.0)
        self.kernels.elementwise(op, x.data, operand, y.data, SIZE, x.data.size, *bounds)
        return y

    _add = _mul = _binary

    def _broadcast(self, x: Value, shape: Shape, border: Border) -> Value:
        return x if x.lanes > 1 and x.shape == shape else self._spread(x, shape, border)

    def _spread(self, x: Value, shape: Shape, border: Border, lanes: int = 0) -> Value:
        C, H, W = image(shape)
        value = self._make(shape, border, lanes)
        if x.lanes == 1 and shape == x.shape and value.lanes > 1 and border == NO_BORDER:
            plain = x.data
            if (x.plane, x.row) != (H * W, W):
                plain, steps = _room(C * H * W), (x.plane, x.row)
                data = x.data[x.first :]
                self.kernels.place(data, plain, SIZE, (C, H, W), steps, (H * W, W), 0, 1.0)
            self.kernels.pack(plain, value.data, SIZE, C, H * W, 1.0)  # channels as if images
            return value
        source = x.at(self.packed)
        if x.shape != shape:
            self.packed.need(math.prod(shape))
            source = places(np.broadcast_to(source.reshape(x.shape), shape))
        self.kernels.move(x.data, value.data, SIZE, source, value.at(self.packed), 1)
        return value

    def _softmax(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        C = x.shape[0]
        pixels = math.prod(x.shape[1:])
        vectors = -(-pixels // self.lanes)
        rows = _room(C * vectors * self.lanes)
        at = self.packed.grid(0, (C, vectors * self.lanes), (pixels, 1))
        self.kernels.fill(rows, SIZE, 0.0)
        self.kernels.move(x.data, rows, SIZE, x.at(self.packed), at, 1)
        self.kernels.softmax(rows, None, rows, SIZE, 1, C, vectors, node.op == "log_softmax")
        return Value(rows, x.shape, at)

    _log_softmax = _softmax

    def _gather(self, node: Node, *inputs: Value, clip: Any, name: str) -> Value:
        y = self._make(self.graph.shapes[name], self.border[name])
        tables = self.packed.tables
        if name not in tables:
            index = node.attributes["index"].reshape(-1)
            self.packed.need(2 * index.size)
            target, start = y.at(self.packed), 0
            filled = places(target[index < 0])
            tables[name] = [(np.zeros_like(filled), filled)]
            for x in inputs:
                count = math.prod(x.shape)
                here = (start <= index) & (index < start + count)
                source = x.at(self.packed)[index[here] - start]
                tables[name].append((places(source), places(target[here])))
                start += count
            self.packed[name] = [np.full(1, node.attributes["fill"], FLOAT)]
        sources = (self.packed[name][0], *(x.data for x in inputs))
        for data, (source, target) in zip(sources, tables[name], strict=True):
            if source.size:
                self.kernels.move(data, y.data, SIZE, source, target, 1)
        return y

    def _reshape(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        return x.as_shape(self.graph.shapes[name], self.packed)


class _Nothing:
    """Kernels that do nothing, but take note of the tables that a recording will keep."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._call

    def _call(self, *args: Any) -> None:
        tables = [array for arg in args for array in (arg if isinstance(arg, tuple) else [arg])]
        self._packed.need(sum(t.size for t in tables if getattr(t, "dtype", None) == np.intp))


def _room(count: int) -> np.ndarray:
    if count > MOST:
        raise NoRoom(f"{count} numbers in whole vectors; a plan may have {MOST}")
    return empty((count,), FLOAT)


@contextmanager
def _named(what: str) -> Iterator[None]:
    # that there is no room says for what
    try:
        yield
    except (NoRoom, MemoryError) as error:
        kind = NoRoom if isinstance(error, NoRoom) else MemoryError
        raise kind(f"{what}: {error}") from None
