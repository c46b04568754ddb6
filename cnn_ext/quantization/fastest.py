"""The fastest plan within an error: which precision pays on this machine."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .._arrays import plain_array
from ..layers.module import Module
from ..run.plan import Plan
from .network import quantize

RUNS = 7  # of each plan; they take turns


def fastest(
    net: Module, sample: ArrayLike, tolerance: float = 0.02, images: int = 1, max_batch: int = 256
) -> Plan:
    """The plan that answers soonest on this machine, of those within an error.

    Parameters
    ----------
    net : Module
    sample : array_like, shape (N, ...)
        As for `quantize`; the error is that of its answers.
    tolerance : float
        The most that the root of the mean square of what int8 changes may be, by that of the
        answers in float32.
    images : int
        How many a call will have, as far as the sample has so many.
    max_batch : int
        As for `Plan`.

    Returns
    -------
    Plan
        Its `precision` says which it is: "int8" only if it was faster in the median of some runs
        that took turns, and within the error.

    Raises
    ------
    TypeError, ValueError
        As `quantize`; also if `tolerance` is negative.
    """
    check.number(tolerance, "tolerance")
    x = plain_array(sample, "sample")
    small = quantize(net, x)
    plans = [each.compile(x.shape[1:], max_batch) for each in (net, small)]
    truth, answers = (plan(x) for plan in plans)
    size = float(np.sqrt(np.square(truth).mean()))
    if float(np.sqrt(np.square(answers - truth).mean())) > tolerance * size:
        return plans[0]
    batch = np.ascontiguousarray(x[: check.whole(images, "images", 1)])
    times: list[list[float]] = [[], []]
    for _ in range(RUNS):
        for plan, taken in zip(plans, times, strict=True):
            started = time.perf_counter()
            plan(batch)
            taken.append(time.perf_counter() - started)
    return plans[int(np.median(times[1]) < np.median(times[0]))]
