"""The first step of a network that says itself how its numbers are scaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import ops
from ..graph.value import N
from ..lanes import Lanes
from ..scale import AS_THEY_ARE, BYTE_SCALE, scale_of
from .built_in import BuiltIn

CHUNK = 1024  # images whose sums are taken at once


class Normalize(BuiltIn):
    """``(x - mean) / std`` for every channel, with fixed numbers.

    A network that begins with it takes the numbers of every type as they are, bytes too, in
    training, plans, ONNX and C files: ``Normalize(0, 255)`` brings bytes and floats of 0 to 255 to
    [0, 1], and ``Normalize().fit(x_train)`` learns mean and deviation from images.  With `unit` it
    takes whole numbers as a network without it does, bytes multiplied by 1/255: pictures of 8 and
    of 16 bits then mean the same.

    Parameters
    ----------
    mean, std : float, or sequence of float
        One for all channels, or one for each, (C,) values in the unit of the input; `std` is above
        0.
    unit : bool
        Whether whole numbers are fractions of their type's range first.

    Raises
    ------
    TypeError, ValueError
        If `mean` or `std` holds no finite numbers, or `std` is not above 0.
    """

    arguments = ("mean", "std", "unit")

    def __init__(self, mean: Any = 0.0, std: Any = 1.0, unit: bool = False) -> None:
        self._set(mean, std)
        self.unit = bool(unit)

    @property
    def byte_scale(self) -> float:
        """What bytes are multiplied by first: 1, or 1/255 with `unit`."""
        return BYTE_SCALE if self.unit else AS_THEY_ARE

    def _set(self, mean: Any, std: Any) -> None:
        numbers = _numbers(mean, "mean"), _numbers(std, "std")
        if not np.greater(numbers[1], 0).all():
            raise ValueError(f"std: expected numbers above 0, got {std!r}")
        if len({np.shape(n) for n in numbers} - {()}) > 1:
            raise ValueError(f"std: expected as many numbers as in mean, {mean!r}, got {std!r}")
        self._numbers = numbers

    @property
    def mean(self) -> float | tuple[float, ...]:
        """What is subtracted; who sets it changes all later passes."""
        return self._numbers[0]

    @mean.setter
    def mean(self, mean: Any) -> None:
        self._set(mean, self.std)

    @property
    def std(self) -> float | tuple[float, ...]:
        """What the rest is divided by."""
        return self._numbers[1]

    @std.setter
    def std(self, std: Any) -> None:
        self._set(self.mean, std)

    def fit(self, x: ArrayLike) -> Normalize:
        """Take mean and deviation of each channel of the images; returns the layer itself.

        Parameters
        ----------
        x : array_like, or what `Trainer.fit` reads from files, shape (N, C, H, W) or (N, F)
            Numbers of any real type, as the network will get them.  A channel that never changes
            gets the deviation 1.

        Raises
        ------
        TypeError, ValueError
            If there are no images, or their numbers are not real or not finite.
        """
        from ..data.batching import gather, source_of  # which most programs do without

        images: Any = source_of(x)
        if hasattr(images, "readers"):  # it may be larger than memory
            first = gather(images, [0])
            shape, dtype = (len(images), *first.shape[1:]), first.dtype
        else:
            images = check.batch(images, "x")
            shape, dtype = images.shape, images.dtype
        if isinstance(images, Lanes) or len(shape) < 2 or not shape[0]:
            raise ValueError(f"x: expected images (N, C, H, W) or rows (N, F), got {shape}")
        axes = (0, *range(2, len(shape)))
        count = math.prod(shape[axis] for axis in axes)
        form = (-1, *(1 for _ in axes[1:]))
        mean = np.sum([part.sum(axes, np.float64) for part in _parts(images)], 0) / count
        squares = [((part - mean.reshape(form)) ** 2).sum(axes) for part in _parts(images)]
        scale = scale_of(dtype, self.byte_scale)
        std = np.sqrt(np.sum(squares, 0) / count) * scale
        self._set((mean * scale).tolist(), np.where(std > 0, std, 1.0).tolist())
        return self

    def steps(self, channels: int, dtype: np.dtype) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """What convolutions of one tap for each channel take one after the other.

        First the mean is subtracted, then the rest divided, so that no digits of numbers far from 0
        are lost.

        Returns
        -------
        list of (weight, bias), shapes (C, 1, 1, 1) and (C,)
            Without a step that would change nothing.

        Raises ValueError if there are numbers for another count of channels.
        """
        try:
            mean, std = (np.broadcast_to(n, channels) for n in (self.mean, self.std))
        except ValueError:
            raise ValueError(
                f"mean, std: expected numbers for {channels} channels, got mean {self.mean} "
                f"and std {self.std}"
            ) from None
        steps: list[tuple[np.ndarray, np.ndarray | None]] = []
        if mean.any():
            steps.append((np.ones((channels, 1, 1, 1), dtype), (-mean).astype(dtype)))
        if (std != 1).any():
            steps.append(((1 / std).astype(dtype).reshape(-1, 1, 1, 1), None))
        return steps

    def forward(self, x: Any) -> Any:
        if x.name in x.graph.inputs:
            x.graph.byte_scale = self.byte_scale
            x.graph.normalize = self
        C, *sides = x.features
        H, W = sides if len(sides) == 2 else (1, math.prod(sides))
        y = x.reshape(N, C, H, W)
        for weight, bias in self.steps(C, x.dtype):
            y = ops.conv2d(y, weight, bias, groups=C)
        return y.reshape(N, *x.features)


def _parts(images: Any) -> Iterator[np.ndarray]:
    # some images at a time, without a copy of those that are in memory
    if isinstance(images, np.ndarray):
        return (images[i : i + CHUNK] for i in range(0, len(images), CHUNK))
    from ..data.batching import batches, read

    return (part for _, part in read(images, batches(len(images), CHUNK)))


def _numbers(value: Any, name: str) -> float | tuple[float, ...]:
    numbers = check.real_array(value, name).astype(np.float64)
    if numbers.ndim > 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"{name}: expected a finite number, or one a channel, got {value!r}")
    return tuple(numbers.tolist()) if numbers.ndim else float(numbers)
