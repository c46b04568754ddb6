"""How long a call takes, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST = 5  # calls of a measurement


def times(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call until so many seconds have passed, after a fifth of them as warm-up."""
    end = time.perf_counter() + seconds / 5
    call()
    while time.perf_counter() < end:
        call()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < LEAST:
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found
