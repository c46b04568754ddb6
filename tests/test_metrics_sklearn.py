"""Metrics of classes, scores and numbers: counted examples, and those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import metrics

RNG = np.random.default_rng(0)
TRUE, PREDICTED = RNG.integers(0, 4, 60), RNG.integers(0, 4, 60)
SCORES = RNG.integers(0, 9, (60, 4)) / 8  # with ties


def sklearn() -> Any:
    return pytest.importorskip("sklearn.metrics")


def test_precision_recall_and_f1_by_hand() -> None:
    precision, recall, f1 = metrics.precision_recall_f1([0, 0, 1, 1], [0, 1, 1, 1], classes=3)
    assert_allclose(precision, [1, 2 / 3, 0])
    assert_allclose(recall, [0.5, 1, 0])
    assert_allclose(f1, [2 / 3, 0.8, 0])


def test_roc_auc_by_hand() -> None:
    assert metrics.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert metrics.roc_auc([0, 1], [[3], [3]]) == 0.5
    assert metrics.roc_auc([0, 1, 2], np.eye(3)) == 1


def test_numbers_by_hand() -> None:
    assert metrics.mean_absolute_error([1, 2], [3, 1]) == 1.5
    assert metrics.r2([1, 2, 3], [1, 2, 3]) == 1
    assert metrics.r2([1, 2, 3], [2, 2, 2]) == 0
    assert metrics.r2([2, 2], [2, 2]) == 1 and metrics.r2([2, 2], [2, 3]) == 0


def test_classes_as_scikit_learn_has_them() -> None:
    theirs = sklearn()
    wanted = theirs.precision_recall_fscore_support(
        TRUE, PREDICTED, labels=range(5), zero_division=0
    )
    for got, expected in zip(
        metrics.precision_recall_f1(TRUE, PREDICTED, 5), wanted[:3], strict=True
    ):
        assert_allclose(got, expected, rtol=1e-14)
    assert metrics.accuracy(TRUE, PREDICTED) == theirs.accuracy_score(TRUE, PREDICTED)
    matrix = theirs.confusion_matrix(TRUE, PREDICTED)
    assert_array_equal(metrics.confusion_matrix(TRUE, PREDICTED), matrix)
    scores = RNG.random((60, 4))
    for k in (1, 2, 3):
        wanted = theirs.top_k_accuracy_score(TRUE, scores, k=k)
        assert_allclose(metrics.top_k_accuracy(TRUE, scores, k), wanted)


def test_roc_auc_as_scikit_learn_has_it() -> None:
    theirs = sklearn()
    binary = TRUE % 2
    wanted = theirs.roc_auc_score(binary, SCORES[:, 0])
    assert_allclose(metrics.roc_auc(binary, SCORES[:, 0]), wanted, rtol=1e-14)
    rows = SCORES + 0.125
    rows /= rows.sum(axis=1, keepdims=True)
    wanted = theirs.roc_auc_score(TRUE, rows, multi_class="ovr")
    assert_allclose(metrics.roc_auc(TRUE, rows), wanted, rtol=1e-14)


@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 4)])
def test_numbers_as_scikit_learn_has_them(shape: tuple[int, ...]) -> None:
    theirs = sklearn()
    true, predicted = RNG.standard_normal(shape), RNG.standard_normal(shape)
    wanted = theirs.mean_absolute_error(true, predicted)
    assert_allclose(metrics.mean_absolute_error(true, predicted), wanted, rtol=1e-14)
    assert_allclose(metrics.r2(true, predicted), theirs.r2_score(true, predicted), rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.precision_recall_f1([0, 3], [0, 1], 3), "below 3, got 3"),
        (lambda: metrics.roc_auc([0, 0], [0.1, 0.2]), "y_true: expected images of each"),
        (lambda: metrics.roc_auc([0, 2], [0.1, 0.2]), "y_true: expected images of each"),
        (lambda: metrics.roc_auc([0, 1], [0.1]), r"y_score: expected shape \(2, K\)"),
        (lambda: metrics.roc_auc([0, 1], [0.1, np.nan]), "y_score: expected numbers, got NaN"),
        (lambda: metrics.mean_absolute_error([0, 1], [[0], [1]]), "y_pred: expected shape"),
        (lambda: metrics.mean_absolute_error([], []), "y_true: expected at least one"),
        (lambda: metrics.r2(1, 1), "y_true: expected at least one number"),
        (lambda: metrics.r2([1], [1]), "y_true: expected at least two"),
        (lambda: metrics.r2(["a"], [1]), "y_true: expected real"),
    ],
)
def test_metrics_that_do_not_fit(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
