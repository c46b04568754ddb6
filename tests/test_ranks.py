"""Several ranks train one network: the same bits as one process, whoever has which images."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from same_bits import NETS
from thread_group import Meeting, ThreadGroup, on_ranks

from cnn_ext import Linear, Sequential, Trainer, _core, layers, safetensors
from cnn_ext.augment import MixUp, RandomShift
from cnn_ext.data import write_shards
from cnn_ext.data.shards import Shards
from cnn_ext.run.share import Share
from cnn_ext.training.callbacks import Callback
from cnn_ext.training.descent import CostError
from cnn_ext.training.loggers import CSVLogger

LANES = _core.lanes(4)
IMAGES = 14 * LANES + 3
BATCH = 6 * LANES - 5
lock = threading.Lock()  # first weights are drawn in one order for the whole process


def images_for(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    shape = NETS[name][1]
    return rng.integers(0, 256, (IMAGES, *shape), np.uint8), rng.integers(0, 10, IMAGES)


def small() -> Sequential:
    with lock:
        return Sequential(
            layers.Flatten(), Linear(9, 8, rng=np.random.default_rng(0)), layers.BatchNorm1d(8),
            layers.ReLU(), layers.Dropout(0.2), Linear(8, 3, rng=np.random.default_rng(1)),
        )  # fmt: skip


def points(images: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.random((images, 1, 3, 3), np.float32), rng.integers(0, 3, images)


def told(trainer: Trainer, history: Any = None) -> Any:
    """All that a training leaves, to be compared."""
    figures = [(e.cost, e.accuracy, e.validation_cost, e.validation_metrics) for e in history or ()]
    arrays = [kept.tobytes() for kept in trainer.net.state_dict().values()]
    return arrays, figures, trainer.task


def the_same(work: Callable[[Any], Any], sizes: tuple[int, ...] = (2, 3)) -> None:
    expected = work(None)
    for size in sizes:
        for rank, found in enumerate(on_ranks(size, work)):
            if isinstance(found, BaseException):
                raise found
            assert found == expected, f"rank {rank} of {size}"


# ------------------------------------------------------------------------------ the same bits


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_any_number_of_ranks_gives_the_weights_of_one_process(name: str, threads: int) -> None:
    make, _, rule, augment = NETS[name]
    x, y = images_for(name)

    def work(group: Any) -> Any:
        with lock:
            net = make()
        rules = rule(net.parameters())
        trainer = Trainer(net, optimizer=rules, seed=2, num_threads=threads, group=group)
        return told(trainer, trainer.fit(x, y, 2, BATCH, augment=augment, progress=False))

    the_same(work, (2, 3, 4, 7))


@pytest.mark.parametrize("batch_size", [1, 2, LANES, LANES + 1, 5 * LANES, 70])
def test_fewer_blocks_than_ranks_and_uneven_batches(batch_size: int) -> None:
    x, y = points()

    def work(group: Any) -> Any:
        net = Sequential(*small()[:2], layers.ReLU(), small()[-1])  # a batch may be one image
        trainer = Trainer(net, group=group)
        return told(trainer, trainer.fit(x, y, 1, batch_size, progress=False))

    the_same(work, (2, 5))


def test_waves_of_blocks() -> None:
    x, y = points(45 * LANES + 2)  # more than two waves for each of two ranks

    def work(group: Any) -> Any:
        trainer = Trainer(small(), group=group)
        return told(trainer, trainer.fit(x, y, 2, len(x), progress=False))

    the_same(work, (2, 3))


OPTIONS: dict[str, dict[str, Any]] = {
    "validation": dict(validation_split=0.3, early_stopping=1, metrics=["f1"]),
    "weights": dict(sample_weight=np.linspace(0, 2, 70), class_weight="balanced"),
    "accumulate": dict(accumulate=3),
    "mixed": dict(augment=[RandomShift(1), MixUp()]),
    "in order": dict(shuffle=False, schedule="cosine"),
    "time": dict(max_seconds=1000.0, schedule="linear"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_of_fit(options: dict[str, Any]) -> None:
    x, y = points()

    def work(group: Any) -> Any:
        trainer = Trainer(small(), optimizer="adam", average=0.9, group=group)
        history = trainer.fit(x, y, 3, 33, progress=False, **options)
        if "max_seconds" in options:  # the schedule depends on the clock
            return group is None or sorted(trainer.net.state_dict())
        return told(trainer, history)

    if "max_seconds" not in options:
        the_same(work)
        return
    first, second = on_ranks(2, lambda group: told(*_timed(group, x, y, options)))
    assert first[0] == second[0]


def _timed(group: Any, x: Any, y: Any, options: dict[str, Any]) -> Any:
    trainer = Trainer(small(), group=group)
    return trainer, trainer.fit(x, y, 3, 33, progress=False, **options)


def test_double_precision() -> None:
    x, y = points()

    def work(group: Any) -> Any:
        trainer = Trainer(small().astype("float64"), group=group)
        return told(trainer, trainer.fit(x, y, 2, 37, progress=False))

    the_same(work)


def test_single_steps_and_answers() -> None:
    x, y = points()

    def work(group: Any) -> Any:
        trainer = Trainer(small(), group=group)
        costs = [trainer.train_on_batch(x[n:], y[n:], np.ones(70 - n)) for n in (0, 30, 60)]
        scores = trainer.evaluate(x, y, 16, metrics=["recall"])
        outputs = trainer.outputs(x[:5], 2), trainer.outputs(x[:0])
        return told(trainer), costs, scores, [o.tobytes() for o in outputs]

    the_same(work, (2, 7))


def test_a_stream_of_batches() -> None:
    x, y = points()

    def work(group: Any) -> Any:
        batches = [(x[:40], y[:40]), (x[40:45], y[40:45]), (x[45:], y[45:], np.full(25, 0.5))]
        trainer = Trainer(small(), group=group)
        return told(trainer, trainer.fit(batches, epochs=2, progress=False))

    the_same(work)


class Counted:
    """Images that count how many of them are asked for."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.dtype, self.asked = x, x.shape, x.dtype, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        self.asked += np.size(chosen)
        return self.x[chosen]


def test_a_rank_reads_its_own_images_alone() -> None:
    x, y = points(8 * LANES)
    seen = []

    def work(group: Any) -> Any:
        counted = Counted(x)
        Trainer(small(), group=group).fit(counted, y, 2, 4 * LANES, progress=False)
        seen.append(counted.asked)

    assert on_ranks(2, work) == [None] * 2
    samples = 16  # for the comparison at the start
    assert seen == [2 * 4 * LANES + samples] * 2


def test_shards(tmp_path: Path) -> None:
    x, y = points()
    write_shards(tmp_path, x, y, 20)

    def work(group: Any) -> Any:
        shards = Shards(tmp_path, window=20)
        trainer = Trainer(small(), group=group)
        return told(trainer, trainer.fit(shards, shards.y, 2, 33, progress=False))

    the_same(work)


# --------------------------------------------------------------------------- what is exchanged


def test_a_rank_sends_few_sums() -> None:
    x, y = points(64 * LANES)
    net = small()
    weights = sum(p.data.nbytes for p in net.parameters())
    meetings = []

    def work(group: Any) -> None:
        meetings.append(group.meeting)
        Trainer(small(), group=group).train_on_batch(x, y)

    assert on_ranks(2, work) == [None] * 2
    statistics = 2 * 8 * 4  # and the sums that the gradient of batch normalisation reads
    costs = 32 * LANES * 4
    assert meetings[0].bytes <= costs + 2 * (weights + 2 * statistics)


def test_shares_are_neighbours_and_all_of_the_batch() -> None:
    for images in (0, 1, 15, 16, 17, 100, 1000):
        for size in (1, 2, 3, 7):
            shares = [Share(ThreadGroup(Meeting(size), rank), images, 16) for rank in range(size)]
            numbers = [n for share in shares for n in range(images)[share.part]]
            assert numbers == list(range(images))
            assert all(share.part.start % 16 == 0 for share in shares if share.own)


class Liar(ThreadGroup):
    """One whose arrays are too short."""

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        return [each.reshape(-1)[:1] for each in super().allgather(array)]


def test_what_a_group_gives_is_checked() -> None:
    x, y = points()
    share = Share(Liar(Meeting(1), 0), len(x), LANES)
    with pytest.raises(ValueError, match="share: expected"):
        Trainer(small())._backpropagate(x, y, None, share)


BLOCKS = -(-70 // LANES)


@pytest.mark.parametrize(
    "change",
    [
        dict(starts=()), dict(starts=(0,)), dict(starts=(BLOCKS, 0)), dict(starts=(0, BLOCKS + 1)),
        dict(starts=(1, BLOCKS)), dict(starts=(0, -1, BLOCKS), rank=1), dict(rank=1), dict(rank=-1),
        dict(images=0, starts=(0, 0)), dict(images=-5, starts=(0, 0)), dict(images=69),
        dict(images=2**70), dict(starts=(0, 2**70)), dict(starts="ab"), dict(starts=None),
        dict(send=lambda numbers: lambda: []), dict(send=lambda numbers: lambda: [b""]),
        dict(send=lambda numbers: lambda: [None]), dict(send=lambda numbers: None),
    ],
)  # fmt: skip
def test_shares_that_make_no_sense_are_errors(change: dict[str, Any]) -> None:
    x, y = points()
    share = Share(ThreadGroup(Meeting(1), 0), len(x), LANES)
    for name, value in change.items():
        setattr(share, name, value)
    trainer = Trainer(small())
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        trainer._backpropagate(x, y, None, share)


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
