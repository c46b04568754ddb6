"""Signals that end a run: at once or, where something must become whole first, after that."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

ENDING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
]
SAME = 1.0  # seconds in which further signals are taken for the one that is ending the run


class Signals:
    """Turns signals into KeyboardInterrupt inside a `with` block of the main thread.

    Within `waiting` they are only noted. Afterwards everything is as before; signals that the
    process ignores, as under nohup, stay ignored.

    Parameters
    ----------
    last : bool
        Whether the process ends with the run. If a signal has ended it, further ones are then
        ignored, so that they do not change the exit status.

    Attributes
    ----------
    number : int or None
        Of the first signal that came.
    """

    def __init__(self, last: bool = False) -> None:
        self.last = last
        self.number: int | None = None
        self._before: dict[int, Any] = {}
        self._stop: Callable[[], None] | None = None
        self._ending = float("-inf")  # since when

    @property
    def status(self) -> int:
        """The exit status of a run that a signal has ended."""
        return 128 + (signal.SIGINT if self.number is None else self.number)

    def __enter__(self) -> Signals:
        for number in ENDING:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                with suppress(ValueError):  # of a thread that cannot set it, nor is interrupted
                    signal.signal(number, self._receive)
                    self._before[number] = before
        return self

    def __exit__(self, *error: object) -> None:
        ended = self.last and self.number is not None
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if ended else before)

    @contextmanager
    def waiting(self, stop: Callable[[], None]) -> Iterator[None]:
        """Inside a `with` block, a signal calls `stop` and interrupts nothing."""
        self._stop = stop
        try:
            if self.number is not None:
                stop()
            yield
        finally:
            if self.number is not None:
                self._ending = time.monotonic()
            self._stop = None

    def _receive(self, number: int, frame: object) -> None:
        if self.number is None:
            self.number = number
        if self._stop is not None:
            self._stop()
        elif time.monotonic() > self._ending + SAME:
            self._ending = time.monotonic()
            raise KeyboardInterrupt
