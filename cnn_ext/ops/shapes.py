"""Joining of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _check as check
from ..graph.value import Value, joined


def concat(values: Sequence[Any], dim: int = 1) -> Any:
    """Batches joined along an axis, that of channels by default, as `torch.cat`.

    Parameters
    ----------
    values : sequence of array_like, (N, C, ...), or of what stands for them while one traces
    dim : int
        Not 0: images stay apart.

    Raises
    ------
    TypeError, ValueError
        If they differ in another axis, or there is none.
    """
    parts = list(values)
    if any(isinstance(part, Value) for part in parts):
        return joined(parts, dim)
    arrays = [check.real_array(part, f"values[{i}]") for i, part in enumerate(parts)]
    if not arrays or not -arrays[0].ndim < dim < arrays[0].ndim or dim in (0, -arrays[0].ndim):
        raise ValueError(f"dim: expected an axis of the arrays other than 0, got {dim!r}")
    try:
        return np.concatenate(arrays, dim)
    except ValueError as error:
        raise ValueError(f"values: {error}") from None
