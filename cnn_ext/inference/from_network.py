"""A `Sequential` of built-in layers as a `Graph`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..layers import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Normalize,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..layers.sequential import is_chain, is_own
from ..ops._check import padding4
from .graph import Graph


def graph_of(net: Sequential, input_shape: Sequence[int]) -> Graph:
    """The network as it works in evaluation mode, on images of one shape.

    Parameters
    ----------
    net : Sequential
    input_shape : tuple of int
        (C, H, W) or (F,), without N.

    Raises
    ------
    TypeError
        If it has a layer that is not built in, or passes of its own.
    ValueError
        If the input of a layer does not fit; the message names the layer.
    """
    net.shapes(input_shape)  # says which layer does not fit
    if not is_chain(net):
        raise TypeError(f"net: {type(net).__name__} has passes of its own, which no graph knows")
    graph = Graph(input_shape, net.byte_scale, net.task)
    for i, layer in enumerate(net.walk()):
        if type(layer) not in ADD or not is_own(layer):
            raise TypeError(
                f"net: a {type(layer).__name__} is not a built-in layer, or has other passes"
            )
        try:
            ADD[type(layer)](graph, layer)
        except ValueError as error:
            raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from error
    return graph


def _weights(layer: Any) -> dict[str, np.ndarray]:
    weights = {"weight": layer.weight.data.copy()}  # what is trained later stays outside
    if layer.bias is not None:
        weights["bias"] = layer.bias.data.copy()
    return weights


def _conv2d(graph: Graph, layer: Conv2d) -> None:
    padding = padding4(layer.padding, layer.kernel_size, layer.stride, layer.dilation)
    graph.add(
        "conv2d", graph.output, weights=_weights(layer), stride=layer.stride, padding=padding,
        dilation=layer.dilation, groups=layer.groups,
    )  # fmt: skip


def flatten(graph: Graph) -> None:
    """Make the newest value one of (F,)."""
    if len(graph.output_shape) > 1:
        graph.add("reshape", graph.output, shape=(math.prod(graph.output_shape),))


def _linear(graph: Graph, layer: Linear) -> None:
    flatten(graph)
    graph.add("linear", graph.output, weights=_weights(layer))


def _pool(graph: Graph, layer: MaxPool2d | AvgPool2d) -> None:
    top, left = layer.padding
    window: dict[str, Any] = {"kernel": layer.kernel_size, "stride": layer.stride}
    window["padding"] = (top, top, left, left)
    if isinstance(layer, MaxPool2d):
        window["dilation"] = layer.dilation
    else:
        window["count_include_pad"] = layer.count_include_pad
    name = "max_pool" if isinstance(layer, MaxPool2d) else "avg_pool"
    graph.add(name, graph.output, ceil_mode=layer.ceil_mode, **window)


def _global(graph: Graph, layer: GlobalAvgPool2d) -> None:
    size = graph.output_shape[1:]
    graph.add("avg_pool", graph.output, kernel=size, stride=size, padding=(0, 0, 0, 0),
              ceil_mode=False, count_include_pad=True)  # fmt: skip


def _normalize(graph: Graph, layer: Normalize) -> None:
    shape = graph.output_shape
    form = shape if len(shape) == 3 else (*shape, 1, 1)
    for weight, bias in layer.steps(shape[0], np.dtype(np.float32)):
        if form != graph.output_shape:
            graph.add("reshape", graph.output, shape=form)
        weights = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        graph.add("conv2d", graph.output, weights=weights, stride=(1, 1), padding=(0, 0, 0, 0),
                  dilation=(1, 1), groups=shape[0])  # fmt: skip
    if shape != graph.output_shape:
        graph.add("reshape", graph.output, shape=shape)


ADD: dict[type, Callable[[Graph, Any], Any]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    Flatten: lambda graph, layer: flatten(graph),
    Dropout: lambda graph, layer: None,
    Normalize: _normalize,
    MaxPool2d: _pool,
    AvgPool2d: _pool,
    GlobalAvgPool2d: _global,
    ReLU: lambda graph, layer: graph.add("clip", graph.output, low=0.0, high=math.inf),
    LeakyReLU: lambda graph, layer: graph.add(
        "leaky_relu", graph.output, negative_slope=layer.negative_slope
    ),
    Sigmoid: lambda graph, layer: graph.add("sigmoid", graph.output),
    Tanh: lambda graph, layer: graph.add("tanh", graph.output),
    Softmax: lambda graph, layer: graph.add("softmax", graph.output),
}
