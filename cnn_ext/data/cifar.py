"""The binary batches of CIFAR-10 and CIFAR-100, from files or from the published archive.

A batch is a row of records: one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 pixels,
red, green and blue plane (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import IO, NamedTuple

import numpy as np

from cnn_ext.data._reading import Array, StrPath, named, read_exactly

_IMAGE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_LABEL_LIMITS = {10: (10,), 100: (20, 100)}  # classes behind each label byte of a record
_MAX_BATCH = 50_000 * (2 + _PIXELS)  # bytes of the largest published batch, CIFAR-100's train.bin


class Batch(NamedTuple):
    """Images (N, 3, 32, 32) uint8 and labels int64, (N,) or for CIFAR-100 (N, 2): coarse, fine."""

    images: Array
    labels: Array


def read_cifar(path: StrPath, kind: int = 10) -> Batch:
    """Read one binary batch of CIFAR.

    Parameters
    ----------
    path
        File to read, such as ``data_batch_1.bin``.
    kind
        10 or 100.

    Returns
    -------
    images : ndarray
        (N, 3, 32, 32) uint8, red, green, blue.
    labels : ndarray
        int64; (N,) for CIFAR-10, (N, 2) for CIFAR-100: the coarse and the fine label.

    Raises
    ------
    ValueError
        If `kind` is neither, or the file is not a whole number of records, is empty, or holds a
        label that does not exist.
    """
    _check_kind(kind)
    with named(path), open(path, "rb") as file:
        return _read_records(file, os.fstat(file.fileno()).st_size, kind)


def read_cifar_archive(
    path: StrPath, kind: int = 10, names: Collection[str] | None = None
) -> dict[str, Batch]:
    """Read the batches of a ``cifar-10-binary.tar.gz`` without unpacking it to the disk.

    Parameters
    ----------
    path
        The archive.
    kind
        10 or 100.
    names
        File names of the batches wanted; by default all that end in ``.bin``.

    Returns
    -------
    dict
        Batch (see `read_cifar`) by file name, folders left out.

    Raises
    ------
    ValueError
        If `kind` is neither, the archive or a batch in it is damaged, a batch is larger than any
        of CIFAR's or comes twice, or one of `names` is missing.
    """
    import gzip
    import tarfile
    import zlib

    _check_kind(kind)
    damage = (tarfile.TarError, zlib.error, EOFError, OSError, OverflowError, MemoryError)
    batches: dict[str, Batch] = {}
    with (
        open(path, "rb") as file,
        named(path, *damage),
        gzip.GzipFile(fileobj=file) as stream,
        # as a stream: it is read in blocks, whatever size a header claims
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            name = member.name.rpartition("/")[2]
            if not member.isreg() or not (name in names if names else name.endswith(".bin")):
                continue
            if name in batches:
                raise ValueError(f"{name} comes twice")
            if not 0 <= member.size <= _MAX_BATCH:
                raise ValueError(f"{name}: expected at most {_MAX_BATCH} bytes, got {member.size}")
            content = archive.extractfile(member)
            assert content is not None  # a regular file
            with named(name):
                batches[name] = _read_records(content, member.size, kind)
        while stream.read(1 << 20):  # to its end, where gzip keeps its checksum
            pass
        if missing := sorted(set(names or ()) - batches.keys()):
            raise ValueError(f"the archive holds no {', '.join(missing)}")
    return batches


def _check_kind(kind: int) -> None:
    if kind not in _LABEL_LIMITS:
        raise ValueError(f"kind: expected 10 or 100, got {kind!r}")


def _read_records(stream: IO[bytes], size: int, kind: int) -> Batch:
    limits = _LABEL_LIMITS[kind]
    width = len(limits) + _PIXELS
    if size == 0 or size % width:
        raise ValueError(
            f"expected a CIFAR-{kind} batch, a whole number of records of {width} bytes, "
            f"got {size} bytes"
        )
    records = np.frombuffer(read_exactly(stream, size, size), np.uint8).reshape(-1, width)
    labels = records[:, : len(limits)].astype(np.int64)
    if (wrong := (labels >= limits).any(axis=1)).any():
        record = int(wrong.argmax())
        raise ValueError(
            f"expected CIFAR-{kind} labels below {' and '.join(map(str, limits))}, "
            f"got {' and '.join(map(str, labels[record]))} in record {record}"
        )
    images = records[:, len(limits) :].reshape(-1, *_IMAGE)
    return Batch(images, labels[:, 0] if kind == 10 else labels)
