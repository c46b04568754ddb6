"""Transforms that move pixels: flips, shifts, crops, rotations and other affine maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check as check
from .chance import Chance
from .transform import (
    LARGEST,
    Geometric,
    Size,
    chosen,
    interval,
    probability,
    radians,
    steady,
)

STEEPEST = 89.0  # degrees of a shear


class RandomHorizontalFlip(Geometric):
    """Flip left and right with probability `p`."""

    arguments = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        return _flipped(chance(1)[:, 0] < self.p, 1, size), size


class RandomVerticalFlip(Geometric):
    """Flip top and bottom with probability `p`."""

    arguments = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        return _flipped(chance(1)[:, 0] < self.p, 0, size), size


class AlternatingFlip(Geometric):
    """Flip left and right in every second epoch; chance says of each image which ones.

    In two epochs in a row a network so sees each image once in either way (K. Jordan 2024).
    """

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        at_first = chance.in_epoch(0)(1)[:, 0] < 0.5
        return _flipped(at_first ^ bool(chance.epoch % 2), 1, size), size


class RandomShift(Geometric):
    """Shift by up to so many whole pixels, to all sides.

    Parameters
    ----------
    pixels : int or (int, int)
        The most, downwards and to the right.
    padding_mode : "constant", "edge" or "reflect"
    fill : float
        What stands outside an image, with "constant".
    """

    arguments = ("pixels", "padding_mode", "fill")

    def __init__(self, pixels: Any, padding_mode: str = "constant", fill: float = 0.0) -> None:
        pair = check.pair(pixels, "pixels", 0)
        check.number(max(pair), "pixels", 0, LARGEST)
        self.pixels = pair if check.is_list(pixels) else pair[0]
        self._outside(padding_mode, fill)
        self._most = np.array(pair, np.float64)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        matrix = _identity(chance)
        matrix[:, :, 2] = chosen(chance(2), 2 * self._most + 1) - self._most
        return matrix, size


class Shift(Geometric):
    """Shift all images in the same way: so many whole pixels down and to the right.

    Parameters
    ----------
    down, right : int
        Negative ones go up and to the left.
    padding_mode : "constant", "edge" or "reflect"
    fill : float
        What stands outside an image, with "constant".
    """

    arguments = ("down", "right", "padding_mode", "fill")

    def __init__(
        self, down: int, right: int, padding_mode: str = "constant", fill: float = 0.0
    ) -> None:
        self.down = _whole(down, "down")
        self.right = _whole(right, "right")
        self._outside(padding_mode, fill)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        return np.array([[1.0, 0, -self.down], [0, 1, -self.right]]), size


class RandomCrop(Geometric):
    """A part of the image, of a given size, from anywhere in it.

    Parameters
    ----------
    size : int or (int, int)
        Height and width.
    padding : int or sequence of int, optional
        Pixels added around the image before: on all sides, left and right and then top and bottom,
        or left, top, right, bottom.
    fill : float
        What stands there, with "constant".
    padding_mode : "constant", "edge" or "reflect"
    """

    arguments = ("size", "padding", "fill", "padding_mode")

    def __init__(
        self, size: Any, padding: Any = None, fill: float = 0.0, padding_mode: str = "constant"
    ) -> None:
        self.size = check.pair(size, "size", 1)
        given, self._sides = _padding(padding)
        self.padding = None if padding is None else given if check.is_list(padding) else given[0]
        self._outside(padding_mode, fill)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        left, top, right, bottom = self._sides
        rest = size[0] + top + bottom - self.size[0], size[1] + left + right - self.size[1]
        if min(rest) < 0:
            raise ValueError(
                f"size: {self.size} is more than images of {size} have with padding {self.padding}"
            )
        matrix = _identity(chance)
        matrix[:, :, 2] = chosen(chance(2), np.add(rest, 1)) - (top, left)
        return matrix, self.size


class RandomAffine(Geometric):
    """Rotate, move, scale and shear around the center, interpolating between pixels.

    Parameters
    ----------
    degrees : float or (float, float)
        Of the rotation, clockwise; a single number goes to both sides.
    translate : (float, float), optional
        The most, to both sides, to the right and down, in parts of the width and of the height; by
        whole pixels.
    scale : (float, float), optional
    shear : float or sequence of 2 or 4 floats, optional
        Degrees, along the rows and, with four numbers, along the columns.
    fill : float
        What stands outside an image, with "constant".
    padding_mode : "constant", "edge" or "reflect"
    """

    arguments = ("degrees", "translate", "scale", "shear", "fill", "padding_mode")

    def __init__(
        self,
        degrees: Any,
        translate: Any = None,
        scale: Any = None,
        shear: Any = None,
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.degrees = interval(degrees, "degrees", -360.0, 360.0)
        self.translate = None if translate is None else _parts(translate)
        self.scale = None if scale is None else interval(scale, "scale", 1e-3, 1e3, None)
        self.shear = None if shear is None else _shears(shear)
        self._outside(padding_mode, fill)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        u = chance(6)
        angle = radians(_between(self.degrees, u[:, 0]))
        scale = _between(self.scale or (1.0, 1.0), u[:, 1])
        shear = self.shear or (0.0,) * 4
        along_rows = np.tan(radians(_between(shear[:2], u[:, 2])))
        along_columns = np.tan(radians(_between(shear[2:], u[:, 3])))
        right, down = self.translate or (0.0, 0.0)
        moved = np.rint((2 * u[:, 4:] - 1) * (down * size[0], right * size[1]))
        # rows first, so that (c, s; -s, c) turns clockwise what is seen with the rows downwards
        c, s = np.cos(angle), np.sin(angle)
        zero, one = np.zeros_like(c), np.ones_like(c)
        turn = _matrices(c, s, -s, c)
        shears = _matrices(one, -along_columns, zero, one) @ _matrices(one, zero, -along_rows, one)
        linear = np.linalg.inv(scale[:, None, None] * (turn @ shears))
        return _around_center(linear, moved, size), size


class RandomRotation(Geometric):
    """Rotate around the center, interpolating between pixels.

    Parameters
    ----------
    degrees : float or (float, float)
        Counter-clockwise; a single number goes to both sides.
    fill : float
        What stands outside an image, with "constant".
    padding_mode : "constant", "edge" or "reflect"
    """

    arguments = ("degrees", "fill", "padding_mode")

    def __init__(self, degrees: Any, fill: float = 0.0, padding_mode: str = "constant") -> None:
        self.degrees = interval(degrees, "degrees", -360.0, 360.0)
        self._outside(padding_mode, fill)

    def sources(self, chance: Chance, size: Size) -> tuple[np.ndarray, Size]:
        angle = radians(_between(self.degrees, chance(1)[:, 0]))
        c, s = np.cos(angle), np.sin(angle)
        return _around_center(_matrices(c, s, -s, c), np.zeros((len(c), 2)), size), size


def _identity(chance: Chance) -> np.ndarray:
    matrix = np.zeros((len(chance.images), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1.0
    return matrix


def _flipped(flipped: np.ndarray, axis: int, size: Size) -> np.ndarray:
    matrix = np.zeros((len(flipped), 2, 3))
    matrix[:, 1 - axis, 1 - axis] = 1.0
    matrix[:, axis, axis] = np.where(flipped, -1.0, 1.0)
    matrix[:, axis, 2] = np.where(flipped, size[axis] - 1.0, 0.0)
    return matrix


def _matrices(a: Any, b: Any, c: Any, d: Any) -> np.ndarray:
    return np.stack([a, b, c, d], -1).reshape(-1, 2, 2)


def _around_center(linear: np.ndarray, moved: np.ndarray, size: Size) -> np.ndarray:
    # where pixels come from if they were mapped around the center, and then moved
    center = (np.array(size) - 1) / 2
    origin = center - (linear @ (center + moved)[:, :, None])[:, :, 0]
    return steady(np.concatenate([linear, origin[:, :, None]], 2))


def _between(ends: tuple[float, ...], u: np.ndarray) -> np.ndarray:
    low, high = ends
    numbers: np.ndarray = low + (high - low) * u
    return numbers


def _whole(value: Any, name: str) -> int:
    check.number(value, name, -LARGEST, LARGEST)
    return -check.whole(-value, name, 0) if value < 0 else check.whole(value, name, 0)


def _padding(padding: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    # the numbers that were given, and left, top, right, bottom
    given = [0] if padding is None else padding if check.is_list(padding) else [padding]
    if len(given) not in (1, 2, 4):
        raise ValueError(f"padding: expected one, two or four numbers, got {padding!r:.99}")
    numbers = tuple(check.whole(item, "padding", 0) for item in given)
    check.number(max(numbers), "padding", 0, LARGEST)
    return numbers, (numbers * 4)[:4]


def _parts(translate: Any) -> tuple[float, float]:
    if not check.is_list(translate) or len(translate) != 2:
        raise ValueError(f"translate: expected two numbers, got {translate!r:.99}")
    right, down = (check.number(part, "translate", 0.0, 1.0) for part in translate)
    return right, down


def _shears(shear: Any) -> tuple[float, ...]:
    if check.is_list(shear) and len(shear) == 4:
        rows = interval(shear[:2], "shear", -STEEPEST, STEEPEST)
        return (*rows, *interval(shear[2:], "shear", -STEEPEST, STEEPEST))
    return (*interval(shear, "shear", -STEEPEST, STEEPEST), 0.0, 0.0)
