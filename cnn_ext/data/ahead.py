"""Reading ahead: threads read what is wanted next, and end with the block that they read for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
Submit = Callable[..., "Future[Any]"]


@contextmanager
def reading(readers: int) -> Iterator[Submit]:
    """Threads that work inside a ``with`` block; what they have not begun at its end is dropped."""
    from concurrent.futures import ThreadPoolExecutor  # 10 ms, which most programs do without

    pool = ThreadPoolExecutor(readers, "cnn_ext reader")
    try:
        try:
            yield pool.submit
        finally:
            pool.shutdown(cancel_futures=True)
    finally:  # once more, as an interrupt may have come before the first attempt or in its midst
        pool.shutdown(cancel_futures=True)


def result(future: Future[T], process: int) -> T:
    """What a thread of that process has read, or its error.

    Raises RuntimeError in a forked child, where nobody would ever read it.
    """
    if os.getpid() != process and not future.done():
        raise RuntimeError("images that were to be read ahead do not come in a forked process")
    return future.result()


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
    process = os.getpid()
    begun: deque[Future[T]] = deque()
    with reading(readers) as submit:
        while True:
            while len(begun) < readers + 2 and (piece := next(work, None)) is not None:
                begun.append(submit(piece))
            if not begun:
                return
            yield result(begun.popleft(), process)
