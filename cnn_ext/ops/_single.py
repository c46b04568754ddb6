"""One operator of the graph as a function of arrays, batches in lanes or symbolic values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .. import _check as check
from ..graph.graph import Graph
from ..graph.operator import OPERATORS
from ..graph.value import Value
from ..lanes import contiguous
from ..parameter import Kept, Parameter
from ..run.by_batch import ByBatch


def applied(
    op: str,
    x: Any,
    attributes: Mapping[str, Any],
    weights: Mapping[str, Any] | None = None,
    ndim: int | None = None,
    out: np.ndarray | None = None,
) -> Any:
    """What an operator makes of a batch with `ndim` axes, (N, ...)."""
    given = {
        key: weight if isinstance(weight, Kept) else check.real_array(weight, key)
        for key, weight in (weights or {}).items()
        if weight is not None
    }
    if isinstance(x, Value):
        return x.emit(op, weights=given, **attributes)
    batch = _batch(x, "x", ndim)
    arrays = [weight.data if isinstance(weight, Kept) else weight for weight in given.values()]
    dtype = check.common_dtype(batch, *arrays)
    shape = batch.shape[1:]
    if arrays:
        taken = {key: contiguous(array, dtype) for key, array in zip(given, arrays, strict=True)}
        graph = _graph(op, shape, dtype, attributes, taken)
    else:
        graph = _without_weights(op, shape, dtype, tuple(attributes.items()))
    y = ByBatch(graph).do(graph.nodes[0], [check.packed(batch, dtype)])
    return check.result(y, batch, out)


def gradients(
    op: str,
    dy: Any,
    seen: Any,
    attributes: Mapping[str, Any],
    weights: Mapping[str, np.ndarray] | None = None,
    ndim: int | None = None,
    need_dx: bool = True,
    out: Sequence[np.ndarray | None] = (None,),
) -> list[Any]:
    """The gradients of an operator at its input, or None, and at its weights.

    `seen` is what they read, the input or the output, or the input's shape if they read neither.
    """
    kind, name = OPERATORS[op], OPERATORS[op].reads
    arrays = weights or {}
    dy = _batch(dy, "dy", ndim)
    if name:
        seen = _batch(seen, name, ndim)
    dtype = check.common_dtype(dy, seen if name else None, *arrays.values())
    learned = {key: Parameter(contiguous(array, dtype)) for key, array in arrays.items()}
    images, *shape = seen.shape if name else seen
    graph = _graph(op, shape, dtype, attributes, learned)
    check.same_shape(dy, "dy", (images, *graph.output_shape))
    run = ByBatch(graph, back=True)
    lanes = check.packed(seen, dtype, name) if name else None
    given = check.packed(dy, dtype, "dy")
    (dx,) = kind.backward(run, graph.nodes[0], given, (lanes,), lanes, [need_dx])
    found = [None if dx is None else check.result(dx, dy, out[0])]
    for i, parameter in enumerate(learned.values(), 1):
        _, gradient, _ = run.gradients[id(parameter)]
        found.append(check.into(gradient, out[i], f"out[{i}]"))
    return found


def _graph(
    op: str,
    shape: Sequence[int],
    dtype: np.dtype,
    attributes: Mapping[str, Any],
    weights: Mapping[str, Any],
) -> Graph:
    graph = Graph(shape, dtype=dtype)
    graph.emit(op, [graph.input], weights, attributes)
    return graph


@lru_cache(maxsize=64)  # the softmax behind a prediction takes half as long
def _without_weights(
    op: str, shape: tuple[int, ...], dtype: np.dtype, attributes: tuple[tuple[str, Any], ...]
) -> Graph:
    return _graph(op, shape, dtype, dict(attributes), {})


def _batch(x: Any, name: str, ndim: int | None) -> Any:
    batch = check.batch(x, name, ndim)
    if len(batch.shape) < 2:
        raise ValueError(f"{name}: expected shape (N, K, ...), got {batch.shape}")
    return batch
