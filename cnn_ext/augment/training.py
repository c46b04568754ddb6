"""Whether transforms fit the images, the targets and the loss of a trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..data.labelled import Batch, Columns, LabelledSet
from ..data.stream import Stream
from .compose import Compose
from .config import augmentation

MIXED_LOSS = "cross_entropy"  # that takes targets of mixed images


def for_training(
    augment: Any, training: LabelledSet | Stream, loss: str | None
) -> Compose | None:  # fmt: skip
    """The transforms, or None if there are none.

    Parameters
    ----------
    augment : Transform or sequence of Transform, optional
    training : LabelledSet or Stream
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
    if isinstance(training, LabelledSet):
        _refuse_pixels(transforms, training.x, training.y)
    elif transforms.mixing is not None:
        raise ValueError(
            "augment: expected transforms of single images with an iterable of batches, which has "
            f"no others to choose from, got {transforms.mixing!r}"
        )
    if transforms.mixing is not None and loss != MIXED_LOSS:
        raise ValueError(
            f"augment: {transforms.mixing!r} needs the loss {MIXED_LOSS}, got {loss or 'several'}"
        )
    return transforms


def changed(
    transforms: Compose,
    batches: Iterator[Batch],
    drawn_by: tuple[int, int],
    threads: Callable[[], AbstractContextManager[None]],
) -> Iterator[Batch]:
    """Batches whose sizes and order are their own, with transforms that do not mix.

    Parameters
    ----------
    transforms : Compose
    batches : iterator of Batch
    drawn_by : (int, int)
        Seed and epoch.
    threads : function
        The block in which the kernels run.
    """
    for batch in batches:
        _refuse_pixels(transforms, batch.images, batch.targets)
        with threads():
            images = transforms(batch.images, *drawn_by, batch.indices)
        yield batch._replace(images=images)


def _refuse_pixels(transforms: Compose, x: Any, y: Any) -> None:
    # targets with pixels, and several inputs
    if isinstance(x, (Columns, tuple)):
        raise ValueError("augment: expected None for a network with several inputs")
    parts = y.parts if isinstance(y, Columns) else y
    several = parts.values() if isinstance(parts, dict) else parts
    for targets in [several] if isinstance(several, np.ndarray) else several:
        if not transforms.keeps_pixels and targets.ndim > 2:
            raise ValueError(
                "augment: expected transforms that keep pixels where they are, as the targets of "
                f"shape {targets.shape} have pixels too, got {transforms!r:.99}"
            )
