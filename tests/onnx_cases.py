"""What the tests of ONNX files share: a graph run kernel by kernel, whatever operators it has."""

from __future__ import annotations

import numpy as np

from cnn_ext.graph import Graph
from cnn_ext.lanes import Lanes
from cnn_ext.run.by_batch import ByBatch


def by_lanes(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Outputs (N, ...) of images (N, ...), by the kernels that training uses."""
    x = np.ascontiguousarray(images, np.float32).reshape(-1, *graph.shapes[graph.input])
    (y,) = ByBatch(graph).forward([Lanes.pack(x)])
    return y.unpack().reshape(len(x), *graph.output_shape)
