"""Graphs whose products take bfloat16: eight bits of a number, sums in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._bfloat16 import rounded
from .._dispatch import halves_isa
from ..parameter import Kept
from .graph import Graph
from .node import Node
from .rewrite import PASSING

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
AUTO = "auto"  # which of them is found by measuring
PRODUCTS = ("conv2d", "linear", "conv_transpose2d")


def in_bfloat16(graph: Graph) -> Graph:
    """The graph with what convolutions and linear layers take, and what they give, in bfloat16.

    The outputs of the graph stay float32.  Weights that are learned stay what they are and are
    rounded in each pass, which the graph's `precision` says; their gradients are float32, of
    rounded numbers, and so are those of activations where these are rounded.
    """
    halves_isa()
    first, *others = (graph.shapes[name] for name in graph.inputs)
    new = Graph(first, graph.byte_scale, graph.task, graph.dtype)
    new.precision = BFLOAT16
    names = {graph.input: new.input}
    for name, shape in zip(graph.inputs[1:], others, strict=True):
        names[name] = new.add_input(shape)
    short: dict[str, str] = {}  # of values of the new graph: their rounded one

    def short_of(name: str) -> str:
        if name not in short:
            short[name] = new.add("bfloat16", name)
            short[short[name]] = short[name]
        return short[name]

    for node in graph.nodes:
        inputs = [names[name] for name in node.inputs]
        product = node.op in PRODUCTS
        if product:
            inputs = [short_of(name) for name in inputs]
        made = new.emit(node.op, inputs, _weights(node) if product else node.weights,
                        node.attributes)  # fmt: skip
        new.nodes[-1].names.update(node.names)
        if product and node.output not in graph.outputs:
            made = short_of(made)
        elif _passes(node) and inputs[0] in short and short[inputs[0]] == inputs[0]:
            short[made] = made
        names[node.output] = made
    new.outputs = tuple(names[name] for name in graph.outputs)
    new.outer_shapes(graph.input_shape, graph.output_shape)
    return new


def _passes(node: Node) -> bool:
    zero_bound = node.op == "clip" and node.attributes["low"] in (0.0, -np.inf)
    return node.op in PASSING or (zero_bound and node.attributes["high"] == np.inf)


def _weights(node: Node) -> dict[str, Any]:
    # constants are rounded here, what is learned in each pass
    weight = node.weights["weight"]
    if isinstance(weight, Kept):
        return dict(node.weights)
    return {**node.weights, "weight": rounded(weight)}
