"""How well classes are predicted: accuracy, error, top-k accuracy and the confusion matrix.

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
