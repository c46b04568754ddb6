"""Trains networks and prints a hash of their weights: ``python same_bits.py THREADS NET...``.

"bytes" is none of them: its hash is that of answers in int8.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import cnn_ext
from cnn_ext import SGD, Adam, Module, Sequential, Trainer, architectures, layers
from cnn_ext.augment import AlternatingFlip, Cutout, RandomAffine, RandomShift
from cnn_ext.graph.bytes import Grid
from cnn_ext.layers import graph_of
from cnn_ext.quantization.network import on_grids, wanted

IMAGES, BATCH, EPOCHS = 232, 24, 20  # ten steps in an epoch, the last of which has 16 images
GREY, COLOUR = (1, 28, 28), (3, 16, 16)
AUGMENT = [RandomShift(2), RandomAffine(10, scale=(0.9, 1.1)), Cutout(4)]


def built(name: str, shape: tuple[int, ...]) -> Callable[[], Module]:
    return lambda: architectures.build(name, shape, 10, rng=np.random.default_rng(0))


def mixed() -> Module:
    """Layers that the others have not."""
    rng = np.random.default_rng(0)
    return Sequential(
        layers.Conv2d(3, 24, 3, padding=1, groups=3, rng=rng),
        layers.GroupNorm(4, 24),
        layers.PReLU(24),
        layers.Conv2d(24, 24, 3, stride=2, padding=1, groups=24, rng=rng),
        layers.BatchNorm2d(24),
        layers.GELU(),
        layers.AvgPool2d(2),
        layers.Dropout(0.3),
        layers.Flatten(),
        layers.Linear(24 * 16, 11, rng=rng),
        layers.LayerNorm(11),
        layers.Activation("mish"),
        layers.Linear(11, 10, rng=rng),
    )


#: network, shape of an image, optimizer, augmentation
NETS: dict[str, tuple[Callable[[], Module], tuple[int, ...], Callable[[Any], Any], Any]] = {
    "lenet5": (built("lenet5", GREY), GREY, lambda p: SGD(p, 0.02, 0.9), None),
    "nielsen": (built("nielsen", GREY), GREY, lambda p: Adam(p, max_norm=1.0), AUGMENT),
    "resnet8": (
        built("resnet8", COLOUR), COLOUR, lambda p: SGD(p, 0.02, 0.9, weight_decay=1e-3),
        [AlternatingFlip(), *AUGMENT],
    ),
    "mixed": (mixed, COLOUR, lambda p: Adam(p, weight_decay=1e-3), None),
}  # fmt: skip


def images_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and classes for a network."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (IMAGES, *NETS[name][1]), np.uint8), rng.integers(0, 10, IMAGES)


def hash_of(net: Module) -> str:
    """Of all weights and buffers."""
    found = hashlib.sha256()
    for array in net.state_dict().values():
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def trained(name: str) -> str:
    """The hash of the weights after 200 steps."""
    make, _, rule, augment = NETS[name]
    x, y = images_of(name)
    net = make()
    trainer = Trainer(net, optimizer=rule(net.parameters()), seed=2)
    trainer.fit(x, y, EPOCHS, BATCH, schedule="cosine", augment=augment, progress=False)
    return hash_of(net)


def answered() -> str:
    """The hash of answers in int8, of a network whose weights and grids no kernel has computed."""
    rng = np.random.default_rng(3)
    inner = Sequential(
        layers.Conv2d(18, 18, 3, padding=1, groups=3),
        layers.ReLU(),
        layers.Conv2d(18, 18, 3, padding=1, groups=18),
    )
    net = Sequential(
        layers.Conv2d(3, 18, 5, stride=2, padding=2),
        layers.ReLU(),
        layers.Residual(inner),
        layers.ReLU(),
        layers.AvgPool2d(2),
        layers.Conv2d(18, 21, 3, padding=1),
        layers.MaxPool2d(2),
        layers.Flatten(),
        layers.Linear(84, 10),
    ).eval()
    for parameter in net.parameters():
        parameter.data[...] = rng.integers(-127, 128, parameter.data.shape) / np.float32(512)
    graph = graph_of(net, COLOUR)
    chosen = {node.output for node in graph.nodes if node.op in ("conv2d", "linear")}
    grids = {name: Grid(1 / 32, 100) for name in wanted(graph, chosen)}
    plan = cnn_ext.Plan(on_grids(graph, grids, chosen))
    assert plan.precision == "int8"
    x = rng.integers(-1000, 1000, (8, *COLOUR)) / np.float32(256)
    return hashlib.sha256(plan(x).tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    cnn_ext.set_num_threads(int(sys.argv[1]))
    print(*(answered() if name == "bytes" else trained(name) for name in sys.argv[2:]))
