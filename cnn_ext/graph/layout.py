"""Where the numbers of an activation of one image lie, and what recordings of a graph share."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..lanes import empty
from .node import Shape

FLOAT = np.dtype(np.float32)
SIZE = FLOAT.itemsize
Border = tuple[int, int, int, int]  # top, bottom, left, right
NO_BORDER: Border = (0, 0, 0, 0)
# numbers in tables, and in calls that keep them, and in constants that are spread
ROOM, BATCH_ROOM = 2**27, 2**24
MOST = 2**29  # numbers of the values of one image, with their borders, that are needed at once
MOST_BORDER = 2**26  # numbers in the border of one value


def places(numbers: Any) -> np.ndarray:
    """A table as the kernels take it."""
    return np.ascontiguousarray(numbers, np.intp).reshape(-1)


def constant(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line, in memory that no recorder takes for its own."""
    line = 64 // array.itemsize
    room = np.empty(array.size + line, array.dtype)
    start = -room.ctypes.data // array.itemsize % line
    copy = room[start : start + array.size].reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy


class NoRoom(ValueError):
    """A plan would need more than it may have for a graph of this size."""


class Packed(dict[str, list[np.ndarray]]):
    """Weights in the order of the kernels, by node, and tables: what all recordings share.

    Parameters
    ----------
    room : int
        How many numbers there may be that no weight stands for.

    Attributes
    ----------
    tables : dict
        Of places, by what they depend on.
    """

    def __init__(self, room: int) -> None:
        self.tables: dict[Any, Any] = {}
        self.room = self._left = room

    def need(self, count: int) -> None:
        """Take note of so many numbers that no weight stands for."""
        self._left -= count
        if self._left < 0:
            raise NoRoom(f"{count} more numbers in tables or constants; there may be {self.room}")

    def grid(self, first: int, *axes: tuple[int, int]) -> np.ndarray:
        """The places ``first + i * step + j * ...`` in order; the axes are (count, step)."""
        merged: list[tuple[int, int]] = []
        for count, step in axes:
            if merged and merged[-1][1] == count * step:
                merged[-1] = merged[-1][0] * count, step
            elif count > 1 or not merged:
                merged.append((count, step))
        key = first, *merged
        if key not in self.tables:
            self.need(math.prod(count for count, _ in merged))
            at = np.array(first, np.intp)
            for count, step in merged:
                at = at[..., None] + np.arange(count, dtype=np.intp) * step
            self.tables[key] = table = places(at)
            table.flags.writeable = False
        found: np.ndarray = self.tables[key]
        return found


class Placed(NamedTuple):
    """The numbers of one activation, and where each lies in `data`.

    If it lies in the usual way, channel c of pixel (h, w) is at ``first + c // lanes * plane
    + h * row + w * lanes + c % lanes``; `lanes` is 1 for plain images and 0 where nothing of that
    is true: then `table` has the places.
    """

    data: np.ndarray
    shape: Shape
    table: np.ndarray | None = None
    lanes: int = 0
    first: int = 0
    plane: int = 0
    row: int = 0
    border: Border = NO_BORDER

    def like(self, data: np.ndarray) -> Placed:
        """Another one that lies in the same way."""
        return self._replace(data=data)

    def channels(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The axes of a grid of channels; if they do not fill the last block, it has some more."""
        C, L = image(self.shape)[0], self.lanes
        return (-(-C // L), self.plane), (min(C, L), 1)

    def at(self, packed: Packed) -> np.ndarray:
        """The places of all numbers."""
        if self.table is not None:
            return self.table
        C, H, W = image(self.shape)
        pixels = (H, self.row), (W, self.lanes)
        return packed.grid(self.first, *self.channels(), *pixels)[: C * H * W]

    def as_shape(self, shape: Shape, packed: Packed) -> Placed:
        """The same numbers, shaped otherwise."""
        if image(shape) == image(self.shape):
            return self._replace(shape=shape)
        return Placed(self.data, shape, self.at(packed))


def room(count: int) -> np.ndarray:
    """Memory for so many numbers of a value."""
    if count > MOST:
        raise NoRoom(f"{count} numbers in whole vectors; a plan may have {MOST}")
    return empty((count,), FLOAT)


def image(shape: Shape) -> tuple[int, int, int]:
    """A shape as (C, H, W): what is no image is channels of one pixel."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return math.prod(shape), 1, 1
