"""Chance that depends on a seed, the epoch, the image and the transform, and on nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import _check as check
from .. import _core

MOST = 2**64 - 1  # of a seed, an epoch or the number of an image


@dataclass(frozen=True)
class Chance:
    """The draws of one transform for some images.

    Parameters
    ----------
    seed, epoch : int
    images : ndarray of uint64, (N,)
        Their numbers in the set.
    number : int
        Of the transform in its list.
    """

    seed: int
    epoch: int
    images: np.ndarray
    number: int

    def __call__(self, count: int) -> np.ndarray:
        """Numbers from 0 on and below 1, (N, count); the same ones at every call."""
        drawn = np.empty((len(self.images), count))
        _core.draws(self.images, drawn, self.seed, self.epoch, self.number, len(self.images), count)
        return drawn

    def within(self, count: int, low: Any, high: Any) -> np.ndarray:
        """Numbers from `low` on and below `high`, (N, count)."""
        numbers: np.ndarray = low + (high - low) * self(count)
        return numbers

    def in_epoch(self, epoch: int) -> Chance:
        """The draws of another epoch."""
        return replace(self, epoch=epoch)


def draws(seed: int, epoch: int, indices: Any, count: int, number: int = 0) -> np.ndarray:
    """Uniform numbers of images: a hash of the arguments and of nothing else.

    Parameters
    ----------
    seed, epoch : int
        From 0 to 2**64 - 1.
    indices : array_like of int, (N,)
        Numbers of the images in their set.
    count : int
    number : int
        Of the transform in its list.

    Returns
    -------
    ndarray, (N, count)
        From 0 on and below 1.  A row is the same whichever rows are asked for with it, on every
        machine.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    count = check.whole(count, "count", 1)
    return Chance(
        counter(seed, "seed"), counter(epoch, "epoch"), numbers(indices), counter(number, "number")
    )(count)


def counter(value: Any, name: str) -> int:
    """A whole number from 0 to 2**64 - 1.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a whole number, got {value!r:.99}")
    if not 0 <= value <= MOST:
        raise ValueError(f"{name}: expected 0 to 2**64 - 1, got {value!r:.99}")
    return int(value)


def numbers(indices: Any) -> np.ndarray:
    """Numbers of images, (N,), in the type of the hash.

    Raises
    ------
    TypeError, ValueError
        If they are no whole numbers from 0 on in one axis.
    """
    array = check.real_array(indices, "indices")
    if array.ndim != 1:
        raise ValueError(f"indices: expected one axis, got shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"indices: expected whole numbers, got {array.dtype}")
    if array.size and array.min() < 0:
        raise ValueError(f"indices: expected 0 or more, got {array.min()}")
    return np.ascontiguousarray(array, np.uint64)
