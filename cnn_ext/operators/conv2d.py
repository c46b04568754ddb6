"""Convolution: cross-correlation with feature detectors, as in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import _check as check
from .. import _core
from ..graph import windows
from ..graph.bytes import Bytes
from ..graph.graph import Graph
from ..graph.layout import FLOAT, NO_BORDER, SIZE, Border, Placed, constant
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from . import conv2d_c, halves
from .bytes import conv2d as conv2d_of_bytes
from .bytes import has_byte_weights
from .packing import block_places, filters, in_blocks, parts, winograd_blocks
from .pool import pairs_behind


class ConvSizes(NamedTuple):
    """All sizes of a convolution, channels per group, as the kernels take them after the blocks."""

    groups: int
    C: int
    K: int
    H: int
    W: int
    R: int
    S: int
    P: int
    Q: int
    step_h: int
    step_w: int
    top: int
    left: int
    gap_h: int
    gap_w: int

    @property
    def output(self) -> Shape:
        return self.groups * self.K, self.P, self.Q


def conv_sizes(
    x_shape: Shape, w_shape: Shape, stride: Any, padding: Any, dilation: Any, groups: Any
) -> ConvSizes:
    """Check the sizes of a convolution of (C, H, W) inputs against each other.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that does not fit.
    """
    C, H, W = check.image_axes(x_shape)
    if len(w_shape) != 4 or 0 in w_shape:
        raise ValueError(f"weight: expected shape (K, C / groups, R, S), got {w_shape}")
    groups = check.whole(groups, "groups", 1)
    step_h, step_w = check.pair(stride, "stride", 1)
    gap_h, gap_w = check.pair(dilation, "dilation", 1)
    K, C_group, R, S = w_shape
    if K % groups:
        raise ValueError(f"groups: expected a divisor of the {K} output channels, got {groups}")
    if C != C_group * groups:
        last = "; channels come first, (C, H, W)" if W == C_group * groups else ""
        raise ValueError(f"x: expected {C_group * groups} channels, got {C} from {x_shape}{last}")
    top, bottom, left, right = check.padding4(padding, (R, S), (step_h, step_w), (gap_h, gap_w))
    P = windows.count(H, top, bottom, R, step_h, gap_h)
    Q = windows.count(W, left, right, S, step_w, gap_w)
    if min(P, Q) < 1:
        raise ValueError(
            f"weight: a kernel of {R} x {S} (dilation {gap_h}, {gap_w}) does not fit into the "
            f"padded input of {H + top + bottom} x {W + left + right}"
        )
    if max(P, Q) > check.LARGEST:
        raise ValueError(f"padding: an output of {P} x {Q} is too large")
    return ConvSizes(
        groups, C_group, K // groups, H, W, R, S, P, Q, step_h, step_w, top, left, gap_h, gap_w
    )


def bias_fits(node: Node, count: int) -> None:
    """Raise ValueError if there is a bias of another shape."""
    bias = node.weights.get("bias")
    if bias is not None and bias.shape != (count,):
        raise ValueError(f"bias: expected shape ({count},), got {bias.shape}")


def scale_fits(node: Node, count: int) -> None:
    """Raise ValueError if weights that are bytes have no scale above 0 for each output."""
    scale = node.weight("weight_scale")
    if scale is not None and not (scale.shape == (count,) and (scale > 0).all()):
        raise ValueError(f"weight_scale: expected {count} numbers above 0, got {scale.shape}")


def sizes_of(node: Node, x_shape: Shape) -> ConvSizes:
    """The sizes of a convolution in a graph; sequences (C, L) are images of one row."""
    a = node.attributes
    shape = node.weights["weight"].shape
    if len(shape) == 3:
        if len(x_shape) != 2:
            raise ValueError(f"expected an input of (C, L), got {x_shape}")
        x_shape, shape = (x_shape[0], 1, x_shape[1]), (*shape[:2], 1, shape[2])
    return conv_sizes(x_shape, shape, a["stride"], a["padding"], a["dilation"], a["groups"])


def winograd_pays(graph: Graph, node: Node) -> bool:
    """Whether a convolution goes Winograd's way: where it does so for a block of images."""
    sizes = sizes_of(node, graph.shapes[node.inputs[0]])
    return _core.winograd_pays(SIZE, (1, *sizes)) and not halves.channels_of(graph, sizes)


def pixels_pay(node: Node, output_shape: Shape, lanes: int) -> bool:
    """Whether lanes over pixels have less to do than lanes over output channels."""
    a, (K, Q) = node.attributes, (output_shape[0], output_shape[2])
    if a["stride"] != (1, 1) or a["groups"] > 1:
        return False
    return K * -(-Q // lanes) < Q * -(-K // lanes)


class Conv2d(Operator):
    """``y[k,p,q] = bias[k] + sum_{c,r,s} x[c, p stride + r dilation - padding, ...] w[k,c,r,s]``.

    The gradient to the input is the full cross-correlation of `dy` with the kernel rotated by 180
    degrees, done by the forward kernel.
    """

    attributes = {
        "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "clip": None, "quantize": None,
    }  # fmt: skip
    weights = ("weight", "bias", "weight_scale")
    example = {"weight": (64, 64, 3, 3), "bias": (64,), "padding": 1}
    reads = "x"
    c_goes_on = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        sizes = sizes_of(node, x)
        bias_fits(node, sizes.output[0])
        scale_fits(node, sizes.output[0])
        a = node.attributes
        kernel, stride = (sizes.R, sizes.S), (sizes.step_h, sizes.step_w)
        gaps = sizes.gap_h, sizes.gap_w
        padding = check.padding4(a["padding"], kernel, stride, gaps)
        a.update(stride=stride, padding=padding, dilation=gaps, groups=sizes.groups)
        return sizes.output if len(x) == 3 else (sizes.output[0], sizes.Q)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        sizes = sizes_of(node, x.shape[1:])
        w, bias = run.weight(node, "weight"), run.weight(node, "bias")
        y = Lanes.empty((x.images, *run.graph.shapes[node.output]), x.dtype)
        u, _ = run.packed.get(node.output, (None, None))
        _core.conv2d(
            x.data, w, bias, y.data, x.dtype.itemsize, (x.blocks, *sizes), node.attributes["clip"],
            x.images, u, run.halves(node),
        )  # fmt: skip
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        sizes = sizes_of(node, x_lanes.shape[1:])
        K, N, size = sizes.output[0], dy.images, dy.dtype.itemsize
        core = (dy.blocks, *sizes)
        halves = run.halves(node, True)
        if run.learns(node, "weight"):
            dw = empty(node.weights["weight"].shape, dy.dtype)
            _core.conv2d_weight(dy.data, x_lanes.data, dw, size, core, N, halves)
            run.learn(node, "weight", dw, True)
        if run.learns(node, "bias"):
            db = empty((K,), dy.dtype)
            _core.channel_sum(dy.data, db, size, dy.blocks, K, sizes.P * sizes.Q, N)
            run.learn(node, "bias", db)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty(x_lanes.shape, dy.dtype)
        w = run.weight(node, "weight")
        _core.conv2d_input(dy.data, w, dx.data, size, core, N, halves)
        return (dx,)

    def lowers(self, node: Node) -> str:
        return "image" if len(node.weights["weight"].shape) == 3 else ""

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        C, L = graph.shapes[inputs[0]]
        weight: Any = node.weight("weight")
        weights = {**node.weights, "weight": weight[:, :, None]}
        row = graph.add("reshape", *inputs, shape=(C, 1, L))
        y = graph.add("conv2d", row, weights=weights, **node.attributes)
        K, _, Q = graph.shapes[y]
        made: str = graph.add("reshape", y, shape=(K, Q))
        return made

    def takes_bytes(self, node: Node) -> bool:
        return has_byte_weights(node)

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        (x,) = inputs
        if isinstance(x, Bytes):
            return conv2d_of_bytes(run, node, x, pairs_behind(run.graph, node))
        shape, sizes = run.graph.shapes[node.output], sizes_of(node, x.shape)
        channels = halves.channels_of(run.graph, sizes)
        if channels:
            s, weight, padding = sizes, node.weights["weight"], node.attributes["padding"]
            core = s.C, s.K, s.R, s.S, s.P, s.Q, s.step_h, s.step_w, s.gap_h, s.gap_w
            return halves.conv(run, node, x, channels, weight, core, padding)
        if winograd_pays(run.graph, node):
            return self._winograd(run, node, x)
        beyond = x.lanes == 1 and x.data.size > math.prod(x.shape)  # there is more room behind it
        if beyond and pixels_pay(node, shape, run.lanes):
            return self._pixels(run, node, x)
        a, weight, clip = node.attributes, node.weights["weight"], node.attributes["clip"]
        K, C_group, R, S = weight.shape
        C, groups, grid = x.shape[0], a["groups"], run.packed.grid
        depthwise = groups == C == K and C > 1
        x = run.regular(x, a["padding"], run.lanes if depthwise else 0)
        (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
        top, _, left, _ = a["padding"]
        _, P, Q = shape
        y: Placed = run.make(shape, run.border[node.output])
        first = x.first - top * x.row - left * x.lanes
        pixels = grid(first, (P, step_h * x.row), (Q, step_w * x.lanes))
        targets = grid(y.first, (P, y.row), (Q, y.lanes))
        bias, window = node.weights.get("bias"), ((R, gap_h * x.row), (S, gap_w * x.lanes))
        if depthwise:
            w, b = in_blocks(run, node.output, lambda: weight.reshape(K, R * S), bias)
            tables = pixels, targets, grid(0, *window), *block_places(run, w, y)
            run.kernels.depthwise(x.data, w, b, y.data, SIZE, tables, x.plane, clip)
            return y
        taps = grid(0, *x.channels(), *window)
        for block, k, own in parts(K, groups, run.lanes):
            rows = partial(filters, weight, k, own, groups)
            part = None if bias is None else bias[k.start : k.stop]
            w, b = in_blocks(run, f"{node.output} from {block}", rows, part)
            each = C_group * R * S
            seen = taps[own.start * each : own.stop * each]
            tables = pixels, targets, seen, *block_places(run, w, y, block)
            run.kernels.channel_conv(x.data, w, b, y.data, SIZE, tables, clip)
        return y

    def _pixels(self, run: Any, node: Node, x: Placed) -> Placed:
        # few channels: lanes over neighbouring pixels
        a, weight = node.attributes, node.weights["weight"]
        K, C, R, S = weight.shape
        L = run.lanes
        gap_h, gap_w = a["dilation"]
        top, _, left, _ = a["padding"]
        x = run.regular(x, a["padding"], 1)
        _, P, Q = run.graph.shapes[node.output]
        if node.output not in run.packed:
            bias = np.zeros(K, FLOAT)
            bias[:] = node.weights.get("bias", 0.0)
            run.packed[node.output] = [constant(weight), constant(bias)]
        w, bias = run.packed[node.output]
        y: Placed = run.make((K, P, Q), lanes=1, row=-(-Q // L) * L)
        grid, vectors = run.packed.grid, -(-Q // L)
        tables = (
            grid(0, (K, C * R * S)),
            grid(0, (K, y.plane)),
            grid(0, (C * R * S, 1)),
            grid(0, (C, x.plane), (R, gap_h * x.row), (S, gap_w)),
            grid(x.first - top * x.row - left, (P, x.row), (vectors, L)),
            grid(0, (P, y.row), (vectors, L)),
        )
        run.kernels.pixel_conv(w, x.data, bias, y.data, SIZE, tables, a["clip"])
        return y

    def _winograd(self, run: Any, node: Node, x: Placed) -> Placed:
        weight, L = node.weights["weight"], run.lanes
        K, C, R, _ = weight.shape
        if node.output not in run.packed:
            run.packed[node.output] = winograd_blocks(weight, node.weights.get("bias"), L)
        u, bias = run.packed[node.output]
        x = run.regular(x, lanes=L)
        y: Placed = run.make(run.graph.shapes[node.output], run.border[node.output])
        top, _, left, _ = node.attributes["padding"]
        shape = (-(-C // L), C, -(-K // L), K, *x.shape[1:], *y.shape[1:], top, left, R)
        clip = node.attributes["clip"]
        run.kernels.channel_winograd(
            x.data,
            u,
            weight,
            bias,
            y.data,
            SIZE,
            shape,
            (x.plane, x.row, y.plane, y.row),
            (x.first, y.first),
            clip,
        )
        return y

    def packed_for_both(self, graph: Graph, node: Node) -> bool:
        return winograd_pays(graph, node)

    def padding(self, graph: Graph, node: Node) -> Border:
        if winograd_pays(graph, node) and not has_byte_weights(node):
            return NO_BORDER  # its transforms see to the edges
        sides: Border = node.attributes["padding"]
        return sides

    def reads_beyond(self, graph: Graph, node: Node, lanes: int) -> bool:
        return pixels_pay(node, graph.shapes[node.output], lanes)

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        conv2d_c.conv2d(writer, node, inputs[0], y, after)

    def multiply_adds(self, node: Node, shape: Shape) -> int:
        return math.prod(node.weights["weight"].shape) * math.prod(shape[1:])

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        a, kernel = node.attributes, node.weights["weight"].shape[2:]
        axes = slice(2 - len(kernel), None)  # sequences have the last alone
        top, bottom, left, right = a["padding"]
        y = model.node(
            "Conv", *inputs, *model.weights(node), kernel_shape=kernel, strides=a["stride"][axes],
            pads=[*(top, left)[axes], *(bottom, right)[axes]], dilations=a["dilation"][axes],
            group=a["groups"],
        )  # fmt: skip
        return str(model.clip(y, a["clip"]))


Conv2d("conv2d")
