"""A training step in both ways: cost, outputs and gradients, layer by layer and by the program."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn_ext import Sequential, Task
from cnn_ext.losses import LOSSES
from cnn_ext.program import TrainingProgram, targets_for
from cnn_ext.task import kind_for


def targets_of(net: Sequential, loss: str, y: np.ndarray, shape: tuple[int, ...]) -> Any:
    kind = kind_for(LOSSES[loss].outputs, shape, y)
    return targets_for(Task(kind), LOSSES[loss], y, shape, net.dtype)


def gradients(net: Sequential) -> list[np.ndarray]:
    return [p.grad.copy() for p in net.parameters() if p.grad is not None]


def layer_by_layer(net: Sequential, loss: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Cost, outputs and all gradients without the program."""
    outputs = net.train().forward(x)
    target = targets_of(net, loss, y, outputs.shape)
    cost, gradient = LOSSES[loss].cost(outputs, target)
    net.backward(gradient)
    return [
        np.array(cost),
        outputs,
        *(p.grad.copy() for p in net.parameters() if p.grad is not None),
    ]


def programmed(net: Sequential, loss: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    program = TrainingProgram(net, LOSSES[loss], x)
    cost, outputs = program.run(x, targets_of(net, loss, y, (len(x), 4)))
    return [
        np.array(cost),
        outputs,
        *(p.grad.copy() for p in net.parameters() if p.grad is not None),
    ]
