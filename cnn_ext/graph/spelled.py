"""Functions that other programs spell out in products and sums: one node for each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .graph import Graph
from .node import Node
from .rewrite import needed, rebuilt

Nodes = Mapping[str, Node]
Found = tuple[str, str, dict[str, float]] | None  # operator, input, attributes
MOST_FACTORS = 3


def spelled(graph: Graph) -> Graph:
    """The graph with one node for silu, mish, hard sigmoid and swish and both forms of gelu."""
    nodes = {node.output: node for node in graph.nodes}
    for name, node in nodes.items():
        if node.op != "mul":
            continue
        scale, factors = _product(nodes, name)
        for match in (_of_two, _of_one):
            found = match(nodes, scale, factors)
            if found is not None:
                op, x, attributes = found
                nodes[name] = node.replaced(op=op, inputs=(x,), weights={}, attributes=attributes)
                break
    return rebuilt(graph, needed(graph, nodes).values(), {})


def _product(nodes: Nodes, name: str, depth: int = 4) -> tuple[float, list[str]]:
    # the number and the values of which a value is the product
    node = nodes.get(name)
    if node is None or node.op != "mul" or not depth:
        return 1.0, [name]
    constant = node.weight("constant")
    if constant is not None:
        if constant.size != 1:
            return 1.0, [name]
        scale, factors = _product(nodes, node.inputs[0], depth - 1)
        return scale * float(constant.reshape(())), factors
    whole, all_factors = 1.0, []
    for part in node.inputs:
        scale, factors = _product(nodes, part, depth - 1)
        whole *= scale
        all_factors += factors
    # what is too much may be a value of its own
    return (whole, all_factors) if len(all_factors) <= MOST_FACTORS else (1.0, list(node.inputs))


def _of_two(nodes: Nodes, scale: float, factors: list[str]) -> Found:
    # x and a function of x
    if len(factors) != 2:
        return None
    for x, other in (factors, factors[::-1]):
        node = nodes.get(other)
        if node is None:
            continue
        if node.op == "sigmoid" and node.inputs == (x,) and scale == 1:
            return "silu", x, {}
        if scale == 1 and _tanh_of_softplus(nodes, node) == x:
            return "mish", x, {}
        if node.op == "hardsigmoid" and node.inputs == (x,) and scale == 1:
            same = _near(node.attributes["alpha"], 1 / 6) and node.attributes["beta"] == 0.5
            return ("hardswish", x, {}) if same else None
        if _near(scale, 1 / 6) and _relu6_of_more(nodes, other) == x:
            return "hardswish", x, {}
        if scale == 0.5:
            for op, inner in (("gelu", _of_erf), ("gelu_tanh", _of_tanh)):
                if _plus_one(nodes, other, inner) == x:
                    return op, x, {}
    return None


def _tanh_of_softplus(nodes: Nodes, node: Node) -> str | None:
    part = nodes.get(node.inputs[0]) if node.op == "tanh" else None
    plain = part is not None and part.op == "softplus" and part.attributes["beta"] == 1
    return part.inputs[0] if part is not None and plain else None


def _of_one(nodes: Nodes, scale: float, factors: list[str]) -> Found:
    x = _relu6_of_more(nodes, factors[0]) if len(factors) == 1 else None
    if x is None or not _near(scale, 1 / 6):
        return None
    return "hardsigmoid", x, {"alpha": 1 / 6, "beta": 0.5}


def _relu6_of_more(nodes: Nodes, name: str) -> str | None:
    # x of clip(x + 3, 0, 6)
    node = nodes.get(name)
    if node is None or node.op != "clip":
        return None
    if (node.attributes["low"], node.attributes["high"]) != (0, 6):
        return None
    return _less(nodes, node.inputs[0], 3.0)


def _plus_one(nodes: Nodes, name: str, inner: Callable[[Nodes, Node], str | None]) -> str | None:
    part = _less(nodes, name, 1.0)
    node = None if part is None else nodes.get(part)
    return None if node is None else inner(nodes, node)


def _of_erf(nodes: Nodes, node: Node) -> str | None:
    # x of erf(x / sqrt 2)
    if node.op != "erf":
        return None
    scale, factors = _product(nodes, node.inputs[0])
    return factors[0] if len(factors) == 1 and _near(scale, math.sqrt(0.5)) else None


def _of_tanh(nodes: Nodes, node: Node) -> str | None:
    # x of tanh(sqrt(2 / pi) (x + 0.044715 x^3))
    if node.op != "tanh":
        return None
    scale, factors = _product(nodes, node.inputs[0])
    total: Any = nodes.get(factors[0]) if len(factors) == 1 else None
    if total is None or total.op != "add" or len(total.inputs) != 2:
        return None
    if not _near(scale, math.sqrt(2 / math.pi)):
        return None
    for x, other in (total.inputs, total.inputs[::-1]):
        scale, factors = _product(nodes, other)
        if _near(scale, 0.044715) and _power(nodes, factors, x) == 3:
            return str(x)
    return None


def _power(nodes: Nodes, factors: list[str], x: str) -> float:
    # the exponent of x in a product, or nothing that is any
    exponent = 0.0
    for factor in factors:
        node = nodes.get(factor)
        if factor == x:
            exponent += 1
        elif node is not None and node.inputs == (x,) and node.op in ("square", "power"):
            exponent += node.attributes.get("exponent", 2.0)
        else:
            return math.nan
    return exponent


def _less(nodes: Nodes, name: str, number: float) -> str | None:
    # x of x + number
    node = nodes.get(name)
    constant = node.weight("constant") if node is not None and node.op == "add" else None
    if node is None or constant is None or constant.size != 1:
        return None
    return node.inputs[0] if float(constant.reshape(())) == number else None


def _near(number: float, other: float) -> bool:
    # equal but for the rounding of constants and of their products in float32
    return abs(number - other) <= 3e-7 * abs(other)
