"""Calibration: which numbers of an activation the grid of bytes should reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..graph.bytes import LARGEST, Grid
from ..graph.graph import Graph
from ..lanes import Lanes
from ..run.by_batch import ByBatch
from ..scale import scale_of

METHODS = ("minmax", "percentile", "entropy")
BINS = 2048  # of a histogram
LEVELS = 128  # least of those bins that "entropy" tries
AT_ONCE = 64  # images


class Range:
    """The numbers of one activation over a sample, and what part of them the grid should reach.

    "minmax" reaches all of them; "percentile" leaves out those beyond the given percentile at
    either end; "entropy" takes the end at which the numbers, clipped and on the grid, lose the
    least information (the Kullback-Leibler divergence of their histograms: Migacz 2017, "8-bit
    inference with TensorRT").
    """

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.counts: np.ndarray | None = None

    def see(self, x: np.ndarray) -> None:
        """Take note of the least and the greatest number."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def count(self, x: np.ndarray) -> None:
        """Count numbers between the ends that are known, in bins of one width.

        Zeros are not counted: every grid has them exactly.
        """
        x = x[x != 0]
        high = self.high if self.high > self.low else self.low + 1.0
        counts, _ = np.histogram(x, BINS, (self.low, high))
        self.counts = counts if self.counts is None else self.counts + counts

    def ends(self, method: str, percentile: float) -> tuple[float, float]:
        """The least and the greatest number that the grid should reach."""
        if method == "minmax" or not self.high > self.low:
            return self.low, self.high
        assert self.counts is not None
        edges = np.linspace(self.low, self.high, BINS + 1)
        if method == "percentile":
            share = np.cumsum(self.counts) / max(int(self.counts.sum()), 1)
            beyond = (100 - percentile) / 100
            first = int(np.searchsorted(share, beyond, "right"))
            last = int(np.searchsorted(share, 1 - beyond, "left"))
            return float(edges[min(first, last)]), float(edges[last + 1])
        return self._least_loss(edges)

    def _least_loss(self, edges: np.ndarray) -> tuple[float, float]:
        # the upper end alone moves, where the numbers are not negative; else both, as one
        assert self.counts is not None
        one_sided = self.low >= 0
        best, found = np.inf, (self.low, self.high)
        for count in range(LEVELS, BINS + 1, 16):
            first = 0 if one_sided else (BINS - count) // 2
            part = self.counts[first : first + count].astype(np.float64)
            whole = part.copy()
            whole[0] += self.counts[:first].sum()
            whole[-1] += self.counts[first + count :].sum()
            loss = divergence(whole, part, LARGEST + 1)
            if loss < best:
                best, found = loss, (float(edges[first]), float(edges[first + count]))
        return found


def divergence(whole: np.ndarray, part: np.ndarray, levels: int) -> float:
    """Of a histogram `whole`, with what was clipped at its ends, from `part` merged to levels.

    ``sum p log(p / q)``, where q spreads each level evenly over its bins that are not empty.
    """
    groups = np.minimum(np.arange(len(part)) * levels // len(part), levels - 1)
    filled = (part > 0).astype(np.float64)
    total = np.bincount(groups, part, levels)
    bins = np.bincount(groups, filled, levels)
    q = np.where(filled > 0, (total / np.maximum(bins, 1))[groups], 0.0)
    p = whole / whole.sum()
    if not q.sum():
        return np.inf
    q = q / q.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())


def grid_for(low: float, high: float) -> Grid:
    """The finest grid that has 0 and reaches both numbers."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / LARGEST
    if not scale > np.finfo(np.float32).tiny:
        return Grid(1.0, 0)  # nothing but zeros
    scale = float(np.float32(scale))
    return Grid(scale, round(min(max(-low / scale, 0.0), float(LARGEST))))


def activations(
    graph: Graph, names: Sequence[str], sample: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The values of these names, part by part of the sample."""
    seen = Graph(graph.shapes[graph.input], graph.byte_scale, None, graph.dtype)
    seen.nodes, seen.shapes, seen.outputs = graph.nodes, graph.shapes, tuple(names)
    scale = scale_of(sample.dtype, graph.byte_scale)
    for first in range(0, len(sample), AT_ONCE):
        part = sample[first : first + AT_ONCE]
        lanes = Lanes.pack(np.ascontiguousarray(part), graph.dtype, scale)
        run = ByBatch(seen)
        run.begin(len(part))
        outputs = run.forward([lanes.reshape(*graph.shapes[graph.input])])
        yield {name: y.unpack() for name, y in zip(names, outputs, strict=True)}
