"""A training that is saved at any moment and resumed goes on as if nothing had happened."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resuming
from interrupting import InterruptAt
from networks import small, stripes
from resuming import WEIGHTS, At, X, Y, fit, left_by, trainer

import cnn_ext.optim.average
import cnn_ext.optim.optimizer
import cnn_ext.training.callbacks
import cnn_ext.training.descent
import cnn_ext.training.loop
import cnn_ext.training.schedules
from cnn_ext import SGD, CSVLogger, EarlyStopping, JSONLogger, Layer, Sequential, Trainer


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


def resumed(path: Path, threads: int | None = None) -> Trainer:
    one = trainer(threads)
    one.resume(path)
    return one


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


# ------------------------------------------------------------------------- outside of a training


def test_steps_by_hand(path: Path) -> None:
    one, other = trainer(), trainer(3)
    for _ in range(3):
        one.train_on_batch(X[:10], Y[:10])
    one.save(path)
    other.resume(path)
    assert left_by(one) == left_by(other) and one.average is not None
    for _ in range(2):
        a = one.train_on_batch(X[10:20], Y[10:20], WEIGHTS[:10])
        assert a == other.train_on_batch(X[10:20], Y[10:20], WEIGHTS[:10])
    assert left_by(one, fit(one)) == left_by(other, fit(other))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_step_by_hand_that_is_broken_off_moves_nothing() -> None:
    one = trainer()
    one.train_on_batch(X, Y)
    before = left_by(one)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.optimizer, "step", _interrupt)
        one.train_on_batch(X, Y)
    assert left_by(one) == before
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.average, "update", _interrupt)
        one.train_on_batch(X, Y)
    other = trainer()
    for _ in range(2):
        other.train_on_batch(X, Y)
    one._settle()
    assert left_by(one) == left_by(other)


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_training_that_is_given_up(path: Path) -> None:
    one = trainer()
    fit(one, At("batch_end", 5, lambda one: setattr(one, "stop_training", True)))
    one.train_on_batch(X, Y)
    one.save(path)
    other = resumed(path)
    assert other._resumed is None and left_by(one) == left_by(other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_resumed_and_saved_too(
    copied: Callable[[Trainer], Trainer], path: Path, unbroken: tuple[Any, ...]
) -> None:
    copies: list[Trainer] = []
    first = trainer()
    fit(first, At("batch_end", 9, lambda one: copies.append(copied(one))))
    assert copies[0]._run is None
    fit(first := trainer(), At("batch_end", 9, _stop))
    copied(first).save(path)
    second = copied(resumed(path))
    assert left_by(second, fit(second, At())) == unbroken


def _stop(one: Trainer) -> None:
    one.stop_training = True


def test_what_is_written_line_by_line_is_the_same(path: Path) -> None:
    def logs(name: str) -> list[Any]:
        return [CSVLogger(path.with_name(f"{name}.csv")), JSONLogger(path.with_name(name))]

    fit(trainer(), *logs("a"), At("batch_end", 15, lambda one: one.save(path)), *logs("b"))
    second = resumed(path)
    fit(second, *logs("b"), At(), *logs("c"))
    for name in "ab":
        assert path.with_name(f"{name}.csv").read_text().count("\n") == 9
    lines = [path.with_name(name).read_text().splitlines() for name in "abc"]
    assert [len(each) for each in lines] == [8, 8, 8] and lines[0][:3] == lines[1][:3]


# ------------------------------------------------------------------------------ where it may not


class Saving(Layer):
    """Saves while it computes."""

    trainer: Trainer

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.training:
            self.trainer.save("never")
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


def test_not_within_a_step_nor_a_fit(path: Path) -> None:
    layer = Saving()
    one = Trainer(Sequential(layer, *small().layers))
    layer.trainer = one
    for step in (lambda: one.train_on_batch(X, Y), lambda: one.fit(X, Y, progress=False)):
        with pytest.raises(RuntimeError, match="save: expected a call between two steps"):
            step()
    one = trainer()
    one.save(path)
    with pytest.raises(RuntimeError, match="resume: expected a call between two calls of fit"):
        fit(one, At("batch_end", 1, lambda one: one.resume(path)))
    one = resumed(path)
    assert one.average is not None
    with one.average.applied(), pytest.raises(ValueError, match="average: expected the weights"):
        one.save(path)


def test_the_state_of_a_callback_is_plain_data(path: Path) -> None:
    class Odd(At):
        def state_dict(self) -> dict[str, Any]:
            return {"seen": {1, 2}}

    with pytest.raises(TypeError, match="callbacks/2/seen: expected plain data .*, got set"):
        fit(trainer(), Odd(), checkpoint=path)
    one = trainer()
    assert fit(one, Odd("batch_end", 2, _stop)).stopped == "interrupted"  # nobody asked for it
    with pytest.raises(TypeError, match="got set"):
        one.save(path)


def test_weights_that_are_not_finite_are_not_saved(path: Path) -> None:
    one = trainer()
    one.save(path)
    before = path.read_bytes()
    one.net.parameters()[0].data[0] = np.nan
    with pytest.raises(ValueError, match="0.weight: expected finite numbers, got nan"):
        one.save(path)
    net = small()
    steep = Trainer(net, optimizer=SGD(net, 1e38, weight_decay=1e30))
    with pytest.raises(cnn_ext.CostError), np.errstate(over="ignore"):
        steep.fit(*stripes(20), 1, 5, progress=False, checkpoint=path, every=1)
    assert path.read_bytes() == before
