"""Sums of bytes at places of every kind, against NumPy; run as a process of its own.

Arrays are as large as they must be and lie between pages that cannot be read: a kernel that reads
or writes outside of one ends the process.  Argument: a compiled module of kernels, instead of those
for this CPU.  Prints the instruction set or the path, and how many cases there were.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np

from cnn_ext import _core, _dispatch, threads

PROTECT = getattr(ctypes.CDLL(None), "mprotect", None) if sys.platform != "win32" else None


def table_of(path: str) -> Any:
    """The kernels of a compiled module."""
    name = Path(path).stem
    spec = spec_from_loader(name, ExtensionFileLoader(name, path))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.table


def fenced(array: np.ndarray, first: bool) -> np.ndarray:
    """A copy that begins behind a page that cannot be read, or else ends in front of one."""
    page = mmap.PAGESIZE
    room = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if PROTECT is not None:
        for fence in (address, address + page + room):
            assert PROTECT(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    start = page if first else page + room - array.nbytes
    inside = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    inside[...] = array
    return inside


def places(rng: np.random.Generator, count: int, step: int) -> np.ndarray:
    """Offsets in rows that are so far apart, or in any order."""
    row, index = int(rng.integers(1, 40)), np.arange(count)
    found = index // row * (row * step + int(rng.integers(0, 50))) + index % row * step
    return (found if rng.random() < 0.8 else rng.permutation(found)).astype(np.intp)


def check(rng: np.random.Generator, large: bool) -> None:
    """One random case."""
    L, most = _core.ints(), 4 if large else 1
    pixels, taps = int(rng.integers(1, 70 * most)), int(rng.integers(1, 60 * most))
    K, zero = int(rng.integers(1, 71)), int(rng.integers(0, 256))
    blocks = -(-K // L)
    # channels that are apart, or so many pixels of x of which the largest is taken
    apart, each = [(True, 1), (False, 1), (False, 4)][rng.integers(3)]
    x_pixel, x_tap = places(rng, each * pixels, int(rng.integers(1, 100))), places(rng, taps, 4)
    read = K if apart else 4
    x = rng.integers(0, 256, x_pixel.max() + x_tap.max() + read, np.uint8)
    w = rng.integers(0, 256, (blocks, taps, L, 1 if apart else 4), np.uint8)
    start = rng.integers(-(10**6), 10**6, (blocks, L), np.int32)
    scale = rng.uniform(1e-6, 1e-3, (blocks, L)).astype(np.float32)
    bias = rng.normal(size=(blocks, L)).astype(np.float32)

    numbers = x[x_pixel[:, None, None] + x_tap[:, None] + np.arange(read)].astype(np.int64)
    signed = w.view(np.int8).transpose(0, 2, 1, 3).reshape(blocks * L, taps, -1).astype(np.int64)
    offset, sums = np.zeros_like(start), np.zeros((each * pixels, blocks * L), np.int64)
    if apart:
        sums[:, :K] = np.einsum("ptk,kt->pk", numbers, signed[:K, :, 0])
        w = np.ascontiguousarray(w.view(np.int8).astype(np.int32)).view(np.uint8)
    else:
        offset[...] = _core.dot_offset() * signed.sum(axis=(1, 2)).reshape(start.shape)
        sums = np.tensordot(numbers, signed, ((1, 2), (1, 2)))
    sums = (start.ravel() + sums).reshape(each, pixels, -1).max(axis=0)
    terms = np.stack([(start + offset).view(np.float32), scale, bias])
    results = sums.astype(np.float32) * scale.ravel() + bias.ravel()
    own = [fenced(array, bool(rng.integers(2))) for array in (x, w, terms)]
    for limits in (None, (-float(zero), 255.0 - zero, zero)):
        width = blocks * L if limits is None else K
        if limits is None:
            there = np.clip(results, -100, 100)
        else:
            there = np.rint(np.clip(results[:, :K], *limits[:2])) + zero
        step = 0
        if limits is None and rng.random() < 0.5:  # a plane of pixels for each vector of channels
            width = L
        y_pixel = places(rng, pixels, width)
        y_channel = np.arange(there.shape[1])
        if limits is None and width == L:
            step = int(y_pixel.max()) + L
            y_channel = y_channel // L * step + y_channel % L
        y = np.full(
            y_pixel.max() + y_channel.max() + 1, 77, np.float32 if limits is None else np.uint8
        )
        expected = y.copy()
        expected[y_pixel[:, None] + y_channel] = there
        y, tables = fenced(y, bool(rng.integers(2))), (x_pixel, y_pixel, x_tap)
        _core.byte_conv(*own, y, tables, K, limits, (-100, 100), step, apart)
        assert np.array_equal(y, expected), (pixels, each, apart, taps, K, limits, step)


if __name__ == "__main__":
    rng, chosen = np.random.default_rng(0), _dispatch.bytes_isa()
    if len(sys.argv) > 1:
        _core.use_bytes(table_of(sys.argv[1]))
        chosen = sys.argv[1]
    for case in range(200):
        with threads(1 + case % 2):
            check(rng, large=case % 10 == 0)
    print(chosen, case + 1)
