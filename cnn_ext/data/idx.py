"""IDX files, the format of MNIST and its relatives: an array of one of six types, big-endian.

A file is two zero bytes, a type code, the number of dimensions, the dimensions as big-endian
32-bit unsigned integers and the values in C order (https://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from cnn_ext._arrays import plain_array
from cnn_ext._files import atomic_write
from cnn_ext.data._reading import Array, StrPath, array_over, named, read_exactly

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_MAX_DIMENSIONS = 32  # the most that every NumPy supports


def read_idx(path: StrPath, in_memory: bool = True) -> Array:
    """Read an IDX file, plain or gzipped (told by its first bytes, whatever its name).

    Parameters
    ----------
    path
        The file.
    in_memory
        False leaves bytes in a plain file there, and gives a ``numpy.memmap`` that cannot be
        written to. Other types, and what is gzipped, are read.

    Returns
    -------
    ndarray
        Values in the file's shape: uint8, int8, int16, int32, float32 or float64, in native byte
        order, writable.

    Raises
    ------
    ValueError
        If the file is not IDX, truncated, longer than its header promises, or damaged gzip. No
        more memory is taken than the file really holds.
    """
    with named(path), _open(path) as (stream, size):
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
            raise ValueError(
                "not an IDX file: expected two zero bytes, a type code of 08, 09, 0b, 0c, 0d or 0e "
                f"and a number of dimensions, got {magic.hex(' ') or 'no byte'}"
            )
        dtype, ndim = _DTYPES[magic[2]], magic[3]
        if ndim > _MAX_DIMENSIONS:
            raise ValueError(f"expected at most {_MAX_DIMENSIONS} dimensions, got {ndim}")
        header = stream.read(4 * ndim)
        if len(header) < 4 * ndim:
            raise ValueError(f"truncated within the {ndim} dimensions of its header")
        shape = np.frombuffer(header, ">u4").tolist()
        available = None if size is None else size - 4 - len(header)
        if not in_memory and dtype.isnative and available == prod(shape) != 0:
            return np.memmap(path, dtype, "r", 4 + len(header), tuple(shape))
        data = read_exactly(stream, prod(shape) * dtype.itemsize, available)
        return array_over(data, shape, dtype)


def write_idx(path: StrPath, array: ArrayLike) -> None:
    """Write an array as an uncompressed IDX file, which takes its name only when it is whole.

    Parameters
    ----------
    path
        File to create or replace.
    array
        Array of uint8, int8, int16, int32, float32 or float64 in any byte order, of at most 32
        dimensions, each below 2**32.

    Raises
    ------
    TypeError
        If IDX has no code for the array's dtype.
    ValueError
        If the shape does not fit the format.
    OSError
        If the file cannot be written.
    """
    values = plain_array(array, "array")
    dtype = values.dtype.newbyteorder(">")
    code = next((code for code, known in _DTYPES.items() if known == dtype), None)
    if code is None:
        raise TypeError(
            "array: expected uint8, int8, int16, int32, float32 or float64, "
            f"got dtype {values.dtype}"
        )
    if values.ndim > _MAX_DIMENSIONS or max(values.shape, default=0) >= 1 << 32:
        raise ValueError(
            f"array: expected at most {_MAX_DIMENSIONS} dimensions below 2**32, "
            f"got shape {values.shape}"
        )
    with atomic_write(path) as file:
        file.write(bytes((0, 0, code, values.ndim)))
        file.write(np.asarray(values.shape, ">u4").tobytes())
        file.write(values.astype(dtype, order="C", copy=False).data)


@contextmanager
def _open(path: StrPath) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open a plain or gzipped file; the size is None where only decompressing would tell it."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file, os.fstat(file.fileno()).st_size
            return
        import gzip
        import zlib

        try:
            with gzip.GzipFile(fileobj=file) as stream:
                yield cast(IO[bytes], stream), None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"damaged gzip: {error}") from error
