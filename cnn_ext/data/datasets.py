"""Data sets by name, or whatever a folder turns out to hold, as a `Dataset`.

The bundled `digits` need nothing; the others read the files that their makers publish from a
folder and, when asked, download them into it first. Images are (N, C, H, W), labels (N,) int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from cnn_ext.data import names
from cnn_ext.data._reading import Array, StrPath, named
from cnn_ext.data.arrays import load_npz
from cnn_ext.data.cifar import Batch, read_cifar, read_cifar_archive
from cnn_ext.data.dataset import Dataset, stratified_split
from cnn_ext.data.download import fetch
from cnn_ext.data.folders import Mode, Size, class_folders, image_folder, pictures
from cnn_ext.data.idx import read_idx

__all__ = ["Dataset", "cifar10", "cifar100", "digits", "fashion_mnist", "load", "mnist"]

_IDX_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


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
    return _split(images, arrays["y"].astype(np.int64), names.DIGITS, test_fraction)


def mnist(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read MNIST's four IDX files: 60,000 and 10,000 digits of 28 x 28 pixels.

    Parameters
    ----------
    folder
        Folder that holds ``train-images-idx3-ubyte`` (or ``train-images.idx3-ubyte``),
        ``train-labels-...``, ``t10k-images-...`` and ``t10k-labels-...``, each plain or ``.gz``.
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
    return _fetch_idx(Path(folder), "mnist", names.DIGITS, download, base_url)


def fashion_mnist(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read Fashion-MNIST: 60,000 and 10,000 pieces of clothing of 28 x 28 pixels.

    Its files have the names of MNIST's. Parameters, result and errors are those of `mnist`; the
    folder under ``CNN_EXT_DATA_URL`` is ``fashion-mnist``.
    """
    return _fetch_idx(Path(folder), "fashion-mnist", names.FASHION, download, base_url)


def cifar10(folder: StrPath, download: bool = False, base_url: str | None = None) -> Dataset:
    """Read CIFAR-10, binary version: 50,000 and 10,000 colour pictures of 32 x 32 pixels.

    Parameters
    ----------
    folder
        Folder that holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or
        the sub-folder ``cifar-10-batches-bin`` with them, or ``cifar-10-binary.tar.gz``, which is
        read without being unpacked.
    download
        Fetch the archive into `folder` if none of these is there, checked against its published
        hash; a download that broke off is resumed. Needs pooch.
    base_url
        URL of the folder to fetch it from; by default, where the environment variable
        ``CNN_EXT_DATA_URL`` is set, the folder ``cifar-10`` under it, else its makers' site.

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
    ``cifar-100-binary.tar.gz``; the folder under ``CNN_EXT_DATA_URL`` is ``cifar-100``. The other
    parameters, the result and the errors are those of `cifar10`.

    Parameters
    ----------
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
    folder: StrPath, size: Size = None, mode: Mode = "L", test_fraction: float = 0.2
) -> Dataset:
    """Recognise what a folder holds and read it.

    In this order: ``data.npz`` with the arrays x_train, y_train, x_test and y_test, or x and y,
    and names in classes if wanted, images being (N, C, H, W) or (N, H, W); the four IDX files of
    `mnist`; CIFAR-10 or CIFAR-100 as `cifar10` and `cifar100` find them; the folders ``train`` and
    ``test``, each with one sub-folder of pictures per class; such sub-folders themselves.

    Parameters
    ----------
    folder
        The folder.
    size, mode
        For pictures only, see `image_folder`.
    test_fraction
        Share of every class that is held out where the folder has no test set of its own; always
        the same images, see `stratified_split`.

    Returns
    -------
    Dataset
        Images in the type that the files have; the classes of IDX and nameless ``.npz`` files are
        called ``"0"``, ``"1"`` and so on.

    Raises
    ------
    NotADirectoryError
        If `folder` is none.
    ValueError
        If the folder holds none of these, or a file is damaged or does not fit.
    ImportError
        If Pillow is needed and not installed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"folder: {root} is not a folder")
    if (file := root / "data.npz").is_file():
        return _read_npz(file, test_fraction)
    if all(idx := [_find_idx(root, stem) for stem in _IDX_STEMS]):
        return _read_idx_files(root, [file for file in idx if file])
    for cifar in (_CIFAR10, _CIFAR100):
        if found := _find_cifar(root, cifar):
            return _read_cifar(found, cifar)
    if (root / "train").is_dir() and (root / "test").is_dir():
        x_train, y_train, classes = image_folder(root / "train", size, mode)
        x_test, y_test, _ = image_folder(root / "test", size, mode, classes)
        with named(root):
            return Dataset(x_train, y_train, x_test, y_test, classes)
    if any(pictures(root / name) for name in class_folders(root)):
        return _split(*image_folder(root, size, mode), test_fraction)
    raise ValueError(
        f"{root}: expected data.npz, the four IDX files ({_IDX_STEMS[0]}, ...), CIFAR-10 or "
        "CIFAR-100 in binary form, folders train and test, or one sub-folder of pictures per "
        "class; found none of them"
    )


def _split(x: Array, y: Array, classes: tuple[str, ...], test_fraction: float) -> Dataset:
    if x.shape[:1] != y.shape:
        raise ValueError(f"x: expected {len(y)} images, one per label, got shape {x.shape}")
    train, test = stratified_split(y, test_fraction)
    return Dataset(x[train], y[train], x[test], y[test], classes)


def _numbered(*labels: Array) -> tuple[str, ...]:
    """Names "0", "1", ... of the classes up to the largest label."""
    return tuple(map(str, range(1 + max((int(y.max()) for y in labels if y.size), default=-1))))


def _find_idx(folder: Path, stem: str) -> Path | None:
    spellings = (stem, stem.replace("-idx", ".idx"))
    files = (folder / (name + end) for name in spellings for end in ("", ".gz"))
    return next((file for file in files if file.is_file()), None)


def _fetch_idx(
    folder: Path, source: str, classes: tuple[str, ...], download: bool, base_url: str | None
) -> Dataset:
    files = []
    for stem in _IDX_STEMS:
        file = _find_idx(folder, stem)
        if file is None:
            if not download:
                raise FileNotFoundError(f"{folder} holds no {stem}, plain or .gz; see download")
            file = fetch(source, f"{stem}.gz", folder, base_url)
        files.append(file)
    return _read_idx_files(folder, files, classes)


def _read_idx_files(
    folder: Path, files: Sequence[Path], classes: tuple[str, ...] | None = None
) -> Dataset:
    arrays = []
    for file, ndim in zip(files, (3, 1, 3, 1), strict=True):
        array = read_idx(file)
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise ValueError(
                f"{file}: expected unsigned bytes in {ndim} dimension(s), "
                f"got {array.dtype} in {array.ndim}"
            )
        arrays.append(array[:, None] if ndim == 3 else array.astype(np.int64))
    x_train, y_train, x_test, y_test = arrays
    with named(folder):
        return Dataset(x_train, y_train, x_test, y_test, classes or _numbered(y_train, y_test))


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
                f"{cifar.archive}; see download"
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


def _read_npz(file: Path, test_fraction: float) -> Dataset:
    arrays = load_npz(file)
    named_classes = arrays.pop("classes", None)
    with named(file):
        for name, array in arrays.items():
            if name.startswith("x") and array.ndim == 3:
                arrays[name] = array[:, None]
            elif name.startswith("y"):
                arrays[name] = _as_labels(name, array)
        labels = [array for name, array in arrays.items() if name.startswith("y")]
        classes = _numbered(*labels) if named_classes is None else _as_names(named_classes)
        if arrays.keys() == {"x", "y"}:
            return _split(arrays["x"], arrays["y"], classes, test_fraction)
        if arrays.keys() == {"x_train", "y_train", "x_test", "y_test"}:
            return Dataset(**arrays, classes=classes)
        raise ValueError(
            "expected the arrays x_train, y_train, x_test and y_test, or x and y, "
            f"got {', '.join(sorted(arrays)) or 'none'}"
        )


def _as_labels(name: str, array: Array) -> Array:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected (N,) integers, got shape {array.shape} of {array.dtype}"
        )
    return array.astype(np.int64)


def _as_names(array: Array) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"classes: expected strings, got shape {array.shape} of {array.dtype}")
    return tuple(array.tolist())
