"""Stochastic gradient descent."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from . import _core
from .layers.layer import Parameter


class SGD:
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.

    ``g += weight_decay p``; ``v = g`` on the first step, later ``momentum v + (1 - dampening) g``;
    ``p -= lr v``, or ``lr (g + momentum v)`` with Nesterov's look-ahead.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
        Learning rate, above 0; may be changed between steps.
    momentum, dampening, weight_decay : float
        0 or more.
    nesterov : bool
        Needs momentum and no dampening.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.parameters = list(parameters)
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                name = type(parameter).__name__
                raise TypeError(f"parameters: expected Parameter objects, got {name}")
        if not 0 < lr < math.inf:
            raise ValueError(f"lr: expected a number above 0, got {lr!r}")
        for name, value in (
            ("momentum", momentum),
            ("dampening", dampening),
            ("weight_decay", weight_decay),
        ):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: expected 0 or more, got {value!r}")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov: expected momentum above 0 and dampening 0 with it")
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self._velocity: list[np.ndarray | None] = [None] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that has a gradient one step down, in place."""
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            data = parameter.data
            gradient = np.ascontiguousarray(parameter.grad, data.dtype)
            if gradient.shape != data.shape:
                raise ValueError(f"grad: expected shape {data.shape}, got {gradient.shape}")
            velocity = self._velocity[i]
            first = velocity is None
            if first and self.momentum:
                velocity = self._velocity[i] = np.zeros_like(data)
            _core.sgd(
                data, gradient, velocity, data.dtype.itemsize, data.size, self.lr, self.momentum,
                self.dampening, self.weight_decay, self.nesterov, first,
            )  # fmt: skip
