"""`_core.record`: which calls are noted and which are done, and what a run wants of its arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_ext import _core, ops
from cnn_ext.lanes import empty

F = np.dtype(np.float32)
L = _core.lanes(4)


def relu(x: np.ndarray, y: np.ndarray) -> None:
    _core.elementwise("relu", x, None, y, 4, x.size, 0.0)


def add(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    _core.elementwise("add", a, b, y, 4, a.size, 0.0)


def test_what_is_noted_and_what_is_done() -> None:
    x, weight, outside = (np.full(L, value, F) for value in (2, -3, 5))
    seen: dict[str, Any] = {}

    def calls() -> list[np.ndarray]:
        y, constant, other, free = (empty((L,), F) for _ in range(4))
        constant[...] = other[...] = y[...] = 77
        relu(weight, constant)  # constants alone: noted and done
        seen["constant"] = constant.copy()
        relu(outside, other)  # somebody else's: done
        seen["other"] = other.copy()
        add(x, constant, y)  # a stream: noted
        seen["y"] = y.copy()
        add(outside, outside, outside)
        relu(other, free)
        seen["free"] = free.copy()
        add(y, y, y)  # in place
        return [y]

    recorder = _core.record(calls, [x], [weight], 4)
    assert (seen["constant"] == 0).all() and (seen["other"] == 5).all() and (seen["y"] == 77).all()
    assert (seen["free"] == 5).all() and (outside == 10).all()
    out = np.zeros(2 * L, F)
    weight[...] = 1
    recorder.run([np.arange(2 * L, dtype=F), out], 2 * L, 1.0)
    np.testing.assert_array_equal(out, 2 * (np.arange(2 * L) + 1))
    assert recorder.memory == max(64, 4 * L)  # of `constant`


@pytest.mark.parametrize("fixed", [False, True])
def test_what_is_made_of_constants_alone_is_made_once(fixed: bool) -> None:
    x, weight = np.full(L, 2, F), np.full(L, 3, F)

    def calls() -> list[np.ndarray]:
        first, second, y = (empty((L,), F) for _ in range(3))
        for a, b in ((weight, first), (first, second)):
            _core.elementwise("relu", a, None, b, 4, L, 0.0, 0.0, None, True)
        add(x, second, y)
        return [y]

    recorder = _core.record(calls, [x], [weight], 4, 0, fixed)
    held = 2 * max(64, 4 * L)
    assert (recorder.memory, recorder.kept_memory) == ((0, held) if fixed else (held, 0))
    weight[...] = 7
    out = np.zeros(3 * L, F)
    for _ in range(2):
        recorder.run([np.arange(3 * L, dtype=F), out], 3 * L, 1.0)
        np.testing.assert_array_equal(out, np.arange(3 * L) + (3 if fixed else 7))


def foreign(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    add(x, np.ones(L, F), y)


def unwritten(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    add(x, empty((L,), F), y)


def somewhere_else(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    relu(x, np.empty(L, F))


def over_the_weights(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    relu(x, w)


def over_the_stream(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    relu(np.ones(L, F), x)


def nothing(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    pass


def part_of_it(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    _core.pack(x, y, 4, L - 1, 1, 1.0)


@pytest.mark.parametrize(
    "calls",
    [foreign, unwritten, somewhere_else, over_the_weights, over_the_stream, nothing, part_of_it],
)
def test_what_cannot_be_recorded(calls: Callable[..., None]) -> None:
    x, w = np.ones(L, F), np.ones(L, F)

    def function() -> list[np.ndarray]:
        y = empty((L,), F)
        calls(x, w, y)
        return [y]

    with pytest.raises(_core.RecordingError):
        _core.record(function, [x], [w], 4)
    np.testing.assert_array_equal(ops.relu(-np.ones(3)), np.zeros(3))  # no recording is left


def test_results_that_are_no_arrays_of_their_own() -> None:
    x = np.ones(L, F)

    def recorded(results: Callable[[np.ndarray], list[np.ndarray]]) -> None:
        def function() -> list[np.ndarray]:
            y = empty((L,), F)
            relu(x, y)
            return results(y)

        _core.record(function, [x], [], 4)

    recorded(lambda y: [y])
    for results in (lambda y: [y, y], lambda y: [y[:1]], lambda y: [x], lambda y: [np.ones(L, F)]):
        with pytest.raises(_core.RecordingError):
            recorded(results)


def test_an_array_that_reaches_beyond_a_stream_is_refused() -> None:
    whole = np.ones(4 * L, F)

    def function() -> list[np.ndarray]:
        relu(whole, empty((4 * L,), F))
        return []

    with pytest.raises(_core.RecordingError, match="beyond"):
        _core.record(function, [whole[:L]], [], 4)


class TestRun:
    """What a run wants of its arrays."""

    @pytest.fixture
    def weight(self) -> np.ndarray:
        return np.ones(L, F)

    @pytest.fixture
    def recorder(self, weight: np.ndarray) -> Any:
        x = np.ones(L, F)

        def function() -> list[np.ndarray]:
            y = empty((L,), F)
            add(x, weight, y)
            return [y]

        return _core.record(function, [x], [weight], 4)

    def test_streams(self, recorder: Any) -> None:
        x, y, closed = (np.ones(4 * L, F) for _ in range(3))
        closed.flags.writeable = False
        recorder.run([closed, y], 4 * L, 1.0)
        for wrong, images, error in [
            ([x, closed], L, (ValueError, BufferError)),
            ([x, bytes(16 * L)], L, (TypeError, BufferError)),
            ([x.astype(">f4"), y], L, TypeError),
            ([x.view(np.int32), y], L, TypeError),
            ([x, y.view(np.uint8)], L, TypeError),
            ([x[::2], y], L, ValueError),
            ([x, y[: L - 1]], 1, ValueError),  # nothing but plain images may be short
            ([x, y], 4 * L + 1, ValueError),
            ([x, y], 2**62, ValueError),
            ([x, y], -1, ValueError),
            ([x], L, ValueError),
            ([x, y, y], L, ValueError),
            (None, L, TypeError),
        ]:
            with pytest.raises(error):
                recorder.run(wrong, images, 1.0)
        assert (y == 2).all()

    def test_weights_are_kept_alive_and_in_place(self, recorder: Any, weight: np.ndarray) -> None:
        x, y = np.ones(L, F), np.zeros(L, F)
        recorder.run([x, y], L, 1.0)
        weight.resize(100_000, refcheck=False)
        with pytest.raises(RuntimeError, match="elsewhere"):
            recorder.run([x, y], L, 1.0)

    def test_tables_are_copied(self) -> None:
        x, source, target = np.arange(L, dtype=F), np.arange(L), np.arange(L)[::-1].copy()

        def function() -> list[np.ndarray]:
            y = empty((L,), F)
            _core.move(x, y, 4, source, target, 1)
            return [y]

        recorder = _core.record(function, [x], [], 4)
        source[...] = target[...] = 10**9
        y = np.zeros(L, F)
        recorder.run([x, y], L, 1.0)
        np.testing.assert_array_equal(y, x[::-1])


def test_weights_stay_where_they_were_when_their_owner_goes() -> None:
    x = np.ones(L, F)

    def function() -> list[np.ndarray]:
        y = empty((L,), F)
        add(x, weights[0], y)
        return [y]

    weights = [np.full(L, 3, F)]
    recorder = _core.record(function, [x], weights, 4)
    weights.clear()
    noise = [np.zeros(L, F) for _ in range(100)]
    y = np.zeros(L, F)
    recorder.run([x, y], L, 1.0)
    assert (y == 4).all() and len(noise) == 100
