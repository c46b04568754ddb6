"""A network as a recorded program: all kernels of a block of images, no Python between them.

A network calls the same kernels for every block of LANES images.  They are recorded once, for one
block, and then run for all blocks of a batch, depth first: a block goes through the whole network,
in training forward and back, while its activations are in the cache, threads take blocks, and the
gradients of the blocks are added up in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.operator import OPERATORS
from ..lanes import Lanes, contiguous, empty
from ..ops.loss import Kernel, total
from ..parameter import Kept, Parameter
from ..scale import scale_of
from .by_batch import ByBatch, settle, whole_of
from .layout import Packed

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
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.
    cost : Kernel, optional
        What computes cost and gradient from the outputs: then the program also goes back.
    packed : Packed, optional
        Constants and tables of the graph.

    Raises
    ------
    RecordingError
        If the graph has something that cannot be recorded.
    """

    def __init__(
        self, graph: Graph, x: np.ndarray, cost: Kernel | None = None, packed: Packed | None = None
    ) -> None:
        for node in graph.nodes:
            shapes = [graph.shapes[name] for name in node.inputs]
            if not OPERATORS[node.op].recordable(node, shapes):
                raise _core.RecordingError(f"{node.op} cannot be recorded")
        self.graph = graph
        self.cost = cost
        self.dtype = graph.dtype
        self.lanes: int = _core.lanes(self.dtype.itemsize)
        self.block = np.zeros((self.lanes, *x.shape[1:]), x.dtype)
        self.outputs = graph.shapes[graph.output]
        self.multiply_adds = graph.multiply_adds() * (1 if cost is None else 3)
        kept = [w for node in graph.nodes for w in node.weights.values() if isinstance(w, Kept)]
        self._weights = {id(weight): (weight, weight.data) for weight in kept}
        constants = [data for _, data in self._weights.values()]
        constants += [w for node in graph.nodes for w in node.weights.values()
                      if isinstance(w, np.ndarray)]  # fmt: skip
        scale = scale_of(x.dtype, graph.byte_scale)
        packed = Packed(2**31) if packed is None else packed
        run = ByBatch(graph, cost is not None, packed)
        run.again = {}
        run.prepare()
        constants += [array for arrays in packed.values() for array in arrays]
        for node in graph.nodes:
            constants += OPERATORS[node.op].constants(node)
        self._run = run
        target = None if cost is None else Lanes.empty((self.lanes, *self.outputs), self.dtype)
        streams = [self.block] if target is None else [self.block, target.data]
        self.parameters: list[Parameter] = []

        def pass_() -> list[Any]:
            (outputs,) = run.forward([Lanes.pack(self.block, self.dtype, scale)])
            rows = outputs.unpack()
            if cost is None or target is None:
                return [rows]
            costs, gradient = cost.costs(outputs, target)
            del outputs
            run.backward([gradient], own=True)
            self.parameters = [parameter for parameter, _, _ in run.gradients.values()]
            statistics = [array for _, mean, var in run.observed for array in (mean, var)]
            if len(self.parameters) + len(statistics) > _core.MOST_STREAMS - 4:
                raise _core.RecordingError(
                    f"more than {_core.MOST_STREAMS - 4} parameters and statistics of batches, "
                    "which are streams"
                )
            gradients = [
                gradient if whole else whole_of(gradient)
                for _, gradient, whole in run.gradients.values()
            ]
            return [rows, costs, *gradients, *statistics]

        self._recorder = _core.record(pass_, streams, constants, self.dtype.itemsize)
        observed, run.observed = run.observed, []
        run.gradients.clear()
        self._sums = [empty(parameter.shape, self.dtype) for parameter in self.parameters]
        self._observed = [
            (node, empty(mean.shape, self.dtype), empty(var.shape, self.dtype))
            for node, mean, var in observed
        ]

    def check(self, x: np.ndarray) -> np.ndarray:
        """`x` in C order, if its images and the weights are those that were recorded.

        Raises
        ------
        TypeError, ValueError
            If the images are of another number type or shape.
        RuntimeError
            If the network has other arrays of weights now.
        """
        if x.dtype != self.block.dtype:
            raise TypeError(f"x: expected {self.block.dtype}, as recorded, got {x.dtype}")
        shape = self.block.shape[1:]
        if x.shape[1:] != shape:
            raise ValueError(f"x: expected images of {shape}, as recorded, got {x.shape[1:]}")
        for weight, data in self._weights.values():
            if weight.data is not data:
                raise RuntimeError("the network has other weights than when it was recorded")
        return contiguous(x)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs, (N, ...), of a batch; safe in many Python threads at once."""
        x = self.check(x)
        images = x.shape[0]
        self._run.begin(images)
        rows = empty((-(-images // self.lanes) * self.lanes, *self.outputs), self.dtype)
        self._recorder.run([x, rows], images, 1.0)
        return rows[:images]

    def train(self, x: np.ndarray, target: Any) -> tuple[float, np.ndarray]:
        """Cost and outputs of a batch; the gradients go to the parameters.

        Parameters
        ----------
        x : ndarray, shape (N, ...), of the images that were recorded
        target : array_like or Lanes
            As the cost takes it.

        Returns
        -------
        cost : float
        outputs : ndarray, shape (N, K, ...)
        """
        assert self.cost is not None
        images, dtype = x.shape[0], self.dtype
        x = self.check(x)
        shape = (images, *self.outputs)
        target = self.cost.to_lanes(target, shape, dtype)
        blocks = target.blocks
        rows = empty((blocks * self.lanes, *self.outputs), dtype)
        cost = empty((blocks, self.lanes), dtype)
        scale = self.cost.scale(shape)
        relative = scale / self.cost.scale((self.lanes, *self.outputs))
        self._run.begin(images)
        statistics = [array for _, mean, var in self._observed for array in (mean, var)]
        streams = [x, target.data, rows, cost, *self._sums, *statistics]
        self._recorder.run(streams, images, relative)
        settle(self.graph, self._observed, images)
        for parameter, result in zip(self.parameters, self._sums, strict=True):
            parameter.grad = result
        return total(cost, images) * scale, rows[:images]
