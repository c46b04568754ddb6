"""Learning-rate schedules: what to multiply the learning rate by as training goes on.

A schedule is a function of the part of training that is done, from 0 to 1.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from time import perf_counter as clock

from .. import _check as check

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """The same learning rate all the time."""
    return lambda done: 1.0


def step(drops: int = 2, factor: float = 0.1) -> Schedule:
    """Multiply by `factor` at `drops` evenly spaced moments."""
    drops = check.whole(drops, "drops", 1)
    return lambda done: factor ** min(int(done * (drops + 1)), drops)


def cosine(final: float = 0.0) -> Schedule:
    """Half a cosine from 1 down to `final` (Loshchilov and Hutter 2017, without restarts)."""
    return lambda done: final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def one_cycle(warm_up: float = 0.3, start: float = 0.04, final: float = 1e-4) -> Schedule:
    """Rise from `start` to 1 during `warm_up`, then fall to `final`, both along half a cosine.

    After Smith and Topin, "Super-convergence" (2018), for the learning rate alone.
    """
    if not 0 < warm_up < 1:
        raise ValueError(f"warm_up: expected a number between 0 and 1, got {warm_up!r}")
    fall = cosine(final)
    rise = cosine(start)

    def schedule(done: float) -> float:
        if done < warm_up:
            return rise(1 - done / warm_up)
        return fall((done - warm_up) / (1 - warm_up))

    return schedule


def linear(final: float = 0.0) -> Schedule:
    """Fall from 1 to `final` along a line."""
    final = check.number(final, "final")
    return lambda done: 1 + (final - 1) * done


def warm_up(
    part: float = 0.1, schedule: str | Schedule | None = "cosine", start: float = 0.01
) -> Schedule:
    """Rise along a line from `start` to what `schedule` begins with, then follow that schedule.

    Parameters
    ----------
    part : float
        How much of training the rise takes, between 0 and 1; `schedule` has the rest.
    schedule : str, function or None
        As for `Trainer.fit`.
    start : float
        The first factor, as a part of what `schedule` begins with.
    """
    if not 0 < check.number(part, "part") < 1:
        raise ValueError(f"part: expected a number between 0 and 1, got {part!r}")
    start, after = check.number(start, "start"), schedule_of(schedule)

    def warmed(done: float) -> float:
        if done < part:
            return after(0.0) * (start + (1 - start) * done / part)
        return after((done - part) / (1 - part))

    return warmed


def cosine_restarts(periods: int = 3, final: float = 0.0, growth: float = 1.0) -> Schedule:
    """Half a cosine from 1 down to `final`, again and again (Loshchilov and Hutter 2017).

    Parameters
    ----------
    periods : int
        How often.
    final : float
    growth : float
        How much longer each is than the one before it, above 0; 2 doubles them.
    """
    periods = check.whole(periods, "periods", 1)
    if not check.number(growth, "growth") > 0:
        raise ValueError(f"growth: expected a number above 0, got {growth!r}")
    fall = cosine(check.number(final, "final"))
    longest = periods - 1 if growth > 1 else 0  # so that no power is too large
    lengths = [growth ** (i - longest) for i in range(periods)]
    starts = [0.0, *accumulate(length / math.fsum(lengths) for length in lengths[:-1])]
    ends = [*starts[1:], 1.0]

    def schedule(done: float) -> float:
        i = bisect_right(starts, done) - 1
        length = ends[i] - starts[i]
        return fall((done - starts[i]) / length if length else 1.0)

    return schedule


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "linear": linear,
    "warm-up": warm_up,
    "cosine-restarts": cosine_restarts,
}


def schedule_of(schedule: str | Schedule | None) -> Schedule:
    """A schedule given as one of `SCHEDULES` by name, as a function, or as None (constant).

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or the name is unknown.
    """
    if schedule is None:
        return constant()
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")
        return SCHEDULES[schedule]()
    if not callable(schedule):
        raise TypeError(f"schedule: expected a name or a function, got {schedule!r}")
    return schedule


class Pace:
    """How far training is, by epochs and by time, and what the schedule says there.

    Parameters
    ----------
    schedule : str, function or None
    epochs : int
    max_seconds : float, optional
        From now on; the part that is done is the larger of those of the epochs and of this time.

    Attributes
    ----------
    epochs : int
    schedule : function
    seconds : float or None
        What `max_seconds` was.
    spent : float
        Seconds before it began, of a training that goes on.
    """

    def __init__(
        self, schedule: str | Schedule | None, epochs: int, max_seconds: float | None = None
    ) -> None:
        self.schedule = schedule_of(schedule)
        self.epochs = epochs
        self.spent = 0.0
        self.seconds = None if max_seconds is None else check.number(max_seconds, "max_seconds")
        self._began = clock()

    def over(self) -> bool:
        """Whether the time is."""
        return self.seconds is not None and self.gone() >= self.seconds

    def factor(self, epochs_done: float) -> float:
        """What to multiply the learning rate by."""
        return check.number(self.schedule(self._part(epochs_done)), "schedule")

    def seconds_left(self, epochs_done: float) -> float:
        """How long the rest takes if it goes on as it did; 0 at the end."""
        part = self._part(epochs_done)
        return self.gone() * (1 - part) / part if part else math.inf

    def _part(self, epochs_done: float) -> float:
        part = epochs_done / self.epochs
        if self.seconds:
            part = max(part, min(1.0, self.gone() / self.seconds))
        return part

    def gone(self) -> float:
        """Seconds since the training began, those of an earlier process included."""
        return self.spent + clock() - self._began
