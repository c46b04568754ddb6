"""Metrics by name in evaluations and validations: scikit-learn's numbers, and who watches them."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnn_ext import (
    Conv2d,
    CSVLogger,
    EarlyStopping,
    Flatten,
    History,
    JSONLogger,
    Linear,
    Module,
    ReduceLROnPlateau,
    Sequential,
    Task,
    Trainer,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 6))
CLASSES, LABELS = RNG.integers(0, 4, 60), RNG.integers(0, 2, (60, 3))
NUMBERS = RNG.standard_normal((60, 2))


def linear(outputs: int) -> Sequential:
    return Sequential(Linear(6, outputs, rng=np.random.default_rng(1)))


def scores_of(trainer: Trainer, y: Any, *metrics: Any) -> dict[str, float]:
    """The metrics alone."""
    found = trainer.evaluate(X, y, metrics=metrics)
    return {name: value for name, value in found.items() if name not in ("cost", "accuracy")}


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    y = np.where(CLASSES == 3, 0, CLASSES)  # class 3 has no image, and is predicted
    for targets in (y, np.eye(4)[y]):
        trainer = Trainer(linear(4))
        got = scores_of(
            trainer, targets, "precision", "recall", "f1", "error", "top_2_accuracy"
        )  # fmt: skip
        predicted, outputs = trainer.predict(X), trainer.outputs(X)
        assert 3 in predicted
        options: dict[str, Any] = {"average": "macro", "zero_division": 0}
        assert_allclose(list(got.values()), [
            theirs.precision_score(y, predicted, **options),
            theirs.recall_score(y, predicted, **options),
            theirs.f1_score(y, predicted, **options),
            1 - theirs.accuracy_score(y, predicted),
            theirs.top_k_accuracy_score(y, outputs, k=2, labels=range(4)),
        ])  # fmt: skip
    p = trainer.predict_proba(X).astype(float)
    expected = theirs.roc_auc_score(CLASSES, p / p.sum(1, keepdims=True), multi_class="ovr")
    assert_allclose(scores_of(trainer, CLASSES, "roc_auc")["roc_auc"], expected)


def test_metrics_of_a_probability_are_those_of_class_1() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    y = LABELS[:, 0]
    trainer = Trainer(linear(1), "binary_cross_entropy")
    got = scores_of(trainer, y, "precision", "recall", "f1", "roc_auc")
    predicted, outputs = trainer.predict(X), trainer.outputs(X)
    assert_allclose(list(got.values()), [
        theirs.precision_score(y, predicted), theirs.recall_score(y, predicted),
        theirs.f1_score(y, predicted), theirs.roc_auc_score(y, outputs[:, 0]),
    ])  # fmt: skip


def test_metrics_of_labels_are_means_over_them() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    trainer = Trainer(linear(3), "binary_cross_entropy", task="labels")
    got = scores_of(trainer, LABELS, "precision", "recall", "f1", "roc_auc")
    predicted, outputs = trainer.predict(X), trainer.outputs(X)
    options: dict[str, Any] = {"average": "macro", "zero_division": 0}
    assert_allclose(list(got.values()), [
        theirs.precision_score(LABELS, predicted, **options),
        theirs.recall_score(LABELS, predicted, **options),
        theirs.f1_score(LABELS, predicted, **options),
        theirs.roc_auc_score(LABELS, outputs),
    ])  # fmt: skip


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    trainer = Trainer(linear(2), "mse")
    got = scores_of(trainer, NUMBERS, "mean_absolute_error", "r2")
    outputs = trainer.outputs(X)
    assert_allclose(list(got.values()), [
        theirs.mean_absolute_error(NUMBERS, outputs), theirs.r2_score(NUMBERS, outputs),
    ])  # fmt: skip
    single = Trainer(linear(1), "mse")
    error = np.abs(NUMBERS[:, 0] - single.outputs(X)[:, 0]).mean()
    assert_allclose(scores_of(single, NUMBERS[:, 0], "mean_absolute_error").popitem()[1], error)


def test_metrics_of_class_maps_count_pixels() -> None:
    x, y = RNG.random((5, 1, 4, 4), np.float32), RNG.integers(0, 3, (5, 4, 4))
    trainer = Trainer(Sequential(Conv2d(1, 3, 1)))
    predicted = trainer.evaluate(x, y, metrics=["f1"]), trainer.predict(x)
    parts = []
    for k in np.union1d(y, predicted[1]):
        right, said, true = ((predicted[1] == k) & (y == k)), predicted[1] == k, y == k
        parts.append(2 * right.sum() / (said.sum() + true.sum()))
    assert_allclose(predicted[0]["f1"], np.mean(parts))


def targets_minus_outputs(targets: np.ndarray, outputs: np.ndarray) -> float:
    return (targets.sum() - outputs.sum()).item()


def test_functions_get_targets_as_they_are_and_outputs() -> None:
    trainer = Trainer(linear(4))
    got = scores_of(trainer, CLASSES, targets_minus_outputs, "f1")
    assert list(got) == ["targets_minus_outputs", "f1"]
    expected = CLASSES.sum() - trainer.outputs(X).sum()
    assert_allclose(got["targets_minus_outputs"], expected)


def accuracy(targets: Any, outputs: Any) -> float:
    return 0.0


def wordy(targets: Any, outputs: Any) -> Any:
    return "good"


REFUSED: list[tuple[Any, Any, str]] = [
    (CLASSES, ["f2"], "metrics: expected functions or some of accuracy, error, top_K_acc.*'f2'"),
    (CLASSES, ["top_0_accuracy"], "metrics: expected functions or some of"),
    (CLASSES, "f1", "metrics: expected names or functions in a list, got 'f1'"),
    (CLASSES, [3], "metrics: expected names, or functions that have a name, got 3"),
    (CLASSES, [lambda t, o: 0.0], "metrics: expected names, or functions that have a name"),
    (CLASSES, [accuracy], "metrics: expected functions of other names than 'accuracy'"),
    (CLASSES, ["f1", "f1"], "metrics: expected each once, got 'f1' twice"),
    (CLASSES, ["r2"], "metrics: r2: expected a task of numbers, got classes"),
    (CLASSES, ["top_5_accuracy"], "metrics: top_5_accuracy: k: expected 1 to 4, got 5"),
    (CLASSES % 2, ["roc_auc"], "metrics: roc_auc: y_true: expected images of each of the classes"),
    (CLASSES, [wordy], "metrics: wordy: could not convert"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_metrics_that_do_not_fit_are_refused_by_name(case: int) -> None:
    y, metrics, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        Trainer(linear(4)).evaluate(X, y, metrics=metrics)


def test_numbers_have_no_classes() -> None:
    for name in ("accuracy", "error", "f1", "roc_auc", "top_1_accuracy"):
        with pytest.raises(ValueError, match=f"metrics: {name}: expected a task of classes"):
            Trainer(linear(2), "mse").evaluate(X, NUMBERS, metrics=[name])


class Two(Module):
    """A network with two outputs."""

    def __init__(self) -> None:
        self.a, self.b = linear(4), linear(2)

    def forward(self, x: Any) -> Any:
        return {"kind": self.a(x), "age": self.b(x)}


def test_several_outputs_have_metrics_of_their_own() -> None:
    trainer = Trainer(Two(), {"kind": "cross_entropy", "age": "mse"})
    y = {"kind": CLASSES, "age": NUMBERS}
    metrics = {"kind": ["f1", "accuracy"], "age": ["r2"]}
    got = trainer.evaluate(X, y, metrics=metrics)
    assert list(got) == ["cost", "kind_cost", "kind_accuracy", "kind_f1", "age_cost", "age_r2"]
    assert_allclose(got["kind_f1"], Trainer(linear(4)).evaluate(X, CLASSES, metrics=["f1"])["f1"])
    for wrong in (["f1"], {"sort": ["f1"]}):
        with pytest.raises(ValueError, match="metrics: expected lists for outputs of kind, age"):
            trainer.evaluate(X, y, metrics=wrong)
    stopping = EarlyStopping(9, monitor="validation_age_r2")
    history = trainer.fit(
        X, y, 2, validation_data=(X, y), metrics=metrics, early_stopping=stopping, progress=False
    )
    assert stopping.mode == "max" and len(history["validation_age_r2"]) == 2
    assert list(history.epochs[0].validation_metrics) == ["kind_f1", "age_r2"]


# --------------------------------------------------------------------------------- in training


def fit(trainer: Trainer, epochs: int = 3, **options: Any) -> History:
    given = {"validation_split": 0.3, "metrics": ["f1", "accuracy"], "progress": False}
    return trainer.fit(X, CLASSES, epochs, **{**given, **options})


def test_a_history_has_the_metrics_of_each_validation() -> None:
    trainer = Trainer(linear(4))
    history = fit(trainer, validation_split=0, validation_data=(X, CLASSES))
    last = trainer.evaluate(X, CLASSES, metrics=["f1"])
    assert history["validation_f1"][-1] == last["f1"]
    assert history["validation_accuracy"][-1] == last["accuracy"]
    assert "f1 0." in history.epochs[0].text()
    assert ">validation f1</th>" in history._repr_html_()
    assert trainer.metrics == ("f1",)
    assert pickle.loads(pickle.dumps(history)) == history
    again = History(
        [type(e)(**d) for e, d in zip(history, history.as_dict()["epochs"], strict=True)]
    )
    assert again["validation_f1"] == history["validation_f1"]
    pandas = pytest.importorskip("pandas")
    assert isinstance(history.to_frame(), pandas.DataFrame)
    assert list(history.to_frame()["validation_f1"]) == history["validation_f1"]


def test_what_is_not_asked_for_is_not_there() -> None:
    trainer = Trainer(linear(4))
    history = fit(trainer, metrics=None)
    assert trainer.metrics == () and history.epochs[0].validation_metrics == {}
    with pytest.raises(KeyError, match="expected one of number, cost, .* got 'validation_f1'"):
        history["validation_f1"]
    with pytest.raises(ValueError, match="metrics: expected validation_data or validation_split"):
        fit(trainer, validation_split=0)
    before = trainer.net.state_dict()
    with pytest.raises(ValueError, match="metrics: expected functions or some of"):
        fit(trainer, metrics=["best"])
    assert all((before[name] == array).all() for name, array in trainer.net.state_dict().items())


def rising(targets: Any, outputs: Any) -> float:
    rising.value += 1  # type: ignore[attr-defined]
    return rising.value  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("mode", "epochs"), [("max", 6), ("min", 3)])
def test_training_stops_by_a_metric(mode: str, epochs: int) -> None:
    rising.value = 0.0  # type: ignore[attr-defined]
    stopping = EarlyStopping(2, monitor="validation_rising", mode=mode)
    history = fit(Trainer(linear(4)), 6, metrics=[rising], early_stopping=stopping)
    assert len(history) == epochs


def test_monitors_know_which_way_is_better_and_which_there_are() -> None:
    for name, mode in (
        ("f1", "max"), ("mean_absolute_error", "min"), ("error", "min"), ("top_3_accuracy", "max"),
        ("age_r2", "max"),
    ):  # fmt: skip
        assert EarlyStopping(monitor=f"validation_{name}").mode == mode
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max' for validation_rising"):
        EarlyStopping(monitor="validation_rising")
    for watch in (
        {"early_stopping": EarlyStopping(monitor="validation_recall")},
        {"callbacks": [ReduceLROnPlateau(monitor="validation_recall")]},
    ):
        with pytest.raises(ValueError, match="monitor: .*, validation_f1, got 'validation_recall'"):
            fit(Trainer(linear(4)), **watch)


def test_loggers_write_the_metrics(tmp_path: Path) -> None:
    loggers = [CSVLogger(tmp_path / "log.csv", append=True), JSONLogger(tmp_path / "log.json")]
    history = fit(Trainer(linear(4)), callbacks=loggers)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    rows = [row["validation_f1"] for row in csv.DictReader(lines)]
    assert [float(row) for row in rows] == history["validation_f1"]
    lines = (tmp_path / "log.json").read_text().splitlines()
    assert [json.loads(line)["validation_f1"] for line in lines] == history["validation_f1"]
    with pytest.raises(ValueError, match="path: expected a file that begins with"):
        fit(Trainer(linear(4)), metrics=None, callbacks=loggers[:1])


def test_a_task_that_is_given_decides() -> None:
    net = Sequential(Flatten(), Linear(6, 3))
    trainer = Trainer(net, "quadratic", task=Task("labels", "probabilities"))
    assert set(scores_of(trainer, LABELS, "f1", "recall")) == {"f1", "recall"}
