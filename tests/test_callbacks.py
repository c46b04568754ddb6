"""Callbacks: their moments, what watches a figure, what is logged; and training for some time."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import assert_same, small, stripes

import cnn_ext.training.schedules
from cnn_ext import (
    Callback,
    CostError,
    CSVLogger,
    EarlyStopping,
    Epoch,
    History,
    JSONLogger,
    ReduceLROnPlateau,
    TensorBoard,
    Trainer,
)

X, Y = stripes(20)


def fit(epochs: int = 2, **options: Any) -> History:
    return Trainer(small()).fit(X, Y, epochs, 8, progress=False, **options)


def epochs_of(values: list[float], name: str = "validation_cost") -> list[Epoch]:
    return [Epoch(i + 1, 1.0, None, 0.1, 1.0, 1.0, **{name: v}) for i, v in enumerate(values)]


# ---------------------------------------------------------------------------------- moments


class Noting(Callback):
    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: list[Any] = []
        self.stop_at = stop_at

    def on_train_begin(self, trainer: Trainer) -> None:
        self.seen.append("train")

    def on_train_end(self, trainer: Trainer, history: History) -> None:
        self.seen.append(("end", len(history), history.stopped))

    def on_epoch_begin(self, trainer: Trainer, number: int) -> None:
        self.seen.append(("epoch", number))

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> bool:
        self.seen.append(epoch)
        return epoch.number == self.stop_at

    def on_batch_begin(self, trainer: Trainer, number: int) -> None:
        self.seen.append(number)

    def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
        self.seen.append((number, type(cost)))


def test_all_moments_in_order() -> None:
    noting = Noting(stop_at=2)
    history = fit(3, callbacks=[noting, Callback()])
    steps = [1, (1, float), 2, (2, float), 3, (3, float)]
    assert noting.seen == [
        "train", ("epoch", 1), *steps, history.epochs[0],
        ("epoch", 2), *steps, history.epochs[1], ("end", 2, "callback"),
    ]  # fmt: skip


def test_callbacks_change_no_weight() -> None:
    plain, watched = Trainer(small(dropout=0.5)), Trainer(small(dropout=0.5))
    plain.fit(X, Y, 2, 8, progress=False)
    watched.fit(X, Y, 2, 8, progress=False, callbacks=[Noting(), ReduceLROnPlateau(monitor="cost")])
    assert_same(plain.net.state_dict(), watched.net.state_dict())


def test_the_end_is_told_after_an_interrupt_and_not_after_an_error() -> None:
    class Interrupting(Noting):
        def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
            trainer.stop_training = True

    noting = Interrupting()
    assert fit(callbacks=[noting]).stopped == "interrupted"
    assert noting.seen[-1] == ("end", 0, "interrupted")
    noting = Noting()
    with pytest.raises(CostError):
        Trainer(small()).fit(X * np.nan, Y, callbacks=[noting], progress=False)
    assert noting.seen == ["train", ("epoch", 1), 1]


def test_a_callback_of_one_object_alone_may_have_the_method() -> None:
    callback, seen = Callback(), []
    callback.on_batch_begin = lambda trainer, number: seen.append(number)  # type: ignore[method-assign]
    fit(1, callbacks=[callback])
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("callbacks", [[CSVLogger], Callback(), [Callback(), 3], None])
def test_what_is_no_callback(callbacks: Any) -> None:
    with pytest.raises(TypeError, match="callbacks: expected functions in a list, got"):
        fit(callbacks=callbacks)


# ------------------------------------------------------------------------------- early stopping


def test_early_stopping_by_accuracy_goes_up() -> None:
    rule = EarlyStopping(2, monitor="validation_accuracy")
    assert rule.mode == "max"
    trainer = Trainer(small())
    values = [0.5, 0.7, 0.6, 0.7]
    stops = [rule.on_epoch_end(trainer, e) for e in epochs_of(values, "validation_accuracy")]
    assert stops == [False, False, False, True] and rule.reached == 0.7
    assert EarlyStopping(monitor="cost").mode == "min"
    assert EarlyStopping(monitor="accuracy", mode="min").mode == "min"


def test_early_stopping_among_the_callbacks_is_the_same() -> None:
    split: dict[str, Any] = {"validation_split": 0.3}
    one, other = Trainer(small()), Trainer(small())
    a = one.fit(X, Y, 60, 8, early_stopping=EarlyStopping(1, 0.1), progress=False, **split)
    b = other.fit(X, Y, 60, 8, callbacks=[EarlyStopping(1, 0.1)], progress=False, **split)
    assert a["cost"] == b["cost"] and a.stopped == b.stopped == "early"
    assert_same(one.net.state_dict(), other.net.state_dict())


def test_a_figure_of_training_needs_no_validation() -> None:
    rule = EarlyStopping(1, min_delta=10, monitor="cost")
    assert len(fit(9, early_stopping=rule)) == 2
    with pytest.raises(ValueError, match="early_stopping: expected validation_data"):
        fit(early_stopping=EarlyStopping(monitor="validation_accuracy"))
    with pytest.raises(ValueError, match="monitor: expected one of cost, accuracy, .*'validation_"):
        fit(callbacks=[EarlyStopping()])


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"monitor": "val_loss"}, ValueError, "monitor: expected one of cost, accuracy, learn"),
        ({"monitor": "number"}, ValueError, "monitor: expected one of"),
        ({"monitor": 3}, ValueError, "monitor: expected one of"),
        ({"mode": "up"}, ValueError, "mode: expected 'min', 'max' or 'auto', got 'up'"),
        ({"patience": 0}, ValueError, "patience: expected"),
        ({"min_delta": -1}, ValueError, "min_delta: expected"),
    ],
)
def test_what_watches_refuses(
    kind: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(**options)


# ------------------------------------------------------------------------------------- plateau


def rates(rule: ReduceLROnPlateau, values: list[float]) -> list[float]:
    trainer = Trainer(small())
    trainer.optimizer.lr = 1.0
    rule.on_train_begin(trainer)
    found = []
    for epoch in epochs_of(values):
        assert rule.on_epoch_end(trainer, epoch) is None
        found.append(trainer.optimizer.lr)
    return found


def test_the_rate_falls_on_a_plateau() -> None:
    rule = ReduceLROnPlateau(0.5, 2)
    for _ in range(2):  # it can be used again
        assert rates(rule, [3, 3, 3, 3, 3, 2, 2, 2]) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert rates(ReduceLROnPlateau(0.5, 1, cooldown=2), [3] * 6) == [1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert rates(ReduceLROnPlateau(0.1, 1, min_lr=0.5), [3, 3, 3]) == [1, 0.5, 0.5]
    for factor in (0, 1, 2):
        with pytest.raises(ValueError, match="factor: expected"):
            ReduceLROnPlateau(factor)


def test_the_rate_of_the_next_epoch_is_that_of_plateau_and_schedule() -> None:
    rule = ReduceLROnPlateau(0.5, 1, monitor="cost", min_delta=100)
    trainer = Trainer(small())
    history = trainer.fit(X, Y, 4, 20, callbacks=[rule], progress=False)
    assert history["learning_rate"] == [0.05, 0.05, 0.025, 0.0125]
    assert trainer.optimizer.lr == 0.05 / 8


@pytest.mark.parametrize(
    "make", [lambda: EarlyStopping(3), lambda: ReduceLROnPlateau(0.5, 2, cooldown=1), Callback]
)
def test_the_state_of_a_callback_goes_on(make: Any) -> None:
    trainer = Trainer(small())
    one, other = make(), make()
    assert make().state_dict().get("reached") is None
    for epoch in epochs_of([5, 4, 4.5, 4.2]):
        one.on_epoch_end(trainer, epoch)
    other.load_state_dict(pickle.loads(pickle.dumps(one.state_dict())))
    before, after = one.state_dict(), other.state_dict()
    assert before.keys() == after.keys()
    for array, again in zip(before.pop("best", ()), after.pop("best", ()), strict=True):
        assert array.tobytes() == again.tobytes()
    assert before == after == json.loads(json.dumps(before))
    for state in (None, {}, {**one.state_dict(), "more": 1}):
        if state != {} or one.state_dict():
            with pytest.raises(KeyError, match="state: expected"):
                other.load_state_dict(state)


# --------------------------------------------------------------------------------------- logs


def test_a_csv_file_has_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines: list[int] = []

    def count(trainer: Trainer, epoch: Epoch) -> None:
        lines.append(len(path.read_text().splitlines()))

    history = fit(3, callbacks=[CSVLogger(path), count], validation_split=0.3)
    assert lines == [2, 3, 4]
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == list(history.epochs[0].figures())
    for name in rows[0]:
        assert [float(row[name]) for row in rows] == history[name]
    fit(1, callbacks=[CSVLogger(str(path), append=True)])
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [row["number"] for row in rows] == ["1", "2", "3", "1"]
    assert rows[-1]["validation_cost"] == ""
    fit(1, callbacks=[CSVLogger(path)])
    assert len(path.read_text().splitlines()) == 2


def test_a_file_with_other_columns_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="path: expected a file that begins with 'number,cost"):
        fit(1, callbacks=[CSVLogger(path, append=True)])
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_lines_of_json_have_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    history = fit(2, callbacks=[JSONLogger(path)])
    history_2 = fit(1, callbacks=[JSONLogger(path, append=True)])
    lines = [Epoch(**json.loads(line)) for line in path.read_text().splitlines()]
    assert lines == history.epochs + history_2.epochs


class Writer:
    def __init__(self, folder: str) -> None:
        self.folder, self.seen, self.calls = folder, [], []
        WRITERS.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.seen.append((name, value, step))

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


WRITERS: list[Writer] = []


def test_tensorboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Package:
        SummaryWriter = Writer

    monkeypatch.setitem(sys.modules, "tensorboardX", Package)
    WRITERS.clear()
    trainer = Trainer(small())
    for _ in range(2):
        history = trainer.fit(X, Y, 2, 8, callbacks=[TensorBoard(tmp_path)], progress=False)
    assert [writer.folder for writer in WRITERS] == [str(tmp_path)] * 2
    assert [writer.calls for writer in WRITERS] == [["flush", "flush", "close"]] * 2
    costs = [(value, step) for name, value, step in WRITERS[1].seen if name == "cost"]
    assert costs == list(zip(history["cost"], [3, 4], strict=True))
    assert not any(name.startswith("validation") for name, _, _ in WRITERS[1].seen)


def test_tensorboard_itself_can_read_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    fit(callbacks=[TensorBoard(tmp_path)])
    (file,) = tmp_path.iterdir()
    assert b"learning_rate" in file.read_bytes()


def test_without_tensorboard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("tensorboardX", "tensorboard", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs tensorboardX: pip install 'cnn_ext\[tensorboard"):
        fit(callbacks=[TensorBoard(tmp_path)])


def test_paths_that_are_none() -> None:
    for make in (CSVLogger, JSONLogger):
        with pytest.raises(TypeError, match="path: expected a path, got int"):
            make(3)
    with pytest.raises(TypeError, match="folder: expected a path, got int"):
        TensorBoard(3)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------- time


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    time = [0.0]
    monkeypatch.setattr(cnn_ext.training.schedules, "clock", lambda: time[0])
    return time


class Ticking(Callback):
    """Lets a step take a second."""

    def __init__(self, now: list[float]) -> None:
        self.now = now

    def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
        self.now[0] += 1


def test_training_ends_when_its_time_is_over(now: list[float]) -> None:
    noting = Noting()
    options: dict[str, Any] = {"callbacks": [noting, Ticking(now)], "validation_split": 0.2}
    history = fit(10, max_seconds=5, **options)  # two steps an epoch
    assert history.stopped == "time" and len(history) == 3
    assert history.epochs[-1].validation_cost is not None
    assert [seen for seen in noting.seen if isinstance(seen, int)] == [1, 2, 1, 2, 1]
    assert noting.seen[-2:] == [history.epochs[-1], ("end", 3, "time")]
    now[0] = 0
    history = fit(10, max_seconds=4, **options)
    assert history.stopped == "time" and len(history) == 2
    now[0] = 0
    assert fit(2, max_seconds=4, **options).stopped is None
    assert len(fit(2, max_seconds=0)) == 0


def test_the_schedule_ends_with_the_time(now: list[float]) -> None:
    parts: list[float] = []

    def schedule(done: float) -> float:
        parts.append(done)
        return 1 - done

    fit(10**6, max_seconds=5, schedule=schedule, callbacks=[Ticking(now)])
    assert np.allclose(parts[:5], np.arange(5) / 5, atol=1e-5)
    parts.clear()
    now[0] = 0
    fit(2, max_seconds=60, schedule=schedule, callbacks=[Ticking(now)])
    assert np.allclose(parts, np.arange(6) / 6)


@pytest.mark.parametrize(
    ("value", "error"), [("3", TypeError), (-1, ValueError), (float("nan"), ValueError)]
)
def test_times_that_are_none(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_seconds: expected"):
        fit(max_seconds=value)
