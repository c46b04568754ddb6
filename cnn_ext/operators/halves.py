"""Products of one image whose activations are numbers of bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import NO_BORDER, SIZE, Border, Placed
from ..graph.node import Node
from ..graph.precision import BFLOAT16
from .packing import half_blocks


def channels_of(graph: Graph, sizes: tuple[int, ...]) -> int:
    """What the kernels of bfloat16 take for the channels of a convolution, in a block or alone.

    These are its channels or the taps of all of them; 0: it is done in float32.
    """
    return _core.channels_of_halves(SIZE, (1, *sizes)) if graph.precision == BFLOAT16 else 0


def conv(
    run: Any,
    node: Node,
    x: Placed,
    channels: int,
    weight: np.ndarray,
    sizes: tuple[int, ...],
    padding: Border = NO_BORDER,
) -> Placed:
    """The convolution of a node with weights (K, C, R, S), or what is one of a single pixel.

    `channels` are those of `channels_of`, `sizes` those of `_core.half_conv`.
    """
    taps = channels != weight.shape[1]
    if node.output not in run.packed:
        rows = weight.reshape(len(weight), channels, 1, 1) if taps else weight
        run.packed[node.output] = half_blocks(rows, node.weights.get("bias"), run.lanes)
    w, bias = run.packed[node.output]
    x = run.regular(x, padding, 1 if taps else run.lanes)
    y: Placed = run.make(run.graph.shapes[node.output], run.border[node.output])
    top, _, left, _ = padding
    run.kernels.half_conv(
        x.data, w, bias, y.data, sizes, (x.plane, x.row, y.plane, y.row),
        (x.first - top * x.row - left * x.lanes, y.first), node.attributes["clip"], taps,
    )  # fmt: skip
    return y
