"""A network as a recorded program: all kernels of a block of images, no Python between them.

A network calls the same kernels for every block of LANES images.  They are recorded once, for one
block, and then run for all blocks of a batch, depth first: a block goes through the whole network,
in training forward and back, while its activations are in the cache, threads take blocks, and the
gradients of the blocks are added up in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import Packed
from ..graph.operator import OPERATORS
from ..lanes import Lanes, contiguous, empty
from ..ops.loss import Kernel, total, weight_lanes
from ..parameter import Kept, Parameter
from ..scale import scale_of
from .by_batch import ByBatch, settle, whole_of
from .share import Share

ENOUGH_BLOCKS = 4  # to keep threads busy; of fewer, a large block is shared by the threads
SMALL_BLOCK = 100e6  # multiply-adds that are not worth sharing


def worth_it(images: int, lanes: int, multiply_adds: float) -> bool:
    """Whether so many images should go block by block, given the work for each.

    The answer does not depend on the number of threads, so neither do the results.
    """
    return images > (ENOUGH_BLOCKS - 1) * lanes or multiply_adds * lanes <= SMALL_BLOCK


class Program:
    """Batches of one kind of images, on the weights of a graph as they were when it was recorded.

    Parameters
    ----------
    graph : Graph
    batches : sequence of ndarray, (N, ...)
        One for each input, for the shape and number type of its images.
    costs : sequence of (Kernel, float), optional
        For each output what computes cost and gradient, and the weight of the cost in the sum: then
        the program also goes back.
    packed : Packed, optional
        Constants and tables of the graph.

    Raises RecordingError if the graph has something that cannot be recorded.
    """

    def __init__(
        self,
        graph: Graph,
        batches: Sequence[np.ndarray],
        costs: Sequence[tuple[Kernel, float]] | None = None,
        packed: Packed | None = None,
    ) -> None:
        for node in graph.nodes:
            shapes = [graph.shapes[name] for name in node.inputs]
            if not OPERATORS[node.op].recordable(node, shapes):
                raise _core.RecordingError(f"{node.op} cannot be recorded")
        self.graph = graph
        self.costs = costs
        self.dtype = graph.dtype
        self.lanes: int = _core.lanes(self.dtype.itemsize)
        self.blocks = [np.zeros((self.lanes, *x.shape[1:]), x.dtype) for x in batches]
        self.outputs = [graph.shapes[name] for name in graph.outputs]
        kept = [w for node in graph.nodes for w in node.weights.values() if isinstance(w, Kept)]
        self._weights = {id(weight): (weight, weight.data) for weight in kept}
        constants = [data for _, data in self._weights.values()]
        constants += [w for node in graph.nodes for w in node.weights.values()
                      if isinstance(w, np.ndarray)]  # fmt: skip
        scales = [scale_of(block.dtype, graph.byte_scale) for block in self.blocks]
        packed = Packed(2**31) if packed is None else packed
        run = ByBatch(graph, costs is not None, packed)
        run.again = {}
        run.prepare()
        constants += [array for arrays in packed.values() for array in arrays]
        for node in graph.nodes:
            constants += OPERATORS[node.op].constants(node)
        self._run = run
        targets = [Lanes.empty((self.lanes, *shape), self.dtype) for shape in self.outputs]
        streams = [*self.blocks]
        weights = weight_lanes(None, self.lanes, self.dtype)  # of the images
        if costs is not None:
            streams += [*(target.data for target in targets), weights]
        self.parameters: list[Parameter] = []

        def pass_() -> list[Any]:
            outputs = run.forward([
                Lanes.pack(block, self.dtype, scale)
                for block, scale in zip(self.blocks, scales, strict=True)
            ])  # fmt: skip
            rows = [output.unpack() for output in outputs]
            if costs is None:
                return rows
            parts, gradients = [], []
            for (kernel, factor), output, target in zip(costs, outputs, targets, strict=True):
                part, gradient = kernel.costs(output, target, weights, factor)
                parts.append(part)
                gradients.append(gradient)
            del outputs, output, gradient
            run.backward(gradients, own=True)
            self.parameters = [parameter for parameter, _, _ in run.gradients.values()]
            statistics = [array for _, mean, var in run.observed for array in (mean, var)]
            if len(self.parameters) + len(statistics) > _core.MOST_STREAMS - 4 * len(rows) - 1:
                raise _core.RecordingError(
                    f"more than {_core.MOST_STREAMS - 5} parameters and statistics of batches, "
                    "which are streams"
                )
            learned = [
                gradient if whole else whole_of(gradient)
                for _, gradient, whole in run.gradients.values()
            ]
            return [*rows, *parts, *learned, *statistics]

        self._recorder = _core.record(pass_, streams, constants, self.dtype.itemsize)
        observed, run.observed = run.observed, []
        run.gradients.clear()
        self._sums = [empty(parameter.shape, self.dtype) for parameter in self.parameters]
        self._observed = [
            (node, empty(mean.shape, self.dtype), empty(var.shape, self.dtype))
            for node, mean, var in observed
        ]

    def check(self, batches: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The batches in C order, if images and weights are those that were recorded.

        Raises
        ------
        TypeError, ValueError
            If the images are of another number type or shape.
        RuntimeError
            If the network has other arrays of weights now.
        """
        for x, block in zip(batches, self.blocks, strict=True):
            if x.dtype != block.dtype:
                raise TypeError(f"x: expected {block.dtype}, as recorded, got {x.dtype}")
            if x.shape[1:] != block.shape[1:]:
                raise ValueError(
                    f"x: expected images of {block.shape[1:]}, as recorded, got {x.shape[1:]}"
                )
            if len(x) != len(batches[0]):
                raise ValueError(f"inputs: expected {len(batches[0])} images, got {len(x)}")
        for weight, data in self._weights.values():
            if weight.data is not data:
                raise RuntimeError("the network has other weights than when it was recorded")
        return [contiguous(x) for x in batches]

    def _rows(self, blocks: int) -> list[np.ndarray]:
        return [empty((blocks * self.lanes, *shape), self.dtype) for shape in self.outputs]

    def __call__(self, *batches: np.ndarray) -> list[np.ndarray]:
        """Outputs, (N, ...), of a batch; safe in many Python threads at once."""
        images = len(batches[0])
        checked = self.check(batches)
        self._run.begin(images)
        rows = self._rows(-(-images // self.lanes))
        self._recorder.run([*checked, *rows], images, 1.0)
        return [row[:images] for row in rows]

    def train(
        self,
        batches: Sequence[np.ndarray],
        targets: Sequence[Any],
        weights: np.ndarray | None = None,
        share: Share | None = None,
    ) -> tuple[list[float], list[np.ndarray]]:
        """Costs and outputs of a batch; the gradients go to the parameters.

        Parameters
        ----------
        batches : sequence of ndarray, (N, ...), of the images that were recorded
        targets : sequence of array_like or Lanes
            As the costs take them.
        weights : ndarray, shape (N,), optional
            Of the images, which multiply their costs and gradients.
        share : Share, optional
            The images are those of this rank; costs and gradients are those of the whole batch.

        Returns
        -------
        costs : list of float
            Without their weights.
        outputs : list of ndarray, (N, K, ...)
        """
        assert self.costs is not None
        images, dtype = len(batches[0]), self.dtype
        total_images = images if share is None else share.images
        checked = self.check(batches)
        lanes, scales = [], []
        for (kernel, _), shape, target in zip(self.costs, self.outputs, targets, strict=True):
            lanes.append(kernel.to_lanes(target, (images, *shape), dtype))
            scales.append(kernel.scale((total_images, *shape)))
            # the same for all of them: every cost is a mean over images
            relative = scales[-1] / kernel.scale((self.lanes, *shape))
        blocks = lanes[0].blocks
        rows = self._rows(blocks)
        parts = [empty((blocks, self.lanes), dtype) for _ in rows]
        self._run.begin(total_images)
        statistics = [array for _, mean, var in self._observed for array in (mean, var)]
        streams = [*checked, *(target.data for target in lanes)]
        streams += [weight_lanes(weights, images, dtype), *rows, *parts]
        self._recorder.run([*streams, *self._sums, *statistics], images, relative, share)
        settle(self.graph, self._observed, total_images)
        for parameter, result in zip(self.parameters, self._sums, strict=True):
            parameter.grad = result
        if share is not None:
            parts = [share.whole(part.reshape(-1)[:images]) for part in parts]
        pairs = zip(parts, scales, strict=True)
        costs = [total(part, total_images) * scale for part, scale in pairs]
        return costs, [row[:images] for row in rows]
