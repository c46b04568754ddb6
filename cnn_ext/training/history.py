"""What training leaves behind: the figures of each epoch, and the rule that stops it early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import _check as check
from ..parameter import Kept


@dataclass
class Epoch:
    """The figures of one epoch; costs and accuracies are means over its images.

    Attributes
    ----------
    number : int
        From 1.
    cost, accuracy
        On the training images, each taken before the step that used it.
    validation_cost, validation_accuracy
        After the epoch; None without a validation set.
    learning_rate
        Of the last step.
    seconds
        Of training, without validation.
    images_per_second
    """

    number: int
    cost: float
    accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    validation_cost: float | None = None
    validation_accuracy: float | None = None

    def text(self) -> str:
        """One line for people."""
        parts = [f"cost {self.cost:.4f}"]
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.2%}")
        if self.validation_cost is not None:
            parts.append(f"validation cost {self.validation_cost:.4f}")
        if self.validation_accuracy is not None:
            parts.append(f"accuracy {self.validation_accuracy:.2%}")
        parts.append(f"{self.seconds:.1f} s, {self.images_per_second:,.0f} images/s")
        return ", ".join(parts)


@dataclass
class History:
    """All epochs in order; ``history["cost"]`` is the list of one figure.

    Attributes
    ----------
    epochs : list of Epoch
    stopped : str or None
        Why training ended before its last epoch: "early", "callback" or "interrupted".
    """

    epochs: list[Epoch] = field(default_factory=list)
    stopped: str | None = None

    def append(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, name: str) -> list[Any]:
        if name not in Epoch.__dataclass_fields__:
            raise KeyError(f"expected one of {', '.join(Epoch.__dataclass_fields__)}, got {name!r}")
        return [getattr(epoch, name) for epoch in self.epochs]

    def as_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self)


class EarlyStopping:
    """Stops training when the validation cost has not fallen for some epochs.

    Parameters
    ----------
    patience : int
        How many epochs in a row may bring nothing.
    min_delta : float
        What counts as less: lower by more than this.
    restore_best : bool
        Whether the network gets the weights and buffers of its best epoch at the end.

    Raises
    ------
    TypeError, ValueError
        If `patience` is no whole number from 1, or `min_delta` no number from 0.
    """

    def __init__(
        self, patience: int = 3, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        self.patience = check.whole(patience, "patience", 1)
        self.min_delta = check.number(min_delta, "min_delta")
        self.restore_best = restore_best
        self.start()

    def start(self) -> None:
        """Forget what was seen, before a new training."""
        self.lowest = float("inf")
        self.waited = 0
        self.best: list[np.ndarray] | None = None

    def seen_enough(self, epoch: Epoch, moving: Iterable[Kept]) -> bool:
        """Take note of an epoch, and of what it made of parameters and buffers; True to stop."""
        cost = epoch.validation_cost
        if cost is not None and cost < self.lowest - self.min_delta:
            self.best = [kept.data.copy() for kept in moving]
            self.lowest = cost
            self.waited = 0
        else:
            self.waited += 1
        return self.waited >= self.patience


def stopping_of(rule: int | EarlyStopping | None, validated: bool) -> EarlyStopping | None:
    """A rule given as such, as its patience, or as None for none, at its start."""
    if rule is None:
        return None
    if not validated:
        raise ValueError("early_stopping: expected validation_data or validation_split with it")
    stopping = rule if isinstance(rule, EarlyStopping) else EarlyStopping(rule)
    stopping.start()
    return stopping
