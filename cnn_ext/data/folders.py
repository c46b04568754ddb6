"""Folders with one sub-folder of pictures per class: which files are meant, and their labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from cnn_ext.data._reading import Array, StrPath
from cnn_ext.data.pictures import Background, Mode, Size, read_image, stack

OnError = Literal["raise", "skip"]

# fmt: off
SUFFIXES = frozenset((
    ".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm",
    ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))
# fmt: on
_SHOWN = 3  # pictures that could not be read, in a warning


def image_folder(
    path: StrPath,
    size: Size = None,
    mode: Mode = "L",
    classes: Sequence[str] | None = None,
    background: Background = "white",
    on_error: OnError = "raise",
) -> tuple[Array, Array, tuple[str, ...]]:
    """Read a folder that holds one sub-folder of pictures per class.

    A class has the pictures of its folder and of all folders below it. Files without the suffix of
    a picture (`SUFFIXES`), names that begin with a dot and ``__MACOSX`` are passed over. Classes,
    files and then folders are read in the order of their names.

    Parameters
    ----------
    path
        The folder.
    size, mode, background
        As for `read_image`. Without `size` all pictures must have the same size.
    classes
        Names that give the labels 0, 1, ...; by default the sorted names of the sub-folders. A
        name without a sub-folder has no pictures.
    on_error
        What a picture that cannot be read does: ``"raise"`` its error, or ``"skip"``, which leaves
        it out and warns at the end how many there were and what the first of them said.

    Returns
    -------
    images : ndarray
        (N, C, H, W) uint8; uint16 if any picture has 16 bits, those of 8 then times 257.
    labels : ndarray
        (N,) int64.
    classes : tuple of str
        Name of every label.

    Raises
    ------
    ValueError
        If there is no sub-folder, one without a picture that can be read or one that is not in
        `classes`; if there is but one and the pictures lie in folders below it; or if a picture
        cannot be read or differs in size (the message names the file).
    ImportError
        If Pillow is not installed.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
    root = Path(path)
    found, known = class_files(root, classes)
    labels: list[int] = []
    faults: list[str] = []

    def images() -> Iterator[Array]:
        shape: tuple[int, ...] = ()
        for name, files in found.items():
            before = len(labels)
            for file in files:
                try:
                    image = read_image(file, size, mode, background)
                except (OSError, ValueError) as error:
                    if on_error == "raise":
                        if isinstance(error, OSError):
                            raise
                        hint = "on_error='skip' or --skip-broken leaves out what cannot be read"
                        raise ValueError(f"{error}; {hint}") from error
                    faults.append(str(error))
                    continue
                if labels and image.shape != shape:
                    refuse_other_size(file, image.shape[1:], shape[1:])
                shape = image.shape
                labels.append(known.index(name))
                yield image
            if len(labels) == before:
                why = f"; {len(files)} cannot be read: {faults[-1]}" if files else ""
                raise ValueError(f"{root / name}: the class has no pictures{why}")

    read = stack(images())
    if faults:
        more = ", ..." if len(faults) > _SHOWN else ""
        warnings.warn(
            f"{root}: {len(faults)} of {len(faults) + len(labels)} pictures cannot be read and "
            f"are left out: {', '.join(faults[:_SHOWN])}{more}",
            stacklevel=2,
        )
    return read, np.array(labels, np.int64), known


def class_files(
    root: Path, classes: Sequence[str] | None
) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """The pictures of each sub-folder, and the names of all labels, see `image_folder`.

    Raises ValueError if there is no sub-folder, one that is not in `classes`, or but one whose
    pictures lie in folders below it.
    """
    names = class_folders(root)
    if not names:
        raise ValueError(f"{root}: expected one sub-folder per class, got none")
    if classes is None and len(names) == 1 and (inner := _classes_below(root / names[0])):
        raise ValueError(
            f"{root}: expected one sub-folder per class, got {names[0]} alone, whose pictures lie "
            f"in its own sub-folders ({', '.join(inner)}); {root / names[0]} may be meant"
        )
    known = tuple(names if classes is None else classes)
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"{root}: sub-folders {unknown} are not among the classes {known}")
    return {name: pictures(root / name) for name in names}, known


def refuse_other_size(
    file: StrPath, size: Sequence[int], expected: Sequence[int]
) -> NoReturn:  # fmt: skip
    """Say that a picture's height and width are not those of the others."""
    raise ValueError(
        f"{file}: expected {expected[0]} x {expected[1]} pixels as in the pictures before it, got "
        f"{size[0]} x {size[1]}; size resizes them all"
    )


def class_folders(root: Path) -> list[str]:
    """Sorted names of the sub-folders of `root` that count, see `image_folder`."""
    return sorted(p.name for p in root.iterdir() if p.is_dir() and _counts(p.name))


def pictures(folder: Path) -> list[Path]:
    """Pictures of `folder`, then those of the folders below it, each folder once, by name."""
    found: list[Path] = []
    seen = {_identity(above) for above in folder.resolve().parents}
    ahead = [folder]
    while ahead:
        place = ahead.pop()
        if (identity := _identity(place)) in seen:  # a link has led here before, or leads back
            continue
        seen.add(identity)
        entries = sorted(entry for entry in place.iterdir() if _counts(entry.name))
        # also a link that leads nowhere, whose error is better than its silence
        found += (
            entry
            for entry in entries
            if entry.suffix.lower() in SUFFIXES
            and (entry.is_file() or (entry.is_symlink() and not entry.exists()))
        )
        ahead += (entry for entry in reversed(entries) if entry.is_dir())
    return found


def _classes_below(folder: Path) -> list[str]:
    """Names of the sub-folders of a folder that has all its pictures below them."""
    found = pictures(folder)
    if not found or any(file.parent == folder for file in found):
        return []
    return class_folders(folder)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
