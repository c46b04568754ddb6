"""Folders of shards: what is read, in which order, how often, and what training makes of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Recorder, assert_same, small
from numpy.testing import assert_array_equal
from stored import IMAGES, InMemory, assert_same_training, pictures, readers, shards, trained

from cnn_ext import Callback, Normalize, Trainer, augment, learning_rate_finder
from cnn_ext.data import Shards, write_shards
from cnn_ext.data.labelled import LabelledSet

X, Y = pictures()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shards(tmp_path)


# ------------------------------------------------------------------------------ writing and reading


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["array", "indexed", "batches", "no targets"])
def test_what_is_written_is_read(kind: str, compressed: bool, tmp_path: Path) -> None:
    place = tmp_path / "shards"
    match kind:
        case "array":
            write_shards(place, X, Y, 16, compressed)
        case "indexed":
            given = Recorder(X)
            write_shards(place, given, Y.tolist(), 16, compressed)
            assert max(len(asked) for asked in given.asked) == 16
        case "batches":
            batches = ((X[i : i + 7], Y[i : i + 7]) for i in range(0, IMAGES, 7))
            write_shards(place, batches, per_shard=16, compressed=compressed)
        case "no targets":
            write_shards(place, X, per_shard=16, compressed=compressed)
    assert os.listdir(tmp_path) == ["shards"]
    assert len(list(place.iterdir())) == 13
    found = Shards(place)
    assert (len(found), found.shape, found.dtype) == (IMAGES, X.shape, X.dtype)
    assert repr(found) == "Shards((200, 1, 6, 6) of uint8, 13 blocks)"
    assert_array_equal(found[:], X)
    assert_array_equal(np.asarray(found), X)
    assert_array_equal(np.stack(list(found)), X)
    if kind == "no targets":
        with pytest.raises(ValueError, match="shards: the shards have no targets, y"):
            found.y  # noqa: B018
    else:
        assert_array_equal(found.y, Y)


def test_files_of_numpy_are_shards(tmp_path: Path) -> None:
    """Of any length, none included, in any order of the axes, with more in them."""
    x = np.random.default_rng(0).standard_normal((10, 2, 3)).astype(">f4")
    np.savez(tmp_path / "a.npz", x=x[:4], y=Y[:4], more=np.zeros(3))
    np.savez(tmp_path / "b.npz", y=Y[4:4], x=x[4:4])
    np.savez(tmp_path / "c.npz", x=np.asfortranarray(x[4:5]), y=Y[4:5])
    np.savez_compressed(tmp_path / "d.npz", x=x[5:], y=Y[5:10])
    (tmp_path / "notes.txt").write_text("no shard")
    found = Shards(tmp_path, window=1)
    for rows in (slice(None), [9, 4, 0, 4, -1], [3], [], np.arange(10)):
        assert_array_equal(found[rows], x[rows])
    assert_array_equal(found[4], x[4])
    assert_array_equal(found.y, Y[:10])
    images = [images for _, images in found.read_batches(iter([np.array([9, 0]), np.arange(10)]))]
    assert_array_equal(images[0], x[[9, 0]])
    assert_array_equal(images[1], x)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any),
    window=st.integers(1, 30),
    batch=st.integers(1, 20),
    share=st.floats(0.3, 1),
    shuffled=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_every_batch_has_its_images(
    lengths: list[int], window: int, batch: int, share: float, shuffled: bool, data: Any,
    tmp_path_factory: Any,
) -> None:  # fmt: skip
    folder, total = tmp_path_factory.mktemp("shards"), sum(lengths)
    x = np.arange(3 * total, dtype=np.int32).reshape(total, 3)
    for number, part in enumerate(np.split(x, np.cumsum(lengths)[:-1])):
        save = np.savez_compressed if number % 2 else np.savez
        save(folder / f"{number}.npz", x=part)
    found = Shards(folder, window)
    rng = np.random.default_rng(0)
    whole = LabelledSet(found, np.zeros(total))
    chosen = np.flatnonzero(rng.random(total) < share)
    part = whole.part(chosen) if 0 < len(chosen) < total else whole
    order = list(part.batches(batch, rng if shuffled else None))
    if data.draw(st.booleans()):  # an order that suits no file
        order = np.array_split(rng.permutation(len(part)), len(order))
    assert_array_equal(np.sort(np.concatenate(order)), np.arange(len(part)))
    rows = np.arange(total) if part.indices is None else part.indices
    for (indices, images), expected in zip(part.read_batches(iter(order)), order, strict=True):
        assert_array_equal(indices, expected)
        assert_array_equal(images, x[rows[expected]])
    assert not readers()


# --------------------------------------------------------------------------------- order and memory


def test_each_shard_is_read_once_an_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = Shards._read_block

    def noted(self: Shards, number: int, out: np.ndarray) -> None:
        read.append(number)
        plain(self, number, out)

    monkeypatch.setattr(Shards, "_read_block", noted)
    found = Shards(folder, window=40)
    rng = np.random.default_rng(0)
    for part in (LabelledSet(found, Y), LabelledSet(found, Y).part(np.arange(3, IMAGES, 2))):
        for generator in (rng, None):
            read.clear()
            for _ in part.read_batches(part.batches(7, generator)):
                assert len(read) <= len(set(read))
            assert sorted(read) == list(range(13))


def test_images_are_shuffled_within_windows_of_shards(folder: Path) -> None:
    found = Shards(folder, window=40)  # three shards
    order = found.shuffled(np.random.default_rng(0), np.arange(IMAGES))
    assert_array_equal(np.sort(order), np.arange(IMAGES))
    shard = order // 16
    first = shard[: 3 * 16]
    assert len(set(first.tolist())) in (3, 4)  # one is shorter
    assert (np.diff(first) != 0).mean() > 0.4
    again = [found.shuffled(np.random.default_rng(s), np.arange(IMAGES)).tolist() for s in (0, 1)]
    assert again[0] == order.tolist() != again[1]


def test_a_single_window_has_the_order_of_an_array(folder: Path) -> None:
    for options in ({}, {"validation_split": 0.3}):
        assert_same_training(trained(Shards(folder), Y, **options), trained(X, Y, **options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"validation_split": 0.3},
        {"validation_data": (X[:50], Y[:50])},
        {"class_weight": "balanced"},
        {"augment": [augment.RandomShift(1)]},
        {"augment": [augment.MixUp()]},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_training_is_that_in_memory_bit_for_bit(folder: Path, options: Any) -> None:
    expected = trained(InMemory(X, Shards(folder, window=40)), Y, **options)
    for number in (1, 2, 5):
        given = Shards(folder, window=40, readers=number)
        assert_same_training(trained(given, given.y, **options), expected)
    assert not readers()


class Stopping(Callback):
    """Ends training behind the tenth batch, if it is told to."""

    def __init__(self, stops: bool) -> None:
        self.stops = stops

    def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
        trainer.stop_training = self.stops and number == 10


def test_a_training_goes_on_in_the_midst_of_an_epoch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no shard is read ahead for the batches that were done before."""
    given, read, plain = Shards(folder, window=40), [], Shards._read_block

    def noted(self: Shards, number: int, out: np.ndarray) -> None:
        read.extend([number] * (threading.current_thread() is not threading.main_thread()))
        plain(self, number, out)

    monkeypatch.setattr(Shards, "_read_block", noted)
    trainers = [Trainer(small()) for _ in range(3)]
    for trainer, stops in zip(trainers, (False, True, False), strict=True):
        if trainer is trainers[2]:
            trainer.resume(tmp_path / "training")
        read.clear()
        options: Any = {"callbacks": [Stopping(stops)], "progress": False}
        trainer.fit(given, Y, 2, 16, checkpoint=tmp_path / "training", **options)
        assert not readers()
    assert_same(trainers[2].net.state_dict(), trainers[0].net.state_dict())
    assert 13 < len(read) < 13 + 6


def test_several_inputs_are_read_together(folder: Path) -> None:
    other = np.arange(IMAGES)
    both = LabelledSet((Shards(folder, window=40), other), Y)
    seen = []
    for indices, (images, numbers) in both.read_batches(both.batches(9, np.random.default_rng(0))):
        assert_array_equal(images, X[numbers])
        assert_array_equal(indices, numbers)
        seen += numbers.tolist()
    assert sorted(seen) == list(range(IMAGES)) != seen


def test_normalize_learns_from_it(folder: Path) -> None:
    expected, found = Normalize().fit(X), Normalize().fit(Shards(folder, window=40))
    assert (found.mean, found.std) == (expected.mean, expected.std)
    assert not readers()


def test_the_finder_of_rates_reads_ahead_too(folder: Path) -> None:
    found = Shards(folder, window=40)
    costs = []
    for x in (InMemory(X, found), found):
        trainer = Trainer(small())
        costs.append(learning_rate_finder(trainer, x, Y, steps=30, batch_size=16).costs)
    assert_array_equal(*costs)
    assert not readers()


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    import tracemalloc

    x = np.zeros((2000, 1, 40, 50), np.uint8)  # 4 MB
    write_shards(tmp_path / "shards", x, per_shard=50)
    found = Shards(tmp_path / "shards", window=100)
    part = LabelledSet(found, np.zeros(2000))
    tracemalloc.start()
    try:
        for _ in part.read_batches(part.batches(10, np.random.default_rng(0))):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000, f"{peak} bytes"
