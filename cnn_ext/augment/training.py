"""Whether transforms fit the images, the targets and the loss of a trainer."""

from __future__ import annotations

from typing import Any

from ..data.labelled import Columns, LabelledSet
from .compose import Compose
from .config import augmentation

MIXED_LOSS = "cross_entropy"  # that takes targets of mixed images


def for_training(augment: Any, training: LabelledSet, loss: str | None) -> Compose | None:
    """The transforms, or None if there are none.

    Parameters
    ----------
    augment : Transform or sequence of Transform, optional
    training : LabelledSet
    loss : str or None
        Its name, where there is a single one.

    Raises
    ------
    TypeError, ValueError
        If they are no transforms, or do not fit.
    """
    if augment is None:
        return None
    transforms = augmentation(augment)
    if isinstance(training.x, Columns):
        raise ValueError("augment: expected None for a network with several inputs")
    y = training.y
    for targets in y.parts.values() if isinstance(y, Columns) else [y]:
        if not transforms.keeps_pixels and targets.ndim > 2:
            raise ValueError(
                "augment: expected transforms that keep pixels where they are, as the targets of "
                f"shape {targets.shape} have pixels too, got {transforms!r:.99}"
            )
    if transforms.mixing is not None and loss != MIXED_LOSS:
        raise ValueError(
            f"augment: {transforms.mixing!r} needs the loss {MIXED_LOSS}, got {loss or 'several'}"
        )
    return transforms
