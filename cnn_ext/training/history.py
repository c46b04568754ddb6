"""What training leaves behind: the figures of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


VALIDATION = "validation_"  # in front of the metrics of an epoch


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
    validation_metrics : dict of str to float
        What `fit` was asked for by ``metrics=``, by name.
    """

    number: int
    cost: float
    accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    validation_cost: float | None = None
    validation_accuracy: float | None = None
    validation_metrics: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float | None]:
        """All of them by name, the metrics as "validation_NAME"."""
        figures = asdict(self)
        metrics = figures.pop("validation_metrics")
        return figures | {f"{VALIDATION}{name}": value for name, value in metrics.items()}

    def text(self) -> str:
        """One line for people."""
        parts = [f"cost {self.cost:.4f}"]
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.2%}")
        if self.validation_cost is not None:
            parts.append(f"validation cost {self.validation_cost:.4f}")
        if self.validation_accuracy is not None:
            parts.append(f"accuracy {self.validation_accuracy:.2%}")
        parts += [f"{name} {value:.4f}" for name, value in self.validation_metrics.items()]
        parts.append(f"{self.seconds:.1f} s, {self.images_per_second:,.0f} images/s")
        return ", ".join(parts)


#: what every epoch has, but for its number
FIGURES = tuple(
    name for name in Epoch.__dataclass_fields__ if name not in ("number", "validation_metrics")
)


def figure_of(epoch: Epoch, name: str) -> float:
    """A figure of an epoch that may be watched; ValueError if this epoch has it not."""
    figures = {key: value for key, value in epoch.figures().items() if key != "number"}
    value = figures.get(name)
    if value is None:
        known = [figure for figure, there in figures.items() if there is not None]
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
        rows = [epoch.figures() for epoch in self.epochs]
        known = self._names(rows)
        if name not in known:
            raise KeyError(f"expected one of {', '.join(known)}, got {name!r}")
        return [row.get(name) for row in rows]

    def _names(self, rows: list[dict[str, float | None]]) -> list[str]:
        return list(dict.fromkeys(["number", *FIGURES, *(name for row in rows for name in row)]))

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
            raise ImportError("to_frame needs pandas: pip install 'cnn_ext[frames]'") from error
        rows = [epoch.figures() for epoch in self]
        return DataFrame(rows, columns=self._names(rows)).set_index("number")

    def _repr_html_(self) -> str:
        from .shown import history_html  # which notebooks alone need

        return history_html(self)
