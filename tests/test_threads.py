"""Threads: the same bits at any number, many callers at once, and the settings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from calls import CALLS, DTYPES, Call, assert_same_bytes, by_id
from cases import normal

import cnn_ext
from cnn_ext import _core, _dispatch, ops

WORK = 300_000  # products or sums: more than the least that is given to a second thread


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = cnn_ext.get_num_threads()
    yield
    cnn_ext.set_num_threads(before)


def enlarged(call: Call, dtype: str) -> tuple[Any, ...]:
    """The arrays of a call, the batch repeated until there is work for several threads."""
    arrays = call.arrays(dtype)
    times = -(-WORK // call.work) if call.work else 1
    batches = (np.concatenate([a] * times) for a in arrays[: call.batched])
    return (*batches, *arrays[call.batched :])


@pytest.mark.parametrize("call", CALLS, ids=by_id)
def test_the_same_bits_at_any_number_of_threads(call: Call) -> None:
    dtype = DTYPES[len(call.id) % 2]  # each kernel meets both over its cases
    arrays = enlarged(call, dtype)
    cnn_ext.set_num_threads(1)
    expected = call.run(*arrays)
    for threads in (2, 3, 7):
        cnn_ext.set_num_threads(threads)
        assert_same_bytes(call.run(*arrays), expected)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_threads_are_really_used() -> None:
    script = (
        "import os, numpy as np, cnn_ext\n"
        "x, w = np.ones((64, 4, 16, 16)), np.ones((4, 4, 3, 3))\n"
        "tasks = lambda: len(os.listdir('/proc/self/task'))\n"
        "cnn_ext.set_num_threads(1); cnn_ext.ops.conv2d(x, w); before = tasks()\n"
        "cnn_ext.set_num_threads(5); cnn_ext.ops.conv2d(x, w)\n"
        "print(tasks() - before)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "4", run.stderr


def test_many_python_threads_at_once() -> None:
    cnn_ext.set_num_threads(2)
    cases = [
        (
            normal(f"x{i}", (1 + i % 5, 3, 8 + i, 9), np.float32),
            normal("w", (4, 3, 3, 3), np.float32),
        )
        for i in range(20)
    ]
    expected = [ops.conv2d(x, w, padding=1) for x, w in cases]
    big = normal("big", (64, 3, 24, 24), np.float32)
    big_expected = ops.conv2d_backward(np.ones((64, 4, 22, 22), np.float32), big, cases[0][1])

    def work(n: int) -> bool:
        if n % 40 == 0:  # with threads of its own
            answer = ops.conv2d_backward(np.ones((64, 4, 22, 22), np.float32), big, cases[0][1])
            return all(map(np.array_equal, answer, big_expected))
        x, w = cases[n % 20]
        return np.array_equal(ops.conv2d(x, w, padding=1), expected[n % 20])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


def test_another_python_thread_runs_during_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal("x", (16, 8, 48, 48), np.float32), normal("w", (8, 8, 5, 5), np.float32)
    counter = 0
    seen: list[int] = []
    done = threading.Event()

    class Counted:
        """`_core`, noting how far the other thread counted during each convolution."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_core, name)

        def conv2d(self, *args: Any) -> None:
            before = counter
            _core.conv2d(*args)
            seen.append(counter - before)

    def work() -> None:
        try:
            end = time.monotonic() + 30
            while not any(seen) and time.monotonic() < end:
                ops.conv2d(x, w, padding=2)
        finally:
            done.set()

    monkeypatch.setattr("cnn_ext.operators.conv2d._core", Counted())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nothing but a release lets the other thread in
    try:
        worker = threading.Thread(target=work)
        worker.start()
        while not done.wait(1e-6):
            counter += 1
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert any(seen)


# ---------------------------------------------------------------------------------- settings


def test_threads_in_a_with_block_are_restored() -> None:
    cnn_ext.set_num_threads(2)
    with cnn_ext.threads(5):
        assert cnn_ext.get_num_threads() == 5
        with cnn_ext.threads(None):
            assert cnn_ext.get_num_threads() == 5
        with pytest.raises(KeyError), cnn_ext.threads(3):
            assert cnn_ext.get_num_threads() == 3
            raise KeyError
        assert cnn_ext.get_num_threads() == 5
    assert cnn_ext.get_num_threads() == 2
    with pytest.raises(ValueError, match="num_threads"), cnn_ext.threads(0):
        raise AssertionError("not reached")
    assert cnn_ext.get_num_threads() == 2


def test_blocks_that_overlap() -> None:
    cnn_ext.set_num_threads(2)
    first, second, third = (cnn_ext.threads(number) for number in (5, 3, 4))
    seen = []
    for step in (
        first.__enter__, second.__enter__, third.__enter__,
        lambda: first.__exit__(None, None, None),
        lambda: third.__exit__(None, None, None),
        lambda: second.__exit__(None, None, None),
    ):  # fmt: skip
        step()
        seen.append(cnn_ext.get_num_threads())
    assert seen == [5, 3, 4, 4, 3, 2]


def test_a_block_is_of_its_thread_alone() -> None:
    cnn_ext.set_num_threads(2)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other, cnn_ext.threads(5):
        assert one.submit(cnn_ext.get_num_threads).result() == 2
        block = cnn_ext.threads(3)
        one.submit(block.__enter__).result()
        assert one.submit(cnn_ext.get_num_threads).result() == 3
        assert other.submit(cnn_ext.get_num_threads).result() == 2
        assert cnn_ext.get_num_threads() == 5
        cnn_ext.set_num_threads(4)  # of the process
        answers = [f.submit(cnn_ext.get_num_threads).result() for f in (one, other)]
        assert (*answers, cnn_ext.get_num_threads()) == (3, 4, 5)
        block.__exit__(None, None, None)  # in another thread than it was entered in
        assert one.submit(cnn_ext.get_num_threads).result() == 4
    assert cnn_ext.get_num_threads() == 4


def test_blocks_that_nobody_leaves() -> None:
    cnn_ext.set_num_threads(2)
    blocks = [cnn_ext.threads(3) for _ in range(20)]
    for block in blocks:  # threads that end within them
        worker = threading.Thread(target=block.__enter__)
        worker.start()
        worker.join()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: cnn_ext.get_num_threads(), range(20))) == {2}
    lost = cnn_ext.threads(4)
    lost.__enter__()
    assert cnn_ext.get_num_threads() == 4
    del lost
    assert cnn_ext.get_num_threads() == 2
    blocks[3].__exit__(None, None, None)
    del blocks
    assert cnn_ext.get_num_threads() == 2


def test_a_block_is_entered_once_at_a_time() -> None:
    cnn_ext.set_num_threads(2)
    block = cnn_ext.threads(3)
    for _ in range(2):
        with block:
            with pytest.raises(RuntimeError, match="not left"):
                block.__enter__()
            assert cnn_ext.get_num_threads() == 3
        assert cnn_ext.get_num_threads() == 2


def test_many_threads_with_blocks_of_their_own() -> None:
    cnn_ext.set_num_threads(2)

    def work(number: int) -> bool:
        right = True
        for i in range(300):
            with cnn_ext.threads(number):
                with cnn_ext.threads(1 + i % 7):
                    right &= cnn_ext.get_num_threads() == 1 + i % 7
                right &= cnn_ext.get_num_threads() == number
            right &= cnn_ext.get_num_threads() == 2
        return right

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 17)))


@pytest.mark.parametrize("wrong", [0, -1, -(2**31), 1025, 10**6])
def test_the_core_refuses_numbers_of_threads_too(wrong: int) -> None:
    for function in (_core.set_num_threads, _core.Threads):
        with pytest.raises(ValueError, match="num_threads: expected 1 to 1024"):
            function(wrong)


@pytest.mark.parametrize("wrong", [0, -1, 1025, 2**31, 2**70])
def test_numbers_of_threads_out_of_range(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"num_threads: expected 1 to 1024, got {wrong}"):
        cnn_ext.set_num_threads(wrong)


@pytest.mark.parametrize("wrong", [True, 1.0, "2", None, [2], np.ones(2, int)])
def test_numbers_of_threads_that_are_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="num_threads: expected a whole number"):
        cnn_ext.set_num_threads(wrong)


def test_a_numpy_integer_is_a_number_of_threads() -> None:
    cnn_ext.set_num_threads(np.int8(3))  # type: ignore[arg-type]
    assert cnn_ext.get_num_threads() == 3


def test_default_follows_the_environment_and_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, number in {"3": 3, "4,2": 4, " 5 ": 5, "99999": 1024}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert _dispatch.default_num_threads() == number
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for text in ("", "0", "-1", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        for quota, number in [(float("inf"), 8), (3.0, 3), (2.9, 2), (0.5, 1), (100.0, 8)]:
            monkeypatch.setattr(_dispatch, "cpu_quota", lambda quota=quota: quota)
            assert _dispatch.default_num_threads() == number
