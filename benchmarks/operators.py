"""Every operator of the table by itself, as its `example` says, as a line of JSON: microseconds.

    python benchmarks/operators.py THREADS SECONDS

64 images in lanes, forward, and forward and back to inputs and weights; one image by a plan, where
there is one.  `against.py BASE --operators` compares two commits.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext.graph import OPERATORS, Graph
from cnn_ext.lanes import Lanes
from cnn_ext.run.by_batch import ByBatch

IMAGES = 64
TRAINING = ("dropout",)  # no plan has it
OWN = ("opaque",)  # whose time is that of a layer of one's own
RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    """Numbers of which there are a logarithm and a square root."""
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)


def graph_of(name: str, **changed: Any) -> Graph:
    """The operator alone.

    Raises
    ------
    ValueError
        If its example leaves out what it needs.
    """
    operator = OPERATORS[name]
    given = {"x": (64, 28, 28), **operator.example, **changed}
    graph = Graph(given.pop("x"))
    weights = {
        key: cnn_ext.Parameter(random(*given.pop(key))) for key in operator.weights if key in given
    }
    inputs = operator.inputs.partition(" or ")[0].replace(", ...", "").split(", ")
    graph.add(name, *[graph.input] * len(inputs), weights=weights, **given)
    return graph


def there_and_back(graph: Graph, x: Lanes, dy: Lanes) -> None:
    """A pass forward and one back."""
    run = ByBatch(graph, back=True)
    run.forward([x])
    run.backward([dy], need_dx=True)


def rows(seconds: float) -> dict[str, float]:
    """All times."""
    found = {}
    for name in OPERATORS:
        if name in OWN:
            continue
        graph = graph_of(name)
        x = Lanes.pack(random(IMAGES, *graph.input_shape), graph.dtype)
        dy = Lanes.pack(random(IMAGES, *graph.output_shape), graph.dtype)
        calls = {
            "forward": partial(ByBatch(graph).forward, [x]),
            "forward and back": partial(there_and_back, graph, x, dy),
        }
        if name not in TRAINING:
            inference = {"training": False} if "training" in OPERATORS[name].attributes else {}
            plan = cnn_ext.Plan(graph_of(name, **inference))
            calls["one image"] = partial(plan, random(*graph.input_shape))
        for what, call in calls.items():
            found[f"{name} {what}"] = 1e6 * median_seconds(call, seconds)
    return found


if __name__ == "__main__":
    cnn_ext.set_num_threads(int(sys.argv[1]))
    print(json.dumps(rows(float(sys.argv[2]))))
