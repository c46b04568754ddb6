"""`Place`: how far a training is, between any two of its steps and calls of callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MOMENTS = "epoch_begin", "batch_begin", "batch_end", "epoch_end"


class Place(NamedTuple):
    """How far a training is, in one piece, so that an interrupt finds all of it as it was or is.

    Parameters
    ----------
    order : mapping
        The state of the trainer's generator before it draws the order of the images of this epoch.
    begun : int
        `Trainer.epochs_begun` before this epoch.
    epoch : int
        The one that runs or comes next, from 1.
    batches, seen : int
        Batches and images that it has done.
    costs : float
        The sum of the costs of these images.
    right : float or None
        How many of them were right; None for a task that has no accuracy.
    rate, cost : float
        The learning rate and the cost of the last batch.
    sums : sequence of ndarray or None
        By parameter the sum of the gradients, times the images, of the batches whose step is still
        to be made,
    summed : int
        and how many images these have.
    moment : str
        The one of `MOMENTS` that was reached last.
    told : int
        How many callbacks have been called at that moment.
    calling : bool
        Whether the last of these has not returned.
    reason : str or None
        Why the training ends with this epoch.
    """

    order: Mapping[str, Any]
    begun: int
    epoch: int = 1
    batches: int = 0
    seen: int = 0
    costs: float = 0.0
    right: float | None = 0.0
    rate: float = 0.0
    cost: float = 0.0
    sums: Sequence[np.ndarray | None] = ()
    summed: int = 0
    moment: str = "epoch_begin"
    told: int = 0
    calling: bool = False
    reason: str | None = None
