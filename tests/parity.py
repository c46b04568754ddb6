"""The networks, data and descents that are held against PyTorch, and the figures of each.

A figure is an array. Where PyTorch is installed the arrays themselves are compared; elsewhere short
prints of them, stored in `parity_figures.json`: the sums of an array times fixed random numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cases import Array, generator, normal
from numpy.typing import DTypeLike

import cnn_ext
from cnn_ext import SGD, AvgPool2d, Conv2d, Flatten, LeakyReLU, Linear, MaxPool2d, Sequential, Tanh

STORED = Path(__file__).with_name("parity_figures.json")
IMAGES, CLASSES, STEPS, LR = 5, 10, 10, 0.005
PRINTS = 3  # sums that stand for a large array
SHAPES = {"lenet5": (1, 28, 28), "nielsen": (1, 28, 28), "mixed": (4, 13, 12)}
DESCENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.9, "weight_decay": 0.05},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "nesterov": {"momentum": 0.8, "weight_decay": 0.01, "nesterov": True},
}
Figures = dict[str, Array]


def mixed() -> Sequential:
    """Groups, dilation, strides, padding of every form, and both poolings."""
    return Sequential(
        Conv2d(4, 6, (3, 2), dilation=(2, 1), groups=2, padding="same"), Tanh(),
        AvgPool2d(3, 2, 1, True, False),
        Conv2d(6, 12, 3, 2, (1, 2), groups=3, bias=False), LeakyReLU(0.1),
        MaxPool2d((2, 3), 1, 1, ceil_mode=True), AvgPool2d(2, 1, 1),
        Conv2d(12, 12, 2, padding="valid", groups=12), Flatten(), Linear(300, CLASSES),
    )  # fmt: skip


def network(name: str, dtype: DTypeLike) -> Sequential:
    """A network whose weights depend on its name alone."""
    net = mixed() if name == "mixed" else cnn_ext.architectures.build(name, SHAPES[name], CLASSES)
    net.astype(dtype)
    net.load_state_dict(
        {
            key: normal(f"{name}.{key}", array.shape, np.float64) / np.sqrt(array[0].size + 1)
            for key, array in net.state_dict().items()
        }
    )
    return net


def data(name: str, dtype: DTypeLike) -> tuple[Array, Array]:
    """(x, y), the same at every call."""
    x = normal(name, (IMAGES, *SHAPES[name]), np.float64).astype(dtype)
    return x, generator(name).integers(0, CLASSES, IMAGES)


def our_gradients(name: str, dtype: DTypeLike) -> Figures:
    """Outputs, cost and the gradients of all parameters and of the input."""
    net, (x, y) = network(name, dtype), data(name, dtype)
    outputs = net.forward(x)
    cost, gradient = cnn_ext.ops.cross_entropy(outputs, y)
    figures = {"outputs": outputs, "cost": np.array(cost), "input": net.backward(gradient)}
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None
        figures[key] = parameter.grad
    return figures


def our_descent(name: str, descent: str, dtype: DTypeLike) -> Figures:
    """The weights and costs of some steps."""
    net, (x, y) = network(name, dtype), data(name, dtype)
    trainer = cnn_ext.Trainer(net, optimizer=SGD(net.parameters(), LR, **DESCENTS[descent]))
    costs = [trainer.train_on_batch(x, y) for _ in range(STEPS)]
    return {"costs": np.array(costs), **net.state_dict()}


def prints(figures: Figures) -> dict[str, list[float]]:
    """Small arrays whole, large ones as sums times fixed random numbers of about 1 / size."""
    result = {}
    for key, array in figures.items():
        flat = np.asarray(array, np.float64).reshape(-1)
        if flat.size > 12:
            flat = normal(key, (PRINTS, flat.size), np.float64) @ flat / np.sqrt(flat.size)
        result[key] = flat.tolist()
    return result
