"""A graph as a network that can be trained, saved and exported: what an ONNX file may become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _check as check
from ..graph.graph import Graph
from ..graph.node import Node
from ..graph.value import N
from ..initializers import Initializer, initial_weights
from ..operators.bytes import by_row
from ..parameter import Buffer, Parameter
from .module import Module

MOST_PLACES = 2**24  # in all gathers together
REFUSED = ("dropout", "opaque")  # operators that a description cannot hold
FIXED = ("constant", "weight_scale")  # weights that are not learned
ENDINGS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}


class GraphModule(Module):
    """A network of the nodes of a graph; `Graph.module` makes it.

    The weights are attributes named as in the file that the graph was read from, so that
    `state_dict` has its names.  Weights and biases of convolutions and linear layers and slopes are
    learned; constants that are added or multiplied are buffers.

    Parameters
    ----------
    graph : mapping
        Plain data, as `describe` makes it.
    initializer : str or function (shape, rng) -> array
        What the weights are at first.
    rng : numpy.random.Generator, optional

    Raises
    ------
    TypeError, ValueError, KeyError
        If it does not describe a graph.
    """

    arguments = ("graph",)

    def __init__(
        self,
        graph: Mapping[str, Any],
        *,
        initializer: str | Initializer = "zeros",
        rng: np.random.Generator | None = None,
    ) -> None:
        self.graph = dict(graph)
        self.nodes: list[tuple[str, list[int], dict[str, str], dict[str, Any]]] = []
        room = MOST_PLACES
        for i, node in enumerate(graph["nodes"]):
            op, inputs, names = str(node["op"]), [int(n) for n in node["inputs"]], {}
            if op in REFUSED or not inputs or not all(-1 <= place < i for place in inputs):
                raise ValueError(f"node {i}: no {op} of the values {inputs}")
            for key, (name, shape) in node["weights"].items():
                names[key] = name
                if "." not in name:  # so it is no name that the class has
                    raise ValueError(f"node {i}: no name of a weight: {name:.60}")
                if name not in vars(self):
                    kind = Buffer if key in FIXED else Parameter
                    sizes = tuple(check.whole(size, "shape", 1) for size in shape)
                    array = initial_weights(initializer, sizes, rng)
                    vars(self)[name] = kind(array.astype(np.float32))
            attributes = {}
            for key, value in node["attributes"].items():
                if isinstance(value, Mapping):
                    room -= math.prod(value["shape"])
                    if room < 0:
                        raise ValueError(f"node {i}: its index has too many places")
                attributes[key] = _from_plain(value)
            self.nodes.append((op, inputs, names, attributes))
        self.output = int(graph["output"])
        if not -1 <= self.output < len(self.nodes):
            raise ValueError(f"output: there is no node {self.output}")

    @property
    def byte_scale(self) -> float:
        scale: Any = self.graph["byte_scale"]  # None: whole numbers are refused
        return scale

    @property
    def ending(self) -> str | None:
        return ENDINGS.get(self.nodes[self.output][0]) if self.output >= 0 else None

    def forward(self, x: Any) -> Any:
        first, last = self.graph["input_shape"], self.graph["output_shape"]
        if x.features != tuple(first):
            raise ValueError(f"expected images of {tuple(first)}, got {x.features}")
        values = [x.reshape(N, *self.graph["inner_shape"])]
        for op, inputs, names, attributes in self.nodes:
            here, *others = (values[place + 1] for place in inputs)
            weights = {key: vars(self)[name] for key, name in names.items()}
            values.append(here.emit(op, *others, weights=weights, **attributes))
        y = values[self.output + 1]
        return y.reshape(N, *last) if last else y

    def to_config(self) -> dict[str, Any]:
        return {"type": "GraphModule", "graph": self.graph}

    def stored(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a state as a file keeps them: weights on the grid of bytes as bytes."""
        made = dict(state)
        for weight, scale in self._on_grids():
            steps = np.rint(state[weight] / by_row(state[scale], state[weight]))
            if (np.abs(steps) <= 128).all():
                whole = steps.astype(np.int8)
                if np.array_equal(whole * by_row(state[scale], state[weight]), state[weight]):
                    made[weight] = whole
        return made

    def restored(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The way back."""
        made = dict(tensors)
        for weight, scale in self._on_grids():
            if weight in made and scale in made and made[weight].dtype == np.int8:
                made[weight] = made[weight] * by_row(made[scale], made[weight])
        return made

    def _on_grids(self) -> list[tuple[str, str]]:
        # names of weights that are whole numbers times a scale, and those of the scales
        return [
            (names["weight"], names["weight_scale"])
            for _, _, names, _ in self.nodes if "weight_scale" in names
        ]  # fmt: skip

    def _shown(self) -> dict[str, Any]:
        return {"nodes": len(self.nodes)}


def module(graph: Graph) -> GraphModule:
    """The graph as a network that can be trained, with copies of its weights.

    Returns
    -------
    GraphModule
        In evaluation mode, with the graph's task and the shape of its input.

    Raises ValueError if it has other inputs or outputs than one of each, layers of one's own, or
    gathers of more than `MOST_PLACES` numbers.
    """
    if len(graph.inputs) + len(graph.outputs) > 2:
        raise ValueError("expected a graph with one input and one output")
    description, arrays = describe(graph)
    made = GraphModule(description)
    for name, array in arrays.items():
        vars(made)[name].data = array.astype(graph.dtype)
    made.task = graph.task
    if len(graph.input_shape) in (1, 3):
        made.input_shape = graph.input_shape
    return made.eval()


def describe(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The graph as plain data that JSON can hold, and its weights by name."""
    arrays: dict[str, np.ndarray] = {}
    places = {graph.input: -1}
    nodes = []
    for i, node in enumerate(graph.nodes):
        places[node.output] = i
        weights = {}
        for key in node.weights:
            array = np.asarray(node.weight(key))
            name = _name(node, i, key, array, arrays)
            arrays[name] = array
            weights[key] = [name, list(array.shape)]
        nodes.append({
            "op": node.op,
            "inputs": [places[name] for name in node.inputs],
            "weights": weights,
            "attributes": {key: _plain(value) for key, value in node.attributes.items()},
        })  # fmt: skip
    description = {
        "input_shape": list(graph.input_shape),
        "inner_shape": list(graph.shapes[graph.input]),
        "output_shape": list(graph.output_shape),
        "output": places[graph.output],
        "byte_scale": graph.byte_scale,
        "nodes": nodes,
    }
    return description, arrays


def _name(
    node: Node, place: int, key: str, array: np.ndarray, known: Mapping[str, np.ndarray]
) -> str:
    # as in the file, if it says one; the same array has the same name
    name = node.names.get(key, "")
    if not name and "weight" in node.names:  # the bias that batch normalisation brought
        name = f"{node.names['weight'].removesuffix('.weight')}.{key}"
    if not name:
        name = f"{node.op}{place}.{key}"
    if "." not in name:
        name = f"{name}.{key}"
    while name in known and not np.array_equal(known[name], array):
        name = f"{name}_{place}"
    return name


def _plain(value: Any) -> Any:
    # an attribute as JSON can hold it; a table of places in runs, (first, step, count)
    if isinstance(value, np.ndarray):
        flat = value.reshape(-1).astype(np.int64)
        steps = np.diff(flat)
        runs, start = [], 0
        while start < len(flat):
            step = int(steps[start]) if start < len(steps) else 0
            other = np.flatnonzero(steps[start : start + 64] != step)
            if not other.size:
                other = np.flatnonzero(steps[start:] != step)
            end = start + int(other[0]) if other.size else len(flat) - 1
            runs.append([int(flat[start]), step, end - start + 1])
            start = end + 1
        return {"shape": list(value.shape), "runs": runs}
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        shape = tuple(check.whole(size, "shape", 1) for size in value["shape"])
        if sum(check.whole(count, "count", 1) for _, _, count in value["runs"]) != math.prod(shape):
            raise ValueError(f"an index of {shape} has another number of places")
        runs = [first + step * np.arange(count) for first, step, count in value["runs"]]
        return np.concatenate(runs).astype(np.intp).reshape(shape)
    if isinstance(value, list):
        return tuple(_from_plain(item) for item in value)
    return float(value) if value in ("inf", "-inf") else value


Graph.module = module
