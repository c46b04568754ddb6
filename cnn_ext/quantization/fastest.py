"""The fastest plan within an error: which precision pays on this machine."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .._arrays import plain_array
from ..graph.precision import BFLOAT16, FLOAT32, INT8
from ..layers.module import Module
from ..run.plan import Plan
from .network import quantize

RUNS = 7  # of each plan; they take turns


def fastest(
    net: Module,
    sample: ArrayLike,
    tolerance: float = 0.02,
    images: int = 1,
    max_batch: int = 256,
    outputs: str | None = None,
) -> Plan:
    """The plan that answers soonest on this machine, of those within an error.

    ``net.compile(precision="auto", sample=..., tolerance=...)`` is the same for single images.

    Parameters
    ----------
    net : Module
    sample : array_like, shape (N, ...)
        As for `quantize`; the error is that of its answers.
    tolerance : float
        The most that the root of the mean square of what bfloat16 or int8 changes may be, by that
        of the answers in float32.
    images : int
        How many a call will have, as far as the sample has so many.
    max_batch, outputs
        As for `Plan`.

    Returns
    -------
    Plan
        Its `precision` says which it is: "bfloat16" or "int8" only if it was faster in the median
        of some runs that took turns, and within the error.

    Raises
    ------
    TypeError, ValueError
        As `quantize`; also if `tolerance` is negative.
    """
    check.number(tolerance, "tolerance")
    batch_size = check.whole(images, "images", 1)
    x = plain_array(sample, "sample")
    nets = {FLOAT32: net, BFLOAT16: net, INT8: quantize(net, x)}
    plans = [
        each.compile(x.shape[1:], max_batch, outputs, precision) for precision, each in nets.items()
    ]
    truth = plans[0](x)
    most = tolerance * _size(truth)
    with np.errstate(invalid="ignore"):  # nothing else is near answers that are infinite
        near = [plan for plan in plans[1:] if _size(plan(x) - truth) <= most < np.inf]
    plans = [plans[0], *near]
    batch = np.ascontiguousarray(x[:batch_size])
    times: list[list[float]] = [[] for _ in plans]
    for _ in range(RUNS):
        for plan, taken in zip(plans, times, strict=True):
            started = time.perf_counter()
            plan(batch)
            taken.append(time.perf_counter() - started)
    return plans[int(np.argmin(np.median(times, axis=1)))]


def _size(x: np.ndarray) -> float:
    # the root of the mean square
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))
