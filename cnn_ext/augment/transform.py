"""What all transforms have: their arguments as attributes, as text and as plain data."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from .. import _check as check
from .._core import PADDING_MODES
from .chance import Chance

Size = tuple[int, int]
LARGEST = 1e6  # of a number that fills, or moves pixels


class Transform:
    """Changes images by chance, every image by its own draws.

    ``transform(x, seed=0, epoch=0)`` gives the images as training would see them in that epoch.
    """

    #: names of the constructor's arguments, which are attributes too
    arguments: ClassVar[tuple[str, ...]] = ()

    def __call__(self, x: Any, seed: int = 0, epoch: int = 0, indices: Any = None) -> np.ndarray:
        """The images after the transform, a new array of the same type; see `Compose`."""
        from .compose import Compose

        return Compose([self])(x, seed, epoch, indices)

    def to_config(self) -> dict[str, Any]:
        """Type and constructor arguments, as plain data that JSON can hold."""
        return {
            "type": type(self).__name__,
            **{name: plain(getattr(self, name)) for name in self.arguments},
        }

    def __repr__(self) -> str:
        arguments = [f"{name}={getattr(self, name)!r}" for name in self.arguments]
        return f"{type(self).__name__}({', '.join(arguments)})"


class Geometric(Transform):
    """A transform that moves pixels: `sources` says where each pixel of the result comes from.

    Those in a row become one resampling.  A class with `padding_mode` and `fill` says what stands
    outside an image; one without never looks there.
    """

    padding_mode: str | None = None
    fill: float = 0.0

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        """Matrices, (N, 2, 3) or (2, 3), that make (row, column, 1) of a pixel of the result into
        the row and column of the image, whose height and width are `size`; and those of the result.
        """
        raise NotImplementedError(f"{type(self).__name__}.sources")

    def _outside(self, padding_mode: Any, fill: Any) -> None:
        if not isinstance(padding_mode, str) or padding_mode not in PADDING_MODES:
            raise ValueError(
                f"padding_mode: expected one of {', '.join(PADDING_MODES)}, got "
                f"{padding_mode!r:.99}"
            )
        self.padding_mode = padding_mode
        self.fill = check.number(fill, "fill", -LARGEST, LARGEST)


def plain(value: Any) -> Any:
    """A tuple as a list, which is what JSON makes of it."""
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def probability(p: Any) -> float:
    """A number from 0 to 1."""
    return check.number(p, "p", 0.0, 1.0)


def interval(
    value: Any, name: str, least: float, most: float, center: float | None = 0.0
) -> tuple[float, float]:
    """Two numbers, the first not above the second.

    A single number is the distance from `center` to both sides, where there is a center; below
    `least` the interval ends.

    Raises
    ------
    TypeError, ValueError
        If it is none, or not within `least` to `most`.
    """
    if check.is_list(value):
        if len(value) != 2:
            raise ValueError(f"{name}: expected two numbers, got {value!r:.99}")
        low, high = (check.number(item, name, least, most) for item in value)
        if low > high:
            raise ValueError(f"{name}: expected the lower number first, got {value!r:.99}")
        return low, high
    if center is None:
        raise TypeError(f"{name}: expected two numbers, got {value!r:.99}")
    distance = check.number(value, name, 0.0, most - center)
    return max(least, center - distance), center + distance


def chosen(u: np.ndarray, count: Any) -> np.ndarray:
    """Whole numbers from 0 to `count` - 1 that uniform draws choose, as floats."""
    return np.floor(u * count)


def steady(matrix: np.ndarray) -> np.ndarray:
    """Rounded to 2**-30: last bits of sines differ between machines, and 1e-17 is meant as 0."""
    return np.rint(matrix * 2.0**30) * 2.0**-30


def radians(degrees: Any) -> Any:
    """An angle as NumPy takes it."""
    return degrees * (math.pi / 180)
