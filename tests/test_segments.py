"""Recordings whose blocks wait for each other: sums over the whole batch that later steps read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from cnn_ext import _core, threads
from cnn_ext.lanes import empty

F = np.dtype(np.float32)
L = _core.lanes(4)
W = np.full(L, 0.5, F)


def add(a: np.ndarray, b: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    y = empty((L,), F) if y is None else y
    _core.elementwise("add", a, b, y, 4, L, 0.0)
    return y


def reduced(part: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    y = empty((L,), F) if y is None else y
    _core.block_sum(part, y, 4, 1, L)
    return y


def three_segments(x: np.ndarray) -> list[np.ndarray]:
    """Two sums over the batch, each read by the blocks after it."""
    y = add(x, W)
    s = reduced(y)
    z = add(y, s)
    twice = add(s, s)  # of the batch alone
    kept = add(x, y)
    t = reduced(z)
    u = add(t, twice)
    add(u, s, u)
    return [add(add(z, u), kept), u, reduced(kept), z]


def truth(x: np.ndarray) -> list[np.ndarray]:
    y = x + W
    s = y.sum(0)
    z = y + s
    u = z.sum(0) + 3 * s
    return [z + u + x + y, u, (x + y).sum(0), z]


@pytest.mark.parametrize("blocks", [1, 2, 15, 16, 17, 37])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_summed_over_the_batch_reaches_every_block(blocks: int, count: int) -> None:
    x = np.ones(L, F)
    recorder = _core.record(lambda: three_segments(x), [x], [W], 4)
    batch = np.random.default_rng(blocks).integers(-9, 9, (blocks, L)).astype(F)  # exact sums
    results = [np.zeros((blocks, L), F), np.zeros(L, F), np.zeros(L, F), np.zeros((blocks, L), F)]
    with threads(count):
        recorder.run([batch, *results], blocks * L - L // 4, 1.0)
    for got, wanted in zip(results, truth(batch), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_no_image_is_a_sum_of_zero() -> None:
    x = np.ones(L, F)
    recorder = _core.record(lambda: [reduced(add(x, W))], [x], [W], 4)
    total = np.ones(L, F)
    recorder.run([x[:0], total], 0, 1.0)
    assert (total == 0).all()
    with pytest.raises(ValueError, match="too few"):
        recorder.run([x, total[:-1]], 1, 1.0)


def test_many_python_threads() -> None:
    x = np.ones(L, F)
    recorder = _core.record(lambda: three_segments(x), [x], [W], 4)

    def run(blocks: int) -> bool:
        batch = np.random.default_rng(blocks).integers(-9, 9, (blocks, L)).astype(F)
        results = [np.zeros((blocks, L), F), np.zeros(L, F), np.zeros(L, F),
                   np.zeros((blocks, L), F)]  # fmt: skip
        recorder.run([batch, *results], blocks * L, 1.0)
        return all(map(np.array_equal, results, truth(batch)))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, [*range(1, 40)] * 5))


def test_parts_take_the_memory_of_a_wave_and_what_is_kept_that_of_a_batch() -> None:
    x = np.ones(L, F)

    def memory(function: Callable[[], list[Any]]) -> int:
        return _core.record(function, [x], [W], 4).memory // max(64, 4 * L)

    assert memory(lambda: [reduced(add(x, W))]) == 1
    # two parts in different segments share their place; one that waits and one sum do not
    assert memory(lambda: [add(x, reduced(add(x, reduced(add(x, W)))))]) == 1 + 2
    assert memory(lambda: [add(y := add(x, W), reduced(y))]) == 1 + 1


def test_a_sum_is_taken_where_its_parts_are_however_late_it_is_asked_for() -> None:
    x = np.ones(L, F)

    def function() -> list[np.ndarray]:
        part = add(x, W)
        y = add(x, reduced(add(x, x)))
        return [y, reduced(part)]

    # `part` is not kept for the batch: parts of one wave and a sum
    assert _core.record(function, [x], [W], 4).memory == 3 * max(64, 4 * L)


def test_parts_may_be_written_over_once_they_are_summed() -> None:
    x = np.ones(L, F)

    def function() -> list[np.ndarray]:
        y = add(x, W)
        before = reduced(y)
        add(y, x, y)
        return [before, reduced(y)]

    batch = np.random.default_rng(0).integers(-9, 9, (35, L)).astype(F)
    results = [np.zeros(L, F), np.zeros(L, F)]
    _core.record(function, [x], [W], 4).run([batch, *results], 35 * L, 1.0)
    np.testing.assert_array_equal(results[0], (batch + W).sum(0))
    np.testing.assert_array_equal(results[1], (2 * batch + W).sum(0))


def over_the_whole(x: np.ndarray) -> None:
    add(x, W, reduced(add(x, W)))


def into_the_parts(x: np.ndarray) -> None:
    y = add(x, W)
    reduced(y, add(y, y))


def twice_into_the_same(x: np.ndarray) -> None:
    y = add(x, W)
    reduced(y, reduced(y))


def of_the_stream_itself(x: np.ndarray) -> None:
    reduced(x)


def more_than_one_part(x: np.ndarray) -> None:
    y = empty((2 * L,), F)
    _core.elementwise("add", x, W, y, 4, L, 0.0)
    _core.block_sum(y, empty((L,), F), 4, 2, L)


def more(x: np.ndarray) -> None:
    y = reduced(add(x, W))
    _core.block_sum(add(x, W), y, 4, 1, L)


def into_the_weights(x: np.ndarray) -> None:
    reduced(add(x, W), W)


def into_the_stream(x: np.ndarray) -> None:
    reduced(add(x, W), x)


def whole_into_the_stream(x: np.ndarray) -> None:
    y = reduced(add(x, W))
    add(y, y, x)


def whole_with_what_weights_gave(x: np.ndarray) -> None:
    add(reduced(add(x, W)), add(W, W))


@pytest.mark.parametrize(
    "calls",
    [over_the_whole, into_the_parts, twice_into_the_same, of_the_stream_itself, more_than_one_part,
     more, into_the_weights, into_the_stream, whole_into_the_stream, whole_with_what_weights_gave],
)  # fmt: skip
def test_what_cannot_be_recorded(calls: Callable[[np.ndarray], None]) -> None:
    x = np.ones(L, F)
    with pytest.raises(_core.RecordingError):
        _core.record(lambda: calls(x) or [], [x], [W], 4)
    if L > 1:  # single images have no batch
        with pytest.raises(_core.RecordingError):
            _core.record(lambda: [reduced(add(x, W))], [x], [W], 4, 1)


def test_sums_over_weights_alone_are_as_they_are() -> None:
    x = np.ones(L, F)
    parts = np.arange(3 * L, dtype=F)

    def function() -> list[np.ndarray]:
        total = empty((L,), F)
        _core.block_sum(parts, total, 4, 3, L)
        return [add(x, total)]

    y = np.zeros((2, L), F)
    recorder = _core.record(function, [x], [parts], 4)
    recorder.run([np.ones((2, L), F), y], 2 * L, 1.0)
    np.testing.assert_array_equal(y, np.tile(1 + parts.reshape(3, L).sum(0), (2, 1)))


def chain(x: np.ndarray, depth: int) -> list[np.ndarray]:
    """One array after the other that blocks keep until the sum over the batch is known."""
    y = add(x, W)
    for _ in range(depth):
        s = reduced(add(y, W))
        z = add(y, s)
        del y
        y = add(z, W)
        del z
    return [y]


@pytest.mark.parametrize("blocks", [1, 5, 16, 33])
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_block_keeps_takes_the_place_of_what_it_no_longer_needs(
    blocks: int, count: int
) -> None:
    x = np.ones(L, F)
    recorder = _core.record(lambda: chain(x, 4), [x], [W], 4)
    shallow = _core.record(lambda: chain(x, 1), [x], [W], 4)
    assert recorder.memory - shallow.memory == 3 * 64 * -(-4 * L // 64)  # the sums alone
    batch = np.random.default_rng(blocks).integers(-2, 3, (blocks, L)).astype(F)  # exact sums
    result = np.zeros((blocks, L), F)
    with threads(count):
        recorder.run([batch, result], blocks * L, 1.0)
    y = batch + W
    for _ in range(4):
        y = y + (y + W).sum(0) + W
    np.testing.assert_array_equal(result, y)
