"""Several ranks train one network: the same bits as one process, whoever has which images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_cases import lock, points, small, the_same, told
from same_bits import NETS
from thread_group import Meeting, ThreadGroup, on_ranks

from cnn_ext import Sequential, Trainer, _core, layers
from cnn_ext.augment import MixUp, RandomShift
from cnn_ext.data import write_shards
from cnn_ext.data.shards import Shards
from cnn_ext.run.share import Share

LANES = _core.lanes(4)
IMAGES = 14 * LANES + 3
BATCH = 6 * LANES - 5


def images_for(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    shape = NETS[name][1]
    return rng.integers(0, 256, (IMAGES, *shape), np.uint8), rng.integers(0, 10, IMAGES)


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
        dict(send=lambda *_: lambda: []), dict(send=lambda *_: lambda: [b""]),
        dict(send=lambda *_: lambda: [None]), dict(send=lambda *_: None),
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
