"""Normalisation of each image: over groups of channels, or over the channels of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _check as check
from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty


class GroupNorm(Operator):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with mean and variance of each group.

    A group is the pixels of some channels or, with `across`, the channels of one pixel.  Y. Wu,
    K. He, "Group normalization", 2018.
    """

    attributes = {"groups": ..., "eps": 1e-5, "across": False}
    weights = ("weight", "bias")
    reads = "x"

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        groups = check.whole(node.attributes["groups"], "groups", 1)
        if x[0] % groups:
            raise ValueError(f"groups: expected a divisor of {x[0]} channels, got {groups}")
        if node.attributes["across"] and groups != 1:
            raise ValueError(f"groups: expected 1 across channels, got {groups}")
        for key, array in node.weights.items():
            if array.shape != x[:1]:
                raise ValueError(f"{key}: expected shape ({x[0]},), got {array.shape}")
        return x

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        a, (C, *rest) = node.attributes, x.shape[1:]
        G, pixels = a["groups"], math.prod(rest)
        count = pixels if a["across"] else G
        stats = empty((x.blocks, count, 2, x.data.shape[-1]), x.dtype)
        y = Lanes.empty(x.shape, x.dtype)
        w, b = run.weight(node, "weight"), run.weight(node, "bias")
        sizes = x.blocks, G, C // G, pixels, a["eps"], a["across"]
        _core.group_norm(x.data, w, b, y.data, stats, x.dtype.itemsize, *sizes)
        run.keep(stats)
        return y

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        a, (C, *rest) = node.attributes, dy.shape[1:]
        G, stats, item = a["groups"], run.kept(), dy.dtype.itemsize
        sizes = dy.blocks, G, C // G, math.prod(rest)
        learns = [run.learns(node, key) for key in ("bias", "weight")]
        if any(learns):
            parts, sums = empty((dy.blocks, 2, C), dy.dtype), empty((2, C), dy.dtype)
            _core.group_norm_sums(
                dy.data, x_lanes.data, stats, parts, item, *sizes, dy.images, a["across"]
            )
            _core.block_sum(parts, sums, item, dy.blocks, 2 * C, False)
            for key, learned, row in zip(("bias", "weight"), learns, sums, strict=True):
                if learned:
                    run.learn_whole(node, key, row)
        if not wanted[0]:
            return (None,)
        dx = Lanes.empty(dy.shape, dy.dtype)
        w = run.weight(node, "weight")
        _core.group_norm_input(dy.data, x_lanes.data, w, stats, dx.data, item, *sizes, a["across"])
        return (dx,)

    def lowers(self, node: Node) -> str:
        return "image"

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        a, (name,) = node.attributes, inputs
        shape = graph.shapes[name]
        C, pixels = shape[0], math.prod(shape[1:])
        # the axis over which is summed in the middle
        form = (1, C, pixels) if a["across"] else (a["groups"], C // a["groups"] * pixels, 1)
        window = {"kernel": (form[1], 1), "stride": (1, 1)}
        x = graph.add("reshape", name, shape=form)
        centred = graph.add("sub", x, graph.add("avg_pool", x, **window))
        var = graph.add("avg_pool", graph.add("square", centred), **window)
        kept = graph.add("add", var, weights={"constant": [a["eps"]]})
        scale = graph.add("power", kept, exponent=-0.5)
        y = graph.add("reshape", graph.add("mul", centred, scale), shape=shape)
        for op, key in (("mul", "weight"), ("add", "bias")):
            array = node.weight(key)
            if array is not None:
                constant = array.reshape(-1, *(1 for _ in shape[1:]))
                y = graph.add(op, y, weights={"constant": constant})
        made: str = y
        return made


GroupNorm("group_norm")
