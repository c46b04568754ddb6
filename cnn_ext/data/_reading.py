"""What the readers of untrusted files share: bounded reads, and errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
StrPath = str | os.PathLike[str]

_CHUNK = 1 << 20  # bytes


@contextmanager
def named(path: StrPath, *damage: type[Exception]) -> Iterator[None]:
    """Turn a ``ValueError`` or one of the `damage` errors into a ``ValueError`` that names `path`.

    Parameters
    ----------
    path
        File or folder that is being read.
    *damage
        Further exceptions that a broken file causes in the decoder at work.
    """
    errors: tuple[type[Exception], ...] = (ValueError, *damage)
    try:
        yield
    except errors as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{os.fspath(path)}: {reason}") from error


def read_exactly(stream: IO[bytes], size: int, available: int | None = None) -> bytearray:
    """Read the `size` bytes that are left in a stream.

    Memory grows with what really arrives, at most `size` + 1 bytes, so that neither a header that
    lies nor a compressed file that never ends costs more than the file is worth.

    Parameters
    ----------
    stream
        Binary file, placed where the data begin.
    size
        Bytes that the header promises.
    available
        Bytes that are left according to the file system or the archive, where that is known.

    Raises ValueError if the stream holds fewer or more bytes.
    """
    data = bytearray()
    if available is None or available == size:
        while chunk := stream.read(min(_CHUNK, size + 1 - len(data))):
            data += chunk
        available = len(data)
    if available < size:
        raise ValueError(f"truncated: the header promises {size} bytes of data, got {available}")
    if available > size:
        raise ValueError(f"trailing bytes after the {size} bytes of data that the header promises")
    return data


def laid_out(view: Array) -> Array:
    """A view in C order; one of an array in a file stays there, as it is."""
    return view if isinstance(view, np.memmap) else np.ascontiguousarray(view)


def array_over(
    data: bytearray, shape: Sequence[int], dtype: np.dtype[Any], order: Literal["C", "F"] = "C"
) -> Array:
    """Make an array in native byte order from `data`, without a copy.

    Raises ValueError if NumPy cannot represent `shape`.
    """
    array: Array = np.ndarray(shape, dtype, data, order=order)
    if dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(dtype.newbyteorder("="))
