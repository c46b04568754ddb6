"""What a trainer asks of transforms: that they fit its images, its targets and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import numpy as np

from ..data.labelled import Columns, LabelledSet
from .compose import Compose
from .config import augmentation

AHEAD = 2**20  # bytes of images that are augmented at once, if a batch has less
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


def augmented(
    transforms: Compose,
    training: LabelledSet,
    order: Iterator[np.ndarray],
    drawn_by: tuple[int, int],
    classes: Callable[[np.ndarray], int],
    threads: Callable[[], AbstractContextManager[None]],
) -> Iterator[tuple[np.ndarray, Any, Any]]:
    """Indices, images and targets of each batch; several small batches are augmented at once.

    Parameters
    ----------
    transforms : Compose
    training : LabelledSet
    order : iterator of ndarray
        The indices of each batch.
    drawn_by : (int, int)
        Seed and epoch.
    classes : function
        Of images, how many there are.
    threads : function
        The block in which the kernels run.
    """
    ahead = 1
    while group := list(islice(order, ahead)):
        indices = np.concatenate(group)
        with threads():
            images, mixed = transforms.batch(training, training.y, indices, *drawn_by, classes)
        ahead = max(1, AHEAD * len(group) // images.nbytes)
        start = 0
        for each in group:
            part = slice(start, start + len(each))
            start += len(each)
            yield each, images[part], mixed[part] if transforms.mixing else training.y[each]
