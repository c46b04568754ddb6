"""Cost, outputs and gradients of a batch: what a step of training begins with."""

from __future__ import annotations

from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np

from ._arrays import plain_array
from .layers import Module
from .layers.running import start
from .losses import Loss
from .ops.loss import KERNELS, one_hot
from .task import Task, kind_for, numbered


class Backpropagation:
    """Cost, outputs and gradients of batches: by a recorded program, or kernel by kernel.

    Parameters
    ----------
    net : Module
    loss : Loss
    task : Task
        Its `kind`, if it is None, is set by the first targets.
    """

    def __init__(self, net: Module, loss: Loss, task: Task) -> None:
        self.net = net
        self.loss = loss
        self.task = task
        self.examples: np.ndarray | None = None  # all targets that there are, where they are known

    def __call__(self, x: Any, y: Any) -> tuple[float, np.ndarray]:
        """The cost and the outputs, (N, K, ...); the gradients go to the parameters.

        Parameters
        ----------
        x : array_like, shape (N, ...), or Lanes
        y : array_like, shape (N,) of class numbers or (N, K) of targets
        """
        loss = self.loss
        begun = start(self.net, None, [x])
        cost = loss.cost
        if isinstance(cost, FunctionType) and cost in KERNELS and begun.pays:
            program = begun.program(KERNELS[cost])
            if program is not None:
                shape = begun.images, *program.outputs
                task, targets = self._targets(y, shape, begun.dtype)
                answer = program.train(begun.batches[0], targets)
                self.task = task
                return answer
        tape, (outputs,) = begun.forward(back=True)
        assert tape is not None
        task, targets = self._targets(y, outputs.shape, begun.dtype)
        value, gradient = loss.cost(outputs, targets)
        self.task = task
        tape.run.backward([gradient])
        tape.run.give()
        return value, outputs.unpack()

    def _targets(self, y: Any, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Task, Any]:
        # the task that it is, and the targets as the cost takes them
        targets, task = plain_array(y, "y"), self.task
        if task.kind is None:
            known = targets if self.examples is None else self.examples
            task = replace(task, kind=kind_for(task.outputs, (len(known), *shape[1:]), known))
        return task, targets_for(task, self.loss, targets, shape, dtype)


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
