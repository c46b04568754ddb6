"""Losses by name: the cost, the activation whose algebra it contains, and how targets are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops

Cost = Callable[[Any, Any], tuple[float, Any]]


@dataclass(frozen=True)
class Loss:
    """A cost for training.

    Parameters
    ----------
    name : str
    cost : function (outputs, targets) -> (cost, gradient at the outputs)
    activation : function, optional
        What turns outputs into probabilities; part of `cost` already.
    classifies : bool
        Whether predictions are classes; class numbers as targets become one-hot rows.
    """

    name: str
    cost: Cost
    activation: Callable[[Any], Any] | None = None
    classifies: bool = True

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities, or what the network says in their place, (N, K)."""
        return outputs if self.activation is None else self.activation(outputs)

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Classes, (N,) of int; the outputs themselves for a loss that does not classify."""
        if not self.classifies:
            return outputs
        if outputs.shape[1] == 1:
            return (self.probabilities(outputs)[:, 0] > 0.5).astype(np.int64)
        return outputs.argmax(axis=1)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("cross_entropy", ops.cross_entropy, ops.softmax),
        Loss("binary_cross_entropy", ops.binary_cross_entropy, ops.sigmoid),
        Loss("quadratic", ops.quadratic),
        Loss("mse", ops.mse, classifies=False),
    )
}


def loss_of(loss: str | Loss | Cost) -> Loss:
    """A loss given as one of `LOSSES` by name, as a `Loss`, or as a cost function.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or the name is unknown.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
        return LOSSES[loss]
    if callable(loss):
        return Loss(getattr(loss, "__name__", "loss"), loss)
    raise TypeError(f"loss: expected a name or a function, got {loss!r}")
