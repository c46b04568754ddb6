"""Numbers on the grid of bytes: what training and eager answers see of a network of bytes."""

from __future__ import annotations

import math
from typing import Any

from ..graph.bytes import LARGEST, Bytes, Grid
from ..graph.node import Node, Shape
from .bytes import numbers_of, to_bytes
from .c_text import number
from .elementwise import Elementwise


class FakeQuantize(Elementwise):
    """One grid for all numbers; a plan computes with the bytes themselves.

    The gradient passes where a number is not beyond the ends of the grid.
    """

    example = {"scale": 0.1}

    def takes_bytes(self, node: Node) -> bool:
        return True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        shape = super().shape(node, *shapes)
        scale, zero_point = node.attributes["scale"], node.attributes["zero_point"]
        if not (scale > 0 and math.isfinite(scale) and math.isfinite(1 / scale)):
            raise ValueError(f"scale: expected a number above 0, got {scale}")
        if zero_point not in range(LARGEST + 1):
            raise ValueError(f"zero_point: expected a byte, got {zero_point}")
        return shape

    def keeps_zero(self, node: Node) -> bool:
        return False  # the border of its input would be filled for nothing

    def image(self, run: Any, node: Node, *inputs: Any) -> Any:
        grid, border = grid_of(node), run.border[node.output]
        (x,) = inputs
        if isinstance(x, Bytes) and x.grid == grid:
            return x
        return to_bytes(run, numbers_of(run, x), grid, border)

    def expression(self, writer: Any, node: Node, v: str) -> str:
        grid = grid_of(node)
        low, high, _ = grid.limits()
        scale = number(grid.scale)
        writer.define(
            "fake_quantize_of(float v, float scale, float low, float high)",
            "(v = v / scale, rintf(v < low ? low : v > high ? high : v) * scale)",
        )
        return f"fake_quantize_of({v}, {scale}, {number(low)}, {number(high)})"

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        grid = grid_of(node)
        return str(model.on_grid(inputs[0], grid.scale, grid.zero_point))


def grid_of(node: Node) -> Grid:
    """The grid of a node."""
    return Grid(node.attributes["scale"], int(node.attributes["zero_point"]))


FakeQuantize(
    "fake_quantize",
    "(min(max(round(x / scale), -zero_point), 255 - zero_point)) scale",
    scale=...,
    zero_point=0.0,
)
