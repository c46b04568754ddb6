"""Images that lie in blocks on a disk, each of which is read once an epoch, ahead of its use.

A block is what is read at once: a shard, or some neighbouring images of a large array.  Images are
shuffled within a window of some blocks; one window is in memory while the next one is read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from .. import _check as check
from ._reading import Array
from .ahead import Piece, reading
from .batching import numbered

BLOCK = 2**24  # bytes of a block, where it is chosen here
WINDOW = 2**27  # bytes of a window
_SPAN = 16  # parts of a window whose batches are looked up at once


class Blocks:
    """Images in blocks; what is below knows where a block is.

    Parameters
    ----------
    counts : sequence of int
        Images of each block.
    shape : tuple of int
        Of an image.
    dtype : dtype
    window : int or None
        Images that are shuffled together, at least; as many as 128 MiB hold by default.
    readers : int
        Threads that read.
    least : int
        How many images are read at once where one is wanted.

    Attributes
    ----------
    shape : tuple of int
        (N, ...) of the whole set.
    dtype : dtype
    """

    def __init__(
        self,
        counts: Any,
        shape: tuple[int, ...],
        dtype: np.dtype,
        window: Any,
        readers: Any,
        least: int,
    ) -> None:
        self.readers = check.whole(readers, "readers", 1)
        self._least = least
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.intp)])
        self.shape = (int(self._starts[-1]), *shape)
        self.dtype = dtype
        self._rows = int(np.max(counts))  # of the largest
        if window is None:
            window = max(1, WINDOW // max(1, prod(shape) * dtype.itemsize))
        #: blocks that are shuffled together
        self._together = -(-check.whole(window, "window", 1) // self._rows)
        self._last: tuple[int, Array] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape} of {self.dtype}, {self._blocks} blocks)"

    def _read_block(self, number: int, out: Array) -> None:
        # fill `out`, which has its shape, with a block
        raise NotImplementedError

    def _read_rows(self, rows: Array) -> Array:
        # some images, of numbers that increase
        raise NotImplementedError

    def _read_alone(self, rows: Array) -> Array:
        # the same, and no others with them
        return self._read_rows(rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> Array:
        """An image by its number, or those of a slice or of an array of numbers."""
        return _rows(self, chosen, self._read_rows)

    def for_ranks(self, ranks: int) -> Blocks | Rows:
        """What each of so many processes, which has a part of every batch, should read from.

        Every block has images for all of them.  So each reads its images one by one, where that
        reads less than all blocks do.
        """
        return Rows(self) if self._least < ranks else self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)

    @property
    def _blocks(self) -> int:
        return len(self._starts) - 1

    def _numbers(self, rows: Array) -> Array:
        # the blocks of images
        return self._starts.searchsorted(rows, "right") - 1

    def _block(self, number: int) -> Array:
        # the last one stays, for who goes through the images one by one
        kept = self._last
        if kept is None or kept[0] != number:
            rows = int(self._starts[number + 1] - self._starts[number])
            kept = number, np.empty((rows, *self.shape[1:]), self.dtype)
            self._read_block(number, kept[1])
            self._last = kept
        return kept[1]

    def shuffled(self, rng: np.random.Generator, indices: Array) -> Array:
        """Some images in a random order, in which each block is wanted once.

        Blocks come in a random order and are taken together in windows, within which the images
        come in a random order.  Of a single window it is ``rng.permutation(indices)``, as for an
        array in memory.

        Parameters
        ----------
        rng : Generator
        indices : ndarray of int, (n,)
            Numbers of the images, increasing.
        """
        if self._together >= self._blocks:
            return rng.permutation(indices)
        ends = indices.searchsorted(self._starts)
        order = np.empty_like(indices)
        blocks, done = rng.permutation(self._blocks), 0
        for first in range(0, len(blocks), self._together):
            window = blocks[first : first + self._together].tolist()
            images = np.concatenate([indices[ends[b] : ends[b + 1]] for b in window])
            rng.shuffle(images)
            order[done : done + len(images)] = images
            done += len(images)
        return order

    def read_batches(self, order: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
        """Numbers and images of each batch; the blocks of batches to come are read by threads.

        Blocks fill a fixed room of two windows; who wants more of them at once gets the images one
        by one.
        """
        room = _Room(self)
        with reading(self.readers) as submit:
            for batches, where in room.spans(order, submit):
                start = 0
                for indices in batches:
                    end = start + len(indices)
                    if where is None:
                        yield indices, self[indices]
                    else:
                        yield indices, room.images.take(where[start:end], 0)
                    start = end


class Rows:
    """The images of blocks in the same order, but each read by itself, without its block.

    Parameters
    ----------
    blocks : Blocks
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.shape, self.dtype, self.readers = blocks.shape, blocks.dtype, blocks.readers
        self.shuffled = blocks.shuffled

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> Array:
        """As of the blocks."""
        return _rows(self, chosen, self._blocks._read_alone)


def _rows(images: Blocks | Rows, chosen: Any, read: Callable[[Array], Array]) -> Array:
    # an image or several, by what reads those of increasing numbers
    rows = numbered(chosen, len(images))
    once, places = np.unique(rows.ravel(), return_inverse=True)
    found = read(once)[places]
    return found if rows.ndim else found[0]


class _Room:
    """Room for the blocks of two windows, and what stands where in it."""

    def __init__(self, blocks: Blocks) -> None:
        self.of = blocks
        slots = min(blocks._blocks, 2 * blocks._together)
        self.images = np.empty((slots * blocks._rows, *blocks.shape[1:]), blocks.dtype)
        self.free = list(range(slots))
        self.slots: dict[int, int] = {}
        self.loads: dict[int, Piece[None]] = {}
        self.users: Counter[int] = Counter()

    def spans(self, order: Iterator[Array], submit: Any) -> Iterator[tuple[list[Array], Any]]:
        """Some batches at a time, and where their images are; None where there is no room."""
        waiting: deque[tuple[list[Array], list[int], bool]] = deque()
        spans = self._grouped(order)
        held = next(spans, None)
        while held or waiting:
            while held and ((entered := self._enter(held[1], submit)) or not waiting):
                waiting.append((*held, entered))
                held = next(spans, None)
            batches, numbers, entered = waiting.popleft()
            if not entered:
                yield batches, None
                continue
            for number in numbers:
                self.loads[number].result()
            yield batches, self._places(np.concatenate(batches))
            self._leave(numbers)

    def _grouped(self, order: Iterator[Array]) -> Iterator[tuple[list[Array], list[int]]]:
        # batches, and the blocks that they need
        least = max(1, self.of._rows * self.of._together // _SPAN)
        batches: list[Array] = []
        images = 0
        for batch in chain(order, [None]):
            if batch is not None:
                batches.append(batch)
                images += len(batch)
            if batches and (batch is None or images >= least):
                numbers = np.unique(self.of._numbers(np.concatenate(batches)))
                yield batches, numbers.tolist()
                batches, images = [], 0

    def _enter(self, numbers: list[int], submit: Any) -> bool:
        # begin to read these blocks, if there is room
        new = [number for number in numbers if number not in self.loads]
        if len(new) > len(self.free):
            return False
        starts = self.of._starts
        for number in new:
            slot = self.slots[number] = self.free.pop()
            first = slot * self.of._rows
            out = self.images[first : first + int(starts[number + 1] - starts[number])]
            self.loads[number] = submit(self.of._read_block, number, out)
        self.users.update(numbers)
        return True

    def _leave(self, numbers: list[int]) -> None:
        # nobody who waits needs these blocks any more, perhaps
        self.users.subtract(numbers)
        for number in numbers:
            if not self.users[number]:
                del self.users[number], self.loads[number]
                self.free.append(self.slots.pop(number))

    def _places(self, indices: Array) -> Array:
        shift = np.zeros(self.of._blocks, np.intp)
        for number, slot in self.slots.items():
            shift[number] = slot * self.of._rows - self.of._starts[number]
        return indices + shift[self.of._numbers(indices)]
