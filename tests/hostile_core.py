"""Calls every function of `_core` with hostile arguments; run as a process of its own.

Prints how many were tried.  A crash, a hang, another error than the ones below, or a number outside
the arrays that changed is a failure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hostile_bytes import byte_calls, wrong_bytes
from hostile_calls import SINGLE, calls, half_calls

from cnn_ext import _core, _dispatch, set_num_threads

ALLOWED = (TypeError, ValueError, MemoryError, OverflowError, RuntimeError, BufferError, KeyError)
SIZES = [-(2**63), -(2**31), -1, 0, 2, 5, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, 2**70]
NUMBERS: list[Any] = ["4", None, 1.5, object(), float("nan"), [1]]
BORDER = 64
tried = 0
wholes: list[np.ndarray] = []


class Liar(list):  # type: ignore[type-arg]
    """A sequence that says something else each time it is read."""

    def __init__(self, honest: Any, lie: int) -> None:
        super().__init__(honest)
        self.honest, self.lie, self.reads = list(honest), lie, 0

    def _now(self) -> list[Any]:
        self.reads += 1
        return self.honest if self.reads % 2 else [self.lie] * len(self.honest)

    def __getitem__(self, index: Any) -> Any:
        return self._now()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._now())

    def __len__(self) -> int:
        self.reads += 1
        return super().__len__() if self.reads % 2 else super().__len__() + 1


class LyingNumber(int):
    """A number that is another one whenever it is compared."""

    def __lt__(self, other: Any) -> bool:
        return False

    __gt__ = __lt__

    def __le__(self, other: Any) -> bool:
        return True

    __ge__ = __le__


class LyingIndex:
    """A number that grows each time it is read."""

    def __init__(self, first: int) -> None:
        self.reads = iter([first, 2**40])

    def __index__(self) -> int:
        return next(self.reads, 2**40)


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy amid sentinels."""
    whole = np.full(array.size + 2 * BORDER, 77, array.dtype)
    wholes.append(whole)
    inside = whole[BORDER : BORDER + array.size].reshape(array.shape)
    inside[...] = array
    return inside


def attempt(function: Callable[..., Any], *args: Any) -> bool:
    """Whether it was refused."""
    global tried
    tried += 1
    try:
        function(*args)
    except ALLOWED:
        refused = True
    else:
        refused = False
    return refused


def must_refuse(function: Callable[..., Any], args: list[Any], i: int, wrong: Any) -> None:
    changed = [*args[:i], wrong, *args[i + 1 :]]
    assert attempt(function, *changed), (function.__name__, i, getattr(wrong, "dtype", wrong))


def vary_array(function: Callable[..., Any], args: list[Any], i: int, writes: bool) -> None:
    array: np.ndarray = args[i]
    if function.__name__.startswith("byte_"):
        for wrong in wrong_bytes(function.__name__, i, array, writes):
            must_refuse(function, args, i, wrong)
        return
    other = "f8" if array.dtype.itemsize == 4 else "f4"
    same_size = "i4" if array.dtype.itemsize == 4 else "i8"
    wrongs: list[Any] = [
        array.astype(array.dtype.newbyteorder()), array.astype(other), array.view(same_size),
        array.astype("c8"), array.astype(object), array[..., ::2], array.tolist(), "text", 3,
        object(), array.astype("f2"),
    ]  # fmt: skip
    if function.__name__ not in ("pack", "embed") or i:  # which take bytes too
        wrongs.append(memoryview(array).cast("B"))
    if array.dtype.itemsize > 1:
        wrongs.append(np.zeros(array.nbytes + 1, "u1")[1:].view(array.dtype))  # at an odd address
    one_slope = function.__name__.startswith("prelu") and array.ndim == 1
    if function.__name__ not in ("fill", "embed") and not one_slope:  # which take any size
        wrongs.append(array.reshape(-1)[:1])
    if writes:
        closed = array.copy()
        closed.flags.writeable = False
        wrongs += [closed, bytes(array)]
    for wrong in wrongs:
        must_refuse(function, args, i, wrong)


def vary_table(function: Callable[..., Any], args: list[Any], i: int) -> None:
    for wrong in (np.array([0, 10**6]), np.array([-1, 0]), np.zeros((2, 1), int), np.zeros(0, int),
                  np.zeros(2), np.zeros(2, "i4"), np.zeros(2, ">i8"), np.zeros(2, object),
                  np.zeros(3, int), [0, 1], None):  # fmt: skip
        must_refuse(function, args, i, wrong)


def vary_sizes(function: Callable[..., Any], args: list[Any], i: int) -> None:
    sizes = args[i]
    for k in range(len(sizes)):
        for size in [*SIZES, *NUMBERS]:
            changed = (*sizes[:k], size, *sizes[k + 1 :])
            attempt(function, *args[:i], changed, *args[i + 1 :])
        for liar in (LyingNumber(2**31 - 1), LyingNumber(-1), LyingIndex(int(sizes[k]))):
            attempt(function, *args[:i], (*sizes[:k], liar, *sizes[k + 1 :]), *args[i + 1 :])
    for lie in (1, 2**20, 2**31 - 1, -1):
        attempt(function, *args[:i], Liar(sizes, lie), *args[i + 1 :])
    for wrong in (sizes[:-1], (*sizes, 1), (), None, 3):
        attempt(function, *args[:i], wrong, *args[i + 1 :])


def vary_tables(function: Callable[..., Any], args: list[Any], i: int) -> None:
    tables = args[i]
    for k in range(len(tables)):
        vary_table(lambda *t: function(*args[:i], list(t), *args[i + 1 :]), tables, k)  # type: ignore[arg-type]
    for lie in (np.array([0, 10**6]), np.array([-(10**6), 0])):
        attempt(function, *args[:i], Liar(tables, lie), *args[i + 1 :])  # type: ignore[arg-type]
    for wrong in (tables[:-1], [*tables, tables[0]], None):
        must_refuse(function, args, i, wrong)


def vary(function: Callable[..., Any], args: list[Any], writes: list[int]) -> None:
    assert not attempt(function, *args), function.__name__
    for i, value in enumerate(args):
        if isinstance(value, np.ndarray) and value.dtype.kind == "i":
            vary_table(function, args, i)
        elif isinstance(value, np.ndarray):
            vary_array(function, args, i, i in writes)
        elif isinstance(value, list):
            vary_tables(function, args, i)
        elif isinstance(value, tuple):
            vary_sizes(function, args, i)
        elif not isinstance(value, (bool, str)) and value is not None:
            for wrong in [*SIZES, *NUMBERS, LyingNumber(2**31 - 1), LyingIndex(int(value))]:
                attempt(function, *args[:i], wrong, *args[i + 1 :])
    for whole in wholes:
        assert (whole[:BORDER] == 77).all() and (whole[-BORDER:] == 77).all(), function.__name__


def weights_in_other_places() -> None:
    """A depthwise convolution finds its weights one after the other, whatever the table says."""
    L = _core.lanes(4)
    x, b, y = (guarded(np.ones(64 * L, np.float32)) for _ in range(3))
    w = guarded(np.ones(2 * L, np.float32))
    zeros, ones = np.zeros(4, np.intp), np.full(4, L, np.intp)
    pixel, block = np.zeros(1, np.intp), np.full(1, -L, np.intp)
    for weights in (zeros, ones):
        for first in (pixel, block):
            tables = [pixel, pixel, zeros, weights, first, pixel]
            assert attempt(_core.depthwise, x, w, b, y, 4, tables, 0, None)


def wild_images() -> None:
    """Numbers of images that no transform gives."""
    rng = np.random.default_rng(0)
    wild = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e18, -1e9, 9e7, -9e7, 0, 1, -1, 0.5, 3, 1e-300]
    for trial in range(600):
        dtype = (np.uint8, np.float32, np.float64)[trial % 3]
        x, y = (guarded(np.ones(sizes, dtype)) for sizes in ((5, 2, 4, 3), (5, 2, 6, 5)))
        rows = rng.choice(wild, (5, 12))
        if trial % 2:
            rows[:, [0, 4]], rows[:, [1, 3]] = rng.choice([1, -1], (5, 2)), 0
        mode, fill = ("constant", "edge", "reflect")[trial % 7 % 3], rng.choice(wild)
        sizes = (5, 2, 4, 3, 6, 5)
        bent = [rng.choice(wild, shape) for shape in ((5, 2, 9, 8), (6, 4), (5, 4))]
        bent = bent if trial % 4 < 2 else [None] * 3  # type: ignore[list-item]
        _core.augment(x, rows, y, x.itemsize, sizes, mode, fill, fill, *bent, 1.0)
        _core.mix(y, y, rng.choice(wild, (5, 5)), y, y.itemsize, 5, 2, 6, 5)
    for whole in wholes:
        assert (whole[:BORDER] == 77).all() and (whole[-BORDER:] == 77).all()


def recorded() -> None:
    """Reductions over parts that are no whole memory, of any size, for any number of images."""
    L = _core.lanes(4)
    x = guarded(np.ones(L, np.float32))

    def record(size: int, first: int, count: int, sums: int) -> Any:
        def function() -> list[np.ndarray]:
            part, total = (np.frombuffer(_core.Memory(n), np.uint8) for n in (size, sums))
            numbers = part[: size // 4 * 4].view(np.float32)
            _core.elementwise("relu", x, None, numbers, 4, min(L, len(numbers)), 0.0)
            _core.block_sum(numbers[first:], total[: sums // 4 * 4].view("f4"), 4, 1, count)
            return [total]

        return _core.record(function, [x], [], 4)

    for size, first, count, sums in [
        (4 * L, 0, L, 4 * L), (4 * L + 3, 1, L - 1, 4 * L + 1), (4097, 7, 1000, 4001), (4, 0, 1, 4),
        (64, 0, 0, 64),
    ]:  # fmt: skip
        try:
            recorder = record(size, first, count, sums)
        except ALLOWED:
            continue
        for blocks in (0, 1, 2, 16, 17, 40):
            for images in (blocks * L, max(0, blocks * L - 1)):
                batch = guarded(np.ones(max(1, blocks) * L, np.float32))
                total = guarded(np.zeros(sums, np.uint8))
                attempt(recorder.run, [batch, total], images, 1.0)
                attempt(recorder.run, [batch, total[:-1]], images, 1.0)
                attempt(recorder.run, [batch[:-1], total], images, 1.0)
        for images in SIZES:
            attempt(recorder.run, [x, guarded(np.zeros(sums, np.uint8))], images, 1.0)
    for whole in wholes:
        assert (whole[:BORDER] == 77).all() and (whole[-BORDER:] == 77).all()


def resized_meanwhile() -> None:
    """Arrays that another thread makes smaller while they are read."""
    stop = threading.Event()
    buffer = bytearray(4 << 20)

    def resize() -> None:
        while not stop.is_set():
            try:
                buffer.clear()
                buffer.extend(bytes(4 << 20))
            except BufferError:  # it is in use
                pass

    worker = threading.Thread(target=resize)
    worker.start()
    y = np.empty(1 << 24, np.float32)
    for _ in range(200):
        attempt(_core.pack, buffer, y, 4, 1 << 16, 64, 1.0)
    stop.set()
    worker.join()


def settings() -> None:
    for function in (
        _core.set_num_threads,
        _core.set_cpus,
        _core.Threads,
        _core.lanes,
        _core.Memory,
    ):
        least = [0, 2**31, 2**40] if function is not _core.Memory else []
        for wrong in [-(2**63), -(2**31), -1, *least, 2**62, 2**70, "4", object(), [1]]:
            assert attempt(function, wrong), (function, wrong)
    assert attempt(_core.Memory, LyingNumber(2**62))
    for capsules in ((None, None), (1, 2), (_core.lanes, _core.lanes)):
        assert attempt(_core.use_tables, *capsules)
    assert attempt(_core.ints) and attempt(_core.byte_fill, np.zeros(4, np.uint8), 1)
    assert attempt(_core.use_bytes, None) and attempt(_core.use_bytes, _core.lanes)
    single, double = (_dispatch._table(_dispatch.ISA, kind) for kind in ("f32", "f64"))
    assert attempt(_core.use_bytes, single) and attempt(_core.use_halves, single)
    assert attempt(_core.use_tables, double, single)
    assert attempt(_core.Recorder().run, [], 1, 1.0)
    for sizes, starts, ends, alignment in [
        ([1, 2], [0], [1, 1], 8), ([1], [0], [], 8), ([-1], [0], [1], 8),
        ([2**62] * 3, [0] * 3, [1] * 3, 8),
        ([1], [2**70], [1], 8), ([1], [0], [1], 0), ([1], [0], [1], -8), ([1], [0], [1], 2**62),
        (["a"], [0], [1], 8), (None, [0], [1], 8),
    ]:  # fmt: skip
        assert attempt(_core.first_fit, sizes, starts, ends, alignment), (sizes, alignment)
    attempt(_core.first_fit, Liar([1, 2], 2**62), Liar([0, 1], -5), Liar([1, 2], 2**62), 8)
    x = np.ones(_core.lanes(4), np.float32)
    for streams, constants, itemsize, images in [
        ([x], [x], 2, 0), ([x], [x], 4, 3), ([x], [x], 4, -1), ([x], [x], 4, 2**62),
        ([1], [], 4, 0), ([], ["x"], 4, 0), ([x[::2]], [], 4, 0),
        (None, [], 4, 0), ([x] * 300, [], 4, 0),
    ]:  # fmt: skip
        assert attempt(_core.record, list, streams, constants, itemsize, images)
    closed = x.copy()
    closed.flags.writeable = False
    for arrays, into in [
        ([x], []), ([x], [x[1:]]), ([x], [x.astype("f8")]), ([x], [closed]), ([x[::2]], [x]),
        ([x], [None]), ("a", [x]), (None, [x]),
    ]:  # fmt: skip
        assert attempt(_core.copy_all, arrays, into), (arrays, into)


if __name__ == "__main__":
    set_num_threads(2)
    assert all(attempt(getattr(_core, name), *args) for name, args, _ in half_calls(guarded))
    for isa in _dispatch._usable("bf16"):
        if isa.beside == _dispatch.ISA and _dispatch._granted(isa):
            _core.use_halves(_dispatch._table(isa.name, "bf16"))
            for name, args, writes in half_calls(guarded):
                vary(getattr(_core, name), args, writes)
    settings()
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for name, args, writes in calls(dtype, guarded):
            if dtype == np.float64 and name in SINGLE:
                assert attempt(getattr(_core, name), *args), name
            else:
                vary(getattr(_core, name), args, writes)
    _dispatch.bytes_isa()
    for name, args, writes in byte_calls(guarded):
        vary(getattr(_core, name), args, writes)
    honest = *calls(np.dtype(np.float32), guarded), *byte_calls(guarded), *half_calls(guarded)
    named = {name for name, _, _ in honest}
    rest = {
        "first_fit",
        "set_num_threads",
        "get_num_threads",
        "set_cpus",
        "lanes",
        "use_tables",
        "use_bytes",
        "use_halves",
        "channels_of_halves",
        "ints",
        "dot_offset",
        "peak",
        "record",
        "copy_all",
    }
    rest |= {"memory_use", "release_memory", "set_winograd", "get_winograd", "winograd_pays"}
    kind = type(_core.lanes)
    functions = {name for name, value in vars(_core).items() if type(value) is kind}
    functions.discard("bisect_right")  # of Python
    assert functions - rest == named, functions - rest - named
    weights_in_other_places()
    wild_images()
    recorded()
    resized_meanwhile()
    print(tried)
