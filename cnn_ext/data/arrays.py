"""NumPy's ``.npy`` and ``.npz`` files, read without pickle and without trust in their headers."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from cnn_ext.data._reading import Array, StrPath, array_over, named, read_exactly

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {b"\1\0": 2, b"\2\0": 4}  # by version of the format
_MAX_HEADER = 10_000  # bytes, NumPy's own limit
_MAX_DIMENSIONS = 32
_LOCAL = 30  # bytes of a file's header in an archive, before its name
_LENGTHS = 26  # where that header has the lengths of name and extra field, 2 bytes each
_DTYPE = re.compile(r"[<>|=]?[biufcU][1-9]\d{0,5}")


def load_npy(path: StrPath) -> Array:
    """Read a ``.npy`` file of booleans, numbers or strings.

    Returns
    -------
    ndarray
        The array in native byte order, writable.

    Raises
    ------
    ValueError
        If the file is not ``.npy`` of version 1 or 2, holds objects or records, or is shorter or
        longer than its header promises. This is found out before the array is allocated.
    """
    with named(path), open(path, "rb") as file:
        return _read_array(file, os.fstat(file.fileno()).st_size)


def load_npz(path: StrPath, in_memory: bool = True) -> dict[str, Array]:
    """Read all arrays of a ``.npz`` file, as ``numpy.savez`` and ``savez_compressed`` write it.

    Parameters
    ----------
    path
        The file.
    in_memory
        False leaves those arrays in the file that lie there as they are, as ``numpy.savez`` writes
        them, and gives a ``numpy.memmap`` that cannot be written to and is not compared with the
        checksum. Compressed ones are read.

    Returns
    -------
    dict
        Arrays by name, in native byte order, writable.

    Raises
    ------
    ValueError
        If the file or an array in it is damaged, is not what `load_npy` reads, is encrypted or
        compressed in another way than NumPy's, or if something else than arrays is in it.
    """
    arrays: dict[str, Array] = {}
    with members(path) as (archive, infos):
        for name, info in infos.items():
            with named(repr(name)):
                mapped = None if in_memory else _mapped(path, archive, info)
                arrays[name] = read_member(archive, info) if mapped is None else mapped
    return arrays


def _mapped(path: StrPath, archive: ZipFile, info: ZipInfo) -> Array | None:
    with opened(archive, info) as stream:
        header = read_header(stream)
    begin = begin_of(path, info, header)
    whole = header.size + header.data == info.file_size and header.data > 0
    if begin is None or not whole or not header.dtype.isnative:
        return None
    return np.memmap(path, header.dtype, "r", begin, header.shape)


@contextmanager
def members(path: StrPath) -> Iterator[tuple[ZipFile, dict[str, ZipInfo]]]:
    """A ``.npz`` file that is open, and its arrays by name.

    Raises what `load_npz` does; errors of the block that a damaged archive causes name the file.
    """
    import struct
    import zipfile
    import zlib

    damage = (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        MemoryError,
        OSError,
    )
    with open(path, "rb") as file, named(path, *damage), zipfile.ZipFile(file) as archive:
        infos: dict[str, ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in infos:
                raise ValueError(f"expected arrays of different names, got {info.filename!r}")
            infos[name] = info
        yield archive, infos


@contextmanager
def opened(archive: ZipFile, info: ZipInfo) -> Iterator[IO[bytes]]:
    """One array's bytes; ValueError if they are not as NumPy packs them."""
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"expected stored or deflated data, got method {info.compress_type}")
    with archive.open(info) as stream:
        yield stream


def begin_of(path: StrPath, info: ZipInfo, header: Header) -> int | None:
    """Where in the archive an array's numbers begin, if they lie there as they are, in C order."""
    from zipfile import ZIP_STORED

    if info.compress_type != ZIP_STORED or header.fortran:
        return None
    with open(path, "rb") as file:
        file.seek(info.header_offset + _LENGTHS)
        lengths = np.frombuffer(file.read(4), "<u2")
    return info.header_offset + _LOCAL + int(lengths.sum()) + header.size


def read_member(archive: ZipFile, info: ZipInfo) -> Array:
    """One array."""
    with opened(archive, info) as stream:
        return _read_array(stream, info.file_size)


def _read_array(stream: IO[bytes], size: int) -> Array:
    """Read one array from a stream of `size` bytes (numpy.lib.format describes the layout)."""
    header = read_header(stream)
    data = read_exactly(stream, header.data, size - header.size)
    return array_over(data, header.shape, header.dtype, "F" if header.fortran else "C")


class Header(NamedTuple):
    """What comes before the numbers of an array, and how many bytes it and they have."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    size: int
    data: int


def read_header(stream: IO[bytes]) -> Header:
    """Read what comes before the numbers.

    Raises ValueError if it is not that of an array of booleans, numbers or strings.
    """
    magic = stream.read(len(_MAGIC) + 2)
    if not magic.startswith(_MAGIC):
        raise ValueError(f"not an array of NumPy's: begins with {magic.hex(' ') or 'no byte'}")
    version = magic[len(_MAGIC) :]
    if version not in _LENGTH_BYTES:
        raise ValueError(f"expected version 1.0 or 2.0 of the format, got {version.hex('.')}")
    width = _LENGTH_BYTES[version]
    length = int.from_bytes(stream.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"expected a header of at most {_MAX_HEADER} bytes, got {length}")
    header = stream.read(length)
    if len(header) < length:
        raise ValueError("truncated within its header")
    shape, dtype, fortran = _parse_header(header)
    before = len(magic) + width + length
    return Header(shape, dtype, fortran, before, prod(shape) * dtype.itemsize)


def _parse_header(header: bytes) -> tuple[tuple[int, ...], np.dtype, bool]:
    try:
        fields = ast.literal_eval(header.decode("latin1"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"its header is not a literal of Python: {error}") from error
    match fields:
        case {"shape": tuple(shape), "descr": str(descr), "fortran_order": bool(fortran)}:
            pass
        case _:
            raise ValueError(
                "expected a header with shape, fortran_order and a plain descr, "
                f"got {fields!r:.200}"
            )
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"expected a shape of at most {_MAX_DIMENSIONS} sizes, got {shape}")
    if not _DTYPE.fullmatch(descr):
        raise ValueError(f"expected booleans, numbers or strings, got descr {descr!r:.50}")
    try:
        return shape, np.dtype(descr), fortran
    except TypeError as error:
        raise ValueError(f"expected a dtype that NumPy knows, got descr {descr!r}") from error
