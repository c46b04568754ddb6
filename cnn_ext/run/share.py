"""`Share`: which images of a batch a process has, where several train one network together.

A *group* is what connects the processes: it has `rank`, the number of this one, `size`, how many
there are, ``allgather(array)``, which gives a list of the arrays of all ranks, and ``barrier()``.
It may have ``begin_allgather(array)``, which gives a function that waits for that list, and `wire`,
"bfloat16" where gradients of float32 travel as that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .._bfloat16 import from_bfloat16, to_bfloat16

WIRES = ("bfloat16",)  # as what gradients may travel


class Group(Protocol):
    """What connects processes that work together.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and how many there are.
    """

    rank: int
    size: int

    def allgather(self, array: np.ndarray) -> Sequence[np.ndarray]:
        """The arrays of all ranks, in their order; they have one shape and number type."""

    def barrier(self) -> None:
        """Wait until all ranks are here."""


class Share:
    """The part of a batch that one rank has: neighbours among the blocks of LANES images.

    Parameters
    ----------
    group : Group
    images : int
        Of the whole batch.
    lanes : int
        Images of a block.

    Attributes
    ----------
    starts : tuple of int
        The first block of each rank, and the number of blocks.
    part : slice
        The images of this rank.
    """

    def __init__(self, group: Group, images: int, lanes: int) -> None:
        self.group, self.images, self.rank = group, images, group.rank
        blocks = -(-images // lanes)
        self.starts = tuple(blocks * rank // group.size for rank in range(group.size + 1))
        self._ends = [min(images, start * lanes) for start in self.starts]
        self.part = slice(*self._ends[self.rank : self.rank + 2])

    @property
    def own(self) -> int:
        """How many images this rank has."""
        return int(self.part.stop - self.part.start)

    def send(self, numbers: Any, gradients: bool) -> Callable[[], Sequence[np.ndarray]]:
        """Begin to gather memory of one size from all ranks; the function waits for it.

        Parameters
        ----------
        numbers : buffer
        gradients : bool
            Whether they are sums of gradients, which the group may round, those of this rank too.
        """
        if gradients and wire_of(self.group) is not None:
            wait = self._begin(to_bfloat16(np.frombuffer(numbers, np.float32)))
            return lambda: [from_bfloat16(bits) for bits in wait()]
        return self._begin(np.frombuffer(numbers, np.uint8))

    def _begin(self, array: np.ndarray) -> Callable[[], Sequence[np.ndarray]]:
        begin = getattr(self.group, "begin_allgather", None)
        if begin is not None:
            return begin(array)
        gathered = self.group.allgather(array)
        return lambda: gathered

    def whole(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all images, (N, ...), from those of each rank for its own."""
        counts = np.diff(self._ends)
        padded = np.zeros((max(counts), *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        parts = self.group.allgather(padded)
        return np.concatenate([part[:n] for part, n in zip(parts, counts, strict=True)])


def wire_of(group: Any) -> str | None:
    """As what the gradients of a group travel; None for the numbers as they are.

    Raises
    ------
    ValueError
        If it is none of `WIRES`.
    """
    wire: str | None = getattr(group, "wire", None)
    if wire not in (None, *WIRES):
        raise ValueError(f"wire: expected 'bfloat16' or None, got {wire!r:.99}")
    return wire


def agreed(group: Group | None, value: bool) -> bool:
    """Whether it is true on any rank."""
    if group is None:
        return value
    return any(told[0] for told in group.allgather(np.array([value], np.uint8)))


def of_first(group: Group | None, value: float) -> float:
    """The number that rank 0 has."""
    return value if group is None else float(group.allgather(np.array([value]))[0][0])


def totals(group: Group | None, counts: tuple[int, int] | None) -> tuple[int, int] | None:
    """The sums of two counts over all ranks."""
    if group is None or counts is None:
        return counts
    first, second = np.sum(group.allgather(np.array(counts, np.int64)), axis=0).tolist()
    return first, second


def texts(group: Group, text: str) -> list[str]:
    """The texts of all ranks."""
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = [int(told[0]) for told in group.allgather(np.array([len(data)], np.int64))]
    padded = np.zeros(max(lengths), np.uint8)
    padded[: len(data)] = data
    parts = group.allgather(padded)
    return [part[:n].tobytes().decode() for part, n in zip(parts, lengths, strict=True)]


def shared(group: Group | None, images: int, lanes: int) -> Share | None:
    """The share of a rank in a batch of so many images; None for a process that is alone."""
    return None if group is None else Share(group, images, lanes)
