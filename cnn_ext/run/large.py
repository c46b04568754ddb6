"""Answers for images of which a block of LANES does not fit the caches: one image at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import FLOAT, ROOM, Packed
from ..graph.operator import OPERATORS
from ..graph.rewrite import frozen
from .by_image import ByImage
from .rules import most_at_once

CACHES = 12_000_000  # bytes of a block that are too many: then one image at a time is faster


def too_large(graph: Graph) -> bool:
    """Whether a block of images is certain not to fit, before anything is recorded."""
    most, _ = most_at_once(graph, lambda name: math.prod(graph.shapes[name]))
    return FLOAT.itemsize * _core.lanes(FLOAT.itemsize) * most > 2 * CACHES


def recorded(
    graph: Graph,
    calls: Callable[[np.ndarray, np.ndarray], None],
    packed: Packed,
    images: int,
    dtype: np.dtype,
) -> _core.Steps:
    """The calls of kernels from so many images of numbers or bytes to plain outputs."""
    x = np.zeros((images, *graph.input_shape), dtype)
    out = np.empty((images, *graph.output_shape), FLOAT)
    weights = [array for node in graph.nodes for array in node.weights.values()]
    weights += [array for arrays in packed.values() for array in arrays]

    def forward() -> tuple[()]:
        calls(x, out)
        return ()

    return _core.record(forward, [x, out], weights, FLOAT.itemsize, images, True)


def one_by_one(graph: Graph, x: np.ndarray) -> np.ndarray | None:
    """The outputs with the weights as they are now, bit for bit those of blocks of images.

    None if an image alone would be computed in another way, as with normalization, or not at all.

    Parameters
    ----------
    graph : Graph
        Of one input and one output, in float32.
    x : ndarray of float32 or uint8, shape (N, *input_shape), in C order
    """
    if any(OPERATORS[node.op].lowers(node) for node in graph.nodes):
        return None
    graph, packed = frozen(graph), Packed(ROOM)
    try:
        ByImage(graph, packed).prepare()
        steps = recorded(graph, ByImage(graph, packed), packed, 1, x.dtype)
    except (ValueError, _core.RecordingError):
        return None
    out = np.empty((len(x), *graph.output_shape), FLOAT)
    steps.run([x, out], len(x), 1.0)
    return out
