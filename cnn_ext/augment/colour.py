"""Brightness and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chance import Chance
from .transform import Transform, interval

MOST = 1e3  # of a factor


class ColorJitter(Transform):
    """Change brightness and contrast.

    Numbers are multiplied by the brightness; with the contrast c an image becomes
    ``c * image + (1 - c) * mean``, with the mean of all its numbers.  Bytes stay within 0 to 255.

    Parameters
    ----------
    brightness, contrast : float or (float, float)
        Between which numbers the factor lies; a single one goes from 1 to both sides, not below 0.
    """

    arguments = ("brightness", "contrast")

    def __init__(self, brightness: Any = 0.0, contrast: Any = 0.0) -> None:
        self.brightness = interval(brightness, "brightness", 0.0, MOST, 1.0)
        self.contrast = interval(contrast, "contrast", 0.0, MOST, 1.0)

    def factors(self, chance: Chance) -> np.ndarray:
        """By what numbers are multiplied, and how much of the mean is added, (N, 2)."""
        (b, c), (b_end, c_end) = zip(self.brightness, self.contrast, strict=True)
        brightness, contrast = chance.within(2, (b, c), np.array((b_end, c_end))).T
        return np.stack([brightness * contrast, brightness * (1 - contrast)], 1)
