"""Median times and peak memory, for the benchmarks; needs no package."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def median_seconds(work: Callable[[], object], least: float) -> float:
    """Median time of `work` over `least` seconds or five calls, warmed up for a fifth of that."""
    end = time.perf_counter() + least / 5
    work()
    while time.perf_counter() < end:
        work()
    times: list[float] = []
    end = time.perf_counter() + least
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def reset_peak() -> None:
    """Let `peak_memory` begin anew, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Most bytes of physical memory that this process has had at once."""
    # first choice, because getrusage counts what the parent had before this program was loaded
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
