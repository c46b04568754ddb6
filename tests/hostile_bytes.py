"""Hostile arguments for the functions of networks of bytes, see `hostile_core.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn_ext import _core


def byte_calls(
    guarded: Callable[[np.ndarray], np.ndarray],
) -> list[tuple[str, list[Any], list[int]]]:
    """Honest arguments of the functions of networks of bytes, and which arrays these write."""
    L = _core.ints()

    def row(count: int) -> np.ndarray:
        return guarded(np.ones(count, np.uint8))

    def numbers(count: int) -> np.ndarray:
        return guarded(np.ones(count, np.float32))

    def places(*at: int) -> np.ndarray:
        return np.array(at, np.intp)

    tables = [places(0, 4), places(0, 5), places(0, 8)]
    terms, limits, every = numbers(3 * L), (-5.0, 100.0, 7), places(*range(8))
    shape, steps = (4, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0), (0, 12, 0, 8)
    return [
        ("byte_conv", [row(16), row(8 * L), terms, row(10), tables, 5, limits], [3]),
        ("byte_conv", [row(16), row(8 * L), terms, numbers(5 + L), tables, L, None, (0, 1)], [3]),
        ("byte_conv", [row(17), row(8 * L), terms, row(10), tables, 5, limits, None, 0, True],
         [3]),
        ("byte_window", ["max", row(36), row(16), shape, steps, 3, 1.0, limits], [2]),
        ("byte_window", ["mean", row(36), row(16), shape, steps, 3, 1.0, limits, 4], [2]),
        ("byte_add", [row(16), row(16), row(16), (2, 8), (0, 8) * 3, (1, 2), (0.5, 0.5), limits],
         [2]),
        ("byte_cast", [numbers(8), row(8), every, (2, 2, 2), (0, 4), 0.1, limits, False],
         [1]),
        ("byte_cast",
         [numbers(8), row(8), every, (2, 2, 2), (0, 4), 0.1, limits, False, numbers(3)], [1, 8]),
        ("byte_cast", [row(8), row(8), every, (2, 2, 2), (0, 4), 0.1, limits, False],
         [1]),
        ("byte_cast", [row(8), numbers(8), every, (2, 2, 2), (0, 4), 0.1, limits, True],
         [1]),
        ("byte_fill", [row(8), 7], [0]),
    ]  # fmt: skip


def wrong_bytes(name: str, i: int, array: np.ndarray, writes: bool) -> list[Any]:
    """What is to be refused in place of an array, the argument i of a function."""
    wrongs: list[Any] = [
        array.astype("f8"), array.astype("i8"), array.astype(object), array[::2], array.tolist(),
        "text", 3, object(),
    ]  # fmt: skip
    if (name, i) != ("byte_cast", 0):  # which takes either
        wrongs.append(array.astype("f4" if array.dtype == np.uint8 else "u1"))
    if (name, i) not in (("byte_fill", 0), ("byte_cast", 8)):  # which take any size
        wrongs.append(array[:1])
    if writes:
        closed = array.copy()
        closed.flags.writeable = False
        wrongs += [closed, bytes(array)]
    return wrongs
