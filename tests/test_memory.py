"""Memory that arrays give back is kept for the next ones, and never while anyone looks at it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import normal
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import _core, lanes, ops

FLOAT32 = np.dtype(np.float32)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (17,), (5, 6, 7)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_are_aligned_writable_and_of_their_shape(shape: tuple[int, ...], dtype: str) -> None:
    array = lanes.empty(shape, np.dtype(dtype))
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.writeable and array.flags.c_contiguous
    assert array.size == 0 or array.ctypes.data % 64 == 0
    array[...] = 1


def test_memory_is_used_again_only_when_its_last_view_is_gone() -> None:
    _core.release_memory()  # what other sizes left behind would take the room
    shape = (1237, 3)
    array = lanes.empty(shape, FLOAT32)
    address, view = array.ctypes.data, array[5:, 1]
    array[...] = 7
    del array
    other = lanes.empty(shape, FLOAT32)
    other[...] = 8
    assert other.ctypes.data != address
    assert_array_equal(view, np.full(1232, 7))
    del view
    gc.collect()
    assert lanes.empty(shape, FLOAT32).ctypes.data == address


def test_answers_stay_as_they_were() -> None:
    x, weight = normal("x", (9, 3, 8, 8), np.float32), normal("w", (4, 3, 3, 3), np.float32)
    answers = [ops.conv2d(x * n, weight) for n in range(20)]
    copies = [answer.copy() for answer in answers]
    for n in range(20):
        ops.conv2d(x + n, weight)
    for answer, copy in zip(answers, copies, strict=True):
        assert_array_equal(answer, copy)


def test_no_more_is_kept_than_twice_what_was_in_use_at_once() -> None:
    _core.release_memory()
    before, most, kept, _ = _core.memory_use()
    assert (most, kept) == (before, 0)
    for size in range(1000, 2000):
        lanes.empty((size,), FLOAT32)
        in_use, most, kept, _ = _core.memory_use()
        assert in_use == before
        assert kept <= 2 * most
    assert most == before + 4 * 1999
    _core.release_memory()
    assert _core.memory_use()[:3] == (before, before, 0)


def test_sizes_that_cannot_be() -> None:
    use = _core.memory_use()[:3]
    for size in (-1, -(2**63), -(2**70)):
        with pytest.raises(ValueError, match=f"expected a size of at least 0, got {size}"):
            _core.Memory(size)
    for size in (2**60, 2**63 - 1, 2**63, 2**70):
        with pytest.raises(MemoryError):
            _core.Memory(size)
    for wrong in (1.5, "a", None):
        with pytest.raises(TypeError):
            _core.Memory(wrong)
    assert _core.memory_use()[:3] == use


@pytest.mark.parametrize("recorded", [True, False])
def test_a_training_step_asks_for_no_memory_after_the_first(recorded: bool) -> None:
    layers = [cnn_ext.Conv2d(1, 4, 3), cnn_ext.ReLU(), cnn_ext.MaxPool2d(2), cnn_ext.Flatten()]
    if not recorded:
        layers.append(cnn_ext.Dropout(0.1))
    net = cnn_ext.Sequential(*layers, cnn_ext.Linear(36, 10))
    trainer = cnn_ext.Trainer(net, optimizer=cnn_ext.SGD(net.parameters(), lr=0.01))
    x = np.random.default_rng(0).random((70, 1, 8, 8), np.float32)
    y = np.arange(70) % 10
    for _ in range(3):
        trainer.train_on_batch(x, y)
    before = cnn_ext.memory_use()
    for _ in range(10):
        trainer.train_on_batch(x, y)
    assert cnn_ext.memory_use()["allocations"] == before["allocations"]
    assert cnn_ext.memory_use()["peak"] == before["peak"]


def test_memory_use_and_release_for_users() -> None:
    x = cnn_ext.ops.relu(np.ones(1000, np.float32))
    assert cnn_ext.memory_use()["in_use"] >= x.nbytes
    del x
    cnn_ext.release_memory()
    assert cnn_ext.memory_use()["kept"] == 0


def test_many_threads_take_and_give_back() -> None:
    gc.collect()  # what other tests left in circles is not given back meanwhile
    _core.release_memory()
    before = _core.memory_use()[0]
    together = threading.Barrier(8)

    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        sizes = rng.choice([10, 11, 500, 501, 4000, 4001], 3000)
        mine: list[np.ndarray] = []
        together.wait()
        for i, size in enumerate(sizes):
            array = lanes.empty((size,), FLOAT32)
            array[...] = seed
            mine.append(array)
            if i % 3:
                old = mine.pop(rng.integers(len(mine)))
                if not (old == seed).all():  # another thread was given the same memory
                    return False
            if i % 500 == 0:
                _core.release_memory()
        return all((array == seed).all() for array in mine)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    in_use, most, kept, _ = _core.memory_use()
    assert in_use == before
    assert kept <= 2 * most
    _core.release_memory()
    assert _core.memory_use()[:3] == (before, before, 0)


def test_more_pieces_than_are_kept() -> None:
    _core.release_memory()
    before = _core.memory_use()[0]
    arrays = [lanes.empty((size,), FLOAT32) for size in range(1, 3000)]
    while arrays:
        arrays.pop(0)
    in_use, _, kept, taken = _core.memory_use()
    assert in_use == before
    assert kept == 4 * sum(range(3000 - 1024, 3000))  # the oldest went back to the system
    lanes.empty((1,), FLOAT32)
    assert _core.memory_use()[3] == taken + 1
    _core.release_memory()
    assert _core.memory_use()[:3] == (before, before, 0)


def test_garbage_may_be_collected_while_memory_use_answers() -> None:
    # arrays in cycles give their memory back whenever Python makes an object
    script = """
import gc
from cnn_ext import lanes, memory_use
import numpy as np
gc.set_threshold(1, 1, 1)
answers = []
for _ in range(2000):
    cycle = [lanes.empty((18,), np.dtype("float32"))]
    cycle.append(cycle)
    del cycle
    answers.append(memory_use())
"""
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=True,
    )
