"""Weights of images in the cost: given for each image, or for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _check as check


def sample_weights(
    sample_weight: Any, images: int, name: str = "sample_weight"
) -> np.ndarray | None:
    """Weights of so many images, (N,), or None if none are given.

    Raises
    ------
    TypeError, ValueError
        If they are no numbers of 0 or more, one for each image, or all of them are 0.
    """
    if sample_weight is None:
        return None
    weights = check.real_array(sample_weight, name).astype(np.float64)
    if weights.shape != (images,):
        raise ValueError(f"{name}: expected shape ({images},), got {weights.shape}")
    return _checked(weights, name)


def class_weights(class_weight: Any, classes: np.ndarray, count: int) -> np.ndarray:
    """Weights of images, (N,), by their classes.

    Parameters
    ----------
    class_weight : mapping of int to float, or "balanced"
        By class, 1 where nothing is said; or N by the number of classes that there are, by the
        number of images of the class.  A class without images may be named if all others are.
    classes : ndarray of int, shape (N,)
        From 0 to `count` - 1.
    count : int

    Raises
    ------
    TypeError, ValueError
        If `class_weight` is none of these.
    """
    weights, images = np.ones(count), np.bincount(classes, minlength=count)
    if isinstance(class_weight, str) and class_weight == "balanced":
        there = images > 0
        weights[there] = len(classes) / (there.sum() * images[there])
    elif isinstance(class_weight, Mapping):
        for number, weight in class_weight.items():
            whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
            if not whole or not 0 <= number < count:
                raise ValueError(
                    f"class_weight: expected classes 0 to {count - 1}, got {number!r:.99}"
                )
            weights[number] = check.number(weight, f"class_weight[{number}]")
        unsaid = [number for number in np.flatnonzero(images) if number not in class_weight]
        absent = [number for number in class_weight if not images[number]]
        if unsaid and absent:  # a weight that counts for nothing, perhaps meant for another class
            raise ValueError(
                f"class_weight: expected classes of which there are images, got {absent[0]}, and "
                f"nothing for {unsaid[0]}"
            )
    else:
        raise TypeError(
            f"class_weight: expected weights by class or 'balanced', got {class_weight!r:.99}"
        )
    return _checked(weights[classes], "class_weight")


def _checked(weights: np.ndarray, name: str) -> np.ndarray:
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise ValueError(f"{name}: expected finite weights of 0 or more, got {weights[wrong][0]}")
    if not weights.any():
        raise ValueError(f"{name}: expected weights that are not all 0")
    return weights
