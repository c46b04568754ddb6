"""Transforms one after the other, in as few passes over the images as their order allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice, tee
from typing import Any

import numpy as np

from .. import _check as check
from .. import _core
from ..data.batching import gather
from ..data.labelled import Batch, LabelledSet
from ..lanes import contiguous, empty
from .chance import Chance, counter, numbers
from .colour import ColorJitter
from .elastic import ElasticTransform
from .erasing import Erasing
from .mixing import Mixing
from .transform import Geometric, Size, Transform

AHEAD = 2**20  # bytes of images that are augmented at once, if a batch has less
ROW = 12  # numbers that the kernel takes for an image
PLAIN = [1.0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]  # of one that it leaves as it is


class Compose(Transform):
    """Transforms in order; a plain list of them means the same.

    Geometric transforms in a row are one map of pixels and one resampling, so what the first one
    moves out of the image the next one may bring back; an `ElasticTransform` ends the row.  Flips
    and shifts by whole pixels copy, all others interpolate between four pixels.  A `Mixing`
    transform comes last.

    ``Compose(transforms)(x, seed=0, epoch=0)`` gives the images as training would see them in that
    epoch: x, (N, C, H, W), of any real type, which the result has too, whole numbers rounded.
    `indices`, by default 0 to N - 1, are the numbers of the images in their set: an image looks the
    same in every batch and on any number of threads.

    Parameters
    ----------
    transforms : sequence of Transform

    Raises
    ------
    TypeError, ValueError
        If they are no transforms, or something comes after a mixing one.
    """

    arguments = ("transforms",)

    def __init__(self, transforms: Any) -> None:
        if isinstance(transforms, (str, bytes)) or not isinstance(transforms, Iterable):
            raise TypeError(f"transforms: expected a list of transforms, got {transforms!r:.99}")
        self.transforms = list(transforms)
        self.flat: list[Transform] = []
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise TypeError(f"transforms: expected transforms, got {transform!r:.99}")
            self.flat += transform.flat if isinstance(transform, Compose) else [transform]
        if any(isinstance(transform, Mixing) for transform in self.flat[:-1]):
            raise ValueError("transforms: expected a mixing transform at the end alone")
        #: the transform that mixes images, if there is one
        self.mixing: Mixing | None = None
        if self.flat and isinstance(self.flat[-1], Mixing):
            self.mixing = self.flat[-1]
        #: whether pixels stay where they are and are seen
        self.keeps_pixels = all(isinstance(transform, ColorJitter) for transform in self.flat)
        self._passes = _passes(self.flat)

    def to_config(self) -> dict[str, Any]:
        """Type and transforms, as plain data that JSON can hold."""
        return {"type": "Compose", "transforms": [each.to_config() for each in self.transforms]}

    def __call__(self, x: Any, seed: int = 0, epoch: int = 0, indices: Any = None) -> np.ndarray:
        if self.mixing is not None:
            raise ValueError(f"{self.mixing!r} needs a set to choose from; `batch` has one")
        images = check.real_array(x, "x")
        chosen = numbers(np.arange(len(images)) if indices is None else indices)
        return self._images(images, counter(seed, "seed"), counter(epoch, "epoch"), chosen)

    def batch(
        self,
        x: Any,
        y: Any,
        indices: Any,
        seed: int = 0,
        epoch: int = 0,
        classes: Callable[[np.ndarray], int] | int | None = None,
    ) -> tuple[np.ndarray, Any]:
        """Some images of a set as they are in that epoch, and their targets.

        Parameters
        ----------
        x : anything that gives a batch for an array of indices, (N, C, H, W)
        y : array, (N,) of class numbers or (N, K) of targets
        indices : array of int, (B,)
        seed, epoch : int
        classes : int or function of the images, optional
            How many classes there are, where numbers become rows of targets for mixed images.

        Returns
        -------
        images, targets
            Targets of mixed images are rows, (B, K).

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        drawn_by = counter(seed, "seed"), counter(epoch, "epoch")
        return self._batch(gather(x, indices), x, y, indices, drawn_by, classes)

    def _batch(
        self,
        images: np.ndarray,
        x: Any,
        y: Any,
        indices: Any,
        drawn_by: tuple[int, int],
        classes: Callable[[np.ndarray], int] | int | None,
    ) -> tuple[np.ndarray, Any]:
        # of images that are of those indices
        chosen = numbers(indices)
        images = self._images(images, *drawn_by, chosen)
        if self.mixing is None:
            return images, y[indices]
        chance = Chance(*drawn_by, chosen, len(self.flat) - 1)
        others = self.mixing.partners(chance, len(x))
        another = self._images(gather(x, others), *drawn_by, numbers(others))
        rows, shares = self.mixing.pairs(chance, (images.shape[2], images.shape[3]))
        count = classes(images) if callable(classes) else classes
        own, other = (_rows(check.real_array(y[i], "y"), count) for i in (indices, others))
        targets = shares[:, None] * own + (1 - shares)[:, None] * other
        return _through(_mixed, images, rows, another), targets

    def batches(
        self,
        training: LabelledSet,
        order: Iterator[np.ndarray],
        drawn_by: tuple[int, int],
        classes: Callable[[np.ndarray], int],
        threads: Callable[[], AbstractContextManager[None]],
    ) -> Iterator[Batch]:
        """The batches of an order; several small ones are augmented at once.

        Parameters
        ----------
        training : LabelledSet
        order : iterator of ndarray
            The indices of each batch.
        drawn_by : (int, int)
            Seed and epoch.
        classes : function
            Of images, how many there are.
        threads : function
            The block in which the kernels run.
        """
        ahead = 1

        def together() -> Iterator[list[np.ndarray]]:
            while group := list(islice(order, ahead)):
                yield group

        groups, again = tee(together())
        joined = training.read_batches(np.concatenate(group) for group in again)
        for group, (indices, images) in zip(groups, joined, strict=True):
            with threads():
                images, mixed = self._batch(
                    images, training, training.y, indices, drawn_by, classes
                )
            ahead = max(1, AHEAD * len(group) // images.nbytes)
            start = 0
            for each in group:
                part = slice(start, start + len(each))
                start += len(each)
                weights = None if training.weights is None else training.weights[each]
                targets = mixed[part] if self.mixing else training.y[each]
                yield Batch(each, images[part], targets, weights)

    def _images(self, images: np.ndarray, seed: int, epoch: int, chosen: np.ndarray) -> np.ndarray:
        if images.ndim != 4 or 0 in images.shape[1:]:
            raise ValueError(f"x: expected images (N, C, H, W), got shape {images.shape}")
        if len(images) != len(chosen):
            raise ValueError(f"indices: expected {len(images)} numbers, got {len(chosen)}")
        if not self._passes:
            return images.copy()
        return _through(self._changed, images, seed, epoch, chosen)

    def _changed(self, images: np.ndarray, seed: int, epoch: int, chosen: np.ndarray) -> np.ndarray:
        for each in self._passes:
            images = each(images, lambda number: Chance(seed, epoch, chosen, number))
        return images


@dataclass
class _Pass:
    # what one call of the kernel does: moves, displaces, colours and covers; transforms with their
    # numbers in the list
    geometric: list[tuple[int, Geometric]] = field(default_factory=list)
    elastic: tuple[int, ElasticTransform] | None = None
    jitter: tuple[int, ColorJitter] | None = None
    erasing: tuple[int, Erasing] | None = None
    padding_mode: str | None = None
    fill: float = 0.0

    def takes(self, number: int, transform: Transform) -> bool:
        # note the transform, unless what is here already comes after it
        if isinstance(transform, Geometric):
            outside = transform.padding_mode
            mixed = None not in (outside, self.padding_mode) and (
                (outside, transform.fill) != (self.padding_mode, self.fill)
            )
            if self.elastic or self.jitter or self.erasing or mixed:
                return False
            if outside is not None:
                self.padding_mode, self.fill = outside, transform.fill
            if isinstance(transform, ElasticTransform):
                self.elastic = number, transform
            else:
                self.geometric.append((number, transform))
        elif isinstance(transform, ColorJitter):
            if self.jitter or self.erasing:
                return False
            self.jitter = number, transform
        elif isinstance(transform, Erasing):
            if self.erasing:
                return False
            self.erasing = number, transform
        else:
            raise TypeError(f"transforms: {transform!r:.99} is of no kind that is known")
        return True

    def __call__(self, images: np.ndarray, chance: Callable[[int], Chance]) -> np.ndarray:
        N, C, H, W = images.shape
        rows = np.empty((N, ROW))
        rows[:] = PLAIN
        size: Size = (H, W)
        matrix = None
        for number, transform in self.geometric:
            source, size = transform.sources(chance(number), size)
            matrix = source if matrix is None else _composed(matrix, source)
        if matrix is not None:
            rows[:, :6] = matrix.reshape(-1, 6)
        noise, weights_h, weights_w, spacing = None, None, None, 1.0
        if self.elastic:
            number, elastic = self.elastic
            noise, weights_h, weights_w, spacing = elastic.displacements(chance(number), size)
        if self.jitter:
            number, jitter = self.jitter
            rows[:, 6:8] = jitter.factors(chance(number))
        value = 0.0
        if self.erasing:
            number, erasing = self.erasing
            rows[:, 8:] = erasing.rectangles(chance(number), size)
            value = erasing.value
        y = empty((N, C, *size), images.dtype)
        _core.augment(
            images, rows, y, images.itemsize, (N, C, H, W, *size), self.padding_mode or "constant",
            self.fill, value, noise, weights_h, weights_w, spacing,
        )  # fmt: skip
        return y


def _passes(flat: list[Transform]) -> list[_Pass]:
    passes: list[_Pass] = []
    for number, transform in enumerate(flat):
        if isinstance(transform, Mixing):
            continue
        if not (passes and passes[-1].takes(number, transform)):
            passes.append(_Pass())
            passes[-1].takes(number, transform)
    return passes


def _composed(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    # where what the second transform shows, `inner`, lies before the first one
    matrix = np.matmul(outer[..., :2], inner)
    matrix[..., 2] += outer[..., 2]
    return matrix


def _mixed(images: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    others = contiguous(others, images.dtype)
    _core.mix(images, others, rows, images, images.itemsize, *images.shape)
    return images


def _rows(targets: np.ndarray, classes: int | None) -> np.ndarray:
    # class numbers as rows of targets
    if targets.ndim == 2:
        return targets
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise ValueError(
            f"y: expected class numbers (N,) or rows of targets (N, K), got {targets.dtype} of "
            f"shape {targets.shape}"
        )
    if classes is None:
        raise ValueError("classes: expected their number, where targets are class numbers")
    if targets.size and not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(
            f"y: expected classes 0 to {classes - 1}, got {targets.min()} to {targets.max()}"
        )
    return (targets[:, None] == np.arange(classes)).astype(np.float64)


def _through(change: Callable[..., np.ndarray], images: np.ndarray, *rest: Any) -> np.ndarray:
    # in a type that the kernel has, and back where that would change what the numbers mean
    dtype = images.dtype
    if dtype == np.uint8 or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        return change(contiguous(images, dtype.newbyteorder("=")), *rest)
    if dtype.kind == "b" or (dtype.kind == "f" and dtype.itemsize == 2):
        return change(images.astype(np.float32), *rest)
    numbers = change(images.astype(np.float64), *rest)
    if dtype.kind == "f":
        return numbers
    range_ = np.iinfo(dtype)
    return np.rint(numbers).clip(range_.min, range_.max).astype(dtype)
