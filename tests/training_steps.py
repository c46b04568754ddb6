"""A training step in both ways: cost, outputs and gradients, layer by layer and by the program."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn_ext import Sequential, Task, _core
from cnn_ext.layers.tracing import trace_of
from cnn_ext.run.program import Program
from cnn_ext.task import kind_for
from cnn_ext.training.backpropagation import targets_for
from cnn_ext.training.losses import LOSSES, Loss


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


def training_program(net: Sequential, loss: Loss, x: np.ndarray) -> Program:
    """The recorded step for such images; RecordingError if there can be none."""
    trace = trace_of(net.train(), None, [x.shape[1:]], net.dtype)
    if trace.graph is None:
        raise _core.RecordingError("a layer of one's own")
    if loss.kernel is None:
        raise _core.RecordingError("a cost of one's own")
    return Program(trace.graph, [x], ((loss.kernel, 1.0),))


def forward_program(net: Sequential, x: np.ndarray) -> Program:
    """The recorded forward pass for such images."""
    trace = trace_of(net.eval(), None, [x.shape[1:]], net.dtype)
    assert trace.graph is not None
    return Program(trace.graph, [x])


def recorded(net: Sequential) -> list[Program]:
    """The programs that a network keeps."""
    return [p for _, trace in net._traces.values() for p in trace.programs.values()]


def programmed(net: Sequential, loss: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    program = training_program(net, LOSSES[loss], x)
    targets = targets_of(net, loss, y, (len(x), 4))
    (cost,), (outputs,) = program.train([x], [targets])
    return [
        np.array(cost),
        outputs,
        *(p.grad.copy() for p in net.parameters() if p.grad is not None),
    ]
