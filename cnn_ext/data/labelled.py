"""Images together with their targets, a part of them too, without a copy of the images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import tee
from typing import Any, NamedTuple

import numpy as np

from .._arrays import each_of, plain_array, refuse_wrapped
from .batching import batches, gather, read, source_of
from .weights import sample_weights


class Batch(NamedTuple):
    """Images, their numbers in the set or the epoch, targets, and weights in the cost."""

    indices: np.ndarray
    images: Any
    targets: Any
    weights: np.ndarray | None

    def part(self, chosen: slice) -> Batch:
        """Some of them."""
        weights = None if self.weights is None else self.weights[chosen]
        images, targets = (
            each_of(lambda rows: rows[chosen], each) for each in (self.images, self.targets)
        )
        return Batch(self.indices[chosen], images, targets, weights)


class LabelledSet:
    """Images and their targets, or a part of them.

    Parameters
    ----------
    x : anything that `gather` takes, (N, ...)
    y : array_like, (N, ...)
    name, y_name, weight_name : str
        What messages call images, targets and weights.
    several : bool
        Whether `y` is targets of several outputs.
    sample_weight : array_like, shape (N,), optional
        Weights of the images in the cost.

    Raises
    ------
    TypeError
        If one of them is masked or sparse.
    ValueError
        If there is no image, or not one target for each, or weights do not fit.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        name: str = "x",
        y_name: str = "y",
        several: bool = False,
        sample_weight: Any = None,
        weight_name: str = "sample_weight",
    ) -> None:
        if isinstance(x, tuple):
            x = Columns({i: part for i, part in enumerate(x)}, name, tuple)
        x = source_of(x)
        refuse_no_images(x, name)
        self.x: Any = x
        self.several = several
        self.y: Any
        if isinstance(y, Columns):
            self.y = y
        elif several:
            keys = y.items() if isinstance(y, Mapping) else enumerate(y)
            arrays = {key: plain_array(part, f"{y_name}[{key!r}]") for key, part in keys}
            self.y = Columns(arrays, y_name, dict if isinstance(y, Mapping) else tuple)
        else:
            self.y = plain_array(y, y_name)
        self.indices: np.ndarray | None = None
        if not len(x):
            raise ValueError(f"{name}: expected at least one image, got none")
        if self.y.shape[:1] != (len(x),):
            raise ValueError(
                f"{y_name}: expected {len(x)} targets, one for each image, got shape {self.y.shape}"
            )
        self.weights = sample_weights(sample_weight, len(x), weight_name)

    def part(self, indices: np.ndarray) -> LabelledSet:
        """The images and targets of these indices alone."""
        part = copy.copy(self)
        part.indices = indices
        y = self.y
        part.y = y.part(indices) if isinstance(y, Columns) else y[indices]
        if self.weights is not None:  # each part needs some
            part.weights = sample_weights(self.weights[indices], len(indices))
        return part

    def for_ranks(self, ranks: int) -> LabelledSet:
        """The same for one of so many processes, each of which reads a part of every batch."""
        other = copy.copy(self)
        other.x = _for_ranks(self.x, ranks)
        return other

    def given(self) -> Any:
        """The images as `fit` takes them: of several inputs a tuple of sets."""
        if not isinstance(self.x, Columns):
            return self
        sets = (LabelledSet(part, np.zeros(len(self.x))) for part in self.x.parts.values())
        return tuple(s if self.indices is None else s.part(self.indices) for s in sets)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: np.ndarray) -> Any:
        wanted = chosen if self.indices is None else self.indices[chosen]
        return self.x[wanted] if isinstance(self.x, Columns) else gather(self.x, wanted)

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None
    ) -> Iterator[np.ndarray]:
        """Indices of each batch: in order, or in a random one that suits how the images lie."""
        parts = self.x.parts.values() if isinstance(self.x, Columns) else [self.x]
        shuffled = next((x.shuffled for x in parts if hasattr(x, "shuffled")), None)
        if rng is None or shuffled is None:
            return batches(len(self), batch_size, rng)
        own = np.arange(len(self)) if self.indices is None else self.indices
        order = np.asarray(shuffled(rng, own))
        if order.shape != own.shape:
            raise ValueError(
                f"x: expected {len(own)} numbers of images from shuffled, got shape {order.shape}"
            )
        if self.indices is not None:
            order = self.indices.searchsorted(order)
        return (order[start : start + batch_size] for start in range(0, len(self), batch_size))

    def read_batches(self, order: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Any]]:
        """Indices and images of one batch after the other, see `read`."""
        indices = self.indices
        if indices is None:
            return read(self.x, order)
        order, again = tee(order)
        images = read(self.x, (indices[each] for each in order))
        return ((each, found) for each, (_, found) in zip(again, images, strict=True))

    def taken(self, order: Iterator[np.ndarray]) -> Iterator[Batch]:
        """The batches of these indices."""
        for indices, images in self.read_batches(order):
            weights = None if self.weights is None else self.weights[indices]
            yield Batch(indices, images, self.y[indices], weights)

    def count(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return -(-len(self) // batch_size)


class Columns:
    """Several sets of images or targets that go together.

    Parameters
    ----------
    parts : dict
        Sets of one length, by name or number.
    name : str
        What messages call them.
    form : tuple or dict
        What a part of them is.
    """

    def __init__(self, parts: dict[Any, Any], name: str, form: type[Any]) -> None:
        if not parts:
            raise ValueError(f"{name}: expected at least one array, got none")
        parts = {key: source_of(part) for key, part in parts.items()}
        for key, part in parts.items():
            refuse_no_images(part, f"{name}[{key!r}]")
        lengths = {key: len(part) for key, part in parts.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: expected as many images in each, got {lengths}")
        self.parts, self.name, self.form = parts, name, form

    def part(self, indices: np.ndarray) -> Columns:
        """Those of these indices alone."""
        parts = {key: part[indices] for key, part in self.parts.items()}
        return Columns(parts, self.name, self.form)

    def for_ranks(self, ranks: int) -> Columns:
        """As of a set."""
        parts = {key: _for_ranks(part, ranks) for key, part in self.parts.items()}
        return Columns(parts, self.name, self.form)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, indices: Any) -> Any:
        found = [gather(part, indices) for part in self.parts.values()]
        return self._formed(found)

    def _formed(self, found: Sequence[Any]) -> Any:
        return dict(zip(self.parts, found, strict=True)) if self.form is dict else tuple(found)

    def read_batches(self, order: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Any]]:
        """Indices and images of one batch after the other, see `read`."""
        order, *orders = tee(order, 1 + len(self.parts))
        sets = [read(part, each) for part, each in zip(self.parts.values(), orders, strict=True)]
        for indices, *found in zip(order, *sets, strict=True):
            yield indices, self._formed([images for _, images in found])


def _for_ranks(x: Any, ranks: int) -> Any:
    return x.for_ranks(ranks) if hasattr(x, "for_ranks") else x


def refuse_no_images(x: Any, name: str) -> None:
    """Raise `TypeError` where `x` is nothing that has images by number."""
    refuse_wrapped(x, name)
    if not hasattr(x, "__len__"):
        raise TypeError(f"{name}: expected images in an array, got {type(x).__name__}")
