"""One operator of the graph as a function on arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _check as check
from ..graph.graph import Graph
from ..run.by_batch import ByBatch


def on_arrays(op: str, x: Any, weights: Mapping[str, Any], attributes: Mapping[str, Any]) -> Any:
    """What an operator makes of a batch, (N, ...), or of one in lanes.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    batch = check.batch(x, "x")
    arrays = [np.asarray(weight) for weight in weights.values()]
    dtype = check.common_dtype(batch, *arrays)
    graph = Graph(batch.shape[1:], dtype=dtype)
    graph.emit(op, [graph.input], weights, attributes)
    (y,) = ByBatch(graph).forward([check.packed(batch, dtype)])
    return check.result(y, batch)
