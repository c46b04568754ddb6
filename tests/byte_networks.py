"""Networks of bytes of every kind, and plain integer arithmetic to hold their plans against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cases import normal

from cnn_ext import (
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    ReLU6,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
)
from cnn_ext.graph.graph import Graph
from cnn_ext.graph.rewrite import bytes_fused, frozen, fused, simplify
from cnn_ext.layers import graph_of

NETS: dict[str, tuple[tuple[int, ...], Callable[[], list[Module]]]] = {
    "plain": ((1, 9, 8), lambda: [
        Conv2d(1, 6, 5, padding=2), ReLU(), MaxPool2d(2), Conv2d(6, 17, 3), ReLU(), Flatten(),
        Linear(68, 21), ReLU(), Linear(21, 10),
    ]),
    "colours": ((3, 11, 10), lambda: [
        Conv2d(3, 8, 3, stride=2, padding=1), BatchNorm2d(8), ReLU6(), Conv2d(8, 9, 1), ReLU(),
        Conv2d(9, 5, 3, padding=(0, 1), dilation=(1, 2)),
    ]),
    "groups": ((4, 8, 7), lambda: [
        Conv2d(4, 8, 3, padding=1, groups=2), ReLU(), Conv2d(8, 8, 3, padding=1, groups=8), ReLU(),
        Conv2d(8, 36, 1, groups=2), AdaptiveAvgPool2d(1), Flatten(), Linear(36, 3),
    ]),
    "wide": ((20, 6, 6), lambda: [
        Conv2d(20, 40, 3, padding=1, groups=20), ReLU(), Conv2d(40, 70, 3), Sigmoid(),
        Conv2d(70, 3, 2),
    ]),
    "residual": ((5, 8, 8), lambda: [
        Conv2d(5, 18, 3, padding=1), ReLU(),
        Residual(Sequential(Conv2d(18, 18, 3, padding=1), ReLU(), Conv2d(18, 18, 3, padding=1))),
        ReLU(), AvgPool2d(2), Conv2d(18, 4, 1), GELU(), Conv2d(4, 4, 3, padding=1),
    ]),
    "pools": ((6, 9, 9), lambda: [
        Conv2d(6, 6, 1), AvgPool2d(3, stride=2, padding=1), Conv2d(6, 6, 1),
        AvgPool2d(2, padding=1, count_include_pad=False), Conv2d(6, 6, 1),
        MaxPool2d(3, stride=2, padding=1, ceil_mode=True), Conv2d(6, 4, 1), Flatten(),
    ]),
    "pairs": ((3, 13, 12), lambda: [
        Conv2d(3, 5, 3), ReLU(), MaxPool2d(2), Conv2d(5, 40, 3, padding=1), ReLU(), MaxPool2d(2),
        Conv2d(40, 19, 2, padding=1), MaxPool2d(2), Sigmoid(), Conv2d(19, 6, 2, padding=1),
        MaxPool2d(2, padding=1), Flatten(), Linear(24, 4),
    ]),
    "features": ((19,), lambda: [Linear(19, 33), ReLU(), Linear(33, 7), Softmax()]),
}  # fmt: skip


def network(name: str, seed: int = 0) -> tuple[Module, np.ndarray]:
    """A network with weights, and inputs of both signs."""
    shape, layers = NETS[name]
    net = Sequential(*layers())
    net.initialize("he", np.random.default_rng(seed))
    net.input_shape = shape
    x = normal(name, (40, *shape), np.float32)
    if any("BatchNorm" in type(layer).__name__ for layer in net):
        net(x)
    return net.eval(), x


def two_convolutions(rng: np.random.Generator) -> tuple[Module, np.ndarray]:
    """A convolution of any kind whose results are bytes, another whose results are numbers."""
    C, K = int(rng.choice([1, 3, 4, 8, 16, 20, 32, 64, 100])), int(rng.integers(1, 71))
    groups = int(rng.choice([1, 1, 1, *(g for g in range(2, C + 1) if C % g == 0 and K % g == 0)]))
    kernel, stride, dilation = (tuple(rng.integers(1, most, 2).tolist()) for most in (4, 3, 3))
    size = [int(rng.integers(1 + d * (k - 1), 20)) for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(rng.integers(0, 3, 2).tolist())
    net = Sequential(
        Conv2d(C, K, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups),
        ReLU(), Conv2d(K, 19, 1),
    )  # fmt: skip
    net.initialize("he", rng)
    net.input_shape = (C, *size)
    return net.eval(), rng.normal(size=(8, C, *size)).astype(np.float32)


def fused_graph(net: Module) -> Graph:
    """The graph as a plan has it."""
    return bytes_fused(fused(simplify(frozen(graph_of(net)))))
