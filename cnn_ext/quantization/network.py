"""`quantize`: a trained network with activations and weights on grids of bytes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .._arrays import plain_array
from ..graph.bytes import Grid
from ..graph.graph import Graph
from ..graph.node import Node
from ..graph.rewrite import PASSING, frozen, simplify
from ..layers.as_graph import graph_of
from ..layers.from_graph import GraphModule, module
from ..layers.module import Module
from ..operators.bytes import by_row
from ..scale import as_numbers
from .calibration import METHODS, Range, activations, grid_for

WEIGHTED = ("conv2d", "linear")  # what computes with bytes
SUMMED = ("add", "avg_pool")  # what takes and gives them
STEPS = 127  # of weights, to either side of 0


def quantize(
    net: Module,
    sample: ArrayLike,
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    skip: Collection[str] = (),
) -> GraphModule:
    """The network with activations and weights of 8 bits, after training and without more of it.

    Activations are unsigned bytes on a grid of each, weights signed ones on a grid of each output
    channel with 0 in its middle (Krishnamoorthi 2018, section 3).  Batch normalisation becomes part
    of the convolution before it.  Convolutions and linear layers, and what lies between them, work
    on bytes in `compile`'s plan; all else, such as softmax, on numbers.

    Parameters
    ----------
    net : Module
        It stays as it is.
    sample : array_like, shape (N, C, H, W)
        Some hundred inputs as those to come, scaled as for `net`: their activations say how far
        each grid reaches.
    method : {"minmax", "percentile", "entropy"}
        What the grid reaches: all numbers of the sample; all but those beyond `percentile`; or as
        many as lose the least information, see `Range`.
    percentile : float
        50 to 100.
    skip : collection of str
        Layers that stay as they are, by the names of their weights without ".weight".

    Returns
    -------
    GraphModule
        In evaluation mode.  It is saved, loaded, compiled and exported as any network.  Called
        itself it does the same with float32, about as fast as before.

    Raises
    ------
    TypeError, ValueError
        If the net has layers of one's own on plain arrays or nothing that could work on bytes, the
        sample does not fit, is constant, has NaN or infinity, or weights are not finite; the
        message names what.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a Module, got {type(net).__name__}")
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if not 50 <= check.number(percentile, "percentile") <= 100:
        raise ValueError(f"percentile: expected 50 to 100, got {percentile}")
    x = plain_array(sample, "sample")
    if x.ndim < 2 or not len(x):
        raise ValueError(f"sample: expected inputs (N, ...), got shape {x.shape}")
    if net.input_shape is not None and x.shape[1:] != tuple(net.input_shape):
        raise ValueError(f"sample: expected inputs of {net.input_shape}, got {x.shape[1:]}")
    graph = simplify(frozen(_named(net, x.shape[1:])))
    x = as_numbers(x, graph.dtype, graph.byte_scale)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError("sample: expected finite numbers, got NaN or infinity")
    if x.min() == x.max():
        raise ValueError(f"sample: expected inputs that differ, got {x.min()} everywhere")
    if any(node.op == "fake_quantize" for node in graph.nodes):
        raise ValueError("net: it is on grids of bytes already")
    layers = {name_of(node) for node in graph.nodes if _is_weighted(node)}
    for name in skip:
        if name not in layers:
            raise ValueError(f"skip: no layer {name!r}; there are {', '.join(sorted(layers))}")
    chosen = {
        node.output for node in graph.nodes if _is_weighted(node) and name_of(node) not in skip
    }
    if not chosen:
        raise ValueError("net: it has no convolution or linear layer that is to work on bytes")
    names = wanted(graph, chosen)
    ranges = {name: Range() for name in names}
    for seen in activations(graph, names, x):
        for name, array in seen.items():
            ranges[name].see(array)
    if method != "minmax":
        for seen in activations(graph, names, x):
            for name, array in seen.items():
                ranges[name].count(array)
    grids = {name: grid_for(*known.ends(method, percentile)) for name, known in ranges.items()}
    if x.dtype == np.uint8 and graph.input in grids and graph.byte_scale is not None:
        grids[graph.input] = Grid(float(np.float32(graph.byte_scale)), 0)  # the bytes themselves
    made = module(on_grids(graph, grids, chosen))
    made.input_shape, made.task = net.input_shape, net.task
    return made


def _named(net: Module, shape: tuple[int, ...]) -> Graph:
    # the graph with the names that the network has for the weights
    names = {id(kept): name for name, kept in net.named_state()}
    graph = graph_of(net, shape, with_names=True)
    for node in graph.nodes:
        known = {key: names.get(id(weight)) for key, weight in node.weights.items()}
        node.names.update({key: name for key, name in known.items() if name is not None})
    return graph


def _is_weighted(node: Node) -> bool:
    # whose weights the network has learned: other constants scale its input
    return node.op in WEIGHTED and "weight" in node.names and node.weights["weight"].ndim in (2, 4)


def name_of(node: Node) -> str:
    """What the network calls a layer: the name of its weight without its end."""
    return node.names["weight"].removesuffix(".weight")


def wanted(graph: Graph, chosen: Collection[str]) -> list[str]:
    """The values that are to be on a grid: what the chosen nodes take, and sums between them."""
    made = {node.output: node for node in graph.nodes}
    found: dict[str, None] = {}

    def want(name: str) -> None:
        node = made.get(name)
        if node is not None and node.op in PASSING:
            want(node.inputs[0])
        elif name not in found:
            found[name] = None
            if node is not None and node.op == "clip":
                node = made.get(node.inputs[0])
            if node is not None and node.op in SUMMED and not node.weights:
                for above in node.inputs:
                    want(above)

    for node in graph.nodes:
        if node.output in chosen:
            want(node.inputs[0])
    return [name for name in graph.shapes if name in found]


def on_grids(graph: Graph, grids: dict[str, Grid], chosen: Collection[str]) -> Graph:
    """The graph with these values on their grids, and the weights of the chosen nodes on theirs."""
    new = Graph(graph.shapes[graph.input], graph.byte_scale, graph.task, graph.dtype)
    plain = {graph.input: new.input}  # as they are made
    known: dict[str, str] = {}  # on their grid

    def put(name: str) -> None:
        if name in grids:
            grid = grids[name]
            known[name] = new.add(
                "fake_quantize", plain[name], scale=grid.scale, zero_point=float(grid.zero_point)
            )

    put(graph.input)
    for node in graph.nodes:
        weights: dict[str, Any] = dict(node.weights)
        if node.output in chosen:
            weights |= _on_grid(node)
        inputs = [known.get(name, plain[name]) for name in node.inputs]
        plain[node.output] = new.add(node.op, *inputs, weights=weights, **node.attributes)
        new.nodes[-1].names.update(node.names)
        put(node.output)
    new.output = plain[graph.output]
    new.outer_shapes(graph.input_shape, graph.output_shape)
    return new


def _on_grid(node: Node) -> dict[str, np.ndarray]:
    weight = np.asarray(node.weight("weight"), np.float32)
    if not np.isfinite(weight).all():
        raise ValueError(f"net: the weights of {name_of(node)} are not all finite")
    most = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scale = np.where(most > 0, most / STEPS, 1.0).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    each = by_row(scale, weight)
    return {"weight": np.rint(weight / each) * each, "weight_scale": scale}
