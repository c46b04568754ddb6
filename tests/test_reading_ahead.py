"""Threads that read ahead: in order, bounded, and gone whatever ends what they read for."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupting import everywhere, timer_signals
from networks import small
from stored import IMAGES, pictures, readers, shards

import cnn_ext
import cnn_ext.data.ahead
import cnn_ext.data.batching
import cnn_ext.data.blocks
import cnn_ext.data.labelled
from cnn_ext import Trainer
from cnn_ext.data import Shards
from cnn_ext.data.ahead import ahead
from cnn_ext.data.labelled import LabelledSet

X, Y = pictures()
MODULES = (
    cnn_ext.data.ahead,
    cnn_ext.data.batching,
    cnn_ext.data.blocks,
    cnn_ext.data.labelled,
)


class Slow:
    """Images that other threads may ask for, and take their time to give."""

    def __init__(self, readers: int) -> None:
        self.readers = readers
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(int(rows[0]))
        self.threads.add(threading.get_ident())
        time.sleep(0.002 * (rows[0] % 3))
        return X[rows]


def gone() -> bool:
    """Whether no reader is left, or comes to its end within a moment."""
    end = time.monotonic() + 10
    while readers() and time.monotonic() < end:
        time.sleep(0.001)
    return not readers()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_results_come_in_order_and_not_too_many(number: int) -> None:
    begun: list[int] = []

    def piece(n: int) -> int:
        time.sleep(0.001 * (n % 3))
        return n

    def work() -> Iterator[Any]:
        for n in range(30):
            begun.append(n)
            yield partial(piece, n)

    for wanted, got in enumerate(ahead(work(), number)):
        assert got == wanted
        assert len(begun) <= wanted + number + 2
    assert len(begun) == 30 and not readers()
    assert list(ahead(iter(()), number)) == []


def test_what_has_readers_is_read_by_them() -> None:
    expected = None
    for number in (1, 3):
        given = Slow(number)
        net = small()
        Trainer(net).fit(given, Y, 1, 16, progress=False)
        state = net.state_dict()["0.weight"].tobytes()
        assert expected in (None, state)
        expected = state
        assert len(given.threads - {threading.get_ident()}) == number
    net = small()
    Trainer(net).fit(X, Y, 1, 16, progress=False)
    assert net.state_dict()["0.weight"].tobytes() == expected
    assert not readers()


@pytest.mark.parametrize("number", [0, 1.5, "2"])
def test_readers_are_a_number(number: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="readers: expected"):
        Trainer(small()).fit(Slow(number), Y, 1, 16, progress=False)


def test_the_first_error_comes_in_its_place() -> None:
    class Broken(Slow):
        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            if rows[0] >= 96:
                raise OSError(f"sector {rows[0]} cannot be read")
            return super().__getitem__(rows)

    steps = []
    trainer = Trainer(small())
    trainer.optimizer.step = lambda: steps.append(1)  # type: ignore[method-assign]
    with pytest.raises(OSError, match="sector 96 cannot be read"):
        trainer.fit(Broken(4), Y, 1, 16, shuffle=False, progress=False)
    assert len(steps) == 6 and not readers()


@pytest.mark.parametrize("end", ["error", "interrupt", "time"])
@pytest.mark.parametrize("kind", ["batches", "blocks"])
def test_no_thread_is_left_when_an_epoch_is_broken_off(kind: str, end: str, tmp_path: Path) -> None:
    class Breaking(cnn_ext.Callback):
        def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
            assert readers()
            if end == "error":
                raise RuntimeError("enough")
            if end == "interrupt":
                raise KeyboardInterrupt

    given: Any = Slow(2) if kind == "batches" else Shards(shards(tmp_path), window=40)
    trainer = Trainer(small())
    options: Any = {"callbacks": [Breaking()], "progress": False}
    if end == "time":
        options["max_seconds"] = 1e-9
    if end == "error":
        with pytest.raises(RuntimeError, match="enough") as kept:
            trainer.fit(given, Y, 1, 16, **options)
        assert kept  # with all its frames
    else:
        trainer.fit(given, Y, 1, 16, **options)
    assert not readers()


def test_interrupts_anywhere_leave_no_thread(tmp_path: Path) -> None:
    found = Shards(shards(tmp_path, 100), window=100)
    part = LabelledSet(found, Y).part(np.arange(0, IMAGES, 20))

    def work() -> None:
        source = part.taken(part.batches(5, np.random.default_rng(0)))
        for batch in source:
            assert (batch.images == X[::20][batch.indices]).all()

    for interrupt in everywhere(*MODULES):
        try:
            with interrupt:
                work()
        except KeyboardInterrupt:
            assert interrupt.place is not None
        assert gone(), interrupt.place


@pytest.mark.skipif(os.name != "posix", reason="Windows has no timer that sends signals")
def test_real_signals_leave_no_thread(tmp_path: Path) -> None:
    folder = shards(tmp_path)
    trainer = Trainer(small())
    rng = random.Random(0)
    interrupts = 0
    with timer_signals(signal.default_int_handler):
        for given in (Shards(folder, window=40), Slow(3)) * 15:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 2e-2))
                history = trainer.fit(given, Y, 99, 16, progress=False)
                interrupts += history.stopped == "interrupted"
            except KeyboardInterrupt:
                interrupts += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert gone()
    assert interrupts > 20
    trainer.fit(Shards(folder), Y, 1, 16, progress=False)


PROGRAM = """
    import sys

    sys.path.insert(0, {tests!r})
    import os, threading
    from cnn_ext import Callback, Trainer
    from cnn_ext.data import Shards
    from networks import small
    from stored import pictures, readers

    y = pictures()[1]
    trainer = Trainer(small())
    shards = Shards({folder!r}, window=40)


    class Forking(Callback):
        def on_batch_end(self, trainer, number, cost):
            if number == 2:
                child = os.fork()
                if child == 0:  # in the midst of an epoch: it trains by itself
                    other = Trainer(small())
                    other.fit(Shards({folder!r}, window=40), y, 1, 16, progress=False)
                    sys.exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


    {program}
"""
PROGRAMS = {
    "fork": "trainer.fit(shards, y, 2, 16, callbacks=[Forking()], progress=False)",
    "exit": "trainer.fit(shards, y, 2, 16, callbacks=[lambda *_: sys.exit(3)], progress=False)",
    "kept": "kept = iter(shards.read_batches(iter([range(9)] * 9))); next(kept)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_process_comes_to_its_end(name: str, tmp_path: Path) -> None:
    if name == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    program = PROGRAM.format(
        tests=str(Path(__file__).parent), folder=str(shards(tmp_path)), program=PROGRAMS[name]
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(Path(cnn_ext.__file__).parents[1])},
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (3 if name == "exit" else 0), done.stderr
