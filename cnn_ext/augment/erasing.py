"""Rectangles that cover a part of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check as check
from .chance import Chance
from .transform import LARGEST, Size, Transform, chosen, interval, probability

TRIALS = 10  # until a rectangle fits


class Erasing(Transform):
    """A transform that covers a rectangle with `value`."""

    value: float

    def rectangles(self, chance: Chance, size: Size) -> np.ndarray:
        """Top, left, bottom and right, (N, 4), for images of height and width `size`."""
        raise NotImplementedError(f"{type(self).__name__}.rectangles")


class Cutout(Erasing):
    """Cover a square around a pixel that chance chooses; what lies outside is cut off.

    Parameters
    ----------
    size : int
        Of the sides of the square.
    value : float
        Its numbers.
    """

    arguments = ("size", "value")

    def __init__(self, size: int, value: float = 0.0) -> None:
        self.size = check.whole(size, "size", 1)
        self.value = check.number(value, "value", -LARGEST, LARGEST)

    def rectangles(self, chance: Chance, size: Size) -> np.ndarray:
        first = chosen(chance(2), size) - self.size // 2
        return np.concatenate([first, first + self.size], 1)


class RandomErasing(Erasing):
    """Cover a rectangle with probability `p`.

    Parameters
    ----------
    p : float
    scale : (float, float)
        Between which parts of the image it covers.
    ratio : (float, float)
        Between which numbers its height lies, divided by its width.
    value : float
        Its numbers.
    """

    arguments = ("p", "scale", "ratio", "value")

    def __init__(
        self, p: float = 0.5, scale: Any = (0.02, 0.33), ratio: Any = (0.3, 3.3), value: float = 0.0
    ) -> None:
        self.p = probability(p)
        self.scale = interval(scale, "scale", 0.0, 1.0, None)
        self.ratio = interval(ratio, "ratio", 1e-3, 1e3, None)
        self.value = check.number(value, "value", -LARGEST, LARGEST)

    def rectangles(self, chance: Chance, size: Size) -> np.ndarray:
        H, W = size
        u = chance(2 * TRIALS + 3)
        low, high = np.log(self.ratio)
        area = H * W * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 3 : 3 + TRIALS])
        ratio = np.exp(low + (high - low) * u[:, 3 + TRIALS :])
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (heights < H) & (widths < W)
        trial = (np.arange(len(u)), fits.argmax(1))
        covered = (u[:, 0] < self.p) & fits[trial]
        sides = np.stack([heights[trial], widths[trial]], 1) * covered[:, None]
        first = chosen(u[:, 1:3], size - sides + 1)
        return np.concatenate([first, first + sides], 1)
