"""Gradients of several batches that make one step together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from ..optim import Optimizer
from ..optim._groups import gradient_of

Sums = Sequence[np.ndarray | None]  # by parameter, None where there was no gradient


def summed(optimizer: Optimizer, sums: Sums, images: int) -> Sums:
    """Gradients of earlier batches and those that the parameters have now, times their images.

    Parameters
    ----------
    optimizer : Optimizer
    sums : sequence of ndarray or None
        What this gave for the batch before; empty for the first one.
    images : int
        Of the batch whose gradients the parameters have.
    """
    parameters = optimizer.parameters
    found: list[np.ndarray | None] = []
    for parameter, total in zip(parameters, sums or repeat(None, len(parameters)), strict=True):
        if parameter.trainable and parameter.grad is not None:
            part = gradient_of(parameter) * parameter.data.dtype.type(images)
            found.append(part if total is None else total + part)
        else:
            found.append(total)
    return found


def give_mean(optimizer: Optimizer, sums: Sums, images: int) -> None:
    """Give each parameter the mean gradient of so many images."""
    for parameter, total in zip(optimizer.parameters, sums, strict=True):
        parameter.grad = None if total is None else total / total.dtype.type(images)
