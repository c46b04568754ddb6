"""Ranks that differ, stop or fail, and checkpoints with which other numbers of ranks go on."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_cases import points, small, told
from thread_group import on_ranks

from cnn_ext import Sequential, Trainer, layers, safetensors
from cnn_ext.augment import RandomShift
from cnn_ext.training.callbacks import Callback
from cnn_ext.training.descent import CostError
from cnn_ext.training.loggers import CSVLogger

# --------------------------------------------------------------------------------- what differs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(batch_size=32), "fit.batch_size: expected 33, got 32"),
        (dict(seed=1), "trainer.seed: expected 0, got 1"),
        (dict(weights=1), "weights: expected"),
        (dict(y=1), "fit.y.values: expected"),
        (dict(optimizer="adam"), "trainer.optimizer: expected 'SGD', got 'Adam'"),
    ],
)
def test_ranks_that_differ_are_refused_by_all(change: dict[str, Any], message: str) -> None:
    x, y = points()

    def work(group: Any) -> Any:
        mine = change if group.rank == 2 else {}
        net, targets = small(), y.copy()
        if "weights" in mine:
            net[1].weight.data[0, 0] += 1
        if "y" in mine:
            targets[0] = (targets[0] + 1) % 3
        trainer = Trainer(
            net, "cross_entropy", mine.get("optimizer"), mine.get("seed", 0), group=group
        )
        trainer.fit(x, targets, 1, mine.get("batch_size", 33), progress=False)

    for error in on_ranks(3, work):
        assert isinstance(error, ValueError)
        assert message in str(error)
        assert "as rank 0 has it, and not rank 2" in str(error)


def test_what_cannot_be_shared_is_refused_by_name() -> None:
    x, y = points()

    def own_loss(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        return float(outputs.sum()), np.ones_like(outputs)

    class Own(layers.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, dy: Any) -> Any:
            return 2 * dy

    def with_loss(group: Any) -> None:
        Trainer(small(), own_loss, group=group).fit(x, np.eye(3)[y], 1, 33, progress=False)

    def with_layer(group: Any) -> None:
        Trainer(Sequential(*small(), Own()), group=group).fit(x, y, 1, 33, progress=False)

    for work, message in ((with_loss, "a loss of your own"), (with_layer, "layers of your own")):
        for error in on_ranks(2, work):
            assert isinstance(error, ValueError)
            assert str(error).startswith("group: ")
            assert message in str(error)


# ----------------------------------------------------------------------- what happens to one rank


def test_a_cost_that_is_not_finite_on_one_rank_is_an_error_on_all() -> None:
    x, y = points()
    x[69] = math.nan  # an image of the last rank

    def work(group: Any) -> None:
        Trainer(small(), group=group).fit(x, y, 1, 70, shuffle=False, progress=False)

    errors = on_ranks(3, work)
    assert [type(error) for error in errors] == [CostError] * 3
    assert len(set(map(str, errors))) == 1


class Stops(Callback):
    """Stops one rank alone, in the way that is told."""

    def __init__(self, rank: int, way: str) -> None:
        self.rank, self.way = rank, way

    def on_batch_end(self, trainer: Trainer, batch: int, cost: float) -> None:
        assert trainer.group is not None
        if self.way == "flag" and trainer.group.rank == self.rank and batch == 2:
            trainer.stop_training = True

    def on_epoch_end(self, trainer: Trainer, epoch: Any) -> bool:
        assert trainer.group is not None
        return self.way == "callback" and trainer.group.rank == self.rank


@pytest.mark.parametrize(("way", "stopped"), [("flag", "interrupted"), ("callback", "callback")])
def test_who_stops_stops_all_at_once(way: str, stopped: str) -> None:
    x, y = points()

    def work(group: Any) -> Any:
        trainer = Trainer(small(), group=group)
        history = trainer.fit(x, y, 3, 16, callbacks=[Stops(1, way)], progress=False)
        return told(trainer)[0], history.stopped

    first, *others = on_ranks(3, work)
    assert first[1] == stopped
    assert others == [first, first]


def test_time_is_over_for_all_at_once() -> None:
    x, y = points()

    def work(group: Any) -> Any:
        trainer = Trainer(small(), group=group)
        history = trainer.fit(x, y, 10**6, 16, max_seconds=0.2, progress=False)
        return told(trainer)[0], history.stopped

    first, second = on_ranks(2, work)
    assert first[1] == "time"
    assert second == first


# ---------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_goes_on_with_other_numbers_of_ranks(tmp_path: Path) -> None:
    x, y = points()
    options: dict[str, Any] = dict(validation_split=0.2, augment=RandomShift(1), progress=False)

    def whole(group: Any) -> Any:
        trainer = Trainer(small(), optimizer="adam", average=0.9, group=group)
        return told(trainer, trainer.fit(x, y, 4, 33, **options))

    expected = whole(None)
    for first, second in ((2, 3), (3, 1), (1, 2)):
        path = tmp_path / f"{first}.safetensors"

        def begin(group: Any, path: Path = path) -> None:
            trainer = Trainer(small(), optimizer="adam", average=0.9, group=group)
            stop = [lambda t, e: setattr(t, "stop_training", e.number == 2)]
            trainer.fit(x, y, 4, 33, checkpoint=path, callbacks=stop, **options)

        def go_on(group: Any, path: Path = path) -> Any:
            trainer = Trainer(small(), optimizer="adam", average=0.9, group=group)
            trainer.resume(path)
            stop = [lambda t, e: None]
            return told(trainer, trainer.fit(x, y, 4, 33, callbacks=stop, **options))

        for work, size in ((begin, first), (go_on, second)):
            for found in on_ranks(size, work):
                if isinstance(found, BaseException):
                    raise found
        assert found == expected


def test_a_disk_that_is_full_is_an_error_on_all_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = points()
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(safetensors, "write", full)

    def work(group: Any) -> None:
        Trainer(small(), group=group).fit(x, y, 1, 33, checkpoint=path, progress=False)

    first, second = on_ranks(2, work)
    assert isinstance(first, OSError)
    assert isinstance(second, OSError)
    assert "rank 0 could not write" in str(second)
    assert path.read_bytes() == b"old"


def test_one_rank_writes_the_lines_of_a_logger(tmp_path: Path) -> None:
    x, y = points()
    path = tmp_path / "log.csv"

    def work(group: Any) -> None:
        Trainer(small(), group=group).fit(x, y, 3, 33, callbacks=[CSVLogger(path)], progress=False)

    assert on_ranks(3, work) == [None] * 3
    assert len(path.read_text().splitlines()) == 4
