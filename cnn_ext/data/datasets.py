"""Data sets by name, or whatever a folder turns out to hold, as a `Dataset`.

The bundled `digits` need nothing; the others read the files that their makers publish from a
folder and, when asked, download them into it first. Images are (N, C, H, W), labels (N,) int64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cnn_ext.data import names
from cnn_ext.data._reading import Array, StrPath, named
from cnn_ext.data.arrays import load_npz
from cnn_ext.data.cifar import Batch, read_cifar, read_cifar_archive
from cnn_ext.data.dataset import Dataset, divided
from cnn_ext.data.download import fetch
from cnn_ext.data.folders import SUFFIXES, OnError, class_folders, image_folder, pictures
from cnn_ext.data.idx_sets import (
    MNIST,
    IdxSet,
    find_idx_file,
    find_idx_set,
    homes,
    idx_files,
    read_idx_set,
)
from cnn_ext.data.image_set import ImageFolder
from cnn_ext.data.npz_sets import Layout, check_layout, read_npz_set
from cnn_ext.data.pictures import Background, Mode, Size, widened

__all__ = ["Dataset", "cifar10", "cifar100", "digits", "fashion_mnist", "load", "mnist"]

_VALIDATION = ("val", "valid", "validation")  # names of a folder


class _Cifar(NamedTuple):
    """How CIFAR-10 or CIFAR-100 is published."""

    source: str
    kind: int
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    classes: tuple[str, ...]


_CIFAR10 = _Cifar(
    "cifar-10",
    10,
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test_batch.bin",
    names.CIFAR10,
)
_CIFAR100 = _Cifar(
    "cifar-100",
    100,
    "cifar-100-binary.tar.gz",
    "cifar-100-binary",
    ("train.bin",),
    "test.bin",
    names.CIFAR100_FINE,
)


def digits(test_fraction: float = 0.2) -> Dataset:
    """Load the 1,797 bundled handwritten digits of 8 x 8 pixels (UCI, see ``DIGITS.md``).

    Parameters
    ----------
    test_fraction
        Share of every digit that is held out as the test set; the division is always the same,
        see `stratified_split`. It does not keep the writers apart, so the error measured on it is
        that for writers who are known.

    Returns
    -------
    Dataset
        Images (N, 1, 8, 8) float32 in [0, 1], the counts 0 to 16 of the source divided by 16; by
        default 1,438 to learn from and 359 for the test.

    Raises
    ------
    ValueError
        If `test_fraction` is not in [0, 1).
    """
    arrays = load_npz(Path(__file__).with_name("digits.npz"))
    images = arrays["x"][:, None].astype(np.float32) / 16
    return divided(images, arrays["y"].astype(np.int64), names.DIGITS, test_fraction)


def mnist(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read MNIST's four IDX files: 60,000 and 10,000 digits of 28 x 28 pixels.

    Parameters
    ----------
    folder
        Folder that holds ``train-images-idx3-ubyte`` (or ``train-images.idx3-ubyte``),
        ``train-labels-...``, ``t10k-images-...`` and ``t10k-labels-...``, each plain or ``.gz``;
        or torchvision's folder above ``MNIST/raw``.
    download
        Fetch the files that are missing into `folder`, checked against their published hashes;
        a download that broke off is resumed. Needs pooch.
    base_url
        URL of the folder to fetch them from; by default, where the environment variable
        ``CNN_EXT_DATA_URL`` is set, the folder ``mnist`` under it, else a public mirror.

    Returns
    -------
    Dataset
        Images (N, 1, 28, 28) uint8.

    Raises
    ------
    FileNotFoundError
        If a file is missing and `download` is false.
    ValueError
        If a file is damaged, or has the wrong checksum after the download.
    ImportError
        If pooch is needed and not installed.
    OSError
        If a file cannot be fetched, read or written.
    """
    return _fetch_idx(Path(folder), "mnist", "MNIST", names.DIGITS, download, base_url)


def fashion_mnist(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read Fashion-MNIST: 60,000 and 10,000 pieces of clothing of 28 x 28 pixels.

    Its files have the names of MNIST's. Parameters, result and errors are those of `mnist`; the
    folder under ``CNN_EXT_DATA_URL`` is ``fashion-mnist``.
    """
    source, home = "fashion-mnist", "FashionMNIST"
    return _fetch_idx(Path(folder), source, home, names.FASHION, download, base_url)


def cifar10(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read CIFAR-10, binary version: 50,000 and 10,000 colour pictures of 32 x 32 pixels.

    Its errors are those of `mnist`.

    Parameters
    ----------
    folder
        Folder that holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or
        the sub-folder ``cifar-10-batches-bin`` with them, or ``cifar-10-binary.tar.gz``, which is
        read without being unpacked.
    download, base_url
        As for `mnist`, of the archive; the folder under ``CNN_EXT_DATA_URL`` is ``cifar-10``, and
        without that variable it comes from its makers' site.

    Returns
    -------
    Dataset
        Images (N, 3, 32, 32) uint8.

    Raises
    ------
    FileNotFoundError
        If the files are missing and `download` is false.
    ValueError
        If a file is damaged, or has the wrong checksum after the download.
    ImportError
        If pooch is needed and not installed.
    OSError
        If a file cannot be fetched, read or written.
    """
    return _fetch_cifar(Path(folder), _CIFAR10, download, base_url)


def cifar100(
    folder: StrPath,
    download: bool = False,
    base_url: str | None = None,
    labels: Literal["fine", "coarse"] = "fine",
) -> Dataset:
    """Read CIFAR-100, binary version: 50,000 and 10,000 colour pictures of 32 x 32 pixels.

    The files are ``train.bin`` and ``test.bin``, the sub-folder ``cifar-100-binary`` with them, or
    ``cifar-100-binary.tar.gz``; the folder under ``CNN_EXT_DATA_URL`` is ``cifar-100``. The result
    and the errors are those of `cifar10`.

    Parameters
    ----------
    folder, download, base_url
        As for `cifar10`.
    labels
        ``"fine"`` for the 100 classes, ``"coarse"`` for the 20 groups of five.
    """
    if labels == "fine":
        return _fetch_cifar(Path(folder), _CIFAR100, download, base_url)
    if labels == "coarse":
        coarse = _CIFAR100._replace(classes=names.CIFAR100_COARSE)
        return _fetch_cifar(Path(folder), coarse, download, base_url)
    raise ValueError(f"labels: expected 'fine' or 'coarse', got {labels!r}")


def load(
    folder: StrPath,
    size: Size = None,
    mode: Mode = "L",
    test_fraction: float = 0.2,
    layout: Layout | None = None,
    split: str | None = None,
    background: Background = "white",
    on_error: OnError = "raise",
    in_memory: bool = True,
) -> Dataset:
    """Recognise what a folder or a ``.npz`` file holds and read it.

    In this order: ``data.npz``; the IDX files of MNIST and its relatives, also where torchvision
    leaves them; CIFAR-10 or CIFAR-100 as `cifar10` and `cifar100` find them; the folders ``train``
    and ``test``, and ``val`` if it is there, each with one sub-folder of pictures per class; such
    sub-folders themselves; the only ``.npz`` file. ``docs/data.md`` has the names and the rules.

    Parameters
    ----------
    folder
        The folder, or a file whose name ends in ``.npz``.
    size, mode, background, on_error
        For pictures only, see `image_folder`.
    test_fraction
        Share of every class that is held out where there is no test set; always the same images,
        see `stratified_split`.
    layout
        For four axes in a ``.npz`` file: ``"channels_first"``, (N, C, H, W), or
        ``"channels_last"``, (N, H, W, C), which are transposed. None takes the first where the
        shape leaves no doubt: axis 1 may be channels (one to four, or the other two are equal),
        and the last may not.
    split
        Which part of EMNIST, such as ``"letters"``, where the folder holds several.
    in_memory
        False leaves the images in their files where these allow it, and reads them each time that
        they are used: pictures (see `ImageFolder`), unless some are to be skipped, plain IDX files,
        and what is not compressed in a ``.npz`` file.

    Returns
    -------
    Dataset
        Images in the type that the files have; classes without a name are called ``"0"``, ``"1"``
        and so on.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `folder` is neither.
    ValueError
        If the folder holds none of these, or several of one kind; if a file is damaged or does not
        fit; if the layout must be told.
    ImportError
        If Pillow is needed and not installed.
    """
    check_layout(layout)
    root = Path(folder)
    if root.suffix == ".npz" and not root.is_dir():
        return read_npz_set(root, test_fraction, layout, in_memory)
    if not root.is_dir():
        raise NotADirectoryError(f"folder: {root} is not a folder, nor a .npz file")
    if (file := root / "data.npz").is_file():
        return read_npz_set(file, test_fraction, layout, in_memory)
    if idx := find_idx_set(root, split):
        return read_idx_set(idx, in_memory)
    for cifar in (_CIFAR10, _CIFAR100):
        if found := _find_cifar(root, cifar):
            return _read_cifar(found, cifar)
    parts = class_folders(root)
    if {"train", "test"} <= set(parts):
        return _read_parts(root, parts, size, mode, background, on_error, in_memory)
    if "train" in parts and set(parts) <= {"train", *_VALIDATION}:
        raise ValueError(f"{root}: expected folders train and test, got {', '.join(parts)}")
    if any(pictures(root / name) for name in parts):
        x, y, classes = _images(root, size, mode, None, background, on_error, in_memory)
        return divided(x, y, classes, test_fraction)
    if len(files := sorted(root.glob("*.npz"))) == 1:
        return read_npz_set(files[0], test_fraction, layout, in_memory)
    own = sum(file.suffix.lower() in SUFFIXES for file in root.iterdir())
    hint = f"; its {own} pictures belong in sub-folders, one for each class" if own else ""
    raise ValueError(
        f"{root}: expected data.npz, the four IDX files ({MNIST[0]}, ...), CIFAR-10 or CIFAR-100 "
        "in binary form, folders train and test, one sub-folder of pictures per class, or one "
        f".npz file; found {f'{len(files)} .npz files' if files else 'none of them'}{hint}"
    )


def _images(
    root: Path, size: Size, mode: Mode, classes: Any, background: Background, on_error: OnError,
    in_memory: bool,
) -> tuple[Any, Array, tuple[str, ...]]:  # fmt: skip
    """A folder of pictures and its labels; without reading it, unless it must be."""
    if in_memory or on_error == "skip":
        return image_folder(root, size, mode, classes, background, on_error)
    images = ImageFolder(root, size, mode, classes, background)
    return images, images.y, images.classes


def _read_parts(
    root: Path, parts: list[str], size: Size, mode: Mode, background: Background,
    on_error: OnError, in_memory: bool,
) -> Dataset:  # fmt: skip
    """The folders train and test, and the one for validation if there is one."""
    watched = [name for name in _VALIDATION if name in parts]
    if len(watched) > 1:
        raise ValueError(f"{root}: expected one folder for validation, got {', '.join(watched)}")
    classes: tuple[str, ...] | None = None
    images: list[Any] = []
    labels: list[Array] = []
    for name in ("train", "test", *watched):
        x, y, classes = _images(
            root / name, size, mode, classes, background, on_error, in_memory
        )  # fmt: skip
        images.append(x)
        labels.append(y)
    if any(x.dtype == np.uint16 for x in images):
        images = [widened(x) if isinstance(x, np.ndarray) else x.widened() for x in images]
    assert classes is not None
    with named(root):
        return Dataset(
            images[0], labels[0], images[1], labels[1], classes, *images[2:], *labels[2:]
        )


def _fetch_idx(
    folder: Path,
    source: str,
    home: str,
    classes: tuple[str, ...],
    download: bool,
    base_url: str | None,
) -> Dataset:
    whole = (place for place in homes(folder, home) if idx_files(place, MNIST))
    place = next(whole, folder)
    files = []
    for stem in MNIST:
        file = find_idx_file(place, stem)
        if file is None:
            if not download:
                raise FileNotFoundError(
                    f"{folder} holds no {stem}, plain or .gz; download=True fetches it"
                )
            file = fetch(source, f"{stem}.gz", folder, base_url)
        files.append(file)
    return read_idx_set(IdxSet(tuple(files), classes))


def _find_cifar(root: Path, cifar: _Cifar) -> Path | None:
    """Folder that holds all batches, or else the archive."""
    for folder in (root, root / cifar.folder):
        if all((folder / name).is_file() for name in (*cifar.train, cifar.test)):
            return folder
    archive = root / cifar.archive
    return archive if archive.is_file() else None


def _fetch_cifar(folder: Path, cifar: _Cifar, download: bool, base_url: str | None) -> Dataset:
    found = _find_cifar(folder, cifar)
    if found is None:
        if not download:
            raise FileNotFoundError(
                f"{folder} holds neither {cifar.train[0]} and the other batches nor "
                f"{cifar.archive}; download=True fetches it"
            )
        found = fetch(cifar.source, cifar.archive, folder, base_url)
    return _read_cifar(found, cifar)


def _read_cifar(found: Path, cifar: _Cifar) -> Dataset:
    files = (*cifar.train, cifar.test)
    if found.is_dir():
        batches = {name: read_cifar(found / name, cifar.kind) for name in files}
    else:
        batches = read_cifar_archive(found, cifar.kind, files)
    # of CIFAR-100's two columns of labels the coarse one is first
    column = int(cifar.classes is names.CIFAR100_FINE)
    train = [batches[name] for name in cifar.train]
    return Dataset(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([_labels(batch, column) for batch in train]),
        batches[cifar.test].images,
        _labels(batches[cifar.test], column),
        cifar.classes,
    )


def _labels(batch: Batch, column: int) -> Array:
    return batch.labels if batch.labels.ndim == 1 else batch.labels[:, column].copy()
