"""Layers and parameters that stand in a network more than once: their gradients add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import check_layer
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    SGD,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    ReLU,
    Sequential,
    Tanh,
    Trainer,
)
from cnn_ext.run.plan import Plan

X = np.random.default_rng(0).standard_normal((20, 3))
Y = np.arange(20) % 3


def linear(seed: int, dtype: str = "float64") -> Linear:
    return Linear(3, 3, rng=np.random.default_rng(seed), dtype=dtype)


def shared_nets() -> list[Any]:
    same, inner = linear(0), Sequential(linear(1), Tanh())
    tied = linear(3)
    tied.weight = same.weight
    return [
        Sequential(same, Tanh(), same),
        Sequential(inner, linear(2), inner),
        Sequential(same, Sequential(Tanh(), same), ReLU()),
        Sequential(same, Tanh(), tied),
    ]


@pytest.mark.parametrize("which", range(4))
def test_what_stands_twice_adds_its_gradients(which: int) -> None:
    net = shared_nets()[which]
    check_layer(net, X)
    assert len({id(p) for p in net.parameters()}) == len(net.parameters())
    # by the recorded step and layer by layer (a dropout of nothing is not recorded), the same
    other = shared_nets()[which]
    others = Sequential(Dropout(0.0), other)
    for n in (net, others):
        trainer = Trainer(n, optimizer=SGD(n.parameters(), 0.1, momentum=0.9))
        for _ in range(3):
            trainer.train_on_batch(X, Y)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert_allclose(ours.data, theirs.data, rtol=1e-10, atol=1e-12)


def test_a_shared_convolution_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is missing")
    conv = Conv2d(2, 2, 3, padding=1, rng=np.random.default_rng(0), dtype="float64")
    net = Sequential(conv, ReLU(), conv, Tanh(), conv)
    x = np.random.default_rng(1).standard_normal((5, 2, 6, 6))
    weight = torch.tensor(conv.weight.data, requires_grad=True)
    bias = torch.tensor(conv.bias.data, requires_grad=True)  # type: ignore[union-attr]
    y = torch.tensor(x)
    for step in (torch.relu, torch.tanh, lambda z: z):
        y = step(torch.nn.functional.conv2d(y, weight, bias, padding=1))
    y.sum().backward()
    net.backward(np.ones_like(net.forward(x)))
    assert_allclose(np.array(conv.weight.grad), weight.grad.numpy(), rtol=1e-10)
    assert_allclose(np.array(conv.bias.grad), bias.grad.numpy(), rtol=1e-10)  # type: ignore[union-attr]


def test_what_stands_twice_compiles_and_comes_back(tmp_path: Path) -> None:
    net = shared_nets()[0].eval()
    assert_allclose(net.compile((3,))(X), net(X), rtol=1e-5, atol=1e-6)
    cnn_ext.save(net, tmp_path / "net")
    back: Any = cnn_ext.load(tmp_path / "net")
    assert back[0] is back[2]
    assert_array_equal(back(X), net(X))
    with pytest.raises(
        ValueError, match=r"layer 1 \(Sequential\): it shares a Parameter with layer 0"
    ):
        cnn_ext.save(shared_nets()[2], tmp_path / "other")
    pytest.importorskip("onnx", reason="the package onnx is missing")
    cnn_ext.onnx.export(net, tmp_path / "net.onnx", (3,))
    assert_allclose(Plan(cnn_ext.onnx.load(tmp_path / "net.onnx"))(X), net(X), atol=1e-5)


def test_a_layer_that_keeps_its_input_itself_cannot_stand_twice() -> None:
    class Square(Layer):
        def forward(self, x: Any) -> Any:
            self.x = x
            return x * x

        def backward(self, dy: Any) -> Any:
            return 2 * dy * self.x

    check_layer(Sequential(linear(0), Square()), X)
    square = Square()
    with pytest.raises(TypeError, match=r"layer 1 \(Square\): .* by save_for_backward"):
        Sequential(square, square).forward(X)
