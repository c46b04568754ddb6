"""Images together with their targets, a part of them too, without a copy of the images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import plain_array, refuse_wrapped
from .batching import gather


class LabelledSet:
    """Images and their targets, or a part of them.

    Parameters
    ----------
    x : anything that `gather` takes, (N, ...)
    y : array_like, (N, ...)
    name, y_name : str
        What messages call the two.

    Raises
    ------
    TypeError
        If one of the two is masked or sparse.
    ValueError
        If there is no image, or not one target for each.
    """

    def __init__(self, x: Any, y: Any, name: str = "x", y_name: str = "y") -> None:
        refuse_no_images(x, name)
        self.x, self.y = x, plain_array(y, y_name)
        self.indices: np.ndarray | None = None
        if not len(x):
            raise ValueError(f"{name}: expected at least one image, got none")
        if self.y.shape[:1] != (len(x),):
            raise ValueError(
                f"{y_name}: expected {len(x)} targets, one for each image, got shape {self.y.shape}"
            )

    def part(self, indices: np.ndarray) -> LabelledSet:
        """The images and targets of these indices alone."""
        part = LabelledSet(self.x, self.y)
        part.indices, part.y = indices, self.y[indices]
        return part

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: np.ndarray) -> Any:
        return gather(self.x, chosen if self.indices is None else self.indices[chosen])


def refuse_no_images(x: Any, name: str) -> None:
    """Raise `TypeError` where `x` is nothing that has images by number."""
    refuse_wrapped(x, name)
    if not hasattr(x, "__len__"):
        raise TypeError(f"{name}: expected images in an array, got {type(x).__name__}")
