"""Pictures from files and from folders with one sub-folder per class; needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from cnn_ext.data._reading import Array, StrPath, named

Mode = Literal["L", "RGB"]
Size = int | tuple[int, int] | None

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def read_image(path: StrPath, size: Size = None, mode: Mode = "L") -> Array:
    """Read one picture.

    Parameters
    ----------
    path
        File in a format that Pillow knows.
    size
        Pixels to resize to, bilinear and without regard to the proportions: (height, width), or
        one number for a square. None keeps the picture's own size.
    mode
        ``"L"`` for one grey channel, ``"RGB"`` for three. Transparency is dropped.

    Returns
    -------
    ndarray
        (C, H, W) uint8.

    Raises
    ------
    ValueError
        If the picture cannot be decoded or has more than 8 bits a channel (the message names the
        file), or if `size` or `mode` is not one of those above.
    ImportError
        If Pillow is not installed.
    OSError
        If the file cannot be opened.
    """
    pillow = _pillow()
    height_width = _check_size(size)
    if mode not in ("L", "RGB"):
        raise ValueError(f"mode: expected 'L' or 'RGB', got {mode!r}")
    # in memory, a length that lies cannot make a decoder's read allocate more than the file holds
    data = BytesIO(Path(path).read_bytes())
    # and broken data make a decoder raise whatever its format module happens to raise
    with named(path, Exception), _open(pillow, data) as picture:
        if picture.mode[0] in "IF":
            raise ValueError(f"expected 8 bits a channel, got a picture of mode {picture.mode}")
        converted = picture.convert(mode)
        if height_width is not None:
            converted = converted.resize(height_width[::-1], pillow.Resampling.BILINEAR)
        pixels: Array = np.array(converted, np.uint8)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def image_folder(
    path: StrPath, size: Size = None, mode: Mode = "L", classes: Sequence[str] | None = None
) -> tuple[Array, Array, tuple[str, ...]]:
    """Read a folder that holds one sub-folder of pictures per class.

    Files without the suffix of a picture (`SUFFIXES`) and names that begin with a dot are passed
    over. Classes and files are read in the order of their names.

    Parameters
    ----------
    path
        The folder.
    size, mode
        As for `read_image`. Without `size` all pictures must have the same size.
    classes
        Names that give the labels 0, 1, ...; by default the sorted names of the sub-folders. A
        name without a sub-folder has no pictures.

    Returns
    -------
    images : ndarray
        (N, C, H, W) uint8.
    labels : ndarray
        (N,) int64.
    classes : tuple of str
        Name of every label.

    Raises
    ------
    ValueError
        If there is no sub-folder, one without pictures or one that is not in `classes`, or if a
        picture cannot be read or differs in size (the message names the file).
    ImportError
        If Pillow is not installed.
    OSError
        If the folder or a file cannot be opened.
    """
    root = Path(path)
    names = class_folders(root)
    if not names:
        raise ValueError(f"{root}: expected one sub-folder per class, got none")
    known = tuple(names if classes is None else classes)
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"{root}: sub-folders {unknown} are not among the classes {known}")

    data = bytearray()
    labels: list[int] = []
    shape: tuple[int, ...] = ()
    for name in names:
        files = pictures(root / name)
        if not files:
            raise ValueError(f"{root / name}: the class has no pictures")
        for file in files:
            image = read_image(file, size, mode)
            if labels and image.shape != shape:
                raise ValueError(
                    f"{file}: expected {shape[1]} x {shape[2]} pixels as in the pictures before "
                    f"it, got {image.shape[1]} x {image.shape[2]}; size resizes them all"
                )
            shape = image.shape
            data += image.tobytes()
            labels.append(known.index(name))
    images: Array = np.ndarray((len(labels), *shape), np.uint8, data)
    return images, np.array(labels, np.int64), known


def class_folders(root: Path) -> list[str]:
    """Sorted names of the sub-folders of `root` that are not hidden."""
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def pictures(folder: Path) -> list[Path]:
    """Files of `folder` with the suffix of a picture that are not hidden, sorted by name."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def _check_size(size: Size) -> tuple[int, int] | None:
    match size:
        case None:
            return None
        case int(side) if side > 0:
            return side, side
        case (int(height), int(width)) if height > 0 and width > 0:
            return height, width
    raise ValueError(f"size: expected a positive number of pixels or two of them, got {size!r}")


def _open(pillow: ModuleType, data: BytesIO) -> Any:
    try:
        return pillow.open(data)
    except pillow.UnidentifiedImageError as error:  # whose text is an address in memory
        raise ValueError("not a picture in a format that Pillow knows") from error


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading pictures needs Pillow: pip install cnn_ext[images]") from error
    return Image
