"""Batch normalisation: over the images and pixels of each channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import _core
from ..graph.node import Node, Shape
from ..graph.operator import Operator
from ..lanes import Lanes, empty


class BatchNorm(Operator):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    With `training` mean and variance are those of the batch, and the weights "mean" and "var", the
    running ones, move towards them by `momentum`, or by one part in "tracked", the number of
    batches so far.  Else they are what is taken.

    S. Ioffe, C. Szegedy, "Batch normalization", 2015.
    """

    attributes = {"eps": 1e-5, "training": False, "momentum": 0.1, "clip": None}
    weights = ("weight", "bias", "mean", "var", "tracked")
    example = {"training": True, **dict.fromkeys(weights[:4], (64,))}
    reads = "x"
    clips_back = True

    def shape(self, node: Node, *shapes: Shape) -> Shape:
        (x,) = shapes
        for key, array in node.weights.items():
            if key != "tracked" and array.shape != x[:1]:
                raise ValueError(f"{key}: expected shape ({x[0]},), got {array.shape}")
        if not node.attributes["training"] and not {"mean", "var"} <= node.weights.keys():
            raise ValueError("expected the weights mean and var")
        return x

    def begin(self, node: Node, shape: Shape, images: int) -> None:
        if node.attributes["training"] and images * math.prod(shape[1:]) < 2:
            raise ValueError(
                "batch_norm: expected more than one number a channel in training, got one image of "
                f"{shape}"
            )

    def settle(
        self, node: Node, shape: Shape, images: int, mean: np.ndarray, var: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The arrays of the running statistics, and what they become after a batch.

        The variance is the unbiased one, by ``n - 1``, as in PyTorch.
        """
        if "mean" not in node.weights:
            return []
        count, pairs = images * math.prod(shape[1:]), []
        momentum = node.attributes["momentum"]
        tracked = node.weight("tracked")
        if tracked is not None:
            pairs.append((tracked, tracked + 1))
            momentum = 1 / float(tracked + 1) if momentum is None else momentum
        for key, seen in (("mean", mean), ("var", var * (count / (count - 1)))):
            running: Any = node.weight(key)
            with np.errstate(all="ignore"):  # where the numbers overflow, the cost tells
                pairs.append((running, running + momentum * (seen - running)))
        return pairs

    def forward(self, run: Any, node: Node, *inputs: Lanes, over: Any = None) -> Lanes:
        (x,) = inputs
        C, *rest = x.shape[1:]
        sizes, item = (x.blocks, C, math.prod(rest)), x.dtype.itemsize
        a = node.attributes
        if a["training"]:
            parts = empty((x.blocks, 2, C), x.dtype)
            mean, squares, var = (empty((C,), x.dtype) for _ in range(3))
            _core.batch_norm_statistics(x.data, parts, item, *sizes, x.images)
            _core.batch_norm_merge(parts, mean, squares, item, *sizes, x.images)
            _core.batch_norm_variance(squares, var, item, *sizes[1:], x.images)
            run.observe(node, mean, var)
        else:
            mean, var = run.weight(node, "mean"), run.weight(node, "var")
        run.keep((mean, var))
        return self._normalised(run, node, x, mean, var)

    def _normalised(self, run: Any, node: Node, x: Lanes, mean: Any, var: Any) -> Lanes:
        y = Lanes.empty(x.shape, x.dtype)
        sizes = x.blocks, x.shape[1], math.prod(x.shape[2:])
        w, b = run.weight(node, "weight"), run.weight(node, "bias")
        eps, clip = node.attributes["eps"], node.attributes["clip"]
        _core.batch_norm(x.data, mean, var, w, b, y.data, x.dtype.itemsize, *sizes, eps, clip)
        return y

    def again(self, run: Any, node: Node, x: Sequence[Any], kept: Any) -> Callable[[], Any] | None:
        # x is read for the gradient anyway, and y would go through memory twice between segments
        if not node.attributes["training"]:
            return None
        return partial(self._normalised, run, node, *x, *kept)

    def backward(
        self, run: Any, node: Node, dy: Lanes, x: Sequence[Any], y: Any, wanted: Sequence[bool]
    ) -> Sequence[Any]:
        (x_lanes,) = x
        mean, var = run.kept()
        C, *rest = dy.shape[1:]
        sizes, item = (dy.blocks, C, math.prod(rest)), dy.dtype.itemsize
        training, eps, clip = (node.attributes[key] for key in ("training", "eps", "clip"))
        w, b = run.weight(node, "weight"), run.weight(node, "bias")
        learns = [run.learns(node, key) for key in ("bias", "weight")]
        sums = None
        if any(learns) or training:
            parts, sums = empty((dy.blocks, 2, C), dy.dtype), empty((2, C), dy.dtype)
            _core.batch_norm_sums(
                dy.data, x_lanes.data, mean, var, parts, item, *sizes, eps, dy.images, w, b, clip
            )
            _core.block_sum(parts, sums, item, dy.blocks, 2 * C)
            for key, learned, row in zip(("bias", "weight"), learns, sums, strict=True):
                if learned:
                    run.learn_whole(node, key, row)
        if not wanted[0]:
            return (None,)
        dx = run.over(dy)
        _core.batch_norm_input(
            dy.data, x_lanes.data, mean, var, w, sums if training else None, dx.data, item, *sizes,
            eps, dy.images, b, clip,
        )  # fmt: skip
        return (dx,)

    def lowers(self, node: Node) -> str:
        return "constants"

    def lower(self, graph: Any, node: Node, inputs: Sequence[str]) -> str:
        if node.attributes["training"]:
            raise ValueError("batch_norm: the statistics of a batch are no constants")
        scale, shift = affine_of(node)
        form = (-1, *(1 for _ in graph.shapes[inputs[0]][1:]))
        scaled = graph.add("mul", *inputs, weights={"constant": scale.reshape(form)})
        made: str = graph.add("add", scaled, weights={"constant": shift.reshape(form)})
        clip = node.attributes["clip"]
        return made if clip is None else str(graph.add("clip", made, low=clip[0], high=clip[1]))

    def onnx(self, model: Any, node: Node, *inputs: str) -> str:
        if node.attributes["training"]:
            raise ValueError("batch_norm: the statistics of a batch are no constants")
        (C,), weights = node.weights["mean"].shape, []
        for key, missing in (("weight", np.ones), ("bias", np.zeros)):
            given = node.weight(key) is not None
            weights.append(model.weight(node, key) if given else model.tensor(missing(C)))
        weights += [model.weight(node, key) for key in ("mean", "var")]
        y = model.node("BatchNormalization", *inputs, *weights, epsilon=node.attributes["eps"])
        return str(model.clip(y, node.attributes["clip"]))


def affine_of(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Factor and summand of each channel, of constant mean and variance."""
    known = {key: node.weight(key) for key in ("weight", "bias", "mean", "var")}
    w, b, mean, var = (None if k is None else k.astype(np.float64) for k in known.values())
    assert mean is not None and var is not None
    scale = (1.0 if w is None else w) / np.sqrt(var + node.attributes["eps"])
    return scale, (0.0 if b is None else b) - mean * scale


BatchNorm("batch_norm")
