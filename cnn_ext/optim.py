"""Stochastic gradient descent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import starmap
from operator import call
from typing import Any

import numpy as np

from . import _check as check
from . import _core
from .parameter import Parameter


class SGD:
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.

    ``g += weight_decay p``; ``v = g`` on the first step, later ``momentum v + (1 - dampening) g``;
    ``p -= lr v``, or ``lr (g + momentum v)`` with Nesterov's look-ahead.

    Parameters
    ----------
    parameters : iterable of Parameter
        One that comes twice is moved once.
    lr : float
        Learning rate, above 0; the attribute may be changed between steps, to 0 too.
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
        self.parameters = list({id(parameter): parameter for parameter in parameters}.values())
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                name = type(parameter).__name__
                raise TypeError(f"parameters: expected Parameter objects, got {name}")
        self.lr = lr
        if self.lr == 0:
            raise ValueError(f"lr: expected a number above 0, got {lr!r}")
        self.momentum = check.number(momentum, "momentum")
        self.dampening = check.number(dampening, "dampening")
        self.weight_decay = check.number(weight_decay, "weight_decay")
        self.nesterov = bool(nesterov)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov: expected momentum above 0 and dampening 0 with it")
        self.reset()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = check.number(lr, "lr")

    def reset(self) -> None:
        """Forget the velocity: the next step is as the first."""
        self._velocity: list[np.ndarray | None] = [None] * len(self.parameters)

    def step(self) -> None:
        """Move every parameter that has a gradient one step down, in place.

        An interrupt comes before the step or after it, never between two parameters.

        Raises
        ------
        TypeError, ValueError
            If a gradient is not of real numbers or has not the shape of its parameter, or a
            parameter cannot be written to; then nothing has moved.
        """
        velocities = list(self._velocity)
        calls: list[tuple[Any, ...]] = []
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            data = parameter.data
            gradient = np.asarray(parameter.grad)
            if gradient.shape != data.shape or gradient.dtype != data.dtype:
                gradient = check.plain(gradient, "grad", data.shape, data.dtype)
            gradient = np.ascontiguousarray(gradient)
            if not data.flags.writeable:
                raise ValueError(
                    "data: expected an array that can be written to, got a read-only one"
                )
            velocity = velocities[i]
            if velocity is not None and velocity.shape != data.shape:  # other weights
                velocity = None
            if velocity is not None and velocity.dtype != data.dtype:  # the network was converted
                velocity = velocities[i] = velocity.astype(data.dtype)
            first = velocity is None
            if first and self.momentum:
                velocity = velocities[i] = np.zeros_like(data)
            calls.append((
                _core.sgd, data, gradient, velocity, data.dtype.itemsize, data.size, self.lr,
                self.momentum, self.dampening, self.weight_decay, self.nesterov, first,
            ))  # fmt: skip
        at_once([*calls, (setattr, self, "_velocity", velocities)])


def at_once(calls: Sequence[tuple[Any, ...]]) -> None:
    """Call C functions, each given with its arguments, without a moment between for an interrupt.

    Python looks for signals between its own instructions, and there are none in here.
    """
    deque(starmap(call, calls), maxlen=0)
