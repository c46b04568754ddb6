"""Reading ahead: threads read what is wanted next, and end with the block that they read for."""

from __future__ import annotations

import _thread
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Submit = Callable[..., "Piece[Any]"]

#: those that are at work
READERS: set[Reader] = set()


class Piece(Generic[T]):
    """What a thread has done, or will have."""

    def __init__(self, work: Callable[..., T], arguments: tuple[Any, ...], process: int) -> None:
        self._work, self._arguments, self._process = work, arguments, process
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def do(self) -> None:
        try:
            self._answers.put((self._work(*self._arguments), None))
        except BaseException as error:
            self._answers.put((None, error))

    def result(self) -> T:
        """What the work gave, or its error.

        Raises RuntimeError in a forked child, where nobody would ever do it.
        """
        if os.getpid() != self._process and self._answers.empty():
            raise RuntimeError("images that were to be read ahead do not come in a forked process")
        answer = self._answers.get()
        self._answers.put(answer)
        value, error = answer
        if error is not None:
            raise error
        made: T = value
        return made


class Reader:
    """A thread that does pieces of work until it gets None."""

    # Not of `threading`, nor of `concurrent.futures`: their locks are Python's, and an interrupt
    # that comes when one was taken leaves it taken, so that a thread waits for ever.  A queue is C.

    def __init__(self, pieces: SimpleQueue[Piece[Any] | None], ends: SimpleQueue[None]) -> None:
        self._pieces, self._ends, self.ended = pieces, ends, False
        _thread.start_new_thread(self._go, ())

    def _go(self) -> None:
        READERS.add(self)
        while (piece := self._pieces.get()) is not None:
            piece.do()
            del piece
        self._pieces.put(None)  # for the next one
        READERS.discard(self)
        self.ended = True
        self._ends.put(None)


@contextmanager
def reading(readers: int) -> Iterator[Submit]:
    """Threads that work inside a ``with`` block; what they have not begun at its end is dropped."""
    pieces: SimpleQueue[Piece[Any] | None] = SimpleQueue()
    ends: SimpleQueue[None] = SimpleQueue()
    begun: list[Reader] = []
    process = os.getpid()

    def submit(work: Callable[..., T], *arguments: Any) -> Piece[T]:
        piece = Piece(work, arguments, process)
        pieces.put(piece)
        return piece

    def end() -> None:
        with suppress(Empty):
            while True:
                pieces.get_nowait()
        pieces.put(None)
        # neither a forked child has them, nor a program that ends while an iterator is left
        while (
            os.getpid() == process
            and not sys.is_finalizing()
            and (not all(reader.ended for reader in begun))
        ):
            with suppress(Empty):
                ends.get(timeout=0.05)

    try:
        try:
            for _ in range(readers):
                begun.append(Reader(pieces, ends))
            yield submit
        finally:
            end()
    finally:  # once more, as an interrupt may have come before the first attempt or in its midst
        end()


def ahead(work: Iterator[Callable[[], T]], readers: int) -> Iterator[T]:
    """What the pieces of work give, in their order, however many threads do them.

    Parameters
    ----------
    work : iterator of functions
        It is advanced in the caller's thread.
    readers : int
        Threads; one piece more than there are threads is begun, or done, before it is wanted.

    Yields
    ------
    What each of them returns.  The first error comes out in its place.
    """
    begun: deque[Piece[T]] = deque()
    with reading(readers) as submit:
        while True:
            while len(begun) < readers + 2 and (piece := next(work, None)) is not None:
                begun.append(submit(piece))
            if not begun:
                return
            yield begun.popleft().result()
