"""A block of one's own with batch normalisation, from training to every form it can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_files import CC, compiled, predict
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import SGD, Activation, BatchNorm2d, Conv2d, Linear, Module, Trainer, ops
from cnn_ext.layers import graph_of

SHAPE = (3, 8, 8)


class Block(Module):
    """Two convolutions and what came in."""

    arguments = ("c",)

    def __init__(self, c: int) -> None:
        self.c = c
        self.a, self.b = (Conv2d(c, c, 3, padding=1, bias=False) for _ in range(2))
        self.first, self.second = BatchNorm2d(c), BatchNorm2d(c)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.first(self.a(x)))
        return ops.relu(x + self.second(self.b(y)))


class Net(Module):
    """A network of two such blocks; the last function has no layer of its own."""

    def __init__(self) -> None:
        self.stem = Conv2d(3, 8, 3, padding=1)
        self.blocks = [Block(8), Block(8)]
        self.bend = Activation("mish")
        self.head = Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.bend(x).mean((2, 3)))


@pytest.fixture(scope="module")
def trained() -> tuple[Net, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    images = rng.normal(size=(96, *SHAPE)).astype("f4")
    images[np.arange(96), labels] += 0.7
    cnn_ext.seed(0)
    net = Net()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.05, 0.9))
    history = trainer.fit(images, labels, 6, 16, progress=False)
    assert history["cost"][-1] < 0.5 * history["cost"][0]
    net.eval()
    assert np.mean(net(images).argmax(1) == labels) > 0.9
    return net, images[:19]


def test_plan(trained: tuple[Net, np.ndarray]) -> None:
    net, x = trained
    plan = net.compile(SHAPE)
    assert_allclose(plan(x), net(x), atol=1e-4)
    assert_array_equal(np.stack([plan(image) for image in x]), plan(x))


def test_file(trained: tuple[Net, np.ndarray], tmp_path: Path) -> None:
    net, x = trained
    cnn_ext.save(net, tmp_path / "net.safetensors")
    back = cnn_ext.load(tmp_path / "net.safetensors", custom={"Net": Net})
    assert_array_equal(back(x), net(x))


def test_onnx(trained: tuple[Net, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from test_onnx_export import checked, run

    net, x = trained
    path = tmp_path / "net.onnx"
    cnn_ext.onnx.export(net, path, SHAPE)
    names = {tensor.name for tensor in checked(path).graph.initializer}
    assert {"blocks.1.first.running_mean", "blocks.0.a.weight", "head.bias"} <= names
    assert_allclose(run(path, x), net(x), atol=1e-4)
    graph = cnn_ext.onnx.load(path)
    assert_allclose(cnn_ext.Plan(graph)(x), net(x), atol=1e-4)
    assert_allclose(graph.module().eval()(x), net(x), atol=1e-4)


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_c(trained: tuple[Net, np.ndarray], tmp_path: Path) -> None:
    net, x = trained
    graph = graph_of(net, SHAPE)
    library = compiled(graph, tmp_path)
    assert_allclose([predict(library, graph, image) for image in x], net(x), atol=1e-4)
