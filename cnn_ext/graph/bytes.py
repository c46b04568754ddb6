"""Activations of one image as bytes: what a byte stands for, and where each lies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..lanes import empty
from .layout import FLOAT, MOST, NO_BORDER, SIZE, Border, NoRoom
from .node import Shape

LARGEST = 255  # of a byte
MOST_TAPS = 65_000  # products of two bytes whose sum fits 32 bits


class Grid(NamedTuple):
    """The numbers that bytes stand for, ``(q - zero_point) scale`` for q from 0 to 255.

    Parameters
    ----------
    scale : float
        Above 0.
    zero_point : int
        The byte that stands for 0.
    """

    scale: float
    zero_point: int

    def limits(self, clip: tuple[float, float] | None = None) -> tuple[float, float, int]:
        """Bounds of results, in steps from 0, and the zero point, as the kernels take them."""
        least, most = -self.zero_point, LARGEST - self.zero_point
        if clip is not None:
            low, high = np.rint(np.asarray(clip, FLOAT) / np.float32(self.scale))
            least, most = np.clip((low, high), least, most)
        return float(least), float(most), self.zero_point


class Bytes(NamedTuple):
    """One activation: pixels that hold their channels side by side, within a border of zeros.

    The byte of channel c of pixel (h, w) is number ``first + h * row + w * C + c`` of `data`.

    Parameters
    ----------
    data : ndarray of uint8
    shape : tuple of int
        That of the value, which may be another one than that of the image.
    body : tuple of int
        (C, H, W).
    grid : Grid
    """

    data: np.ndarray
    shape: Shape
    body: tuple[int, int, int]
    grid: Grid
    first: int = 0
    row: int = 0
    border: Border = NO_BORDER


def byte_room(count: int) -> np.ndarray:
    """Memory for so many bytes of a value, and for what a read of four bytes finds behind them."""
    if count > MOST:
        raise NoRoom(f"{count} bytes of a value; a plan may have {MOST}")
    return empty((-(-count // SIZE) + 1,), FLOAT).view(np.uint8)
