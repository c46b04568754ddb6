"""A training that is saved at any moment and resumed goes on as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import resuming
from interrupting import InterruptAt
from networks import Recorder
from resuming import At, X, fit, left_by, resumed, trainer

import cnn_ext.optim.average
import cnn_ext.optim.optimizer
import cnn_ext.training.callbacks
import cnn_ext.training.descent
import cnn_ext.training.loop
import cnn_ext.training.schedules
from cnn_ext import (
    EarlyStopping,
    Trainer,
)


@pytest.fixture(scope="module")
def unbroken() -> tuple[Any, ...]:
    """What is left without any break."""
    one = trainer()
    history = fit(one)
    assert history.stopped == "early" and len(history) == 8
    assert len(set(history["learning_rate"])) == 2 and one.optimizer.lr < 0.2  # it fell twice
    return left_by(one, history)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "training.safetensors"


# --------------------------------------------------------------------------------- every moment

MOMENTS = [
    (moment, nth)
    for moment in ("epoch_begin", "batch_begin", "batch_end", "epoch_end")
    for nth in ((1, 2, 6, 8) if moment.startswith("epoch") else (1, 2, 4, 5, 15, 27, 32))
]


@pytest.mark.parametrize(("moment", "nth"), MOMENTS)
def test_saved_by_a_callback(moment: str, nth: int, path: Path, unbroken: tuple[Any, ...]) -> None:
    calls = At(), At(moment, nth, lambda one: one.save(path)), At()
    first = trainer()
    assert left_by(first, fit(first, *calls)) == unbroken  # saving changes nothing
    again = At(), At(), At()
    second = resumed(path, 1 + nth % 3)
    assert left_by(second, fit(second, *again)) == unbroken
    for one, other in zip(calls, again, strict=True):  # each was called once at each moment
        assert one.calls == other.calls


@pytest.mark.parametrize("moment", ["epoch_begin", "batch_begin", "batch_end", "epoch_end"])
def test_stopped_in_a_callback_and_saved_afterwards(
    moment: str, path: Path, unbroken: tuple[Any, ...]
) -> None:
    def interrupt(one: Trainer) -> None:
        raise KeyboardInterrupt

    first, seen = trainer(), At()
    fit(trainer(), seen)
    assert fit(first, At(), At(moment, 7, interrupt), At()).stopped == "interrupted"
    before = left_by(first)
    first.save(path)
    assert left_by(first) == before
    second, again, last = resumed(path, 2), At(), At()
    assert left_by(second, fit(second, again, At(), last)) == unbroken
    assert again.calls == last.calls == seen.calls


def test_what_is_done_is_neither_computed_nor_read_again(path: Path) -> None:
    fit(trainer(), At("batch_end", 18, lambda one: one.save(path)))
    second, images, batches = resumed(path), Recorder(X), []
    gradients = second._gradients

    def noting(*batch: Any) -> Any:
        batches.append(len(batch[0]))
        return gradients(*batch)

    second._gradients = noting  # type: ignore[method-assign]
    fit(second, At(), x=images)
    assert batches == [12] * 14
    looks = 1 + 16 + 12  # at the shape, and for the hashes of both sets
    assert sum(map(len, images.asked)) == looks + 14 * 12 + 4 * 12  # steps, validations


def test_told_to_stop_and_the_best_weights_are_taken(path: Path, unbroken: tuple[Any, ...]) -> None:
    def stop(one: Trainer) -> None:
        one.stop_training = True

    first = trainer()
    assert fit(first, At("batch_end", 30, stop)).stopped == "interrupted"
    best = left_by(first)
    first.optimizer.lr = 3.0  # what comes after it is not of the training
    first.save(path)
    second = resumed(path)
    assert left_by(second) != best and second.optimizer.lr == pytest.approx(0.2)
    assert left_by(second, fit(second, At())) == unbroken
    third = resumed(path)
    third.save(path)  # without a step in between
    fourth = resumed(path)
    assert left_by(fourth, fit(fourth, At())) == unbroken


MODULES = (
    cnn_ext.training.loop,
    cnn_ext.training.descent,
    cnn_ext.training.callbacks,
    cnn_ext.training.schedules,
    cnn_ext.optim.optimizer,
    cnn_ext.optim.average,
)


def test_interrupted_at_any_line(path: Path) -> None:
    whole = trainer()
    options: dict[str, Any] = {"epochs": 3, "early_stopping": EarlyStopping(1), "accumulate": 2}
    unbroken = left_by(whole, fit(whole, **options))
    returned, nth = 0, 1
    while True:
        first = trainer()
        interrupt = InterruptAt(nth, *MODULES)
        history = None
        try:
            with interrupt:
                history = fit(first, **options)
        except KeyboardInterrupt:  # before the training or after it
            pass
        if interrupt.place is None:
            break
        nth += 61
        if history is None and first.epochs_begun:
            continue
        returned += 1
        first.save(path)
        second = resumed(path)
        assert left_by(second, fit(second, **options)) == unbroken, interrupt.place
    assert returned > 50


def test_in_other_processes_with_other_numbers_of_threads(
    path: Path, unbroken: tuple[Any, ...]
) -> None:
    first = trainer(2)
    fit(first, At("batch_end", 19, lambda one: one.save(path)), checkpoint=path.with_name("other"))
    program = [sys.executable, resuming.__file__, str(path)]
    one = trainer(2)  # the program has no callback of its own
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        steps = 0
        save = Trainer.save

        def stop(self: Trainer, path: Any) -> None:
            nonlocal steps
            save(self, path)
            steps += 1
            if steps == 19:
                patch.setattr(cnn_ext.training.loop.Run, "_leave", interrupt)
                raise KeyboardInterrupt

        def interrupt(self: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(Trainer, "save", stop)
        fit(one, checkpoint=path, every=1)
    for threads in ("1", "3"):
        told = subprocess.check_output([*program, threads, "epoch"], text=True).splitlines()
        assert told == ["ready", repr(unbroken)]


# ----------------------------------------------------------------------------- checkpoints of fit


@pytest.mark.parametrize("every", ["epoch", 1, 3])
def test_checkpoints_of_fit(every: Any, path: Path, unbroken: tuple[Any, ...]) -> None:
    saved: list[tuple[int, bytes]] = []
    first = trainer()
    save = first.save

    def noting(where: Any) -> None:
        save(where)
        saved.append((first._run.place.epoch, path.read_bytes()))

    first.save = noting  # type: ignore[method-assign]
    assert left_by(first, fit(first, checkpoint=path, every=every)) == unbroken
    assert len(saved) == {"epoch": 8, 1: 33, 3: 11}[every]  # the last one is the end
    for _, content in saved[:: max(1, len(saved) // 4)]:
        path.write_bytes(content)
        second = resumed(path)
        assert left_by(second, fit(second)) == unbroken
    path.write_bytes(saved[-1][1])
    second, seen = resumed(path), left_by(resumed(path))
    history = fit(second)  # there is nothing left to do
    assert left_by(second, history) == unbroken and seen != unbroken
    second.save(path)  # after its end: what comes next is another training
    third = resumed(path)
    assert left_by(third, fit(third)) == left_by(second, fit(second)) != unbroken


def test_ctrl_c_and_an_error_lose_nothing(path: Path, unbroken: tuple[Any, ...]) -> None:
    def interrupt(one: Trainer) -> None:
        raise KeyboardInterrupt

    def fail(one: Trainer) -> None:
        raise LookupError("a file is not there")

    assert fit(trainer(), At("batch_end", 6, interrupt), checkpoint=path).stopped == "interrupted"
    second = resumed(path)
    with pytest.raises(LookupError):
        fit(second, At("batch_begin", 21, fail), checkpoint=path)
    second.save(path)
    third = resumed(path)
    assert left_by(third, fit(third, At())) == unbroken


def test_more_epochs_where_the_schedule_does_not_depend_on_them(path: Path) -> None:
    plain: dict[str, Any] = {"validation_split": 0, "early_stopping": None}
    options: dict[str, Any] = {"callbacks": [], **plain}
    whole, part = trainer(), trainer()
    expected = left_by(whole, fit(whole, **{**options, "epochs": 4}))
    fit(part, **{**options, "epochs": 2}, checkpoint=path)
    longer = resumed(path)
    assert left_by(longer, fit(longer, **{**options, "epochs": 4})) == expected
    with pytest.raises(ValueError, match="epochs: expected 2 or more, which have begun, got 1"):
        fit(resumed(path), **{**options, "epochs": 1})
    fit(trainer(), **{**options, "epochs": 2, "schedule": "cosine"}, checkpoint=path)
    with pytest.raises(ValueError, match=r"epochs: expected 2, got 4 \(as the training that is"):
        fit(resumed(path), **{**options, "epochs": 4, "schedule": "cosine"})


def test_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(cnn_ext.training.schedules, "clock", lambda: now[0])

    class Ticking(At):
        def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
            now[0] += 1

    def timed(one: Trainer, seconds: float | None, **options: Any) -> Any:
        history = fit(one, Ticking(), max_seconds=seconds, early_stopping=None, **options)
        return left_by(one, history)

    whole = trainer()
    unbroken = timed(whole, None)
    first = trainer()
    short = timed(first, 6)
    assert short[-1] == "time" and len(short[-2]) == 2  # half of the second epoch
    first.save(path)
    now[0] += 100
    again = resumed(path)
    assert timed(again, 6) == short  # the time is over
    assert timed(resumed(path), None) == unbroken
    timed(resumed(path), 11, checkpoint=path)
    assert timed(resumed(path), None) == unbroken
