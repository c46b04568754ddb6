"""Metrics by name, for outputs of a network and the targets of its task."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .. import _check as check
from ..task import Task, numbered
from . import metrics as of

Score = Callable[[Task, np.ndarray, np.ndarray], float]  # of outputs and targets


def _classes(
    task: Task, outputs: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    # true and predicted classes of all images and pixels, and how many classes there are
    predicted = task.predictions(outputs)
    if outputs.shape[1] == 1:
        return (targets.reshape(-1) > 0.5).astype(np.int64), predicted.reshape(-1), 2
    true = targets if numbered(targets, outputs.shape) else targets.argmax(axis=1)
    return true.reshape(-1), predicted.reshape(-1), outputs.shape[1]


def _needs(task: Task, *kinds: str) -> None:
    if task.kind not in kinds:
        raise ValueError(f"expected a task of {' or '.join(kinds)}, got {task.kind}")


def _accuracy(task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    right = task.right(outputs, targets)
    if right is None:
        raise ValueError("expected a task of classes, got numbers")
    return right


def _part(which: int, task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    # precision, recall or F1: of class 1 of two, else the mean over the classes that there are
    _needs(task, "classes", "pictures", "probability", "labels")
    if task.kind == "labels":
        predicted, true = task.predictions(outputs), (targets > 0.5).astype(np.int64)
        pairs = zip(np.moveaxis(true, 1, 0), np.moveaxis(predicted, 1, 0), strict=True)
        parts = [
            of.precision_recall_f1(a.reshape(-1), b.reshape(-1), 2)[which][1] for a, b in pairs
        ]
        return float(np.mean(parts))
    true, predicted, count = _classes(task, outputs, targets)
    values = of.precision_recall_f1(true, predicted, count)[which]
    return float(values[1] if outputs.shape[1] == 1 else values[np.union1d(true, predicted)].mean())


def _roc_auc(task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    _needs(task, "classes", "probability", "labels")
    known = task.outputs not in (None, "numbers")
    scores = task.probabilities(outputs) if known else outputs
    if task.kind == "labels":
        pairs = zip(np.moveaxis(targets > 0.5, 1, 0), np.moveaxis(scores, 1, 0), strict=True)
        return float(np.mean([of.roc_auc(a.reshape(-1), b.reshape(-1)) for a, b in pairs]))
    true, _, _ = _classes(task, outputs, targets)
    return of.roc_auc(true, scores.reshape(-1) if outputs.shape[1] == 1 else scores)


def _top(k: int, task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    _needs(task, "classes")
    return of.top_k_accuracy(_classes(task, outputs, targets)[0], outputs, k)


def _numbers(metric: Any, task: Task, outputs: np.ndarray, targets: np.ndarray) -> float:
    _needs(task, "numbers")
    return float(metric(targets.reshape(outputs.shape), outputs))


#: metrics by name, and whether more is better
METRICS: dict[str, tuple[Score, bool]] = {
    "accuracy": (_accuracy, True),
    "error": (lambda *given: 1 - _accuracy(*given), False),
    "top_5_accuracy": (partial(_top, 5), True),
    "precision": (partial(_part, 0), True),
    "recall": (partial(_part, 1), True),
    "f1": (partial(_part, 2), True),
    "roc_auc": (_roc_auc, True),
    "mean_absolute_error": (partial(_numbers, of.mean_absolute_error), False),
    "r2": (partial(_numbers, of.r2), True),
}
_TOP = re.compile(r"top_([1-9][0-9]*)_accuracy")


def rises(name: str) -> bool | None:
    """Whether more of a metric is better, perhaps of an output; None if it is not known."""
    ends = (metric for metric in METRICS if f"_{name}".endswith(f"_{metric}"))
    found = next(ends, None)
    return None if found is None else METRICS[found][1]


def scores_of(metrics: Any, outputs: list[Any]) -> dict[Any, dict[str, Score]]:
    """What computes the metrics of each output, by their names.

    Parameters
    ----------
    metrics : sequence of str or function (targets, outputs) -> float, optional
        A dictionary of them by output, if there are several.
    outputs : list
        Names or numbers of the outputs; ``[None]`` if there is but one.

    Raises
    ------
    TypeError, ValueError
        If one of them is unknown, or comes twice.
    """
    if metrics is None:
        return {name: {} for name in outputs}
    if outputs == [None]:
        return {None: _named(metrics)}
    if not isinstance(metrics, Mapping) or not metrics.keys() <= set(outputs):
        raise ValueError(
            f"metrics: expected lists for outputs of {', '.join(map(str, outputs))}, got "
            f"{metrics!r:.99}"
        )
    return {name: _named(metrics.get(name, ())) for name in outputs}


def _named(metrics: Any) -> dict[str, Score]:
    if not check.is_list(metrics):
        raise TypeError(f"metrics: expected names or functions in a list, got {metrics!r:.99}")
    found: dict[str, Score] = {}
    for metric in metrics:
        name, score = _metric(metric)
        if name in found:
            raise ValueError(f"metrics: expected each once, got {name!r} twice")
        found[name] = score
    return found


def _metric(metric: Any) -> tuple[str, Score]:
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
    if isinstance(metric, str):
        top = _TOP.fullmatch(metric)
        if top is None and metric not in METRICS:
            known = ", ".join(METRICS).replace("top_5", "top_K")
            raise ValueError(f"metrics: expected functions or some of {known}, got {metric!r}")
        return metric, partial(_top, int(top[1])) if top else METRICS[metric][0]
    if not callable(metric) or not isinstance(name, str) or not name.isidentifier():
        raise TypeError(
            f"metrics: expected names, or functions that have a name, got {metric!r:.99}"
        )
    if name in ("cost", *METRICS) or _TOP.fullmatch(name):
        raise ValueError(f"metrics: expected functions of other names than {name!r}")
    return name, lambda task, outputs, targets: float(metric(targets, outputs))


def named_by(scores: Mapping[Any, Mapping[str, Score]]) -> tuple[str, ...]:
    """What an evaluation calls metrics beside cost and accuracy, those of several outputs too."""
    return tuple(
        metric if output is None else f"{output}_{metric}"
        for output, own in scores.items()
        for metric in own
        if metric != "accuracy"
    )


def scored_by(
    scores: Mapping[str, Score], task: Task, outputs: np.ndarray, targets: np.ndarray
) -> dict[str, float]:
    """The metrics of one output; a ValueError of one of them has its name in front."""
    found = {}
    for name, score in scores.items():
        try:
            found[name] = score(task, outputs, targets)
        except ValueError as error:
            raise ValueError(f"metrics: {name}: {error}") from error
    return found
