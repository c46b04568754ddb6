"""A set of labelled images, and the fixed way in which one without a test set is divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnn_ext._arrays import plain_array
from cnn_ext.data._reading import Array
from cnn_ext.data.batching import gather
from cnn_ext.data.batching import numbered as numbers_of

_SEED = 0
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to learn from, images to be judged by, and the names of their classes.

    Parameters
    ----------
    x_train, x_test
        Images, (N, C, H, W), uint8 or other real numbers: arrays, or what is read from files when
        it is used.
    y_train, y_test
        Labels, (N,) int64, 0 to ``len(classes) - 1``.
    classes
        Name of every class.
    x_val, y_val
        Images to watch training by and their labels, where the set has such a part; else None.

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """

    x_train: Any
    y_train: Array
    x_test: Any
    y_test: Array
    classes: tuple[str, ...]
    x_val: Any = None
    y_val: Array | None = None

    def __post_init__(self) -> None:
        if (self.x_val is None) != (self.y_val is None):
            raise ValueError("x_val: expected both images and labels for validation, or neither")
        for part, x, y in (
            ("train", self.x_train, self.y_train),
            ("test", self.x_test, self.y_test),
            ("val", self.x_val, self.y_val),
        ):
            if x is None or y is None:
                continue
            if len(x.shape) != 4 or x.dtype.kind not in "buif":
                raise ValueError(
                    f"x_{part}: expected images (N, C, H, W) of real numbers, "
                    f"got shape {x.shape} of {x.dtype}"
                )
            if y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != len(x):
                raise ValueError(
                    f"y_{part}: expected {len(x)} integer labels, one per image, "
                    f"got shape {y.shape} of {y.dtype}"
                )
            if y.size and not 0 <= y.min() <= y.max() < len(self.classes):
                raise ValueError(
                    f"y_{part}: expected labels 0 to {len(self.classes) - 1}, "
                    f"got {y.min()} to {y.max()}"
                )
            if x.shape[1:] != self.x_train.shape[1:]:
                raise ValueError(
                    f"x_{part}: expected images of shape {self.x_train.shape[1:]} as in x_train, "
                    f"got {x.shape[1:]}"
                )

    def __repr__(self) -> str:
        train, *shape = self.x_train.shape
        watched = "" if self.x_val is None else f" + {len(self.x_val)}"
        return (
            f"Dataset({train} + {len(self.x_test)}{watched} images of shape {tuple(shape)}, "
            f"{self.x_train.dtype}, {len(self.classes)} classes)"
        )


def stratified_split(
    labels: ArrayLike, test_fraction: float = 0.2
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide images at random, but always the same way, so that every class is divided alike.

    The random order is the sort order of the raw output of the PCG64 generator with seed 0, which
    NumPy keeps the same in all its versions (NEP 19).

    Parameters
    ----------
    labels
        (N,) or (N, 1) labels.
    test_fraction
        Share of every class that goes to the test set, rounded to whole images, from 0 up to but
        not including 1.

    Returns
    -------
    train, test : ndarray
        Indices of the images of the two sets, int, in random order.

    Raises
    ------
    TypeError
        If `labels` is masked or sparse.
    ValueError
        If `test_fraction` is out of range or `labels` is not one-dimensional.
    """
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction: expected 0 <= test_fraction < 1, got {test_fraction!r}")
    values = _flat(plain_array(labels, "labels"))
    if values.ndim != 1:
        raise ValueError(f"labels: expected shape (N,) or (N, 1), got {values.shape}")
    order = np.random.PCG64(_SEED).random_raw(len(values)).argsort(kind="stable")
    in_test = np.zeros(len(values), bool)
    for label in np.unique(values):
        members = order[values[order] == label]
        in_test[members[: round(test_fraction * len(members))]] = True
    return order[~in_test[order]], order[in_test[order]]


def divided(x: Any, y: Array, classes: tuple[str, ...], test_fraction: float) -> Dataset:
    """A set without a test part, divided by `stratified_split`."""
    if x.shape[:1] != y.shape:
        raise ValueError(f"x: expected {len(y)} images, one per label, got shape {x.shape}")
    train, test = stratified_split(y, test_fraction)
    return Dataset(some_of(x, train), y[train], some_of(x, test), y[test], classes)


class Selection:
    """Some images of a set, which stay where they are until they are used.

    Parameters
    ----------
    x
        Anything with a shape and a type that `gather` takes, (N, ...).
    indices
        Their numbers, int, (n,).
    """

    def __init__(self, x: Any, indices: Array) -> None:
        self.x, self.indices = x, indices
        self.shape, self.dtype = (len(indices), *x.shape[1:]), x.dtype
        if hasattr(x, "readers"):
            self.readers = x.readers

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, chosen: Any) -> Array:
        """An image by its number, or those of a slice or of an array of numbers."""
        rows = self.indices[numbers_of(chosen, len(self))]
        found = gather(self.x, rows.ravel())
        return found if rows.ndim else found[0]


def some_of(x: Any, indices: Array) -> Any:
    """The images of these numbers: a copy of those in memory, a `Selection` of those in files."""
    return x[indices] if type(x) is np.ndarray else Selection(x, indices)


def numbered(*labels: Array) -> tuple[str, ...]:
    """Names "0", "1", ... of the classes up to the largest label.

    Raises ValueError if it is so large that it is no class number.
    """
    largest = max((int(y.max()) for y in labels if y.size), default=-1)
    if largest >= _MOST_CLASSES:
        raise ValueError(f"expected labels below {_MOST_CLASSES}, got {largest}")
    return tuple(map(str, range(largest + 1)))


def column(name: str, labels: Array) -> Array:
    """Labels (N,) or (N, 1) as (N,) int64.

    Raises ValueError if they have another shape, as several labels for an image do, or are not
    integers.
    """
    values = _flat(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected (N,) or (N, 1) integers, got shape {labels.shape} of {labels.dtype}"
        )
    return values.astype(np.int64)


def _flat(labels: Array) -> Array:
    return labels[:, 0] if labels.shape[1:] == (1,) else labels
