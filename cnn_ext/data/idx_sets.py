"""MNIST and its relatives as they are published: which IDX files make a set, and its classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_ext.data import names
from cnn_ext.data._reading import Array, laid_out, named
from cnn_ext.data.dataset import Dataset, column, numbered
from cnn_ext.data.idx import read_idx

MNIST = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_QMNIST = (
    "qmnist-train-images-idx3-ubyte",
    "qmnist-train-labels-idx2-int",
    "qmnist-test-images-idx3-ubyte",
    "qmnist-test-labels-idx2-int",
)
_QMNIST_COLUMNS = 8  # of its labels; the first is the class
# by the name of the folder that torchvision gives a set, whose files are in its sub-folder raw
_HOMES = {
    "MNIST": names.DIGITS,
    "FashionMNIST": names.FASHION,
    "KMNIST": names.KUZUSHIJI,
    "EMNIST": None,
    "QMNIST": names.DIGITS,
}


class IdxSet(NamedTuple):
    """Four files that belong together; `split` is a part of EMNIST, else None."""

    files: tuple[Path, ...]
    classes: tuple[str, ...] | None
    split: str | None = None


def find_idx_file(folder: Path, stem: str) -> Path | None:
    """The file of that name or of its spelling with a dot, plain or ``.gz``."""
    spellings = (stem, stem.replace("-idx", ".idx"))
    files = (folder / (name + end) for name in spellings for end in ("", ".gz"))
    return next((file for file in files if file.is_file()), None)


def idx_files(folder: Path, stems: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of all these names, or none."""
    files = tuple(file for stem in stems if (file := find_idx_file(folder, stem)))
    return files if len(files) == len(stems) else ()


def homes(root: Path, name: str | None = None) -> list[Path]:
    """Where the files of a set may lie: the folder itself, or as torchvision leaves them."""
    known = _HOMES if name is None else (name,)
    return [root, root / "raw", root / "gzip", *(root / home / "raw" for home in known)]


def find_idx_set(root: Path, split: str | None = None) -> IdxSet | None:
    """The one set of IDX files that a folder holds.

    Raises ValueError if it holds several and `split` does not tell which one, or no such split.
    """
    found: list[IdxSet] = []
    for folders in homes(root)[:1], homes(root)[1:]:
        found = found or [one for folder in folders for one in _sets(folder)]
    wanted = [one for one in found if split in (None, one.split)]
    if len(wanted) == 1:
        return wanted[0]
    splits = ", ".join(repr(one.split) for one in found if one.split)
    if split is not None:
        raise ValueError(
            f"split: expected {splits or None} for what {root} holds of EMNIST, got {split!r}"
        )
    if len({one.files[0].parent for one in found}) > 1:
        places = ", ".join(sorted({str(one.files[0].parent) for one in found}))
        raise ValueError(f"{root}: expected one set, got several in {places}; name one of these")
    if found:
        raise ValueError(
            f"{root}: expected one set, got the parts {splits} of EMNIST"
            f"{'' if all(one.split for one in found) else ' and another'}; split tells which one"
        )
    return None


def _sets(folder: Path) -> list[IdxSet]:
    here = folder.absolute()
    known = _HOMES.get(here.parent.name) if here.name == "raw" else None
    kinds: list[tuple[tuple[str, ...], tuple[str, ...] | None, str | None]] = [
        (MNIST, known, None),
        (_QMNIST, names.DIGITS, None),
        *((_emnist(split), classes, split) for split, classes in names.EMNIST.items()),
    ]
    found = []
    for stems, classes, split in kinds:
        if files := idx_files(folder, stems):
            found.append(IdxSet(files, classes, split))
    return found


def _emnist(split: str) -> tuple[str, ...]:
    ends = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return tuple(f"emnist-{split}-{part}-{end}" for part in ("train", "test") for end in ends)


def read_idx_set(one: IdxSet, in_memory: bool = True) -> Dataset:
    """Read the four files: images (N, H, W) of bytes, labels (N,), (N, 1) or QMNIST's.

    Images in plain files stay there if they are not to be in memory.

    Raises ValueError if a file is damaged or does not fit.
    """
    arrays = []
    for i, file in enumerate(one.files):
        array = read_idx(file, in_memory or i % 2 == 1)
        arrays.append(_labels(file, array, one) if i % 2 else _images(file, array, one))
    x_train, y_train, x_test, y_test = arrays
    with named(one.files[0].parent):
        classes = one.classes or numbered(y_train, y_test)
        return Dataset(x_train, y_train, x_test, y_test, classes)


def _images(file: Path, array: Array, one: IdxSet) -> Array:
    if array.dtype != np.uint8 or array.ndim != 3:
        raise ValueError(
            f"{file}: expected unsigned bytes in 3 dimension(s), got {array.dtype} in {array.ndim}"
        )
    if one.split:  # EMNIST's pictures lie on their side
        array = laid_out(array.transpose(0, 2, 1))
    return array[:, None]


def _labels(file: Path, array: Array, one: IdxSet) -> Array:
    if file.name.startswith(_QMNIST[1][:6]) and array.shape[1:] == (_QMNIST_COLUMNS,):
        array = array[:, 0]
    with named(file):
        labels = column("labels", array)
    return labels - 1 if one.split == "letters" else labels  # whose a is 1
