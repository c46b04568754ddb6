"""Batches from generators and loaders: what training makes of them, and what has no meaning."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import assert_same, small
from stored import IMAGES, pictures, readers, trained

from cnn_ext import Conv2d, Flatten, Linear, Module, Sequential, Sigmoid, Trainer, augment
from cnn_ext.data import ReadAhead

X, Y = pictures()
SIZE = 16
STEPS = -(-IMAGES // SIZE)


class Batches:
    """What can be gone through again and knows how many batches it has."""

    def __init__(self, *more: np.ndarray) -> None:
        self.arrays = (X, Y, *more)
        self.begun = 0

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        for start in range(0, IMAGES, SIZE):
            yield tuple(array[start : start + SIZE] for array in self.arrays)


def endless(seed: int = 0) -> Iterator[Any]:
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.integers(0, IMAGES, SIZE)
        yield X[rows], Y[rows]


def in_epochs() -> Iterator[Any]:
    for _ in range(2):
        yield from Batches()


def fit(x: Any, **options: Any) -> tuple[dict[str, np.ndarray], list[float]]:
    net = small()
    history = Trainer(net).fit(x, **{"epochs": 2, "progress": False, **options})
    return net.state_dict(), history["cost"]


# ----------------------------------------------------------------------------------- same as arrays


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"augment": [augment.RandomShift(1)]},
        {"validation_data": (X[:50], Y[:50])},
        {"schedule": "one-cycle"},
        {"accumulate": 3},
        {"metrics": ["f1"], "validation_data": (X[:50], Y[:50])},
        {"early_stopping": 1, "validation_data": (X[:50], Y[:50])},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
@pytest.mark.parametrize("kind", ["again", "generator", "list", "read ahead"])
def test_training_is_that_on_arrays(kind: str, options: Any) -> None:
    expected = fit(X, y=Y, batch_size=SIZE, shuffle=False, **options)
    match kind:
        case "again":
            given = fit(Batches(), **options)
        case "generator":
            given = fit(in_epochs(), steps_per_epoch=STEPS, **options)
        case "list":
            given = fit(list(Batches()), **options)
        case "read ahead":
            given = fit(ReadAhead(in_epochs()), steps_per_epoch=STEPS, **options)
    assert_same(given[0], expected[0])
    assert given[1] == expected[1]
    assert not readers()


def test_weights_are_the_third() -> None:
    weights = np.random.default_rng(0).random(IMAGES)
    expected = fit(X, y=Y, batch_size=SIZE, shuffle=False, sample_weight=weights)
    given = fit(Batches(weights))
    assert_same(given[0], expected[0])
    trainer = Trainer(small())
    assert trainer.evaluate(Batches(weights)) == trainer.evaluate(X, Y, sample_weight=weights)


@pytest.mark.parametrize("views", [None, "mirror"])
def test_evaluation_is_that_of_arrays(views: Any) -> None:
    trainer = Trainer(small())
    expected = trainer.evaluate(X, Y, SIZE, views)
    for batches in (Batches(), in_epochs(), list(Batches())):
        scores = trainer.evaluate(batches, views=views)
        assert scores == pytest.approx(expected, rel=1e-6)


def test_validation_on_batches() -> None:
    expected = trained(X, Y, validation_data=(X, Y))[1]
    given = trained(X, Y, validation_data=Batches())[1]
    for mine, theirs in zip(given, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)
    once = iter(Batches())
    fit(X, y=Y, epochs=1, validation_data=once)
    with pytest.raises(
        ValueError, match="validation_data: expected batches that one can go throug"
    ):
        fit(X, y=Y, validation_data=once)


class Two(Module):
    """Two inputs, two outputs."""

    def __init__(self, form: str) -> None:
        self.form, rng = form, np.random.default_rng(0)
        self.body, self.a, self.b = Flatten(), Linear(36, 3, rng=rng), Linear(36, 2, rng=rng)

    def forward(self, x: Any, other: Any) -> Any:
        parts = {"a": self.a(self.body(x)), "b": self.b(other)}
        return parts if self.form == "dict" else tuple(parts.values())


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_several_inputs_and_outputs(form: str) -> None:
    rows = X.reshape(IMAGES, 36)
    sizes = rows[:, :2] / 255

    def targets(of: slice) -> Any:
        parts = {"a": Y[of], "b": sizes[of]}
        return parts if form == "dict" else tuple(parts.values())

    losses = {"a": "cross_entropy", "b": "mse"}
    weights, scores = [], []
    for batches in (False, True):
        net = Two(form)
        trainer = Trainer(net, losses if form == "dict" else list(losses.values()))
        spans = [slice(start, start + SIZE) for start in range(0, IMAGES, SIZE)]
        given = [((X[of], rows[of]), targets(of)) for of in spans]
        whole = (X, rows), targets(slice(None))
        options: Any = {"epochs": 2, "progress": False}
        if batches:
            trainer.fit(given, validation_data=ReadAhead(given), **options)
            scores.append(trainer.evaluate(given))
        else:
            trainer.fit(*whole, batch_size=SIZE, shuffle=False, **options)
            scores.append(trainer.evaluate(*whole, SIZE))
        weights.append(net.state_dict())
    assert_same(*weights)
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    with pytest.raises(ValueError, match="augment: expected None for a network with several inpu"):
        trainer.fit(given, augment=[augment.RandomShift(1)], progress=False)


def test_pixels_of_targets_stay_where_they_are() -> None:
    net = Sequential(Conv2d(1, 2, 3, padding=1), Sigmoid())
    batch = X / 255, np.repeat(X, 2, axis=1) / 255
    with pytest.raises(ValueError, match="augment: expected transforms that keep pixels where"):
        Trainer(net, "mse").fit([batch], augment=[augment.RandomShift(1)], progress=False)


def test_lists_and_tensors_are_batches() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    loader = data.DataLoader(
        data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=SIZE
    )
    expected = fit(X, y=Y, batch_size=SIZE, shuffle=False)
    assert_same(fit(loader)[0], expected[0])


# ----------------------------------------------------------------------------- how long an epoch is


def test_an_epoch_goes_on_where_the_last_one_ended() -> None:
    given = Batches()
    expected = fit(list(Batches()) * 2, epochs=1)
    assert_same(fit(given, epochs=2, steps_per_epoch=STEPS)[0], expected[0])
    assert given.begun == 2
    given = Batches()
    fit(given, epochs=2, steps_per_epoch=STEPS // 2)
    assert given.begun == 1
    given = Batches()
    fit(given, epochs=1, steps_per_epoch=2 * STEPS + 1)
    assert given.begun == 3


def test_no_more_is_asked_for_than_is_trained_on() -> None:
    source = endless()
    fit(source, epochs=3, steps_per_epoch=5)
    other = endless()
    for _ in range(15):
        next(other)
    np.testing.assert_array_equal(next(source)[0], next(other)[0])


def test_a_source_that_ends_too_early() -> None:
    told = "x: ended after 0 batches of the 13 of an epoch"
    with pytest.raises(ValueError, match=told):
        fit(iter(Batches()), steps_per_epoch=STEPS)
    with pytest.raises(ValueError, match="x: ended after 13 batches of the 14 of an epoch"):
        fit(iter(Batches()), steps_per_epoch=STEPS + 1)
    lies = Batches()
    lies.__class__ = type("Lies", (Batches,), {"__len__": lambda self: 99})
    with pytest.raises(ValueError, match="x: ended after 13 batches of the 99 of an epoch"):
        fit(lies)


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"x": X}, TypeError, "x: expected targets with it, or an iterable of batches .* ndarray"),
        ({"x": 3}, TypeError, "x: expected targets with it, or an iterable of batches .* int"),
        ({"x": "xy"}, TypeError, "x: expected targets with it"),
        ({"x": {"x": X}}, TypeError, "x: expected targets with it, .* got dict"),
        ({"x": endless()}, ValueError, "steps_per_epoch: expected the number of batches that are"),
        ({"x": []}, ValueError, "x: expected at least one batch, got none"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch: expected 1"),
        ({"steps_per_epoch": 1.5}, TypeError, "steps_per_epoch: expected a whole number"),
        ({"x": X, "y": Y, "steps_per_epoch": 3}, ValueError, "steps_per_epoch: expected None with"),
        ({"batch_size": 16}, ValueError, "batch_size: expected None with an iterable of batches"),
        ({"sample_weight": Y}, ValueError, "sample_weight: expected None with an iterable"),
        ({"checkpoint": "a"}, ValueError, "checkpoint: expected None with an iterable of batches"),
        ({"class_weight": "balanced"}, ValueError, "class_weight: expected None with an iterable"),
        ({"validation_split": 0.1}, ValueError, "validation_split: expected 0 with an iterable"),
        ({"augment": [augment.MixUp()]}, ValueError, "augment: expected transforms of single ima"),
        ({"x": [X[:5]]}, TypeError, r"x: expected \(x, y\) or \(x, y, sample_weight\) in batch 1"),
        ({"x": [(X,)]}, TypeError, r"x: expected \(x, y\) or \(x, y, sample_weight\) in batch 1"),
        ({"x": [(X, Y), (X, Y[1:])]}, ValueError, "x, batch 2: y: expected 200 targets"),
        ({"x": [(X[:0], Y[:0])]}, ValueError, "x, batch 1: x: expected at least one image"),
        ({"x": [(X, Y, Y[1:])]}, ValueError, "x, batch 1: sample_weight: expected shape"),
    ],
)
def test_what_has_no_meaning_is_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(**{"x": Batches(), **options})


def test_a_training_on_batches_is_not_resumed_in_its_midst(tmp_path: Path) -> None:
    def stop(trainer: Trainer, epoch: Any) -> None:
        trainer.stop_training = True

    trainer = Trainer(small())
    trainer.fit(Batches(), epochs=3, callbacks=[stop], progress=False)
    with pytest.raises(ValueError, match="x: expected images and y, not an iterable of batches"):
        trainer.save(tmp_path / "training")
    trainer.fit(Batches(), progress=False)
    trainer.save(tmp_path / "training")  # one that came to its end
    trainer.fit(X, Y, 1, validation_data=Batches(), progress=False)
    assert list(tmp_path.iterdir()) == [tmp_path / "training"]


def test_evaluation_refuses_too() -> None:
    trainer = Trainer(small())
    with pytest.raises(TypeError, match="x: expected targets with it"):
        trainer.evaluate(X)
    with pytest.raises(ValueError, match="sample_weight: expected None with batches"):
        trainer.evaluate(Batches(), sample_weight=Y)
    with pytest.raises(ValueError, match="x: expected at least one batch, got none"):
        trainer.evaluate(iter(()))


# --------------------------------------------------------------------------------------- read ahead


def test_a_thread_makes_the_next_batches() -> None:
    names, made = set(), []

    def batches() -> Iterator[Any]:
        for number in range(10):
            names.add(threading.current_thread().name)
            made.append(number)
            yield number

    seen = []
    given = iter(ReadAhead(batches()))
    for number in given:
        end = time.monotonic() + 10
        while len(made) < min(10, number + 3) and time.monotonic() < end:
            time.sleep(0.001)
        assert len(made) == min(10, number + 3)  # this one and two more
        seen.append(number)
    assert seen == list(range(10))
    assert len(names) == 1 and names != {threading.main_thread().name}
    assert not readers()
    assert len(ReadAhead([1, 2])) == 2 and list(ReadAhead([1, 2])) == [1, 2]
    with pytest.raises(TypeError):
        ReadAhead(3)  # type: ignore[arg-type]


def test_errors_of_the_thread_come_out_in_fit() -> None:
    def batches() -> Iterator[Any]:
        yield from Batches()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(ReadAhead(batches()), steps_per_epoch=STEPS + 1)
    assert not readers()


@pytest.mark.parametrize("end", ["callback", "error", "interrupt", "early", "dropped"])
def test_no_thread_is_left(end: str) -> None:
    def stop(trainer: Trainer, epoch: Any) -> bool:
        if end == "error":
            raise RuntimeError("stop")
        if end == "interrupt":
            trainer.stop_training = True
        return end == "callback"

    given = ReadAhead(endless())
    if end == "dropped":
        source = iter(given)
        next(source)
        assert readers()
        del source
    elif end == "error":
        with pytest.raises(RuntimeError, match="stop"):
            fit(given, steps_per_epoch=3, callbacks=[stop])
    else:
        fit(given, steps_per_epoch=3, callbacks=[stop])
    assert not readers()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told(tmp_path: Any) -> None:
    source = iter(ReadAhead(endless()))
    next(source)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(3):  # what had been read before it was forked
                next(source)
        except RuntimeError as error:
            status = 0 if "do not come in a forked process" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    next(source)
    del source
    assert not readers()
