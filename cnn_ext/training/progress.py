"""One line that shows how far a long operation is: a tqdm bar on a terminal, else plain lines."""

from __future__ import annotations

import sys
from contextlib import suppress
from time import perf_counter as clock
from typing import Any


def tell(text: str) -> None:
    """Write on standard error; where there is none, or none that works, work goes on all the same.

    A program may have closed it, or put an object of its own in its place.
    """
    with suppress(Exception):
        sys.stderr.write(text)
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A length of time for people."""
    if not seconds < 1e9:
        return "ages"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """Progress of `total` steps on standard error.

    On a terminal with tqdm installed, a bar; on a terminal without it, a line that is written
    again and again, with the time that is left if it goes on like this; otherwise nothing but the
    closing line.

    Parameters
    ----------
    title : str
    total : int
    show : bool
        Whether to show anything at all.
    done : int
        Steps that were done before.

    As a context manager it clears an unfinished bar, whatever ends the operation.
    """

    def __init__(self, title: str, total: int, show: bool = True, done: int = 0) -> None:
        self.title = title
        self.total = total
        self.show = show
        self.done = self._first = done
        self._began = clock()
        self._bar: Any = None
        self._live = False
        with suppress(Exception):
            self._live = show and bool(sys.stderr.isatty())
        if self._live:
            with suppress(Exception):  # tqdm is not installed, or standard error does not work
                from tqdm import tqdm

                self._bar = tqdm(
                    total=total, desc=title, leave=False, file=sys.stderr, initial=done
                )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._clear()

    def advance(self, text: str = "") -> None:
        """One step is done; `text` says how things stand."""
        self.done += 1
        if self._bar is not None:
            try:
                self._bar.set_postfix_str(text, refresh=False)
                self._bar.update()
            except Exception:
                self._bar.disable = True  # or it would write once more when it is thrown away
                self._live, self._bar = False, None
        elif self._live and self.done * 100 // self.total != (self.done - 1) * 100 // self.total:
            left = (clock() - self._began) * (self.total - self.done) / (self.done - self._first)
            shown = f"{self.title}: {self.done * 100 // self.total} %, {text}"
            tell(f"\r{shown}, {duration(left)} left\x1b[K" if left else f"\r{shown}\x1b[K")

    def close(self, text: str) -> None:
        """The operation is over; `text` stays as its line."""
        self._clear()
        if self.show:
            tell(f"{self.title}: {text}\n")

    def _clear(self) -> None:
        if self._bar is not None:
            with suppress(Exception):
                self._bar.close()
        elif self._live:
            tell("\r\x1b[K")
        self._live, self._bar = False, None
