"""Mini-batches: which images go together, and the images of one batch or of each.

Nothing here copies the whole set: an epoch costs one array of indices, a batch its own images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import tee
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
        array of integers or else with one integer at a time (a list); an ``h5py.Dataset`` or a
        ``zarr.Array``. Of a DataFrame or a Series, the rows by their position, whatever its index
        says.
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
    x = source_of(x)
    wanted = plain_array(indices, "indices")
    if wanted.ndim != 1:
        raise ValueError(f"indices: expected one dimension, got shape {wanted.shape}")
    if wanted.size and wanted.dtype.kind not in "iu":
        raise TypeError(f"indices: expected integers, got dtype {wanted.dtype}")
    wanted = wanted.astype(np.intp, copy=False)
    try:
        rows = x.iloc[wanted] if hasattr(x, "iloc") else x[wanted]
    except TypeError:  # a sequence
        rows = np.stack([plain_array(x[i], "x") for i in wanted.tolist()])
    batch = plain_array(rows, "x")
    if batch.dtype.kind not in "buif":
        raise TypeError(f"x: expected real numbers, got dtype {batch.dtype}")
    return batch


def numbered(chosen: Any, n: int) -> NDArray[np.intp]:
    """What stands in brackets behind a set of `n` images, as numbers from 0: (), or (B,).

    Raises
    ------
    TypeError
        If it is no whole number, slice or array of whole numbers.
    IndexError
        If a number is out of range.
    """
    if isinstance(chosen, slice):
        return np.arange(*chosen.indices(n))
    wanted = plain_array(chosen, "index")
    if (
        isinstance(chosen, tuple)
        or wanted.ndim > 1
        or (wanted.size and wanted.dtype.kind not in "ui")
    ):
        raise TypeError(f"index: expected numbers of images, got {chosen!r:.99}")
    rows = wanted.astype(np.intp)
    rows = np.where(rows < 0, rows + n, rows)
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise IndexError(f"index: expected numbers below {n}, got {chosen!r:.99}")
    return rows


def source_of(x: Any) -> Any:
    """`x`, or the `FileArray` of an HDF5 data set or a Zarr array."""
    if not type(x).__module__.startswith(("h5py.", "zarr.")):
        return x
    from cnn_ext.data.file_array import FileArray, is_file_array

    return FileArray(x) if is_file_array(x) else x


def read(x: Any, order: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Numbers and images of one batch after the other, read ahead by threads where that helps.

    Parameters
    ----------
    x
        What `gather` takes.  Of what has an attribute `readers`, a number, as many threads ask for
        batches at once; without it, nobody does but the caller.  What has a method `read_batches`
        does it itself.
    order : iterator of ndarray
        Indices of each batch.
    """
    x = source_of(x)
    if hasattr(x, "read_batches"):
        found: Iterator[tuple[Array, Array]] = x.read_batches(order)
        return found
    readers = getattr(x, "readers", None)
    if readers is None:
        return ((indices, gather(x, indices)) for indices in order)
    readers = check.whole(readers, "readers", 1)
    from cnn_ext.data.ahead import ahead

    order, again = tee(order)
    images = ahead((partial(gather, x, indices) for indices in order), readers)
    return zip(again, images, strict=True)
