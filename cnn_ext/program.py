"""A training step as a recorded program: all kernels of a block of images, no Python between them.

A network of built-in layers calls the same kernels for every block of LANES images.  They are
recorded once, for one block, and then run for all blocks of a batch, depth first: a block goes
forward and back through the whole network while its activations are in the cache, threads take
blocks, and the gradients of the blocks are added up in a fixed order.
"""

from __future__ import annotations

from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np

from . import _core
from ._arrays import plain_array
from .lanes import Lanes, empty
from .layers import Dropout, Parameter, Sequential
from .layers.layer import sees_lanes
from .layers.recorded import Program, identity, worth_it
from .losses import Loss
from .ops import _check as check
from .ops.loss import KERNELS, one_hot, total
from .task import Task, kind_for, numbered


def can_be_recorded(net: Sequential, loss: Loss) -> bool:
    """Whether a step of this network is known to the last call of a kernel, without chance."""
    return (
        isinstance(loss.cost, FunctionType)
        and loss.cost in KERNELS
        and net._is_plain()
        and Dropout not in map(type, net._all_layers())
    )


class TrainingProgram(Program):
    """Cost, outputs and gradients of batches of one shape of images.

    Parameters
    ----------
    net : Sequential
    loss : Loss
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.

    Raises
    ------
    RecordingError
        If the network or the loss does something that cannot be recorded.
    """

    def __init__(self, net: Sequential, loss: Loss, x: np.ndarray) -> None:
        if not can_be_recorded(net, loss):
            raise _core.RecordingError(
                "only built-in layers and losses without chance can be recorded"
            )
        super().__init__(net, x)
        if len(self.parameters) > _core.MOST_STREAMS - 4:
            raise _core.RecordingError(
                f"more than {_core.MOST_STREAMS - 4} parameters, whose gradients are streams"
            )
        dtype = self.dtype
        self.multiply_adds *= 3
        self._kernel = KERNELS[loss.cost]
        self.outputs: tuple[int, ...] = net.output_shape(x.shape[1:])
        target = Lanes.empty((self.lanes, *self.outputs), dtype)

        def sum_of_blocks(parameter: Parameter) -> np.ndarray:
            part: Any = parameter.grad
            whole = empty(part.shape, dtype)
            _core.block_sum(part, whole, dtype.itemsize, 1, whole.size, False)
            return whole

        def step() -> list[Any]:
            outputs = net.forward(net._pack(self.block))
            rows = outputs.unpack()
            cost, gradient = self._kernel.costs(outputs, target)
            net.backward(gradient, need_dx=False)
            return [rows, cost, *(sum_of_blocks(parameter) for parameter in self.parameters)]

        constants = [*self.constants, *self.fixed]
        with _core.Restored([(parameter, "grad") for parameter in self.parameters]):
            self._recorder = _core.record(
                step, [self.block, target.data], constants, dtype.itemsize
            )
        self._sums = [empty(data.shape, dtype) for data in self.constants]

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
        outputs : ndarray, shape (N, K, ...)
        """
        images, dtype = x.shape[0], self.dtype
        x = self.check(x)
        shape = (images, *self.outputs)
        target = self._kernel.to_lanes(target, shape, dtype)
        blocks = target.blocks
        rows = empty((blocks * self.lanes, *self.outputs), dtype)
        cost = empty((blocks, self.lanes), dtype)
        scale = self._kernel.scale(shape)
        relative = scale / self._kernel.scale((self.lanes, *self.outputs))
        self._recorder.run([x, target.data, rows, cost, *self._sums], images, relative)
        for parameter, result in zip(self.parameters, self._sums, strict=True):
            parameter.grad = result
        return total(cost, images) * scale, rows[:images]


class Backpropagation:
    """Cost, outputs and gradients of batches: by a recorded program, or layer by layer.

    Parameters
    ----------
    net : Sequential
    loss : Loss
    task : Task
        Its `kind`, if it is None, is set by the first targets.
    """

    _program: tuple[Any, TrainingProgram | None] = ((), None)

    def __init__(self, net: Sequential, loss: Loss, task: Task) -> None:
        self.net = net
        self.loss = loss
        self.task = task
        self.examples: np.ndarray | None = None  # all targets that there are, where they are known

    def __reduce__(self) -> tuple[Any, ...]:
        return Backpropagation, (self.net, self.loss, self.task)  # a copy records its own program

    def __call__(self, x: Any, y: Any) -> tuple[float, np.ndarray]:
        """The cost and the outputs, (N, K, ...); the gradients go to the parameters.

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
                task, targets = self._targets(y, (len(x), *program.outputs))
                answer = program.run(x, targets)
                self.task = task
                return answer
        here: Any = x if isinstance(x, Lanes) else net._pack(x)
        if sees_lanes(net):
            outputs = net(here)
        else:  # a network with passes of its own
            rows: Any = check.batch(net(here.unpack()), "output")
            outputs = Lanes.pack(rows, net.dtype)
        task, targets = self._targets(y, outputs.shape)
        cost, gradient = loss.cost(outputs, targets)
        self.task = task
        if sees_lanes(net):
            net.backward(gradient, need_dx=False)
        else:
            net.backward(gradient.unpack())
        return cost, outputs.unpack()

    def _targets(self, y: Any, shape: tuple[int, ...]) -> tuple[Task, Any]:
        # the task that it is, and the targets as the cost takes them
        targets, task = plain_array(y, "y"), self.task
        if task.kind is None:
            known = targets if self.examples is None else self.examples
            task = replace(task, kind=kind_for(task.outputs, (len(known), *shape[1:]), known))
        return task, targets_for(task, self.loss, targets, shape, self.net.dtype)

    def _find(self, x: np.ndarray) -> TrainingProgram | None:
        # the program for such images; None if there can be none
        if not can_be_recorded(self.net, self.loss):
            return None
        key = identity(self.net, x)
        known, program = self._program
        if key != known:
            try:
                program = TrainingProgram(self.net, self.loss, x)
            except _core.RecordingError:  # something else used its arrays meanwhile
                return None
            self._program = key, program
        return program


def targets_for(
    task: Task, loss: Loss, targets: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
) -> Any:
    """Targets as a cost takes them for outputs of that shape, (N, K, ...).

    Class numbers become one-hot rows; a single output may lack its axis in the targets.

    Raises
    ------
    ValueError
        If the task or the loss does not fit the outputs.
    """
    if shape[1] == 1 and loss.outputs == "logits":
        raise ValueError(
            f"loss: {loss.name} needs an output for each class, for the softmax of a single output "
            "is always 1; binary_cross_entropy takes one"
        )
    task.check(shape[1:])
    if task.kind in ("classes", "pictures") and numbered(targets, shape):
        return one_hot(targets, shape, dtype)
    if shape[1] == 1 and targets.shape == (shape[0], *shape[2:]):
        return targets[:, None]
    return targets
