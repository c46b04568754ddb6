"""Convolution: cross-correlation with feature detectors, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _check as check
from .. import _core
from ..graph import windows
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty


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
    if len(x_shape) != 3:
        raise ValueError(f"expected an input of (C, H, W), got {x_shape}")
    if len(w_shape) != 4 or 0 in w_shape:
        raise ValueError(f"weight: expected shape (K, C / groups, R, S), got {w_shape}")
    groups = check.whole(groups, "groups", 1)
    step_h, step_w = check.pair(stride, "stride", 1)
    gap_h, gap_w = check.pair(dilation, "dilation", 1)
    (C, H, W), (K, C_group, R, S) = x_shape, w_shape
    if K % groups:
        raise ValueError(f"groups: expected a divisor of the {K} output channels, got {groups}")
    if C != C_group * groups:
        raise ValueError(f"x: expected {C_group * groups} channels, got {C} from {x_shape}")
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


def sizes_of(node: Node, x_shape: Shape) -> ConvSizes:
    """The sizes of a convolution in a graph."""
    a = node.attributes
    shape = node.weights["weight"].shape
    return conv_sizes(x_shape, shape, a["stride"], a["padding"], a["dilation"], a["groups"])


class Conv2d(Operator):
    """``y[k,p,q] = bias[k] + sum_{c,r,s} x[c, p stride + r dilation - padding, ...] w[k,c,r,s]``.

    The gradient to the input is the full cross-correlation of `dy` with the kernel rotated by 180
    degrees, done by the forward kernel.
    """

    attributes = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "clip": None}
    weights = ("weight", "bias")
    reads = "x"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        sizes = sizes_of(node, x)
        bias_fits(node, sizes.output[0])
        a = node.attributes
        kernel, stride = (sizes.R, sizes.S), (sizes.step_h, sizes.step_w)
        gaps = sizes.gap_h, sizes.gap_w
        padding = check.padding4(a["padding"], kernel, stride, gaps)
        a.update(stride=stride, padding=padding, dilation=gaps, groups=sizes.groups)
        return sizes.output

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        sizes = sizes_of(node, x.shape[1:])
        w, bias = run.weight(node, "weight"), run.weight(node, "bias")
        y = Lanes.empty((x.images, *sizes.output), x.dtype)
        _core.conv2d(
            x.data, w, bias, y.data, x.dtype.itemsize, (x.blocks, *sizes), node.attributes["clip"],
            x.images,
        )  # fmt: skip
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        sizes = sizes_of(node, x_lanes.shape[1:])
        K, N, size = sizes.output[0], dy.images, dy.dtype.itemsize
        core = (dy.blocks, *sizes)
        if run.learns(node, "weight"):
            dw = empty(node.weights["weight"].shape, dy.dtype)
            _core.conv2d_weight(dy.data, x_lanes.data, dw, size, core, N)
            run.learn(node, "weight", dw)
        if run.learns(node, "bias"):
            db = empty((K,), dy.dtype)
            _core.channel_sum(dy.data, db, size, dy.blocks, K, sizes.P * sizes.Q, N)
            run.learn(node, "bias", db)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty(x_lanes.shape, dy.dtype)
        _core.conv2d_input(dy.data, run.weight(node, "weight"), dx.data, size, core, N)
        return (dx,)

    def multiply_adds(self, node: Node, shape: Shape) -> int:
        K, C, R, S = node.weights["weight"].shape
        return K * C * R * S * shape[1] * shape[2]

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        a = node.attributes
        y = model.node(
            "Conv", *inputs, *model.weights(node), kernel_shape=node.weights["weight"].shape[2:],
            strides=a["stride"], pads=model.pads(a["padding"]), dilations=a["dilation"],
            group=a["groups"],
        )  # fmt: skip
        return model.clip(y, a["clip"])


Conv2d("conv2d")
