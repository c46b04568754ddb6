"""Learning-rate schedules: what to multiply the learning rate by as training goes on.

A schedule is a function of the part of training that is done, from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
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
