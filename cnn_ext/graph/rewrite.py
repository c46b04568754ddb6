"""Graphs made anew: with fewer nodes, in another order, with constants for weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Graph
from .node import Node, Shape
from .operator import OPERATORS

CLIP_NONE = (-math.inf, math.inf)
SCALED = ("conv2d", "linear", "conv_transpose2d", "group_norm")  # whose weights take constants
PASSING = ("max_pool", "reshape")  # what gives some of the numbers that it takes
FUSING = ("conv2d", "linear", "batch_norm", "add")  # what clips its results itself


def simplify(graph: Graph) -> Graph:
    """A graph that gives the same, up to rounding, with fewer nodes.

    Parameters
    ----------
    graph : Graph
        It is left as it is.

    Returns
    -------
    Graph
        Without unused nodes and nodes that change nothing.  Channels multiplied by constants and
        constants added to channels, as batch normalisation does, are part of the convolution or
        linear layer before them, if nothing else takes its value; reshapes of reshapes, clips of
        clips and gathers of gathers are one.
    """
    nodes = needed(graph, {node.output: node for node in graph.nodes})
    uses = dict.fromkeys(graph.shapes, 0)
    for name in (*graph.outputs, *(name for node in nodes.values() for name in node.inputs)):
        uses[name] += 1
    same: dict[str, str] = {}  # a value that a node leaves unchanged: what it is
    made: dict[str, Node] = {}
    for node in nodes.values():
        node = node.replaced(inputs=tuple(same.get(name, name) for name in node.inputs))
        while node.inputs[0] in made:
            before = made[node.inputs[0]]
            shape, alone = graph.shapes[before.output], uses[before.output] == 1
            merged = _merged(before, node, shape, alone)
            if merged is None:
                break
            uses[before.output] -= 1
            for name in before.inputs:
                uses[name] += 1
            if not uses[before.output]:
                del made[before.output]
                for name in before.inputs:
                    uses[name] -= 1
            node = merged
        if _changes_nothing(graph, node):
            same[node.output] = node.inputs[0]
            uses[node.inputs[0]] += uses[node.output] - 1
        else:
            made[node.output] = node
    return rebuilt(graph, made.values(), same)


def needed(graph: Graph, nodes: dict[str, Node]) -> dict[str, Node]:
    """The nodes that the outputs depend on, in their order."""
    wanted = set(graph.outputs)
    for node in reversed(nodes.values()):
        if node.output in wanted:
            wanted.update(node.inputs)
    return {name: node for name, node in nodes.items() if name in wanted}


def rebuilt(
    graph: Graph,
    nodes: Iterable[Node],
    same: Mapping[str, str],
    dtype: Any = None,
    lower: Sequence[str] = (),
    known: Callable[[Node], bool] = lambda node: False,
) -> Graph:
    """A new graph of these nodes; `same` says what outputs that are gone were the same as."""
    first, *others = (graph.shapes[name] for name in graph.inputs)
    new = Graph(first, graph.byte_scale, graph.task, dtype or graph.dtype)
    names: dict[str, str] = {graph.input: new.input}
    for name, shape in zip(graph.inputs[1:], others, strict=True):
        names[name] = new.add_input(shape)
    for node in nodes:
        inputs = [names[name] for name in node.inputs]
        if OPERATORS[node.op].lowers(node) in lower and not known(node):
            names[node.output] = OPERATORS[node.op].lower(new, node, inputs)
            continue
        weights = _whole(node)
        names[node.output] = new.add(node.op, *inputs, weights=weights, **node.attributes)
        new.nodes[-1].names.update(node.names)
    new.outputs = tuple(names[same.get(name, name)] for name in graph.outputs)
    new.outer_shapes(graph.input_shape, graph.output_shape)
    return new


def frozen(graph: Graph) -> Graph:
    """The graph with copies of the weights as they are now, in float32."""
    nodes = [
        node.replaced(weights={key: np.array(node.weight(key)) for key in node.weights})
        for node in graph.nodes
    ]
    return rebuilt(graph, nodes, {}, np.dtype(np.float32), ("constants",))


def lowered(graph: Graph, known: Callable[[Node], bool] = lambda node: False) -> Graph:
    """The graph with operators of training replaced by those that one image and files know.

    `known` says of which nodes more is known than that.
    """
    return rebuilt(graph, graph.nodes, {}, None, ("constants", "image"), known)


def fused(graph: Graph, ops: Sequence[str] = FUSING) -> Graph:
    """The graph with clips done by the node before them, if it is alone and one of `ops`."""
    uses, nodes = graph.uses(), {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        before = nodes.get(node.inputs[0])
        if node.op != "clip" or before is None or before.op not in ops:
            continue
        bounds = node.attributes["low"], node.attributes["high"]
        if before.op == "add" and not bounds[0] <= 0 <= bounds[1]:
            continue  # zeros around a sum stay zeros
        if uses[before.output] == 1 and before.attributes["clip"] is None:
            attributes = {**before.attributes, "clip": bounds}
            del nodes[before.output]
            nodes[node.output] = before.replaced(output=node.output, attributes=attributes)
    return rebuilt(graph, nodes.values(), {})


def bytes_fused(graph: Graph) -> Graph:
    """The graph with results put on the grid of bytes by the node that makes them, if it can.

    Maxima and reshapes of bytes are those of the numbers, so they come behind it.
    """
    uses, nodes = graph.uses(), {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        while node.op == "fake_quantize":
            before = nodes.get(node.inputs[0])
            if before is None or before.op not in PASSING or uses[before.output] > 1:
                break
            nodes[node.output] = before.replaced(inputs=node.inputs, output=node.output)
            node = node.replaced(inputs=before.inputs, output=before.output)
            nodes[node.output] = node
    for node in list(nodes.values()):
        before = nodes.get(node.inputs[0])
        if node.op != "fake_quantize" or before is None or uses[before.output] > 1:
            continue
        if before.attributes.get("quantize", ()) is None:
            grid = node.attributes["scale"], int(node.attributes["zero_point"])
            del nodes[before.output]
            attributes = {**before.attributes, "quantize": grid}
            nodes[node.output] = before.replaced(output=node.output, attributes=attributes)
    return rebuilt(graph, nodes.values(), {})


def clips_behind_pools(graph: Graph) -> Graph:
    """The graph with a clip before max pooling behind it, where there are fewer numbers.

    The clip of the maximum is the maximum of the clips.
    """
    uses, nodes = graph.uses(), {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        clip = nodes.get(node.inputs[0])
        if node.op != "max_pool" or clip is None or clip.op != "clip" or uses[clip.output] > 1:
            continue
        # the value of the clip becomes that of the pooling
        nodes[clip.output] = node.replaced(inputs=clip.inputs, output=clip.output)
        nodes[node.output] = clip.replaced(inputs=(clip.output,), output=node.output)
    return rebuilt(graph, nodes.values(), {})


def _changes_nothing(graph: Graph, node: Node) -> bool:
    if node.op == "reshape":
        return graph.shapes[node.inputs[0]] == graph.shapes[node.output]
    return node.op == "clip" and (node.attributes["low"], node.attributes["high"]) == CLIP_NONE


def _merged(before: Node, node: Node, shape: Shape, alone: bool) -> Node | None:
    # one node for both, or None; `alone` says that nothing else takes the value between them
    if len(node.inputs) > 1:
        return None
    if before.op == node.op == "reshape":
        return node.replaced(inputs=before.inputs)
    if before.op == node.op == "clip":
        low, high = node.attributes["low"], node.attributes["high"]
        bounds = {key: min(max(before.attributes[key], low), high) for key in ("low", "high")}
        return node.replaced(inputs=before.inputs, attributes=bounds)
    if before.op == node.op == "gather" and alone:
        return _gathered(before, node)
    if before.op in SCALED and node.op in ("add", "mul") and alone and _takes(before, node.op):
        return None if before.attributes.get("clip") else _folded(before, node, shape)
    return None


def _takes(node: Node, op: str) -> bool:
    # weights on the grid of bytes would leave it by a factor
    return "weight" in node.weights and (op == "add" or "weight_scale" not in node.weights)


def _gathered(before: Node, node: Node) -> Node | None:
    first, then = before.attributes["index"], node.attributes["index"]
    fills = before.attributes["fill"], node.attributes["fill"]
    if (first < 0).any() and (then < 0).any() and fills[0] != fills[1]:
        return None
    index = np.where(then < 0, -1, first.ravel()[then])
    fill = fills[0] if (first < 0).any() else fills[1]
    return node.replaced(inputs=before.inputs, attributes={"index": index, "fill": fill})


def _folded(before: Node, node: Node, output: Shape) -> Node | None:
    # the weights are multiplied once, by "factor", whatever the number of constants
    weights, K = dict(before.weights), output[0]
    constant = node.weights["constant"].astype(np.float64)
    shape = (1,) * (len(output) - constant.ndim) + constant.shape
    clip = node.attributes.get("clip")
    if shape[0] not in (1, K) or any(size != 1 for size in shape[1:]):
        return None
    if clip and "clip" not in before.attributes:
        return None
    constant = np.broadcast_to(constant.ravel(), K)
    if node.op == "add":
        weights["bias"] = weights.get("bias", np.zeros(K)).astype(np.float64) + constant
    else:
        weights["factor"] = weights.get("factor", np.ones(K)) * constant
        if "bias" in weights:
            weights["bias"] = weights["bias"].astype(np.float64) * constant
    attributes = before.attributes | ({"clip": clip} if "clip" in before.attributes else {})
    return before.replaced(output=node.output, weights=weights, attributes=attributes)


def _whole(node: Node) -> Mapping[str, np.ndarray]:
    # with the factor multiplied in
    if "factor" not in node.weights:
        return node.weights
    kept = dict(node.weights)
    factor, weight = kept.pop("factor"), kept["weight"]
    if node.op == "conv_transpose2d":  # of the weight, axis 1 counts the outputs of a group
        groups = node.attributes["groups"]
        factor = np.repeat(factor.reshape(groups, -1), len(weight) // groups, axis=0)
    kept["weight"] = weight * factor.reshape(*factor.shape, *(1,) * (weight.ndim - factor.ndim))
    return kept
