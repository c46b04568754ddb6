"""`Muon`: matrices move along the orthogonal part of their momentum, all else as in SGD."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import setitem
from typing import Any

import numpy as np

from .. import _check as check
from ..ops.conv import linear
from ..parameter import Call
from ._groups import Groups, Shared
from .clipping import norm_of
from .optimizer import Optimizer, State
from .rules import momentum_step

# of the polynomial a x + b x^3 + c x^5, steep at 0, that brings singular values near 1
A, B, C = 3.4445, -4.7750, 2.0315
EPS = 1e-7  # added to the norm
UNTIL_RENEWED = 3  # steps; what rounding leaves in x x' grows twelvefold in each


class Muon(Optimizer):
    """Momentum whose matrices are made orthogonal (K. Jordan 2024), as `torch.optim.Muon`.

    ``v = momentum v + g``; ``d = v``, or ``g + momentum v`` with Nesterov's look-ahead; the
    singular values of d all become about 1 (`orthogonalized`); ``p *= 1 - lr weight_decay``;
    ``p -= lr sqrt(max(1, rows / columns)) d``.  The filters of a convolution are the rows of a
    matrix.  What has fewer than two axes, and groups with ``orthogonal=False``, such as that of the
    last layer, are moved as `SGD` does it with these hyper-parameters; they need a rate of their
    own.

    Parameters
    ----------
    parameters, decay_biases, max_norm, max_value
        As for `Optimizer`.
    lr : float
        Learning rate, above 0.
    momentum, weight_decay : float
        0 or more.
    nesterov : bool
        Needs momentum.
    ns_steps : int
        Steps of Newton and Schulz's iteration; PyTorch takes 5, Jordan's nets for CIFAR-10 3.
    orthogonal : bool
        False moves matrices as SGD does.
    keep_norms : bool
        Matrices do not decay: each gets the norm ``sqrt(rows)`` before it is moved, as in Jordan's
        nets for CIFAR-10.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    slots = ("momentum_buffer",)
    momentum, weight_decay, nesterov = Shared(), Shared(), Shared()
    ns_steps, orthogonal, keep_norms = Shared(), Shared(), Shared()

    def __init__(
        self,
        parameters: Groups,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        nesterov: bool = True,
        ns_steps: int = 3,
        orthogonal: bool = True,
        keep_norms: bool = False,
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov,
            "ns_steps": ns_steps, "orthogonal": orthogonal, "keep_norms": keep_norms,
        }  # fmt: skip
        super().__init__(
            parameters, defaults,
            decay_biases=decay_biases, max_norm=max_norm, max_value=max_value,
        )  # fmt: skip

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        checked = super().checked(options)
        checked["momentum"] = check.number(options["momentum"], "momentum")
        checked["nesterov"] = bool(options["nesterov"])
        if checked["nesterov"] and checked["momentum"] == 0:
            raise ValueError("nesterov: expected momentum above 0 with it")
        checked["ns_steps"] = check.whole(options["ns_steps"], "ns_steps", 1)
        for name in ("orthogonal", "keep_norms"):
            checked[name] = bool(options[name])
        return checked

    def slots_for(self, options: dict[str, Any]) -> tuple[str, ...]:
        return self.slots if options["momentum"] else ()

    def update(
        self, p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any]
    ) -> Iterable[Call]:
        if p.ndim < 2 or not p.size or not options["orthogonal"]:
            return momentum_step(p, g, state, options)
        momentum, lr = options["momentum"], options["lr"]
        rows, kept = len(p), 1 - lr * options["weight_decay"]
        if options["keep_norms"] and (norm := norm_of([np.ascontiguousarray(p)])):
            kept = math.sqrt(rows) / norm
        moved = p.reshape(rows, -1) * p.dtype.type(kept)
        calls: list[Call] = []
        direction = g
        if momentum:
            velocity = momentum * state["momentum_buffer"]
            velocity += g
            calls.append((setitem, state["momentum_buffer"], ..., velocity))
            direction = velocity
            if options["nesterov"]:
                direction = momentum * velocity
                direction += g
        step = p.dtype.type(lr * math.sqrt(max(1.0, rows / moved.shape[1])))
        turn = orthogonalized(direction.reshape(rows, -1), options["ns_steps"])
        turn *= step
        moved -= turn
        return [*calls, (setitem, p, ..., moved.reshape(p.shape))]


def orthogonalized(matrix: np.ndarray, steps: int) -> np.ndarray:
    """A matrix with the singular vectors of another one, and singular values of about 1.

    Newton and Schulz's iteration of fifth order with Jordan's coefficients: it is steep at 0 and
    ends between 0.7 and 1.2 after some steps, which serves descent as well as 1 does.

    Parameters
    ----------
    matrix : ndarray, shape (rows, columns), of float32 or float64
    steps : int

    Returns
    -------
    ndarray, of the same shape and type
    """
    turned = matrix.shape[0] > matrix.shape[1]
    x = np.ascontiguousarray(matrix.T if turned else matrix)
    x = x * x.dtype.type(1 / (norm_of([x]) + EPS))
    for first in range(0, steps, UNTIL_RENEWED):
        x = linear(_factor(linear(x, x), min(UNTIL_RENEWED, steps - first)), x.T)
    return x.T if turned else x


def _factor(square: np.ndarray, steps: int) -> np.ndarray:
    """What some steps together multiply x by, from x x'.

    Each step multiplies x by q = a + b s + c s^2 with s = x x', so that s becomes q s q.  All of
    these are polynomials of the first s: symmetric, and the order of factors is free.  So no step
    touches the long rows of x.
    """
    a, b, c = (square.dtype.type(number) for number in (A, B, C))
    diagonal = np.diag_indices(len(square))
    product = np.empty(0)
    for step in range(steps):
        q = b * square + c * linear(square, square)
        q[diagonal] += a
        product = linear(q, product) if step else q
        if step + 1 < steps:
            square = linear(linear(q, q), square)
    return product
