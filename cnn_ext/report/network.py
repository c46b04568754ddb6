"""A network as a page keeps it: its graph as plain data, and one piece of memory with its weights.

`interpreter.js` is what reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph.graph import Graph
from ..graph.node import Node
from ..layers import Module, Sequential, graph_of
from ..layers.sequential import is_chain
from ..operators.movement import runs

#: operators of training and of layers of one's own, which the page does not know
UNKNOWN = frozenset(("dropout", "opaque"))
LARGEST = 24_000_000  # bytes of weights and tables in a page


class CannotShow(ValueError):
    """The page cannot run a network; the message says why."""


class Memory:
    """Arrays one after the other, little-endian, each at a multiple of 8 bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def place(self, array: np.ndarray) -> list[Any]:
        """Append an array; its kind, where it begins and its shape."""
        kind = "int32" if array.dtype.kind == "i" else "float32"
        content = array.astype(np.dtype(kind).newbyteorder("<")).tobytes()
        at = self.size
        self._parts.append(content + bytes(-len(content) % 8))
        self.size += len(self._parts[-1])
        return [kind, at, list(array.shape)]

    def content(self) -> bytes:
        return b"".join(self._parts)


def traced(net: Module, input_shape: Sequence[int]) -> Graph:
    """The graph of a network with its own weights, for images of that shape.

    The layers of inner networks are layers by themselves.

    Raises
    ------
    CannotShow
        If it has layers of one's own, or several outputs.
    """
    flat: Module = net
    if is_chain(net):
        assert isinstance(net, Sequential)
        flat = Sequential(*net.walk())
    try:
        graph = graph_of(flat, input_shape, with_names=True)
    except (TypeError, ValueError) as error:
        raise CannotShow(str(error)) from error
    for node in graph.nodes:
        if node.op in UNKNOWN or node.attributes.get("training"):  # of a batch, not of one image
            raise CannotShow(f"{graph.said(node)}: the page does not know it")
    return graph


def described(graph: Graph, memory: Memory) -> dict[str, Any]:
    """A graph as JSON holds it; its arrays are placed in a memory.

    Raises
    ------
    CannotShow
        If they are too large for a page.
    """
    nodes = [_described(graph, node, memory) for node in graph.nodes]
    return {
        "input": graph.input,
        "output": graph.output,
        "inputShape": list(graph.shapes[graph.input]),
        "nodes": nodes,
    }


def _described(graph: Graph, node: Node, memory: Memory) -> dict[str, Any]:
    attributes, arrays = dict(node.attributes), {}
    for key in node.weights:
        if key != "tracked":  # how many batches there were in training
            array: Any = node.weight(key)
            arrays[key] = array.astype(np.float32)
    if node.op == "gather":
        sizes = [math.prod(graph.shapes[name]) for name in node.inputs]
        try:
            arrays["runs"] = runs(attributes.pop("index"), sizes)
        except ValueError as error:
            raise CannotShow(f"{graph.said(node)}: {error}") from error
    if memory.size + sum(4 * array.size for array in arrays.values()) > LARGEST:
        raise CannotShow(f"its weights and tables have more than {LARGEST:,} bytes")
    return {
        "op": node.op,
        "inputs": list(node.inputs),
        "output": node.output,
        "shape": list(graph.shapes[node.output]),
        "attributes": {key: _plain(value) for key, value in attributes.items()},
        "weights": {key: memory.place(array) for key, array in arrays.items()},
    }


def _plain(value: Any) -> Any:
    # an attribute as JSON holds it; infinity and NaN as texts
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


class Step(NamedTuple):
    """What is worth looking at: its place, the layer or operator, and a value of the graph."""

    place: str
    name: str
    value: str


def steps(graph: Any) -> list[Step]:
    """The steps of a traced graph, in their order.

    A built-in layer is one step; of a layer that is made of others, and of what stands between
    layers, each operator is one.  Values that only have another shape are left out.
    """
    found: dict[str, Step | None] = {}  # of each value that a layer made
    for label, module, _, row in graph.rows:
        nodes = [node for node in row if node.op != "reshape"]
        place, kind = label.removeprefix("layer "), type(module).__name__
        for node in nodes:
            if not (type(module).is_leaf_kind or len(nodes) == 1):
                found[node.output] = Step(f"{place} {kind}", _name(node), node.output)
            else:
                found[node.output] = Step(place, kind, node.output) if node is nodes[-1] else None
    nodes = [node for node in graph.nodes if node.op != "reshape"]
    shown = (found.get(node.output, Step("", _name(node), node.output)) for node in nodes)
    return [step for step in shown if step is not None]


def _name(node: Node) -> str:
    bounds = node.attributes.get("low"), node.attributes.get("high")
    return "ReLU" if node.op == "clip" and bounds == (0.0, math.inf) else node.op
