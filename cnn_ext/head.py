"""A new last layer for a network that was trained for something else."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _check as check
from .graph.graph import Graph
from .graph.node import Node
from .initializers import Initializer, initial_bias, initial_weights
from .layers import Conv2d, GraphModule, Linear, Module
from .layers.tracing import trace
from .parameter import Kept, Parameter
from .task import Task

LAST = ("linear", "conv2d")  # operators of a last layer
OUTPUTS = {Linear: "out_features", Conv2d: "out_channels"}


def new_head(
    net: Module,
    outputs: int,
    classes: Sequence[str] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    initializer: str | Initializer = "pytorch",
    rng: np.random.Generator | None = None,
) -> None:
    """Give the last layer of a network, in place, another number of outputs and first weights.

    It is the linear layer or convolution that the outputs come from, if nothing behind it is
    learned.  The new parameters are trainable, whatever the others are, and `net.task` is
    forgotten.  An optimizer or a trainer is made afterwards.

    Parameters
    ----------
    net : Module
        Of layers of the package; a network of one's own and one of an ONNX file too.
    outputs : int
    classes : sequence of str, optional
        Their names, for `net.task`.
    input_shape : tuple of int, optional
        (C, H, W) or (F,) of one image; by default that of the network, where it is known.
    initializer : str or function (shape, rng) -> array
    rng : numpy.random.Generator, optional
        For the first weights, by default as `cnn_ext.seed` says.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or there is no such layer; the network is then as it was.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a Module, got {type(net).__name__}")
    outputs = check.whole(outputs, "outputs", 1)
    task = None if classes is None else Task(classes=classes)
    if task is not None:
        task.check((outputs,))
    given = net.input_shape if input_shape is None else input_shape
    if given is None:
        raise ValueError("input_shape: expected the shape of one image, (C, H, W)")
    shape = check.image_shape(given)
    weight = _last_weight(trace(net, None, [shape], net.dtype))
    owner = next(m for _, m in net.named_modules() if any(v is weight for v in vars(m).values()))
    before = dict(vars(owner))
    try:
        change = _change_graph if isinstance(owner, GraphModule) else _change_layer
        change(owner, weight, outputs, initializer, rng)
        _check(net, shape, outputs)
    except BaseException:
        vars(owner).clear()
        vars(owner).update(before)
        raise
    net.task = task


def _last_weight(graph: Graph) -> Parameter:
    # of the layer that the outputs come from
    if len(graph.outputs) > 1:
        raise ValueError(f"net: expected one output, got {len(graph.outputs)}")
    makers = {node.output: node for node in graph.nodes}
    node = makers.get(graph.output)
    while node is not None and _passes(node):
        node = makers.get(node.inputs[0])
    weight = None if node is None else node.weights.get("weight")
    if node is None or node.op not in LAST or not isinstance(weight, Parameter):
        raise ValueError(
            f"net: expected outputs that come from a linear layer or a convolution, got them from "
            f"{node.op if node else 'the input'}; put another layer in the place of the last one"
        )
    return weight


def _check(net: Module, shape: tuple[int, ...], outputs: int) -> None:
    # that the rest of the network takes what its last layer now gives
    try:
        made = net.output_shape(shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"outputs: {outputs} of its last layer do not fit: {error}") from error
    if made[0] != outputs:
        raise ValueError(f"outputs: {outputs} of its last layer make {made} of the network")


def _passes(node: Node) -> bool:
    # what lies behind the last layer
    learned = any(isinstance(weight, Kept) for weight in node.weights.values())
    return len(node.inputs) == 1 and node.op != "opaque" and not learned


def _change_layer(
    layer: Module, weight: Parameter, outputs: int, initializer: Any, rng: Any
) -> None:
    kind = next((kind for kind in OUTPUTS if isinstance(layer, kind)), None)
    if kind is None:
        raise ValueError(f"net: expected a Linear or a Conv2d as its last layer, got {layer!r}")
    assert isinstance(layer, (Linear, Conv2d))
    setattr(layer, OUTPUTS[kind], outputs)
    shape, dtype = (outputs, *weight.shape[1:]), weight.data.dtype
    layer.new_parameters(shape, layer.bias is not None, initializer, rng, dtype)
    layer.trainable = True


def _change_graph(module: Any, weight: Parameter, outputs: int, initializer: Any, rng: Any) -> None:
    kept = {name: value for name, value in vars(module).items() if isinstance(value, Kept)}
    graph, K = copy.deepcopy(module.graph), weight.shape[0]
    behind = False
    for node in graph["nodes"]:
        names = [name for name, _ in node["weights"].values()]
        if any(kept[name] is weight for name in names):
            behind = True
            for key, (name, shape) in node["weights"].items():
                sizes = (outputs, *shape[1:])
                first = (
                    initial_weights(initializer, sizes, rng) if key == "weight"
                    else initial_bias(initializer, (outputs, *weight.shape[1:]), rng, outputs)
                )  # fmt: skip
                node["weights"][key] = [name, list(sizes)]
                kept[name] = Parameter(first.astype(weight.data.dtype))
        elif behind and node["op"] == "reshape" and node["attributes"]["shape"][0] == K:
            node["attributes"]["shape"][0] = outputs
    if graph["output_shape"] and graph["output_shape"][0] == K:
        graph["output_shape"][0] = outputs
    vars(module).update(nodes=GraphModule(graph).nodes, graph=graph, **kept)
