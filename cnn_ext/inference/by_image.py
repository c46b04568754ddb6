"""A graph as calls of kernels for one image at a time, lanes over output channels.

An activation of (C, H, W) lies in blocks of LANES channels, (blocks, height, width, LANES), within
a border of zeros where a convolution wants padding.  What lies where is told by tables of places,
so that flattening costs nothing and everything else that only moves numbers is one kernel.  Every
sum is taken in the order of `by_batch`: the answers are the same, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core
from ..lanes import empty
from ..scale import scale_of
from .graph import Graph, Node, Shape
from .layout import FLOAT, NO_BORDER, SIZE, Border, Value, constant, image, places
from .rules import (
    borders,
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
    packed : dict
        The weights in the order of the kernels, by node; filled here, shared by all that record the
        same graph.
    """

    def __init__(self, graph: Graph, packed: dict[str, list[np.ndarray]]) -> None:
        self.graph = graph
        self.packed = packed
        self.lanes: int = _core.lanes(SIZE)
        self.border = borders(graph)

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None:
        """From plain `x`, of the graph's input shape, to plain `out`."""
        last = in_order(self.graph, self._input(x), self._step)
        _core.move(last.data, out, SIZE, places(last.at), places(range(out.size)), 1)

    def _step(self, node: Node, inputs: list[Value], clip: Any, name: str) -> Value:
        value: Value = getattr(self, "_" + node.op)(node, *inputs, clip=clip, name=name)
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
        c, h, w = np.ogrid[:C, :H, :W]
        first = top * row + left * L
        at = places(first + c // L * plane + h * row + w * L + c % L)
        data = empty((-(-C // L) * plane + (2 * self.lanes if L == 1 else 0),), FLOAT)
        if border != NO_BORDER or (L > 1 and C % L):
            _core.fill(data, SIZE, 0.0)
        return Value(data, shape, at, L, first, plane, row, border)

    def _input(self, x: np.ndarray) -> Value:
        shape, graph = self.graph.input_shape, self.graph
        C, H, W = image(shape)
        border = self.border[graph.input]
        tight = border == NO_BORDER and not self._wide_input()
        if tight and x.dtype == FLOAT:
            return Value(x.reshape(-1), shape, places(range(x.size)), 1, 0, H * W, W)
        value = self._make(shape, border, 1)
        if tight:  # bytes go the way of numbers through the graph, since they share packed weights
            value.data = value.data[: x.size]
        _core.place(
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
        self, name: str, weight: np.ndarray, bias: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        # (K, taps) and (K,) in blocks of LANES output channels, the output channel innermost
        if name not in self.packed:
            K, taps = weight.shape
            L = self.lanes
            blocks = -(-K // L)
            w = np.zeros((blocks * L, taps), FLOAT)
            b = np.zeros(blocks * L, FLOAT)
            w[:K] = weight
            if bias is not None:
                b[:K] = bias
            order = w.reshape(blocks, L, taps).transpose(0, 2, 1)
            self.packed[name] = [constant(order), constant(b.reshape(blocks, L))]
        return self.packed[name][0], self.packed[name][1]

    def _block_places(self, w: np.ndarray, y: Value) -> tuple[np.ndarray, ...]:
        # of the taps and blocks of weights, and of the blocks of y
        blocks, taps, L = w.shape
        return (
            places(np.arange(taps) * L),
            places(np.arange(blocks) * taps * L),
            places(np.arange(blocks) * y.plane),
        )

    def _conv2d(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        a, weight = node.attributes, node.weights["weight"]
        K, C_group, R, S = weight.shape
        C, groups = x.shape[0], a["groups"]
        if winograd_pays(self.graph, node):
            return self._winograd(node, x, clip, name)
        if (
            x.lanes == 1
            and x.data.size > x.at.size
            and pixels_pay(node, self.graph.shapes[node.output], self.lanes)
        ):
            return self._pixels(node, x, clip, name)
        depthwise = groups == C == K and C > 1
        x = self._regular(x, a["padding"], self.lanes if depthwise else 0)
        (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
        top, _, left, _ = a["padding"]
        _, P, Q = self.graph.shapes[node.output]
        r, s = np.ogrid[:R, :S]
        taps = r * gap_h * x.row + s * gap_w * x.lanes
        if depthwise:
            order = weight.reshape(K, R * S)
        else:
            c = np.arange(C)[:, None, None]
            taps = taps + (c // x.lanes * x.plane + c % x.lanes)
            dense = weight
            if groups > 1:  # zeros between the groups
                dense = np.zeros((groups, K // groups, groups, C_group, R, S), FLOAT)
                parts = weight.reshape(groups, K // groups, C_group, R, S)
                dense[np.arange(groups), :, np.arange(groups)] = parts
            order = dense.reshape(K, C * R * S)
        w, bias = self._weights(node.output, order, node.weights.get("bias"))
        y = self._make(self.graph.shapes[name], self.border[name])
        p, q = np.ogrid[:P, :Q]
        tables = (
            places(x.first + (p * step_h - top) * x.row + (q * step_w - left) * x.lanes),
            places(y.first + p * y.row + q * y.lanes),
            places(taps),
            *self._block_places(w, y),
        )
        if depthwise:
            _core.depthwise(x.data, w, bias, y.data, SIZE, tables, x.plane, clip)
        else:
            _core.channel_conv(x.data, w, bias, y.data, SIZE, tables, clip)
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
        c, r, s, p, v = np.ogrid[:C, :R, :S, :P, : -(-Q // L)]
        tables = (
            places(np.arange(K) * C * R * S),
            places(np.arange(K) * y.plane),
            places(range(C * R * S)),
            places((c * x.plane + r * gap_h * x.row + s * gap_w)[..., 0, 0]),
            places((x.first + (p - top) * x.row + v * L - left)[0, 0, 0]),
            places((p * y.row + v * L)[0, 0, 0]),
        )
        _core.pixel_conv(w, x.data, bias, y.data, SIZE, tables, clip)
        return y

    def _winograd(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        weight = node.weights["weight"]
        K, C, R, _ = weight.shape
        L = self.lanes
        blocks = -(-K // L)
        if node.output not in self.packed:
            u = np.zeros(((R + 3) ** 2, K, C), FLOAT)
            _core.winograd_weights(weight, u, SIZE, K, C, R)
            padded = np.zeros(((R + 3) ** 2, blocks * L, C), FLOAT)
            padded[:, :K] = u
            order = padded.reshape(-1, blocks, L, C).transpose(0, 1, 3, 2)
            bias = np.zeros(blocks * L, FLOAT)
            bias[:K] = node.weights.get("bias", 0.0)
            self.packed[node.output] = [constant(order), constant(bias)]
        u, bias = self.packed[node.output]
        x = self._borderless(x)
        y = self._make(self.graph.shapes[name], self.border[name])
        top, _, left, _ = node.attributes["padding"]
        shape = (-(-C // L), C, blocks, *x.shape[1:], *y.shape[1:], top, left, R)
        _core.channel_winograd(
            x.data, u, bias, y.data, SIZE, shape, (y.plane, y.row), y.first, clip
        )
        return y

    def _linear(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        w, bias = self._weights(node.output, node.weights["weight"], node.weights.get("bias"))
        y = self._make(self.graph.shapes[name])
        tables = (places(0), places(0), places(x.at), *self._block_places(w, y))
        _core.channel_conv(x.data, w, bias, y.data, SIZE, tables, clip)
        return y

    def _pool(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        a = node.attributes
        if x.lanes == 1 and is_pairs(node) and x.data.size > x.plane * x.shape[0]:
            y = self._make(self.graph.shapes[name], lanes=1)
            _core.pool_pairs(x.data, y.data, SIZE, y.shape, (x.plane, x.row), (y.plane, y.row))
            return y
        x = self._regular(x, lanes=self.lanes)
        y = self._make(self.graph.shapes[name], self.border[name])
        gaps = a.get("dilation", (1, 1))
        top, bottom, left, right = a["padding"]
        window = (*a["kernel"], *y.shape[1:], *a["stride"], *gaps, top, left, bottom, right)
        shape = (-(-x.shape[0] // self.lanes), *x.shape[1:], *window)
        steps = (x.plane, x.row, y.plane, y.row)
        count = a["count_include_pad"] if node.op == "avg_pool" else None
        _core.pool_channels(x.data, y.data, SIZE, shape, steps, (x.first, y.first), count)
        return y

    _max_pool = _avg_pool = _pool

    def _unary(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        low, high = node.attributes.get("low", 0.0), node.attributes.get("high", 0.0)
        op, parameter = node.op, node.attributes.get("negative_slope", low)
        if not keeps_zero(node):
            x = self._borderless(x)
        y = x.like(empty(x.data.shape, FLOAT))
        _core.elementwise(op, x.data, None, y.data, SIZE, x.data.size, parameter, high)
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
                spread = np.zeros(x.data.shape, FLOAT)
                spread[x.at] = np.broadcast_to(node.weights["constant"], shape).reshape(-1)
                self.packed[name] = [constant(spread)]
            operand = self.packed[name][0]
        y = x.like(empty(x.data.shape, FLOAT))
        op = "add" if node.op == "add" else "scale"
        _core.elementwise(op, x.data, operand, y.data, SIZE, x.data.size, 0.0)
        return y

    _add = _mul = _binary

    def _broadcast(self, x: Value, shape: Shape, border: Border) -> Value:
        return x if x.lanes > 1 and x.shape == shape else self._spread(x, shape, border)

    def _spread(self, x: Value, shape: Shape, border: Border, lanes: int = 0) -> Value:
        C, H, W = image(shape)
        value = self._make(shape, border, lanes)
        no_gaps = x.border == border == NO_BORDER and x.row == W
        plain = x.lanes == 1 and shape == x.shape and no_gaps
        if plain and value.lanes > 1:
            _core.pack(x.data, value.data, SIZE, C, H * W, 1.0)  # channels as if they were images
            return value
        source = np.broadcast_to(x.at.reshape(x.shape), shape)
        _core.move(x.data, value.data, SIZE, places(source), places(value.at), 1)
        return value

    def _softmax(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        C = x.shape[0]
        pixels = math.prod(x.shape[1:])
        vectors = -(-pixels // self.lanes)
        rows = empty((C * vectors * self.lanes,), FLOAT)
        at = places(np.arange(C)[:, None] * vectors * self.lanes + np.arange(pixels))
        _core.fill(rows, SIZE, 0.0)
        _core.move(x.data, rows, SIZE, places(x.at), at, 1)
        _core.softmax(rows, None, rows, SIZE, 1, C, vectors, node.op == "log_softmax")
        return Value(rows, x.shape, at)

    _log_softmax = _softmax

    def _gather(self, node: Node, *inputs: Value, clip: Any, name: str) -> Value:
        y = self._make(self.graph.shapes[name], self.border[name])
        index = node.attributes["index"].reshape(-1)
        if (index < 0).any():
            if name not in self.packed:
                self.packed[name] = [np.full(1, node.attributes["fill"], FLOAT)]
            target = y.at[index < 0]
            _core.move(
                self.packed[name][0], y.data, SIZE, places(np.zeros(len(target))), places(target), 1
            )
        start = 0
        for x in inputs:
            here = (start <= index) & (index < start + len(x.at))
            if here.any():
                _core.move(
                    x.data, y.data, SIZE, places(x.at[index[here] - start]), places(y.at[here]), 1
                )
            start += len(x.at)
        return y

    def _reshape(self, node: Node, x: Value, clip: Any, name: str) -> Value:
        return x.as_shape(self.graph.shapes[name])
