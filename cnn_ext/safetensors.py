"""Reading and writing safetensors files: named arrays and strings, and no code to run.

Layout, as published at https://huggingface.co/docs/safetensors: 8 bytes with the length of the
header, little-endian; the header, a JSON object in UTF-8 that gives every tensor's ``dtype``,
``shape`` and ``data_offsets`` and, under ``__metadata__``, strings; the bytes of the tensors,
little-endian and in C order, one after the other without holes. The reader trusts nothing: the
whole header is held against the size of the file before the first array is allocated.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from io import BufferedReader
from math import prod
from reprlib import repr as short
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnn_ext._arrays import plain_array
from cnn_ext._files import atomic_write

Array = NDArray[Any]

MAX_HEADER = 100_000_000  # bytes
_MAX_DIMENSIONS = 32  # the most that every NumPy supports
_ALIGNMENT = 8
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_PICKLES = (b"PK", b"\x80\x02")  # how files of torch.save begin
_TORCH = (
    "it begins as torch.save writes it, and pickles are not read; "
    "safetensors.torch.save_file(model.state_dict(), path) writes one that is"
)

# in descending order of alignment as in the reference implementation, whose writer sorts by it
_DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype.str: name for name, dtype in _DTYPES.items() if name != "BF16"}
_RANKS = {name: rank for rank, name in enumerate(_DTYPES)}


class _Entry(NamedTuple):
    """One tensor of a header; `begin` and `end` count bytes from the end of the header."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: tuple[int, ...]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read a safetensors file.

    Returns
    -------
    tensors : dict of str to ndarray
        In the order of the file. Each array is C-contiguous, writable, aligned, of the machine's
        byte order and owns its memory. BF16 becomes float32, which holds each of its values.
    metadata : dict of str to str
        Empty if the file has none.

    Raises
    ------
    ValueError
        If the file breaks the format in any way; the message names the file and the fault.
    OSError
        If the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            header, data_size = _read_header(file)
            metadata = _check_metadata(header.pop(_METADATA, None))
            entries = sorted(_check_entry(name, entry) for name, entry in header.items())
            _check_layout(entries, data_size)
            return {entry.name: _read_tensor(file, entry) for entry in entries}, metadata
        except ValueError as error:
            file.seek(0)
            torch = file.read(2) in _PICKLES
            raise ValueError(
                f"{os.fspath(path)}: not a safetensors file: {_TORCH if torch else error}"
            ) from error


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, ArrayLike],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, atomically: a reader finds the old file or the new, whole.

    The tensors are stored by descending size of element, then by name, so the same tensors and
    metadata always give the same bytes.

    Parameters
    ----------
    path
        File to create or replace.
    tensors
        Arrays by name: float64, float32, float16, integers of 8 to 64 bits, bool; of any byte order
        and strides.
    metadata
        Strings by name.

    Raises
    ------
    TypeError
        If a name or a metadata value is not a string, or an array has no dtype of the format.
    ValueError
        If a name is ``__metadata__`` or holds half of a surrogate pair, or the header would exceed
        100 MB.
    OSError
        If the file cannot be written; an old file is then still there.
    """
    arrays = {
        name: plain_array(tensor, f"tensors[{short(name)}]") for name, tensor in tensors.items()
    }
    names = {name: _dtype_name(name, array) for name, array in arrays.items()}
    header: dict[str, Any] = {}
    if metadata:
        for key, value in metadata.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                raise TypeError(
                    f"metadata: expected str to str, got {short(key)} to {short(value)}"
                )
        header[_METADATA] = dict(sorted(metadata.items()))
    order = sorted(arrays, key=lambda name: (_RANKS[names[name]], name))
    end = 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        header[name] = {"dtype": names[name], "shape": shape, "data_offsets": [begin, end]}

    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ValueError(f"tensors: the header may have {MAX_HEADER} bytes, got {len(text)}")
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            array = np.asarray(arrays[name], dtype=_DTYPES[names[name]], order="C")
            file.write(array.reshape(-1).view(np.uint8).data)


def _dtype_name(name: str, array: Array) -> str:
    if not isinstance(name, str):
        raise TypeError(f"tensors: expected names of type str, got {short(name)}")
    if name == _METADATA:
        raise ValueError(f"tensors: the name {_METADATA!r} is reserved")
    code = array.dtype.newbyteorder("<").str
    if code not in _NAMES:
        known = ", ".join(_DTYPES[name].name for name in _NAMES.values())
        raise TypeError(f"tensors[{short(name)}]: expected one of {known}, got {array.dtype}")
    return _NAMES[code]


def _read_header(file: BufferedReader) -> tuple[dict[str, Any], int]:
    """The header as JSON gives it, and the number of bytes that follow it."""
    size = os.fstat(file.fileno()).st_size
    if size < 8:
        raise ValueError(f"expected at least 8 bytes, got {size}")
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"the header may have {MAX_HEADER} bytes, its length says {length}")
    if length > size - 8:
        raise ValueError(f"the header should have {length} bytes, the file ends after {size - 8}")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError(f"the header should begin with '{{', it begins with {text[:1]!r}")
    try:
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise ValueError("the header is nested too deeply") from error
    except MemoryError as error:  # as JSON, it takes some 25 times its bytes
        raise ValueError(f"a header of {length} bytes is too large for the memory") from error
    return header, size - 8 - length


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `json.loads`: its keys must differ and its strings must be sound."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    for text in (text for pair in pairs for text in pair if isinstance(text, str)):
        text.encode("utf-8")  # refuses half of a surrogate pair, which JSON can escape
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} in the header is not JSON")


def _check_metadata(metadata: Any) -> dict[str, str]:
    if metadata is None:  # left out or null
        return {}
    if not isinstance(metadata, dict):
        raise ValueError(f"{_METADATA} should be an object, got {short(metadata)}")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise ValueError(f"{_METADATA}[{short(key)}] should be a string, got {short(value)}")
    return metadata


def _check_entry(name: str, entry: Any) -> _Entry:
    """A header's entry, once its types and its number of bytes are right."""

    def fault(text: str) -> ValueError:
        return ValueError(f"tensor {short(name)}: {text}")

    def is_counts(value: Any) -> bool:
        return isinstance(value, list) and all(type(count) is int and count >= 0 for count in value)

    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise fault(f"expected an object of {sorted(_FIELDS)}, got {short(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise fault(f"dtype should be one of {', '.join(_DTYPES)}, got {short(dtype)}")
    if not is_counts(shape) or len(shape) > _MAX_DIMENSIONS:
        raise fault(f"shape should be {_MAX_DIMENSIONS} sizes at most, got {short(shape)}")
    if not is_counts(offsets) or len(offsets) != 2:
        raise fault(f"data_offsets should be two positions, got {short(offsets)}")
    begin, end = offsets
    itemsize = _DTYPES[dtype].itemsize
    # NumPy refuses even an empty array if its other sizes multiply to more bytes than it can index
    if prod(size for size in shape if size) * 8 > sys.maxsize:
        raise fault(f"shape {short(shape)} is too large")
    if end - begin != prod(shape) * itemsize:
        raise fault(
            f"shape {short(shape)} of {dtype} has {prod(shape) * itemsize} bytes, "
            f"its data_offsets are {short(offsets)}"
        )
    return _Entry(begin, end, name, dtype, tuple(shape))


def _check_layout(entries: list[_Entry], data_size: int) -> None:
    """Refuse tensors that leave holes, overlap or do not end where the file ends."""
    position = 0
    for entry in entries:
        if entry.begin != position:
            kind = "a hole" if entry.begin > position else "an overlap"
            raise ValueError(f"tensor {short(entry.name)}: {kind} before byte {short(entry.begin)}")
        position = entry.end
    if position != data_size:
        raise ValueError(f"the tensors have {short(position)} bytes, the file holds {data_size}")


def _read_tensor(file: BufferedReader, entry: _Entry) -> Array:
    array: Array = np.empty(entry.shape, dtype=_DTYPES[entry.dtype])
    raw = array.reshape(-1).view(np.uint8)
    if file.readinto(raw.data) != raw.size:
        raise ValueError(f"tensor {short(entry.name)}: the file became shorter while it was read")
    if entry.dtype == "BOOL" and raw.size and raw.max() > 1:
        raise ValueError(f"tensor {short(entry.name)}: a BOOL should be 0 or 1, got {raw.max()}")
    if entry.dtype == "BF16":
        halves = raw.view("<u2")
        array = np.zeros(entry.shape, dtype="<f4")
        array.reshape(-1).view("<u2")[1::2] = halves
    return array.astype(array.dtype.newbyteorder("="), copy=False)
