"""How a network answers on a test set: confusion, mistakes, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import _check as check
from ..run.plan import Plan
from ..training.metrics import confusion_matrix

BINS = 10


@dataclass(frozen=True)
class Answers:
    """What a plan says of labelled images.

    Attributes
    ----------
    true, guessed : ndarray of int64, shape (N,)
    confusion : ndarray of int64, shape (K, K)
        Rows are true classes, columns guessed ones.
    sure : ndarray, shape (N,), or None
        The probability of each guess, if the outputs give any.
    """

    true: np.ndarray
    guessed: np.ndarray
    confusion: np.ndarray
    sure: np.ndarray | None

    @property
    def accuracy(self) -> float:
        return float((self.true == self.guessed).mean())

    def mistakes(self) -> np.ndarray:
        """Indices of the images that are guessed wrong, the surest guesses first."""
        wrong = np.flatnonzero(self.true != self.guessed)
        return wrong if self.sure is None else wrong[np.argsort(-self.sure[wrong], kind="stable")]


def answers_of(plan: Plan, x: np.ndarray, y: np.ndarray, classes: int) -> Answers:
    """Ask a plan about images (N, ...) of these classes."""
    outputs, task = plan(x), plan.task
    check.finite({"outputs of the network": outputs})
    guessed = task.predictions(outputs)
    sure = None
    if task.outputs not in (None, "numbers"):
        _, sure = task.classified(outputs)
    return Answers(y.astype(np.int64), guessed, confusion_matrix(y, guessed, classes), sure)


@dataclass(frozen=True)
class Calibration:
    """Whether guesses are right as often as their probabilities say, in bins of equal width.

    Attributes
    ----------
    counts, confidence, accuracy : ndarray, shape (BINS,)
        How many guesses have such a probability, its mean, and the part of them that is right; the
        means are 0 where there is none.
    ece : float
        Expected calibration error: the mean over all guesses of the distance between both.
        C. Guo et al., "On calibration of modern neural networks", 2017.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def calibration_of(sure: np.ndarray, right: np.ndarray) -> Calibration:
    """Calibration of guesses of these probabilities, (N,) from 0 to 1, of which some are right."""
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    confidence, accuracy = (
        np.bincount(bins, values, BINS) / np.maximum(counts, 1)
        for values in (sure.astype(np.float64), right.astype(np.float64))
    )
    ece = float((np.abs(accuracy - confidence) * counts).sum() / max(len(sure), 1))
    return Calibration(counts, confidence, accuracy, ece)
