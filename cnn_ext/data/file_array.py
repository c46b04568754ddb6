"""HDF5 data sets and Zarr arrays as images that are read in blocks."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ._reading import Array, named
from .blocks import BLOCK, Blocks

_ROOTS = {"h5py": "Dataset", "zarr": "Array"}  # classes that are meant, by package
_SIEVE = 2**16  # bytes that HDF5 reads at least where there are no chunks


def is_file_array(x: Any) -> bool:
    """Whether `x` is an ``h5py.Dataset`` or a ``zarr.Array``; imports neither."""
    return any(
        _ROOTS.get(kind.__module__.partition(".")[0]) == kind.__name__ for kind in type(x).__mro__
    )


class FileArray(Blocks):
    """An array of images in a file, read a few chunks at a time.

    `Trainer` makes it by itself of an ``h5py.Dataset`` or a ``zarr.Array``; who makes one can
    choose the window, or have a ``numpy.memmap`` read in this way.  A block has whole chunks and
    about 16 MiB, at least one chunk.

    Parameters
    ----------
    array : h5py.Dataset, zarr.Array, memmap, or what has shape, dtype and slices, (N, ...)
        Open as long as it is used.
    window : int, optional
        Images that are shuffled together, rounded up to whole blocks; by default as many as 128 MiB
        hold.  Two windows are in memory during an epoch.
    readers : int
        Threads that read.  HDF5 lets one at a time do it.

    Raises
    ------
    TypeError
        If `array` is none of these, or not of real numbers.
    ValueError
        If there is no image.
    """

    def __init__(self, array: Any, window: int | None = None, readers: int = 2) -> None:
        if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
            raise TypeError(
                "array: expected an h5py.Dataset, a zarr.Array or a memmap, got "
                f"{type(array).__name__}"
            )
        self._array = array
        self._name = _name(array)
        if array.dtype.kind not in "buif":
            raise TypeError(f"{self._name}: expected real numbers, got dtype {array.dtype}")
        if not array.shape or not array.shape[0]:
            raise ValueError(f"{self._name}: expected at least one image, got shape {array.shape}")
        images, *shape = array.shape
        each = max(1, prod(shape) * array.dtype.itemsize)
        chunks = getattr(array, "chunks", None)
        least = 1
        if chunks:
            least = chunks[0]
        elif hasattr(array, "read_direct"):
            least = -(-_SIEVE // each)
        # what the file lets one read at once
        chunk = (getattr(array, "shards", None) or chunks or [1])[0]
        rows = chunk * max(1, BLOCK // (each * chunk))
        counts = [min(rows, images - start) for start in range(0, images, rows)]
        super().__init__(counts, tuple(shape), array.dtype, window, readers, least)

    def _read_block(self, number: int, out: Array) -> None:
        rows = slice(int(self._starts[number]), int(self._starts[number + 1]))
        with named(self._name, OSError, RuntimeError):
            if hasattr(self._array, "read_direct"):  # without a copy
                self._array.read_direct(out, rows)
            else:
                out[...] = self._array[rows]

    def _read_rows(self, rows: Array) -> Array:
        with named(self._name, OSError, RuntimeError):
            if len(rows) and len(rows) == rows[-1] - rows[0] + 1:
                return np.asarray(self._array[int(rows[0]) : int(rows[-1]) + 1])
            chosen = getattr(self._array, "oindex", self._array)  # Zarr's by a single axis
            return np.asarray(chosen[rows])


def _name(array: Any) -> str:
    # what messages call it
    if hasattr(array, "file"):  # of HDF5
        return f"{array.file.filename}: {array.name}"
    if hasattr(array, "store"):  # of Zarr
        return f"{array.store}: {array.name or 'array'}"
    return str(getattr(array, "filename", None) or type(array).__name__)
