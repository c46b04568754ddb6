"""Elastic transforms: every pixel is displaced a little, and its neighbours nearly as far."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .. import _check as check
from .chance import Chance
from .transform import Geometric, Size

KNOTS = 4  # that a pixel depends on along an axis
LARGEST = 1e4  # alpha and sigma


class ElasticTransform(Geometric):
    """Displace pixels by noise that is smoothed (P. Simard et al. 2003).

    The noise, uniform from -1 to 1, is drawn at knots that lie 1.7 `sigma` apart, and smoothed by a
    Gaussian; displacements are as large and as smooth as if it were drawn at every pixel and
    blurred, which takes much longer.

    Parameters
    ----------
    alpha : float
        Strength: pixels move by ``alpha / 2`` times the smoothed noise.
    sigma : float
        Smoothness, in pixels.
    fill : float
        What stands outside an image, with "constant".
    padding_mode : "constant", "edge" or "reflect"
    """

    arguments = ("alpha", "sigma", "fill", "padding_mode")

    def __init__(
        self,
        alpha: float = 50.0,
        sigma: float = 5.0,
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.alpha = check.number(alpha, "alpha", 0.0, LARGEST)
        self.sigma = check.number(sigma, "sigma", 0.01, LARGEST)
        self._outside(padding_mode, fill)

    def displacements(self, chance: Chance, size: Size) -> tuple[Any, ...]:
        """Noise (N, 2, knots, knots), what knots weigh for rows (H, 4) and for columns (W, 4), and
        how many pixels lie between knots: displacements are downwards and to the right.
        """
        (knots_h, rows), (knots_w, columns) = (_weights(side, self.sigma) for side in size)
        noise = chance(2 * knots_h * knots_w)
        noise -= 0.5
        return (
            noise.reshape(-1, 2, knots_h, knots_w),
            self.alpha * rows,
            columns,
            _spacing(self.sigma),
        )


def _spacing(sigma: float) -> float:
    # pixels between knots; a pixel's four reach as far as 3.4 sigma
    return max(1.0, 1.7 * sigma)


@lru_cache(64)
def _weights(side: int, sigma: float) -> tuple[int, np.ndarray]:
    # how many knots there are along a side, and what the four at a pixel weigh
    spacing = _spacing(sigma)
    pixels = np.arange(side)
    first = (pixels / spacing).astype(int)
    knots = (first[:, None] + np.arange(KNOTS) - 1) * spacing
    weights = np.exp(-0.5 * np.minimum((pixels[:, None] - knots) / sigma, 40.0) ** 2)
    # the variance of uniform noise that a kernel of sum 1 blurs
    reach = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    blur = np.exp(-0.5 * np.minimum(np.abs(reach) / sigma, 40.0) ** 2)
    deviation = math.sqrt(np.square(blur / blur.sum()).sum())
    weights *= deviation / np.sqrt(np.square(weights).sum(1, keepdims=True))
    return int(first[-1]) + KNOTS, np.rint(weights * 2.0**40) * 2.0**-40
