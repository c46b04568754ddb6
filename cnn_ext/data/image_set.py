"""A folder of pictures that is larger than memory: they are decoded when they are used."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import _check as check
from .._dispatch import get_num_threads
from ._reading import Array, StrPath
from .ahead import ahead
from .batching import numbered
from .folders import class_files, refuse_other_size
from .pictures import Background, Mode, Size, examine, read_image, widened

_AT_ONCE = 64  # files that a thread looks at before it tells


class ImageFolder:
    """Images of a folder that holds one sub-folder of pictures per class, decoded by threads.

    Files, labels and pixels are those of `image_folder`, bit for bit, but in memory are only the
    pictures of a few batches: ``Trainer.fit(images, images.y)``.  When it is made it reads the
    header of every file.

    Parameters
    ----------
    path, size, mode, classes, background
        As for `image_folder`.
    readers : int, optional
        Threads that decode; by default as many as the kernels may use.

    Attributes
    ----------
    shape : tuple of int
        (N, C, H, W).
    dtype : dtype
        uint8, or uint16 if any picture has 16 bits.
    y : ndarray of int64, (N,)
        Labels.
    classes : tuple of str
    files : list of str
        The file of each image.

    Raises
    ------
    ValueError
        As for `image_folder`; a file that breaks off further down is named when it is used.
    ImportError
        If Pillow is not installed.
    """

    def __init__(
        self,
        path: StrPath,
        size: Size = None,
        mode: Mode = "L",
        classes: Sequence[str] | None = None,
        background: Background = "white",
        readers: int | None = None,
    ) -> None:
        self.readers = get_num_threads() if readers is None else check.whole(readers, "readers", 1)
        found, self.classes = class_files(Path(path), classes)
        self.files: list[str] = []
        labels: list[int] = []
        for name, files in found.items():
            if not files:
                raise ValueError(f"{Path(path) / name}: the class has no pictures")
            self.files += map(str, files)
            labels += [self.classes.index(name)] * len(files)
        self.y = np.array(labels, np.int64)
        self._options = size, mode, background
        first = read_image(self.files[0], *self._options)
        self.shape = (len(self.files), *first.shape)
        parts = [self.files[i : i + _AT_ONCE] for i in range(0, len(self.files), _AT_ONCE)]
        deep = False
        for examined in ahead((partial(_examined, part) for part in parts), self.readers):
            for file, (bits, height, width) in examined:
                deep |= bits == 16
                if size is None and {height, width} != {*first.shape[1:]}:  # it may lie on its side
                    refuse_other_size(file, (height, width), first.shape[1:])
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)

    def __repr__(self) -> str:
        return f"ImageFolder({self.shape} of {self.dtype}, {len(self.classes)} classes)"

    def widened(self) -> ImageFolder:
        """The same images with 16 bits a channel."""
        other = copy.copy(self)
        other.dtype = np.dtype(np.uint16)
        return other

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Any) -> Array:
        """An image by its number, or those of a slice or of an array of numbers."""
        rows = numbered(chosen, len(self))
        images = np.empty((rows.size, *self.shape[1:]), self.dtype)
        for image, number in zip(images, rows.ravel().tolist(), strict=True):
            image[...] = self._image(self.files[number])
        return images if rows.ndim else images[0]

    def _image(self, file: str) -> Array:
        image = read_image(file, *self._options)
        if image.shape != self.shape[1:]:
            refuse_other_size(file, image.shape[1:], self.shape[2:])
        if image.dtype.itemsize > self.dtype.itemsize:
            raise ValueError(f"{file}: changed since it was opened: 16 bits a channel instead of 8")
        return image if image.dtype == self.dtype else widened(image)


def _examined(files: list[str]) -> list[tuple[str, tuple[int, int, int]]]:
    return [(file, examine(file)) for file in files]
