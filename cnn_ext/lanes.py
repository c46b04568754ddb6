"""`Lanes`: a batch in the layout of the kernels, the image index innermost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _core
from ._arrays import plain_array


def contiguous(x: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """`x` of that dtype in C order, aligned, in the machine's byte order; copied if need be."""
    array = np.asarray(x, dtype, order="C")
    return array if array.flags.aligned else array.copy()


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised array whose first byte lies on a cache line."""
    memory: Any = _core.Memory(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(memory, dtype).reshape(shape)


class Lanes:
    """A batch of N images stored as (blocks, ..., LANES).

    A block holds LANES images side by side, as many as a vector register has numbers, so that every
    loop over a batch is a loop over vectors.  Lanes beyond the last image are zero when packed.

    Parameters
    ----------
    data : ndarray, shape (ceil(N / LANES), ..., LANES), float32 or float64
    images : int
        N, the number of images.
    """

    __slots__ = ("blocks", "data", "dtype", "images", "shape")

    def __init__(self, data: np.ndarray, images: int) -> None:
        self.data = data
        self.images = images
        self.blocks: int = data.shape[0]
        self.dtype = data.dtype
        #: the plain shape, (N, ...)
        self.shape: tuple[int, ...] = (images, *data.shape[1:-1])

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: np.dtype) -> Lanes:
        """Room for a batch of the plain shape (N, ...)."""
        lanes = _core.lanes(dtype.itemsize)
        return cls(empty((-(-shape[0] // lanes), *shape[1:], lanes), dtype), shape[0])

    @classmethod
    def pack(cls, x: np.ndarray, dtype: np.dtype | None = None, scale: float = 1.0) -> Lanes:
        """Copy a plain batch (N, ...), or one of bytes multiplied by `scale`, into lanes."""
        x = plain_array(x, "x")
        dtype = x.dtype if dtype is None else dtype
        x = contiguous(x, None if x.dtype == np.uint8 else dtype)
        packed = cls.empty(x.shape, dtype)
        _core.pack(x, packed.data, dtype.itemsize, x.shape[0], _size(x.shape), scale)
        return packed

    def unpack(self) -> np.ndarray:
        """Copy the batch out as a plain array (N, ...)."""
        x = empty(self.shape, self.dtype)
        _core.unpack(self.data, x, self.dtype.itemsize, self.images, _size(self.shape))
        return x

    def reshape(self, *features: int) -> Lanes:
        """The same images with other feature axes; nothing is copied."""
        return Lanes(self.data.reshape(self.blocks, *features, self.data.shape[-1]), self.images)


def _size(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:])
