"""`learning_rate_finder`: which learning rates a training can do with, before it begins."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _check as check
from ..data.labelled import Batch, LabelledSet
from .descent import CostError
from .trainer import Trainer

FAILED = 4.0  # how many times the lowest cost is the end


@dataclass
class LearningRates:
    """What `learning_rate_finder` has found.

    Attributes
    ----------
    rates, costs : ndarray of float64, (steps done,)
        The learning rate of each step, and the smoothed cost before it.
    suggestion : float or None
        Where the cost falls fastest by the logarithm of the rate, before its lowest value, the
        first tenth of the rates left out; None if it falls nowhere.
    """

    rates: np.ndarray
    costs: np.ndarray
    suggestion: float | None

    def _repr_html_(self) -> str:
        from .. import _html  # which notebooks alone need

        if not len(self.rates):
            return _html.table(["suggestion", "None"], [])
        line = list(zip(np.log10(self.rates).tolist(), self.costs.tolist(), strict=True))
        drawn = _html.curves({"smoothed": line}, "log10 of the learning rate", "cost")
        told = "None" if self.suggestion is None else f"{self.suggestion:.3g}"
        return f"<div>{drawn}{_html.table(['suggestion', told], [])}</div>"


def learning_rate_finder(
    trainer: Trainer,
    x: Any,
    y: Any,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    smoothing: float = 0.9,
) -> LearningRates:
    """Train a copy with learning rates that rise from step to step, and note what its costs are.

    After Smith, "Cyclical learning rates for training neural networks" (2017).  The trainer, its
    network, optimizer and draws stay as they are, bit for bit: a copy of them is trained, which
    needs as much memory again.  It ends early where the cost is 4 times its lowest value, or is not
    finite.

    Parameters
    ----------
    trainer : Trainer
    x, y
        As for `Trainer.fit`.
    lowest, highest : float
        The first and the last rate, of the first group; the rates of others keep their proportion.
        The rates between have equal ratios.
    steps : int
        As many batches, in a random order, over and over if need be.
    batch_size : int
    smoothing : float
        What a cost takes over from those before it, from 0 up to but not 1, without bias.

    Returns
    -------
    LearningRates

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer: expected a Trainer, got {type(trainer).__name__}")
    lowest, highest = check.number(lowest, "lowest"), check.number(highest, "highest")
    if not 0 < lowest < highest:
        raise ValueError(f"highest: expected more than lowest, {lowest:g} (above 0), got {highest}")
    steps = check.whole(steps, "steps", 2)
    batch_size = check.whole(batch_size, "batch_size", 1)
    if check.number(smoothing, "smoothing", 0, 1) == 1:
        raise ValueError(f"smoothing: expected less than 1, got {smoothing!r}")
    trainer._check_optimizer()
    training = LabelledSet(x, y, several=trainer._backpropagate.several)
    try:
        trial = copy.deepcopy(trainer)
    except Exception as error:  # of whatever a layer or a loss of one's own holds
        raise TypeError(f"trainer: expected one that can be copied: {error}") from error
    trial._backpropagate.expect(training.y, trial._kind_is_given)
    rates = np.geomspace(lowest, highest, steps)
    costs: list[float] = []
    mean = 0.0
    with closing(_again_and_again(training, batch_size, trial._rng)) as taken:
        for step, (rate, batch) in enumerate(zip(rates.tolist(), taken, strict=False)):
            trial.optimizer.lr = rate
            try:
                cost = trial.train_on_batch(batch.images, batch.targets)
            except CostError:
                break
            mean = smoothing * mean + (1 - smoothing) * cost
            costs.append(mean / (1 - smoothing ** (step + 1)))
            if costs[-1] > FAILED * min(costs) > 0:
                break
    found = np.array(costs)
    suggestion = _steepest(rates, found) if costs else None
    return LearningRates(rates[: len(costs)], found, suggestion)


def _again_and_again(
    training: LabelledSet, batch_size: int, rng: np.random.Generator
) -> Generator[Batch, None, None]:
    while True:
        yield from training.taken(training.batches(batch_size, rng))


def _steepest(rates: np.ndarray, costs: np.ndarray) -> float | None:
    # the rate around which the costs fall most, from behind the first ones, which are means of few,
    # up to the lowest
    reach = max(1, len(rates) // 20)
    first, last = max(reach, len(rates) // 10), min(int(costs.argmin()), len(costs) - 1 - reach)
    falls = [costs[i - reach] - costs[i + reach] for i in range(first, last + 1)]
    if not falls or max(falls) <= 0:
        return None
    return float(rates[first + int(np.argmax(falls))])
