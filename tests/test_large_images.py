"""One large image goes through a network alone: the same bits as in a block, in far less memory."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import normal
from numpy.testing import assert_array_equal

from cnn_ext import (
    GELU,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Upsample,
    _core,
)
from cnn_ext.graph.graph import Graph
from cnn_ext.layers import running

SIDE = {16: 96, 8: 136}.get(_core.lanes(4), 192)
NETS = {
    "plain": lambda: [Conv2d(3, 40, 3, padding=1), ReLU(), Conv2d(40, 5, 1)],
    "pooled": lambda: [
        Conv2d(3, 40, 5, padding=2), ReLU(), MaxPool2d(2), Dropout(0.5),
        Conv2d(40, 40, 3, padding=1), GELU(), Upsample(scale_factor=2), Conv2d(40, 2, 3),
    ],
    "batch norm": lambda: [Conv2d(3, 40, 3, padding=1), GELU(), BatchNorm2d(40), Conv2d(40, 2, 1)],
    "transposed": lambda: [Conv2d(3, 40, 3, padding=1), ConvTranspose2d(40, 2, 2, stride=2)],
}  # fmt: skip
ALONE = {"plain", "pooled"}  # of the others an image alone has another order of operations


def images(dtype: type = np.float32) -> np.ndarray:
    return normal("x", (_core.lanes(4), 3, SIDE, SIDE), dtype)


def network(name: str) -> Module:
    net = Sequential(*NETS[name]())
    net.initialize("he", np.random.default_rng(3))
    net(images()[:4])  # moves the statistics
    return net.eval()


@pytest.mark.skipif(_core.lanes(4) < 4, reason="without vector types a block is one image")
@pytest.mark.parametrize("name", NETS)
def test_one_image_alone_has_the_bits_that_it_has_in_a_block(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = network(name), images()
    alone = []

    def counted(graph: Graph, x: np.ndarray) -> np.ndarray | None:
        found = original(graph, x)
        if found is not None:
            alone.append(len(x))
        return found

    original = running.one_by_one
    monkeypatch.setattr(running, "one_by_one", counted)
    whole = net(x)
    assert not alone
    for i in range(2):
        assert_array_equal(net(x[i : i + 1]), whole[i : i + 1])
    assert bool(alone) is (name in ALONE)


def test_it_follows_the_weights() -> None:
    net = network("plain")
    before = net(images()[:1])
    for parameter in net.parameters():
        parameter.data[...] *= 2
    assert_array_equal(net(images()[:1]), net(images())[:1])
    assert (net(images()[:1]) != before).any()


def test_bytes_and_float64() -> None:
    net = network("plain")
    x = np.random.default_rng(0).integers(0, 256, images().shape, np.uint8)
    assert_array_equal(net(x[:1]), net(x)[:1])
    wide = net.astype(np.float64)
    assert_array_equal(wide(images(np.float64)[:1]), wide(images(np.float64))[:1])


class Doubled(Module):
    """A layer on arrays, which no graph knows."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.save_for_backward()
        return 2 * x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return 2 * dy


def test_layers_of_ones_own() -> None:
    net = Sequential(Conv2d(3, 40, 3, padding=1), Doubled()).eval()
    assert_array_equal(net(images()[:1]), net(images())[:1])


MEMORY = """
import resource
import numpy as np
from cnn_ext import Conv2d, ReLU, Sequential

net = Sequential(Conv2d(3, 16, 3, padding=1), ReLU(), Conv2d(16, 2, 3, padding=1)).eval()
x = np.ones((1, 3, 600, 600), np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net(x)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
@pytest.mark.skipif(_core.lanes(4) < 4, reason="without vector types a block is one image")
def test_its_memory_is_that_of_one_image() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env=os.environ
    )
    values = 16 * 600 * 600 * 4 / 2**20  # the largest value, 22 MiB; a block of 16 has 352
    assert int(done.stdout) < 4 * values
