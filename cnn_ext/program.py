"""A training step as a recorded program: all kernels of a block of images, no Python between them.

A network of built-in layers calls the same kernels for every block of LANES images.  They are
recorded once, for one block, and then run for all blocks of a batch, depth first: a block goes
forward and back through the whole network while its activations are in the cache, threads take
blocks, and the gradients of the blocks are added up in a fixed order.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import numpy as np

from . import _core
from .lanes import Lanes, contiguous, empty
from .layers import Dropout, Sequential
from .layers.recorded import identity, recording, worth_it
from .layers.sequential import BUILT_IN
from .losses import Loss
from .ops import _check as check
from .ops.loss import KERNELS, costs, one_hot, total

RECORDABLE = set(BUILT_IN.values()) - {Dropout}
WAVE = 16  # blocks whose gradients are kept before they are added up


class TrainingProgram:
    """Cost, outputs and gradients of batches of one shape of images.

    Parameters
    ----------
    net : Sequential
    loss : Loss
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.

    Raises
    ------
    RuntimeError
        If the network or the loss does something that cannot be recorded.
    """

    def __init__(self, net: Sequential, loss: Loss, x: np.ndarray) -> None:
        if not all(type(layer) in RECORDABLE for layer in net.walk()) or (
            not isinstance(loss.cost, FunctionType) or loss.cost not in KERNELS
        ):
            raise RuntimeError("only built-in layers and losses without chance can be recorded")
        self.parameters = net.parameters()
        self.constants = [parameter.data for parameter in self.parameters]
        self.dtype = dtype = net.dtype
        self.multiply_adds = 3 * net.multiply_adds(x.shape[1:])
        self.lanes: int = _core.lanes(dtype.itemsize)
        op, self._to_lanes, self._scale = KERNELS[loss.cost]
        self._recorder = _core.Recorder(dtype.itemsize)
        block = np.zeros((self.lanes, *x.shape[1:]), x.dtype)
        with recording(self._recorder):
            outputs = net.forward(net._pack(block))
            self.outputs: int = math.prod(outputs.shape[1:])
            target = Lanes.empty((self.lanes, self.outputs), dtype)
            rows = outputs.unpack()
            cost, gradient = costs(op, outputs, target, self._scale(self.lanes, self.outputs))
            net.backward(gradient, need_dx=False)
            gradients = [parameter.grad for parameter in self.parameters]
            streams = [block, target.data, rows, cost, *gradients]
            self._recorder.stop(streams, self.constants)
        self._sums = [empty(data.shape, dtype) for data in self.constants]
        self._parts = [empty((WAVE, data.size), dtype) for data in self.constants]

    def run(self, x: np.ndarray, target: Any) -> tuple[float, np.ndarray]:
        """Cost and outputs of a batch; the gradients go to the parameters.

        Parameters
        ----------
        x : ndarray, shape (N, ...), of the images that were recorded
        target : array_like or Lanes
            As the cost takes it.

        Returns
        -------
        cost : float
        outputs : ndarray, shape (N, K)
        """
        images, dtype = x.shape[0], self.dtype
        x = contiguous(x)
        target = self._to_lanes(target, images, self.outputs, dtype)
        blocks = target.blocks
        rows = empty((blocks * self.lanes, self.outputs), dtype)
        cost = empty((blocks, self.lanes), dtype)
        scale = self._scale(images, self.outputs)
        relative = scale / self._scale(self.lanes, self.outputs)
        for first in range(0, blocks, WAVE):
            count = min(WAVE, blocks - first)
            here = slice(first * self.lanes, (first + count) * self.lanes)
            wave = slice(first, first + count)
            streams = [x[here], target.data[wave], rows[here], cost[wave], *self._parts]
            self._recorder.run(
                streams, min(images - first * self.lanes, count * self.lanes), relative
            )
            for part, result in zip(self._parts, self._sums, strict=True):
                _core.block_sum(part, result, dtype.itemsize, count, result.size, first > 0)
        for parameter, result in zip(self.parameters, self._sums, strict=True):
            parameter.grad = result
        return total(cost, images) * scale, rows[:images]


class Backpropagation:
    """Cost, outputs and gradients of batches: by a recorded program, or layer by layer.

    Parameters
    ----------
    net : Sequential
    loss : Loss
    """

    def __init__(self, net: Sequential, loss: Loss) -> None:
        self.net = net
        self.loss = loss
        self._key: tuple[Any, ...] = ()
        self._program: TrainingProgram | None = None

    def __call__(self, x: Any, y: Any) -> tuple[float, np.ndarray]:
        """The cost and the outputs, (N, K); the gradients go to the parameters.

        Parameters
        ----------
        x : array_like, shape (N, ...), or Lanes
        y : array_like, shape (N,) of class numbers or (N, K) of targets
        """
        net, loss = self.net, self.loss
        x = check.batch(x, "x")
        if isinstance(x, np.ndarray) and len(x):
            x = net._input(x)
            program = self._find(x)
            if program is not None and worth_it(len(x), program.lanes, program.multiply_adds):
                return program.run(x, targets_for(net, loss, y, (len(x), program.outputs)))
        outputs = net.forward(x if isinstance(x, Lanes) else net._pack(x))
        cost, gradient = loss.cost(outputs, targets_for(net, loss, y, outputs.shape))
        net.backward(gradient, need_dx=False)
        return cost, outputs.unpack()

    def _find(self, x: np.ndarray) -> TrainingProgram | None:
        # the program for such images; None if there can be none
        key = identity(self.net, x)
        if key != self._key:
            self._key = key
            try:
                self._program = TrainingProgram(self.net, self.loss, x)
            except RuntimeError:
                self._program = None
        return self._program


def targets_for(net: Sequential, loss: Loss, y: Any, shape: tuple[int, ...]) -> Any:
    """Targets as a cost takes them for outputs of that shape.

    Class numbers become one-hot rows if the loss classifies; (N,) is (N, 1) for a single output.
    """
    targets = np.asarray(y)
    if targets.ndim == 1 and len(shape) == 2:
        if shape[1] == 1:
            return targets[:, None]
        if targets.dtype.kind in "iu" and loss.classifies:
            return one_hot(targets, shape[0], shape[1], net.dtype)
    return targets
