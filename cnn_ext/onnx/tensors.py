"""The tensors of an ONNX model as arrays, none larger than the bytes that are there for it."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

FLOAT, BFLOAT16 = 1, 16  # numbers of TensorProto.DataType
EXTERNAL = 1
# number of the type: how it is stored in raw_data, and the field that may hold it instead
STORED = {
    FLOAT: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    BFLOAT16: ("<u2", "int32_data"),
}


def array_of(tensor: Any, folder: Path | None) -> np.ndarray:
    """The array that a TensorProto holds.

    Parameters
    ----------
    tensor : onnx.TensorProto
    folder : Path or None
        Where a file beside the model may lie that holds the data; None if there is no such place.

    Returns
    -------
    ndarray
        Of its own memory; bfloat16 becomes float32.

    Raises
    ------
    ValueError
        If its type is not known here, or if it has not as many bytes as its shape says.
    """
    shape = tuple(tensor.dims)
    if tensor.data_type not in STORED:
        raise ValueError(f"tensors of type {tensor.data_type} are not supported")
    if len(shape) > 32 or min(shape, default=0) < 0:
        raise ValueError(f"expected a shape of up to 32 sizes of at least 0, got {shape[:40]}")
    code, field = STORED[tensor.data_type]
    dtype, count = np.dtype(code), math.prod(shape)
    if tensor.data_location == EXTERNAL:
        raw = _beside(tensor, folder, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        numbers = getattr(tensor, field)
        if len(numbers) != count:
            raise ValueError(f"shape {shape} needs {count} numbers, there are {len(numbers)}")
        bits = np.dtype("<u2") if dtype == np.float16 else dtype
        between = np.int64 if field == "int32_data" else bits
        raw = np.array(numbers, between).astype(bits).tobytes()
    if len(raw) != count * dtype.itemsize:
        needed = count * dtype.itemsize
        raise ValueError(f"shape {shape} needs {needed} bytes, there are {len(raw)}")
    array = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=True).reshape(shape)
    if tensor.data_type == BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _beside(tensor: Any, folder: Path | None, size: int) -> bytes:
    # data in a file beside the model: a plain name, a regular file, and no more than there is
    where = {entry.key: entry.value for entry in tensor.external_data}
    name = where.get("location", "")
    if folder is None:
        raise ValueError("its data lies in another file, which only `load` of a file can find")
    if name in ("", ".", "..") or any(letter in name for letter in "/\\:\0"):
        raise ValueError(f"its data may lie in a file beside the model only, not in {name!r}")
    offset, length = int(where.get("offset", 0)), int(where.get("length", size))
    try:
        status = os.lstat(folder / name)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"its data should lie in a regular file, {name!r} is none")
        if length != size or offset < 0 or offset + size > status.st_size:
            raise ValueError(
                f"{size} bytes were expected in {name!r}, got {length} from {offset} of"
                f" {status.st_size}"
            )
        with open(folder / name, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise ValueError(f"its data should lie in {name!r}: {error.strerror}") from error
