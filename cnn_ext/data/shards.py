"""Shards: a folder of ``.npz`` files that together are one set, larger than memory if need be."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .. import _check as check
from .._arrays import plain_array
from ._reading import Array, StrPath, named
from .arrays import Header, begin_of, members, opened, read_header, read_member
from .batching import batches, source_of
from .blocks import BLOCK, Blocks
from .labelled import LabelledSet

_PACKED = 1100  # no byte of deflated data becomes more than so many
_FEW = 16  # where fewer images of a file are wanted than 1 in so many, they are read one by one


class _Shard(NamedTuple):
    # a file, what its images are, where their numbers begin if they lie there plainly, their sum
    path: Path
    x: Header
    begin: int | None
    crc: int
    y: Header | None


class Shards(Blocks):
    """Images in the ``.npz`` files of a folder, read a few files at a time.

    Each file has arrays ``x``, (n, ...), and ``y``, (n, ...), as
    ``np.savez(path, x=images, y=targets)`` writes them; other arrays are passed over.  Files are
    taken in the order of their names.  All headers are read at once, the images when they are used:
    ``Trainer.fit(shards, shards.y)``.

    A file is read as a whole, once an epoch, by threads, and checked against its sum.  `shuffled`
    says in which order.  While the same window of files holds all of them, that is the order of an
    array in memory.

    Parameters
    ----------
    folder : str or path
    window : int, optional
        Images that are shuffled together, rounded up to whole files; by default as many as 128 MiB
        hold.  Two windows are in memory during an epoch.
    readers : int
        Threads that read, or unpack.

    Attributes
    ----------
    shape : tuple of int
        (N, ...).
    dtype : dtype
    y : ndarray, (N, ...)
        The targets, read at first use and kept in memory.

    Raises
    ------
    ValueError
        If the folder has no shard, or one is damaged, has no ``x``, other numbers of images and
        targets, or images of another shape or type than the first; the message names the file.
    OSError
        If the folder or a file cannot be opened.
    """

    def __init__(self, folder: StrPath, window: int | None = None, readers: int = 2) -> None:
        self.folder = Path(folder)
        files = sorted(p for p in self.folder.iterdir() if p.suffix == ".npz" and p.name[0] != ".")
        if not files:
            raise ValueError(f"{self.folder}: expected .npz files, got none")
        self._shards = [_opened(path) for path in files]
        first = self._shards[0]
        for shard in self._shards:
            _compare(shard.path, "x", shard.x, first.x, files[0])
            if (shard.y is None) != (first.y is None):
                raise ValueError(f"{shard.path}: expected y in all shards or in none")
            if shard.y and first.y:
                _compare(shard.path, "y", shard.y, first.y, files[0])
        counts = [shard.x.shape[0] for shard in self._shards]
        if not any(counts):
            raise ValueError(f"{self.folder}: expected at least one image, got none")
        least = 1 if all(shard.begin is not None for shard in self._shards) else max(counts)
        super().__init__(counts, first.x.shape[1:], first.x.dtype, window, readers, least)

    @cached_property
    def y(self) -> Array:
        """The targets, read at first use; ValueError if a file is damaged or there are none."""
        targets: list[Array] = []
        for shard in self._shards:
            if shard.y is None:
                raise ValueError(f"{self.folder}: the shards have no targets, y")
            with members(shard.path) as (archive, infos), named("'y'"):
                targets.append(read_member(archive, infos["y"]))
        return np.concatenate(targets)

    def _read_block(self, number: int, out: Array) -> None:
        shard = self._shards[number]
        if shard.begin is None:
            with members(shard.path) as (archive, infos), named("'x'"):
                found = read_member(archive, infos["x"])
                if found.shape != out.shape or found.dtype != out.dtype.newbyteorder("="):
                    raise ValueError("changed since it was opened")
                out[...] = found
            return
        with open(shard.path, "rb", buffering=0) as file, named(shard.path, OSError):
            file.seek(shard.begin - shard.x.size)
            sum_of_header = zlib.crc32(file.read(shard.x.size))
            _fill(file, _bytes(out))
            if zlib.crc32(_bytes(out), sum_of_header) != shard.crc:
                raise ValueError("'x': damaged, or changed since it was opened")

    def _read_rows(self, rows: Array, few: int = _FEW) -> Array:
        numbers = self._numbers(rows)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        ends = np.flatnonzero(np.diff(numbers, append=-1)) + 1
        for first, end in zip([0, *ends.tolist()], ends.tolist(), strict=False):
            number = int(numbers[first])
            shard, here = self._shards[number], rows[first:end] - self._starts[number]
            if shard.begin is None or len(here) > shard.x.shape[0] // few:
                found[first:end] = self._block(number)[here]
            else:
                self._fill_some(shard, here, found[first:end])
        return found

    def _read_alone(self, rows: Array) -> Array:
        return self._read_rows(rows, 1)

    def _fill_some(self, shard: _Shard, rows: Array, out: Array) -> None:
        # some images of a plain file, neighbours at once
        assert shard.begin is not None
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        left, each = _bytes(out), out[:1].nbytes
        with open(shard.path, "rb", buffering=0) as file, named(shard.path, OSError):
            for first, count in zip(rows[starts], np.diff(starts, append=len(rows)), strict=True):
                file.seek(shard.begin + int(first) * each)
                _fill(file, left[: count * each])
                left = left[count * each :]


def write_shards(
    folder: StrPath,
    x: Any,
    y: Any = None,
    per_shard: int | None = None,
    compressed: bool = False,
) -> None:
    """Write a set as a folder of shards, which takes its name only when all of them are whole.

    Parameters
    ----------
    folder : str or path
        May not be there yet, or must be empty.
    x : array, anything that gives a batch for an array of indices, or iterable of batches
        Images, (N, ...); or ``(images, targets)`` of one batch after the other, of any sizes, such
        as a generator gives them.  No more than a few shards of it are in memory.
    y : array_like, (N, ...), optional
        Targets; None with batches, or for images that have none.
    per_shard : int, optional
        Images of a shard; by default as many as 16 MiB hold.
    compressed : bool
        Whether files are smaller and slower, as ``np.savez_compressed`` writes them.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or batches differ in shape or type; nothing is left behind.
    FileExistsError
        If something is in the folder.
    OSError
        If a file cannot be written.
    """
    target = Path(os.path.realpath(folder))
    if per_shard is not None:
        per_shard = check.whole(per_shard, "per_shard", 1)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"folder: expected a new or an empty folder, got {os.fspath(folder)}")
    if y is None and not hasattr(x, "__len__"):
        pairs = _pairs(x)
    else:
        pairs = _slices(source_of(x), y, per_shard)
    temporary = target.with_name(f".{target.name[:40]}.{os.urandom(8).hex()}.tmp")
    temporary.mkdir()
    save = np.savez_compressed if compressed else np.savez
    try:
        number = 0
        for number, (images, targets) in enumerate(_joined(pairs, per_shard), 1):
            arrays: dict[str, Any] = {"x": images}
            if targets is not None:
                arrays["y"] = targets
            with open(temporary / f"shard-{number - 1:06d}.npz", "xb") as file:
                save(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
        if not number:
            raise ValueError("x: expected at least one image, got none")
        if target.exists():
            target.rmdir()
        os.rename(temporary, target)
    finally:
        pairs.close()
        shutil.rmtree(temporary, ignore_errors=True)


_Pair = tuple[Array, Array | None]


def _slices(x: Any, y: Any, per_shard: int | None) -> Generator[_Pair, None, None]:
    # a set in parts of the size of a shard
    targets = None if y is None else plain_array(y, "y")
    whole = LabelledSet(x, np.zeros(len(x)) if targets is None else targets)
    count = per_shard or _per_shard(whole[np.arange(1)])
    for rows, images in whole.read_batches(batches(len(whole), count)):
        yield images, None if targets is None else targets[rows]


def _pairs(given: Any) -> Generator[_Pair, None, None]:
    # batches as they come, each checked
    for number, batch in enumerate(given, 1):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise TypeError(f"x: expected (images, targets) in batch {number}, got {batch!r:.99}")
        x, y = (plain_array(part, name) for part, name in zip(batch, "xy", strict=True))
        if x.ndim < 1 or y.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"x: expected as many images as targets in batch {number}, got shapes {x.shape} "
                f"and {y.shape}"
            )
        yield x, y


def _joined(pairs: Iterator[_Pair], per_shard: int | None) -> Iterator[_Pair]:
    # as many images as a shard has; the last one may have fewer
    parts: list[_Pair] = []
    count, first = 0, None
    for batch in pairs:
        if not len(batch[0]):
            continue
        kinds = [None if part is None else (part.dtype, part.shape[1:]) for part in batch]
        first = first or kinds
        if kinds != first:
            raise ValueError(f"x: expected batches of one shape and type, {first}, got {kinds}")
        per_shard = per_shard or _per_shard(batch[0])
        parts.append(batch)
        count += len(batch[0])
        while count >= per_shard:
            x, y = _one(parts)
            yield x[:per_shard], None if y is None else y[:per_shard]
            parts = [(x[per_shard:], None if y is None else y[per_shard:])]
            count -= per_shard
    if count:
        yield _one(parts)


def _one(parts: list[_Pair]) -> _Pair:
    if len(parts) == 1:
        return parts[0]
    xs, ys = zip(*parts, strict=True)
    return np.concatenate(xs), None if ys[0] is None else np.concatenate(ys)


def _per_shard(images: Array) -> int:
    return max(1, BLOCK // max(1, images[:1].nbytes))


def _opened(path: Path) -> _Shard:
    # what the headers of a file say
    with members(path) as (archive, infos):
        if "x" not in infos:
            raise ValueError(f"expected arrays x and y, got {', '.join(infos) or 'none'}")
        x, y = (_header(archive, infos, name) for name in ("x", "y"))
        assert x is not None
        if x.dtype.kind not in "buif":
            raise ValueError(f"'x': expected real numbers, got dtype {x.dtype}")
        if y and y.shape[0] != x.shape[0]:
            raise ValueError(
                f"expected {x.shape[0]} targets in y, one for each image, got {y.shape[0]}"
            )
        return _Shard(path, x, begin_of(path, infos["x"], x), infos["x"].CRC, y)


def _header(archive: Any, infos: dict[str, Any], name: str) -> Header | None:
    if name not in infos:
        return None
    with named(repr(name)), opened(archive, infos[name]) as stream:
        header = read_header(stream)
        if not header.shape:
            raise ValueError("expected an array with an axis of images, got a single number")
        if header.size + header.data != infos[name].file_size:
            raise ValueError(
                f"expected {header.size + header.data} bytes, as its header says, got "
                f"{infos[name].file_size}"
            )
        if header.data > _PACKED * infos[name].compress_size:
            raise ValueError(
                f"{header.data} bytes, as its header says, do not come from "
                f"{infos[name].compress_size}"
            )
        return header


def _compare(path: Path, name: str, header: Header, first: Header, of: Path) -> None:
    if (header.shape[1:], header.dtype) != (first.shape[1:], first.dtype):
        shape = ", ".join(map(str, ("n", *first.shape[1:])))
        raise ValueError(
            f"{path}: expected {name} of shape ({shape}) and {first.dtype} as in {of.name}, got "
            f"shape {header.shape} and {header.dtype}"
        )


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _fill(file: IO[bytes], left: memoryview) -> None:
    while len(left):
        count = file.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise ValueError("'x': truncated since it was opened")
        left = left[count:]
