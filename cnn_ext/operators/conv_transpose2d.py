"""Transposed convolution: the gradient of a convolution to its input, as a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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
        _core.conv2d_input(x.data, w, y.data, size, (x.blocks, *sizes), x.images)
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
        if run.learns(node, "weight"):
            dw = empty(node.weights["weight"].shape, dy.dtype)
            _core.conv2d_weight(x_lanes.data, dy.data, dw, size, core, dy.images)
            run.learn(node, "weight", dw)
        if run.learns(node, "bias"):
            db = empty((K,), dy.dtype)
            _core.channel_sum(dy.data, db, size, dy.blocks, K, math.prod(sides), dy.images)
            run.learn(node, "bias", db)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty(x_lanes.shape, dy.dtype)
        w = run.weight(node, "weight")
        _core.conv2d(dy.data, w, None, dx.data, size, core, None, dy.images)
        return (dx,)

    def lowers(self, node: Node) -> str:
        return "image"

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        (x,) = inputs
        index, weight, attributes = as_convolution(node, graph.shapes[x])
        spread: str = graph.add("gather", x, index=index)
        made: str = graph.add("conv2d", spread, weights={"weight": weight}, **attributes)
        bias = node.weight("bias")
        if bias is not None:  # added at the end, as in lanes
            made = graph.add("add", made, weights={"constant": bias[:, None, None]})
        return made

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


def as_convolution(node: Node, x: Shape) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The same as a convolution of the input with zeros between its pixels.

    Returns
    -------
    index : ndarray
        For `gather`: the input with ``stride - 1`` zeros between pixels.
    weight : ndarray, shape (K, C / groups, R, S)
        The kernel rotated by 180 degrees, with input and output channels exchanged.
    attributes : dict
        Of the convolution.
    """
    a, w = node.attributes, node.weight("weight")
    assert w is not None
    C, H, W = x
    (step_h, step_w), (more_h, more_w), (gap_h, gap_w) = (
        a["stride"],
        a["output_padding"],
        a["dilation"],
    )
    index = np.full((C, (H - 1) * step_h + 1 + more_h, (W - 1) * step_w + 1 + more_w), -1)
    here = index[:, : (H - 1) * step_h + 1 : step_h, : (W - 1) * step_w + 1 : step_w]
    here[...] = np.arange(C * H * W).reshape(x)
    G, (_, K, R, S) = a["groups"], w.shape
    turned = w[:, :, ::-1, ::-1].reshape(G, C // G, K, R, S).transpose(0, 2, 1, 3, 4)
    top, bottom, left, right = a["padding"]
    reach_h, reach_w = gap_h * (R - 1), gap_w * (S - 1)
    padding = reach_h - top, reach_h - bottom, reach_w - left, reach_w - right
    if min(padding) < 0:  # what would be cut off the output is cut off the input
        rows = slice(max(-padding[0], 0), index.shape[1] - max(-padding[1], 0))
        columns = slice(max(-padding[2], 0), index.shape[2] - max(-padding[3], 0))
        index = index[:, rows, columns]
        padding = tuple(max(side, 0) for side in padding)
    attributes = {"padding": padding, "dilation": a["dilation"], "groups": G}
    return np.ascontiguousarray(index), turned.reshape(G * K, C // G, R, S), attributes


ConvTranspose2d("conv_transpose2d")
