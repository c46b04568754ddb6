"""Two images in one, and targets that say how much of each."""

from __future__ import annotations

import numpy as np

from .. import _check as check
from .chance import Chance
from .transform import Size, Transform, chosen, steady


class Mixing(Transform):
    """A transform that mixes each image with another one of the set, which chance chooses.

    The other image, a hash of seed, epoch and the image's number, is augmented as it is for itself
    in that epoch.  So what an image becomes does not depend on the batch that it is in.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check.number(alpha, "alpha", 1e-3, 1e3)

    def partners(self, chance: Chance, count: int) -> np.ndarray:
        """The other image of each, one of `count`."""
        return chosen(chance(1)[:, 0], count).astype(np.intp)

    def pairs(self, chance: Chance, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """What each image weighs and which rectangle is the other's, (N, 5): weight, top, left,
        bottom, right; and the part of the image in the result, (N,).
        """
        raise NotImplementedError(f"{type(self).__name__}.pairs")

    def _shares(self, chance: Chance) -> np.ndarray:
        # of Beta(alpha, alpha), as (1 + t / sqrt(2 alpha + t^2)) / 2 with t of Student's
        # distribution with 2 alpha degrees: sqrt(2 alpha (u^(-1/alpha) - 1)) cos(2 pi v)
        _, u, v = chance(3).T
        q, cosine = u ** (1 / self.alpha), np.cos(2 * np.pi * v)
        square = cosine**2 * (1 - q)
        return steady((1 + np.copysign(np.sqrt(square / (q + square)), cosine)) / 2)


class MixUp(Mixing):
    """The weighted mean of two images, and of their targets (H. Zhang et al. 2018).

    Parameters
    ----------
    alpha : float
        The weight has the distribution Beta(alpha, alpha).
    """

    arguments = ("alpha",)

    def pairs(self, chance: Chance, size: Size) -> tuple[np.ndarray, np.ndarray]:
        rows = np.zeros((len(chance.images), 5))
        rows[:, 0] = self._shares(chance)
        return rows, rows[:, 0]


class CutMix(Mixing):
    """A rectangle of another image; targets weigh as many pixels as they have (S. Yun et al. 2019).

    Parameters
    ----------
    alpha : float
        The part that stays has the distribution Beta(alpha, alpha), before the rectangle is cut off
        at the edges of the image.
    """

    arguments = ("alpha",)

    def pairs(self, chance: Chance, size: Size) -> tuple[np.ndarray, np.ndarray]:
        half = np.floor(0.5 * np.sqrt(1 - self._shares(chance))[:, None] * size)
        center = chosen(chance(5)[:, 3:], size)
        first, last = np.maximum(center - half, 0), np.minimum(center + half, size)
        rows = np.concatenate([np.ones((len(half), 1)), first, last], 1)
        return rows, 1 - np.prod(last - first, 1) / (size[0] * size[1])
