"""How well classes and numbers are predicted: accuracy, precision, ROC, absolute error and others.

An argument that does not fit raises TypeError or ValueError; the message names it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .._arrays import plain_array


def class_numbers(y: ArrayLike, name: str) -> np.ndarray:
    """Class numbers, (N,), as int64."""
    labels = plain_array(y, name)
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected class numbers of shape (N,), got {labels.shape}")
    if labels.dtype.kind not in "iub":
        raise TypeError(f"{name}: expected class numbers, got {labels.dtype}")
    return labels.astype(np.int64)


def _both(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = class_numbers(y_true, "y_true"), class_numbers(y_pred, "y_pred")
    if true.shape != predicted.shape:
        raise ValueError(f"y_pred: expected shape {true.shape}, got {predicted.shape}")
    if not true.size:
        raise ValueError("y_true: expected at least one class number")
    return true, predicted


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The part of the classes that is right.

    Parameters
    ----------
    y_true, y_pred : array_like of int, shape (N,)

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true, predicted = _both(y_true, y_pred)
    return float(np.mean(true == predicted))


def error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The part of the classes that is wrong, ``1 - accuracy``."""
    return 1 - accuracy(y_true, y_pred)


def top_k_accuracy(y_true: ArrayLike, y_score: ArrayLike, k: int = 5) -> float:
    """The part of the images whose class is among the `k` highest scores.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
    y_score : array_like, shape (N, K)
        Outputs or probabilities; of equal scores the lower class counts as higher.
    k : int
        1 to K.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true = class_numbers(y_true, "y_true")
    scores = check.real_array(y_score, "y_score")
    if scores.ndim != 2 or len(scores) != len(true) or not len(true):
        raise ValueError(f"y_score: expected shape ({len(true)}, K), got {scores.shape}")
    if check.whole(k, "k", 1) > scores.shape[1]:
        raise ValueError(f"k: expected 1 to {scores.shape[1]}, got {k}")
    if true.min() < 0 or true.max() >= scores.shape[1]:
        raise ValueError(f"y_true: expected classes 0 to {scores.shape[1] - 1}")
    # turned round, since a stable sort of equal scores begins with the lower class
    highest = scores.shape[1] - 1 - np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, -k:]
    return float(np.mean((highest == true[:, None]).any(axis=1)))


def confusion_matrix(
    y_true: ArrayLike, y_pred: ArrayLike, classes: int | None = None
) -> np.ndarray:
    """How often each class was taken for each other.

    Parameters
    ----------
    y_true, y_pred : array_like of int, shape (N,)
    classes : int, optional
        Number of classes; one more than the highest number by default.

    Returns
    -------
    ndarray of int64, shape (classes, classes)
        Rows are true classes, columns predicted ones.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true, predicted = _both(y_true, y_pred)
    lowest, highest = min(true.min(), predicted.min()), int(max(true.max(), predicted.max()))
    count = highest + 1 if classes is None else check.whole(classes, "classes", 1)
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(
            f"y_true, y_pred: expected classes of 0 or more, below {count}, got {wrong}"
        )
    pairs = np.bincount(true * count + predicted, minlength=count * count)
    return pairs.reshape(count, count)


def precision_recall_f1(
    y_true: ArrayLike, y_pred: ArrayLike, classes: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and their harmonic mean, F1, of each class.

    Parameters
    ----------
    y_true, y_pred, classes
        As for `confusion_matrix`.

    Returns
    -------
    precision, recall, f1 : ndarray of float64, shape (classes,)
        The part of the images taken for a class that are of it, the part of its images that are
        taken for it, and F1; each 0 where there is no such image.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    matrix = confusion_matrix(y_true, y_pred, classes)
    right, predicted, true = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return (
        right / np.maximum(predicted, 1),
        right / np.maximum(true, 1),
        2 * right / np.maximum(predicted + true, 1),
    )


def roc_auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """The area under the ROC curve: how often an image of a class has a higher score than another.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
        0 or 1, or class numbers for scores of several classes.
    y_score : array_like, shape (N,), (N, 1) or (N, K)
        Outputs or probabilities, of class 1 or of each class; equal scores count one half.

    Returns
    -------
    float
        0 to 1; of several classes the mean over each against all others.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there is a class without an image; the message names it.
    """
    true = class_numbers(y_true, "y_true")
    scores = check.real_array(y_score, "y_score")
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or len(scores) != len(true):
        raise ValueError(f"y_score: expected shape ({len(true)}, K), got {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("y_score: expected numbers, got NaN")
    K = scores.shape[1]
    wanted = np.arange(max(K, 2))
    if not np.array_equal(np.unique(true), wanted):
        raise ValueError(f"y_true: expected images of each of the classes 0 to {wanted[-1]}")
    columns = zip(wanted if K > 1 else [1], scores.T, strict=True)
    return float(np.mean([_area(true == number, column) for number, column in columns]))


def _area(positive: np.ndarray, scores: np.ndarray) -> float:
    # pairs of a positive and a lower negative, ties one half, by the number of pairs
    _, place = np.unique(scores, return_inverse=True)
    there, others = np.bincount(place, positive), np.bincount(place, ~positive)
    below = np.cumsum(others) - others / 2
    return float((there * below).sum() / (there.sum() * others.sum()))


def calibration(
    y_true: ArrayLike, y_prob: ArrayLike, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How sure the guesses are, and how often they are right, in bins of how sure they are.

    The guess is the class of the highest probability, which is how sure it is.  Bin m of M has the
    guesses with a probability above (m - 1) / M, up to m / M: Guo, Pleiss, Sun, Weinberger, "On
    calibration of modern neural networks" (2017), section 2.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
    y_prob : array_like, shape (N, K), or (N,) or (N, 1) for the probability of class 1 of two
        0 to 1.
    bins : int

    Returns
    -------
    confidence, accuracy : ndarray of float64, shape (bins,)
        Means over the guesses of each bin, 0 to 1; NaN where there is none.
    count : ndarray of int64, shape (bins,)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true, bins = class_numbers(y_true, "y_true"), check.whole(bins, "bins", 1)
    p = check.real_array(y_prob, "y_prob").astype(np.float64)
    p = p[:, None] if p.ndim == 1 else p
    if p.ndim != 2 or len(p) != len(true) or not p.size:
        raise ValueError(f"y_prob: expected shape ({len(true)}, K), got {np.shape(y_prob)}")
    if not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"y_prob: expected 0 to 1, got {p.min():g} to {p.max():g}")
    p = np.hstack([1 - p, p]) if p.shape[1] == 1 else p
    if true.min() < 0 or true.max() >= p.shape[1]:
        wrong = true.min() if true.min() < 0 else true.max()
        raise ValueError(f"y_true: expected classes 0 to {p.shape[1] - 1}, got {wrong}")
    sure, right = p.max(axis=1), p.argmax(axis=1) == true
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, bins) / count
        return confidence, np.bincount(place, right, bins) / count, count


def expected_calibration_error(y_true: ArrayLike, y_prob: ArrayLike, bins: int = 10) -> float:
    """The mean distance between how sure guesses are and how often they are right, ECE.

    The sum over the bins of ``count / N * |accuracy - confidence|``: Naeini, Cooper, Hauskrecht,
    "Obtaining well calibrated probabilities using Bayesian binning" (2015).  Parameters and errors
    are those of `calibration`.

    Returns
    -------
    float
        0 to 1.
    """
    confidence, accuracy, count = calibration(y_true, y_prob, bins)
    return float(np.nansum(count * np.abs(accuracy - confidence)) / count.sum())


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The mean of ``|y_true - y_pred|`` over all numbers.

    Parameters
    ----------
    y_true, y_pred : array_like, of one shape, (N, ...)

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true, predicted = _both_numbers(y_true, y_pred)
    return float(np.abs(true - predicted).mean())


def r2(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The coefficient of determination, 1 - sum of squared errors by that of the mean.

    Parameters
    ----------
    y_true, y_pred : array_like, of one shape, (N, ...), N at least 2

    Returns
    -------
    float
        At most 1; the mean over the outputs.  An output that is constant in `y_true` counts 1 if it
        is predicted without error, else 0.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    true, predicted = (part.reshape(len(part), -1) for part in _both_numbers(y_true, y_pred))
    if len(true) < 2:
        raise ValueError("y_true: expected at least two images")
    errors = ((true - predicted) ** 2).sum(axis=0)
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    share = np.divide(errors, spread, out=(errors > 0).astype(float), where=spread > 0)
    return float((1 - share).mean())


def _both_numbers(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true = check.real_array(y_true, "y_true").astype(np.float64)
    predicted = check.real_array(y_pred, "y_pred").astype(np.float64)
    if true.shape != predicted.shape:
        raise ValueError(f"y_pred: expected shape {true.shape}, got {predicted.shape}")
    if not true.ndim or not true.size:
        raise ValueError("y_true: expected at least one number, in an array")
    return true, predicted
