"""Where the numbers of an activation of one image lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Shape

FLOAT = np.dtype(np.float32)
SIZE = FLOAT.itemsize
LINE = 64 // SIZE  # numbers in a cache line
Border = tuple[int, int, int, int]  # top, bottom, left, right
NO_BORDER: Border = (0, 0, 0, 0)


def places(numbers: Any) -> np.ndarray:
    """A table as the kernels take it."""
    return np.ascontiguousarray(numbers, np.intp).reshape(-1)


def constant(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line, in memory that no recorder takes for its own."""
    room = np.empty(array.size + LINE, FLOAT)
    start = -room.ctypes.data // SIZE % LINE
    copy = room[start : start + array.size].reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy


@dataclass
class Value:
    """The numbers of one activation: `at` says where each lies in `data`.

    If it lies in the usual way, channel c of pixel (h, w) is at ``first + c // lanes * plane
    + h * row + w * lanes + c % lanes``; `lanes` is 1 for plain images and 0 where nothing of that
    is true.
    """

    data: np.ndarray
    shape: Shape
    at: np.ndarray
    lanes: int = 0
    first: int = 0
    plane: int = 0
    row: int = 0
    border: Border = NO_BORDER

    def like(self, data: np.ndarray) -> Value:
        """Another one that lies in the same way."""
        return Value(
            data, self.shape, self.at, self.lanes, self.first, self.plane, self.row, self.border
        )

    def as_shape(self, shape: Shape) -> Value:
        """The same numbers, shaped otherwise."""
        if image(shape) == image(self.shape):
            other = self.like(self.data)
            other.shape = shape
            return other
        return Value(self.data, shape, self.at)


def image(shape: Shape) -> tuple[int, int, int]:
    """A shape as (C, H, W): what is no image is channels of one pixel."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return math.prod(shape), 1, 1
