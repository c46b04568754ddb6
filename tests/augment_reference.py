"""Augmentation written naively, pixel by pixel: the truth that the kernels are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnn_ext.augment import (
    AlternatingFlip,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    ElasticTransform,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
    Shift,
    Transform,
)

#: one of each transform
ALL: list[Transform] = [
    RandomHorizontalFlip(), RandomVerticalFlip(), AlternatingFlip(), RandomShift((2, 3), "reflect"),
    Shift(1, -2, "edge"), RandomCrop((5, 4), (2, 1), 7), RandomRotation((-20, 40), 3),
    RandomAffine(10, (0.2, 0.1), (0.7, 1.3), (-5, 5, -10, 10)), ElasticTransform(30, 2.0),
    ColorJitter(0.3, (0.5, 2)), Cutout(3, 9), RandomErasing(0.9), MixUp(0.3), CutMix(),
    Compose([RandomShift(1), Compose([Cutout(2)])]),
]  # fmt: skip

MASK = 2**32 - 1


def _hash(x: int) -> int:
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97), (15, 1)):
        x ^= x >> shift
        x = x * factor & MASK
    return x


def _take_in(state: int, word: int) -> int:
    state = (_hash(state ^ (word & MASK)) + 0x9E3779B9) & MASK
    return (_hash(state ^ (word >> 32)) + 0x85EBCA6B) & MASK


def draw(seed: int, epoch: int, number: int, image: int, i: int) -> float:
    """Draw i of an image."""
    halves = []
    for state in (0, 1):
        for word in (seed, epoch, number, image):
            state = _take_in(state, word)
        halves.append(_hash(state ^ i))
    return ((halves[0] << 32 | halves[1]) >> 11) / 2**53


def outside(i: int, n: int, mode: str) -> int | None:
    """The pixel that stands at i; None for the fill."""
    if 0 <= i < n:
        return i
    if mode == "constant":
        return None
    if mode == "edge":
        return min(max(i, 0), n - 1)
    while not 0 <= i < n:  # reflect once more
        if n == 1:
            return 0
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


def stored(value: float, dtype: np.dtype) -> Any:
    """A number as an array of that type keeps it."""
    return math.floor(min(max(value, 0), 255) + 0.5) if dtype == np.uint8 else value


def resampled(
    x: np.ndarray, row: Any, column: Any, size: tuple[int, int], mode: str, fill: float
) -> np.ndarray:
    """One image (C, H, W) of which pixel (i, j) shows (row(i, j), column(i, j))."""
    C, H, W = x.shape
    y = np.empty((C, *size), x.dtype)
    for c, i, j in np.ndindex(y.shape):
        v, u = row(i, j), column(i, j)
        top, left, total = math.floor(v), math.floor(u), 0.0
        for k, weight_v in ((top, 1 - (v - top)), (top + 1, v - top)):
            for m, weight_u in ((left, 1 - (u - left)), (left + 1, u - left)):
                a, b = outside(k, H, mode), outside(m, W, mode)
                pixel = fill if a is None or b is None else float(x[c, a, b])
                total += weight_v * weight_u * pixel
        y[c, i, j] = stored(total, x.dtype)
    return y


def painted(x: np.ndarray, gain: float, pull: float) -> np.ndarray:
    """gain x + pull mean(x)."""
    mean = float(np.mean(x, dtype=np.float64))
    y = [stored(gain * float(v) + pull * mean, x.dtype) for v in x.reshape(-1)]
    return np.array(y, x.dtype).reshape(x.shape)


def affine(
    size: tuple[int, int],
    degrees: float,
    move: tuple[float, float],
    scale: float,
    shear: tuple[float, float],
) -> np.ndarray:
    """What pixel (x, y) of the image goes to: a matrix 3 x 3, with x to the right and y downwards.

    The image is sheared along x, then along y, scaled, rotated clockwise, and moved.
    """
    H, W = size
    to_center = np.array([[1, 0, (W - 1) / 2], [0, 1, (H - 1) / 2], [0, 0, 1]])
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    along_x, along_y = (math.tan(math.radians(a)) for a in shear)
    moved = np.array([[1, 0, move[0]], [0, 1, move[1]], [0, 0, 1]])
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    scaled = np.diag([scale, scale, 1])
    sheared_y = np.array([[1, 0, 0], [-along_y, 1, 0], [0, 0, 1]])
    sheared_x = np.array([[1, -along_x, 0], [0, 1, 0], [0, 0, 1]])
    inside = turned @ scaled @ sheared_y @ sheared_x
    return moved @ to_center @ inside @ np.linalg.inv(to_center)
