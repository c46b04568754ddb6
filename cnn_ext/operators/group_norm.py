"""Normalisation of each image: over groups of channels, or over the channels of a pixel."""

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


class GroupNorm(Operator):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with mean and variance of each group.

    A group is the pixels of some channels or, with `across`, the channels of one pixel.  Y. Wu,
    K. He, "Group normalization", 2018.
    """

    attributes = {"groups": ..., "eps": 1e-5, "across": False}
    weights = ("weight", "bias")
    example = {"groups": 8, "weight": (64,), "bias": (64,)}
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
            _core.block_sum(parts, sums, item, dy.blocks, 2 * C)
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
        shape, G = graph.shapes[name], a["groups"]
        C, form = shape[0], shape if len(shape) == 3 else (shape[0], 1, math.prod(shape[1:]))
        share = np.full((1 if G == 1 else C, C // G, 1, 1), G / C)

        def mean(y: str) -> str:
            # of pixels, then of channels, for each channel unless it is the same for all
            if not a["across"]:
                y = graph.add("avg_pool", y, kernel=form[1:])
            return graph.add("conv2d", y, weights={"weight": share}, groups=G) if G < C else y

        def with_weight(op: str, y: str, key: str) -> str:
            array = node.weight(key)
            constant = {} if array is None else {"constant": array[:, None, None]}
            return graph.add(op, y, weights=constant) if constant else y

        x = graph.add("reshape", name, shape=form) if form != shape else name
        centred = graph.add("sub", x, mean(x))
        kept = graph.add(
            "add", mean(graph.add("square", centred)), weights={"constant": [a["eps"]]}
        )
        scale = graph.add("power", kept, exponent=-0.5)
        if graph.shapes[scale][0] < C:
            y = with_weight("mul", graph.add("mul", centred, scale), "weight")
        else:
            y = graph.add("mul", centred, with_weight("mul", scale, "weight"))
        y = with_weight("add", y, "bias")
        return str(graph.add("reshape", y, shape=shape)) if form != shape else y

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        a, (x,), shape = node.attributes, inputs, model.graph.shapes[node.output]
        C, *rest = shape
        if a["across"]:  # over the last axis
            axes, options = range(2, len(shape) + 1), {"axis": -1, "epsilon": a["eps"]}
            x = model.node("Transpose", x, perm=[0, *axes, 1]) if rest else x
            weights = [
                model.weight(node, key) if key in node.weights else model.tensor(missing(C))
                for key, missing in (("weight", np.ones), ("bias", np.zeros))
            ]
            y = model.node("LayerNormalization", x, *weights, **options)
            return str(
                model.node("Transpose", y, perm=[0, len(shape), *range(1, len(shape))])
                if rest
                else y
            )
        G = a["groups"]
        plain = model.tensor(np.ones(G)), model.tensor(np.zeros(G))
        y = model.reshape(x, (G, math.prod(shape) // G))
        y = model.node("InstanceNormalization", y, *plain, epsilon=a["eps"])
        y = model.reshape(y, shape)
        for op, key in (("Mul", "weight"), ("Add", "bias")):
            if key in node.weights:
                y = model.node(op, y, model.weight(node, key, (C, *(1 for _ in rest))))
        return str(y)


GroupNorm("group_norm")
