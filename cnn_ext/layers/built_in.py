"""The layers that there are, by name."""

from __future__ import annotations

from . import activation, container, conv, from_graph, linear, normalize, pool
from .module import Module

BUILT_IN: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (
        conv.Conv2d, pool.MaxPool2d, pool.AvgPool2d, pool.GlobalAvgPool2d, activation.ReLU,
        activation.LeakyReLU, activation.Sigmoid, activation.Tanh, activation.Softmax,
        linear.Flatten, linear.Linear, activation.Dropout, normalize.Normalize,
        container.Concat, container.Add, container.Residual, from_graph.GraphModule,
    )
}  # fmt: skip
