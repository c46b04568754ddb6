"""Full connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core
from ..graph.bytes import Bytes
from ..graph.layout import SIZE, Placed
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty
from .bytes import has_byte_weights
from .bytes import linear as linear_of_bytes
from .conv2d import ConvSizes, bias_fits, scale_fits
from .conv2d_c import clipped, dense
from .halves import channels_of, conv
from .packing import block_places, in_blocks

WIDEST = 64  # bytes of a vector of any instruction set: which way is taken depends on none


class Linear(Operator):
    """``y = x weight' + bias``.

    Gradients: ``dx = dy weight``, ``dweight = dy' x``, ``dbias = sum of dy``.
    """

    attributes = {"clip": None, "quantize": None}
    weights = ("weight", "bias", "weight_scale")
    example = {"x": (1024,), "weight": (256, 1024), "bias": (256,)}
    reads = "x"
    c_goes_on = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        weight = node.weights["weight"]
        if len(weight.shape) != 2 or 0 in weight.shape:
            raise ValueError(f"weight: expected shape (K, C), got {weight.shape}")
        K, C = weight.shape
        if len(x) != 1 or x[0] != C:
            got = x[0] if len(x) == 1 else x
            raise ValueError(f"x: expected {C} features, got {got}")
        bias_fits(node, K)
        scale_fits(node, K)
        return (K,)

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        w, bias = run.weight(node, "weight"), run.weight(node, "bias")
        K, C = w.shape
        y = Lanes.empty((x.images, K), x.dtype)
        clip, halves = node.attributes["clip"], run.halves(node)
        _core.linear(x.data, w, bias, y.data, x.dtype.itemsize, x.blocks, C, K, clip, halves)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        K, C = node.weights["weight"].shape
        N, size, halves = dy.images, dy.dtype.itemsize, run.halves(node, True)
        if run.learns(node, "weight"):
            dw, narrow = empty((K, C), dy.dtype), C < WIDEST // size
            if narrow:  # too few features for a vector: a 1 x 1 convolution
                core = (dy.blocks, 1, C, K, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1)
                _core.conv2d_weight(dy.data, x_lanes.data, dw, size, core, N, halves)
            else:
                _core.linear_weight(dy.data, x_lanes.data, dw, size, N, C, K, halves)
            run.learn(node, "weight", dw, True)
        if run.learns(node, "bias"):
            db = empty((K,), dy.dtype)
            _core.channel_sum(dy.data, db, size, dy.blocks, K, 1, N)
            run.learn(node, "bias", db)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty((N, C), dy.dtype)
        w = run.weight(node, "weight")
        _core.linear_input(dy.data, w, dx.data, size, dy.blocks, C, K, halves)
        return (dx,)

    def takes_bytes(self, node: Node) -> bool:
        return has_byte_weights(node)

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        (x,) = inputs
        if isinstance(x, Bytes):
            return linear_of_bytes(run, node, x)
        weight, grid = node.weights["weight"], run.packed.grid
        K, C = weight.shape
        if channels_of(run.graph, ConvSizes(1, C, K, *(1,) * 8, 0, 0, 1, 1)):
            return conv(run, node, x, C, weight.reshape(K, C, 1, 1), (C, K, *(1,) * 8))
        w, bias = in_blocks(run, node.output, lambda: weight, node.weights.get("bias"))
        y: Placed = run.make(run.graph.shapes[node.output])
        origin = grid(0, (1, 1))
        tables = (origin, origin, x.at(run.packed), *block_places(run, w, y))
        run.kernels.channel_conv(x.data, w, bias, y.data, SIZE, tables, node.attributes["clip"])
        return y

    def c(self, writer: Any, node: Node, inputs: Sequence[str], y: str, after: str) -> None:
        after = clipped(writer, node, after)
        dense(writer, node.weights["weight"], node.weights.get("bias"), after, inputs[0], y)

    def multiply_adds(self, node: Node, shape: Shape) -> int:
        K, C = node.weights["weight"].shape
        return K * C

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        y = model.node("Gemm", *inputs, *model.weights(node), transB=1)
        return model.clip(y, node.attributes["clip"])


Linear("linear")
