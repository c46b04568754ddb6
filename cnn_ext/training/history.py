"""What training leaves behind: the figures of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


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


#: what an epoch may be watched by
FIGURES = tuple(name for name in Epoch.__dataclass_fields__ if name != "number")


def figure_of(epoch: Epoch, name: str) -> float:
    """One of `FIGURES` of an epoch; ValueError if this epoch has it not."""
    value = getattr(epoch, name)
    if value is None:
        known = [figure for figure in FIGURES if getattr(epoch, figure) is not None]
        raise ValueError(f"monitor: expected one of {', '.join(known)}, got {name!r}")
    return float(value)


@dataclass
class History:
    """All epochs in order; ``history["cost"]`` is the list of one figure.

    Attributes
    ----------
    epochs : list of Epoch
    stopped : str or None
        Why training ended before its last epoch: "early", "callback", "time" or "interrupted".
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

    def to_frame(self) -> DataFrame:
        """The figures as a DataFrame, a row for each epoch, whose number is the index.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("to_frame needs pandas: pip install cnn_ext[frames]") from error
        names = list(Epoch.__dataclass_fields__)
        return DataFrame([asdict(epoch) for epoch in self], columns=names).set_index("number")

    def _repr_html_(self) -> str:
        from .shown import history_html  # which notebooks alone need

        return history_html(self)
