"""Mini-batches: which images go together, and the images of one batch.

Nothing here copies the whole set: an epoch costs one array of indices, a batch its own images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnn_ext import _check as check
from cnn_ext._arrays import plain_array, refuse_wrapped
from cnn_ext.data._reading import Array


def batches(
    n: int, batch_size: int, rng: np.random.Generator | None = None, drop_last: bool = False
) -> Iterator[NDArray[np.intp]]:
    """Divide the indices 0 to `n` - 1 into batches.

    Parameters
    ----------
    n
        Number of images.
    batch_size
        Images in a batch; the last one may be shorter.
    rng
        Source of a new random order; None goes through the indices in order.
    drop_last
        Leave out a last batch that is shorter than the others.

    Returns
    -------
    iterator of ndarray
        Indices of one batch at a time, int, (batch_size,) or fewer.

    Raises
    ------
    ValueError
        If `n` is negative or `batch_size` is not positive.
    TypeError
        If one of them is not an integer.
    """
    n, batch_size = check.whole(n, "n", 0), check.whole(batch_size, "batch_size", 1)
    order = np.arange(n) if rng is None else rng.permutation(n)
    end = n - n % batch_size if drop_last else n
    return (order[start : min(start + batch_size, end)] for start in range(0, end, batch_size))


def forever(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """`batches` over and over, each time in a new random order."""
    while True:
        yield from batches(n, batch_size, rng)


def gather(x: Any, indices: ArrayLike) -> Array:
    """Copy the images of one batch out of a set, values as they are.

    Parameters
    ----------
    x
        Images, (N, ...): an array, a ``numpy.memmap`` or anything that can be indexed with an
        array of integers or else with one integer at a time (a list, an HDF5 data set). Of a
        DataFrame or a Series, the rows by their position, whatever its index says.
    indices
        (B,) integers; the batch has their order, repetitions included.

    Returns
    -------
    ndarray
        (B, ...) of the number type that `x` has.

    Raises
    ------
    IndexError
        If an index is out of range.
    ValueError
        If the images of the batch differ in shape or `indices` is not one-dimensional.
    TypeError
        If the values are not real numbers, are masked or sparse, or `indices` are not integers.
    """
    refuse_wrapped(x, "x")
    wanted = plain_array(indices, "indices")
    if wanted.ndim != 1:
        raise ValueError(f"indices: expected one dimension, got shape {wanted.shape}")
    if wanted.size and wanted.dtype.kind not in "iu":
        raise TypeError(f"indices: expected integers, got dtype {wanted.dtype}")
    wanted = wanted.astype(np.intp, copy=False)
    try:
        rows = x.iloc[wanted] if hasattr(x, "iloc") else x[wanted]
    except TypeError:  # a sequence, or a file format that wants its indices sorted
        rows = np.stack([plain_array(x[i], "x") for i in wanted.tolist()])
    batch = plain_array(rows, "x")
    if batch.dtype.kind not in "buif":
        raise TypeError(f"x: expected real numbers, got dtype {batch.dtype}")
    return batch
