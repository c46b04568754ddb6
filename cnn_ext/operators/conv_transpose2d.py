"""Transposed convolution: the gradient of a convolution to its input, as a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from .. import _check as check
from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from .conv2d import ConvSizes, bias_fits, conv_sizes


class ConvTranspose2d(Operator):
    """What `conv2d` with this weight, (C, K / groups, R, S), does on the way back, plus a bias.

    H becomes ``(H - 1) stride - top - bottom + dilation (R - 1) + output_padding + 1``; W likewise.
    The gradient to the input is the convolution itself.
    """

    attributes = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    weights = ("weight", "bias")
    example = {"x": (64, 14, 14), "weight": (64, 32, 2, 2), "bias": (32,), "stride": 2}
    reads = "x"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        weight, a = node.weights["weight"].shape, node.attributes
        if len(x) != 3 or len(weight) != 4 or weight[0] != x[0]:
            raise ValueError(f"a weight of {weight} takes no {x}")
        groups = check.whole(a["groups"], "groups", 1)
        stride, gaps = (
            check.pair(a["stride"], "stride", 1),
            check.pair(a["dilation"], "dilation", 1),
        )
        more = check.pair(a["output_padding"], "output_padding", 0)
        padding = check.padding4(a["padding"], weight[2:], stride, gaps)
        a.update(stride=stride, padding=padding, output_padding=more, dilation=gaps, groups=groups)
        if any(m >= max(s, g) for m, s, g in zip(more, stride, gaps, strict=True)):
            raise ValueError(
                f"output_padding: expected less than stride {stride} or dilation, got {more}"
            )
        sides = (
            (size - 1) * s - before - after + g * (kernel - 1) + m + 1
            for size, kernel, s, g, m, before, after in zip(
                x[1:], weight[2:], stride, gaps, more, padding[::2], padding[1::2], strict=True
            )
        )
        output = weight[1] * groups, *sides
        if min(output) < 1:
            raise ValueError(f"padding {padding}: nothing is left of {x}")
        bias_fits(node, output[0])
        sizes = _sizes(node, output)
        if (sizes.P, sizes.Q) != x[1:]:
            raise ValueError(f"output_padding {more}: a convolution of {output} gives no {x}")
        return output

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        output = run.graph.shapes[node.output]
        y = Lanes.empty((x.images, *output), x.dtype)
        size, sizes = x.dtype.itemsize, _sizes(node, output)
        w, bias = run.weight(node, "weight"), run.weight(node, "bias")
        core, halves = (x.blocks, *sizes), run.halves(node)
        _core.conv2d_input(x.data, w, y.data, size, core, x.images, halves)
        if bias is not None:
            pixels = math.prod(output[1:])
            _core.affine(y.data, None, bias, y.data, size, x.blocks, output[0], pixels)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        K, *sides = dy.shape[1:]
        size, core = dy.dtype.itemsize, (dy.blocks, *_sizes(node, dy.shape[1:]))
        halves = run.halves(node, True)
        if run.learns(node, "weight"):
            dw = empty(node.weights["weight"].shape, dy.dtype)
            _core.conv2d_weight(x_lanes.data, dy.data, dw, size, core, dy.images, halves)
            run.learn(node, "weight", dw, True)
        if run.learns(node, "bias"):
            db = empty((K,), dy.dtype)
            _core.channel_sum(dy.data, db, size, dy.blocks, K, math.prod(sides), dy.images)
            run.learn(node, "bias", db)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty(x_lanes.shape, dy.dtype)
        w = run.weight(node, "weight")
        _core.conv2d(dy.data, w, None, dx.data, size, core, None, dy.images, None, halves)
        return (dx,)

    def lowers(self, node: Node) -> str:
        return "image"

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        # convolutions for the outputs that lie alike between the inputs, by the taps that meet an
        # input there; then all outputs in their order
        (x,), a, w = inputs, node.attributes, node.weight("weight")
        assert w is not None
        (C, *sides), G = graph.shapes[x], a["groups"]
        output = self.shape(node, (C, *sides))
        turned = w.reshape(G, C // G, *w.shape[1:]).swapaxes(1, 2)
        rows, columns = map(
            _places, sides, output[1:], w.shape[2:], a["stride"], a["dilation"], a["padding"][::2]
        )
        alike: dict[Any, list[tuple[Places, Places]]] = {}
        for row, column in product(rows, columns):
            alike.setdefault((row.way, column.way), []).append((row, column))
        index, size, parts = np.full(output, -1), 0, []
        for (row_way, column_way), places in alike.items():
            taps = [turned[..., row.taps, column.taps] for row, column in places]
            weight = np.stack(taps, 1).reshape(-1, *taps[0].shape[2:])
            part = graph.add(
                "conv2d", x, weights={"weight": weight}, groups=G,
                dilation=(row_way.gap, column_way.gap),
                padding=(*row_way.padding, *column_way.padding),
            )  # fmt: skip
            _, P, Q = graph.shapes[part]
            made = np.arange(size, size + weight.shape[0] * P * Q).reshape(G, len(places), -1, P, Q)
            for i, (row, column) in enumerate(places):
                to = index[:, row.first :: a["stride"][0], column.first :: a["stride"][1]]
                here = made[:, i, :, row_way.begin :, column_way.begin :]
                to[...] = here[..., : to.shape[1], : to.shape[2]].reshape(to.shape)
            parts.append(part)
            size += made.size
        y = parts[0] if parts else x
        if len(parts) != 1 or not np.array_equal(index.ravel(), np.arange(size)):
            y = graph.add("gather", *(parts or inputs), index=index)
        bias = node.weight("bias")
        if bias is not None:  # added at the end, as in lanes
            y = graph.add("add", y, weights={"constant": bias[:, None, None]})
        return str(y)

    def multiply_adds(self, node: Node, shape: Shape) -> int:
        inputs = _sizes(node, shape)
        return math.prod(node.weights["weight"].shape) * inputs.P * inputs.Q

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        a = node.attributes
        return str(
            model.node(
                "ConvTranspose", *inputs, *model.weights(node), strides=a["stride"],
                kernel_shape=node.weights["weight"].shape[2:], pads=model.pads(a["padding"]),
                output_padding=a["output_padding"], dilations=a["dilation"], group=a["groups"],
            )
        )  # fmt: skip


def _sizes(node: Node, output: Shape) -> ConvSizes:
    # of the convolution whose way back it is
    a = node.attributes
    shape = node.weights["weight"].shape
    return conv_sizes(output, shape, a["stride"], a["padding"], a["dilation"], a["groups"])


class Way(NamedTuple):
    """How a convolution goes along an axis, and where in it the outputs that are meant begin."""

    taps: int
    gap: int
    padding: tuple[int, int]
    begin: int


class Places(NamedTuple):
    """Every `stride`-th output of an axis."""

    first: int
    taps: slice  # that meet inputs there, the last one first
    way: Way


def _places(
    size: int, outputs: int, kernel: int, stride: int, gap: int, before: int
) -> list[Places]:
    # output p is the sum over taps r of inputs (p + before - gap r) / stride, where that is whole
    found = []
    step, apart = stride // math.gcd(stride, gap), gap // math.gcd(stride, gap)
    for p in range(min(stride, outputs)):
        taps = [r for r in range(min(step, kernel)) if (p + before - gap * r) % stride == 0]
        if taps:
            steps = (kernel - 1 - taps[0]) // step
            last = taps[0] + steps * step
            low = (p + before - gap * last) // stride  # the first input that is read
            more = low + -(-(outputs - p) // stride) + apart * steps - size
            padding = max(-low, 0), max(more, 0)
            way = Way(steps, apart, padding, low + padding[0])
            found.append(Places(p, slice(last, None, -step), way))
    return found


ConvTranspose2d("conv_transpose2d")
