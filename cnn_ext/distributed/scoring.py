"""`score`: the answers of a plan for more images than one process should take, by Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .._dispatch import threads
from ..run.plan import Plan


def score(images: Any, plan: Plan) -> Any:
    """The outputs of a plan for a Dask array or bag, when Dask computes them.

    However the images are divided, each has the answer that `plan` gives here, bit for bit.  The
    plan travels once to each worker.  A worker computes each of its tasks on one thread, and has
    as many tasks at once as it has threads.

    Parameters
    ----------
    images : dask.array.Array, shape (N, ...), or dask.bag.Bag
        Images of the plan's `input_shape`; in a bag single ones.
    plan : Plan

    Returns
    -------
    dask.array.Array of float32, shape (N, ...), or dask.bag.Bag of ndarray

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If they are no images for the plan.
    """
    try:
        import dask.array
        import dask.bag
        from dask import delayed
    except ImportError as error:
        raise _missing("score", error) from None
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: expected a Plan, got {type(plan).__name__}")
    there = delayed(plan, traverse=False)  # one key of the graph: a worker keeps what it received
    if isinstance(images, dask.bag.Bag):
        return images.map_partitions(_bag_answers, there)
    if not isinstance(images, dask.array.Array):
        raise TypeError(
            f"images: expected a dask.array or a dask.bag, got {type(images).__name__}; a plan "
            "takes arrays itself"
        )
    if images.shape[1:] != plan.input_shape:
        shape = ", ".join(["N", *map(str, plan.input_shape)])
        raise ValueError(f"images: expected shape ({shape}), got {images.shape}")
    whole = images.rechunk({axis: -1 for axis in range(1, images.ndim)})
    parts = [delayed(_answers)(part, there) for part in whole.to_delayed().reshape(-1)]
    rows = [
        dask.array.from_delayed(part, (count, *plan.output_shape), np.float32)
        for part, count in zip(parts, whole.chunks[0], strict=True)
    ]
    return dask.array.concatenate(rows)


def on_workers(
    address: str, function: Callable[..., Any], parts: Sequence[Any], plan: Plan
) -> Iterator[Any]:
    """What ``function(part, plan=plan)`` gives for each part, in order, by the workers of Dask.

    Parameters
    ----------
    address : str
        Of the scheduler.
    function : function
        That the workers can import.
    parts : sequence
    plan : Plan
        Travels once to each worker.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    OSError
        If there is no scheduler.
    """
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise _missing("--dask", error) from None
    with Client(address) as client:
        there = client.scatter(plan, broadcast=True, hash=False)
        for future in client.map(function, parts, plan=there, pure=False):
            yield future.result()


def _missing(who: str, error: Exception) -> ImportError:
    return ImportError(f"{who} needs Dask: pip install 'cnn_ext[dask]' ({error})")


def _answers(images: np.ndarray, plan: Plan) -> np.ndarray:
    with threads(1):
        return plan(images)


def _bag_answers(images: Sequence[np.ndarray], plan: Plan) -> list[np.ndarray]:
    images = list(images)
    return list(_answers(np.stack(images), plan)) if images else []
