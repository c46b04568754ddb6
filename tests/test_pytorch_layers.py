"""Layers of today beside PyTorch's: outputs and all gradients in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from modern_layers import MODERN, Modern
from numpy.testing import assert_allclose

from cnn_ext import (
    SGD,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    Module,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Trainer,
    ops,
)

torch = pytest.importorskip("torch", reason="PyTorch is missing")
nn = torch.nn
TOLERANCE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}


def agree(mine: Module, theirs: Any, x: np.ndarray) -> None:
    """Outputs and gradients at the input and of all parameters, and buffers after it."""
    mine.load_state_dict({key: np.asarray(value) for key, value in theirs.state_dict().items()})
    images = torch.tensor(x, requires_grad=True)
    wanted = theirs(images)
    dy = normal("dy", tuple(wanted.shape), np.float64)
    wanted.backward(torch.tensor(dy))
    assert_allclose(mine(x), wanted.detach().numpy(), **TOLERANCE)
    assert_allclose(mine.backward(dy), images.grad.numpy(), **TOLERANCE)
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    for name, parameter in mine.named_parameters():
        assert_allclose(parameter.grad, gradients[name], **TOLERANCE)
    state = theirs.state_dict()
    for name, array in mine.state_dict().items():
        assert_allclose(array, state[name].numpy(), **TOLERANCE)
    assert_allclose(mine.eval()(x), theirs.eval()(torch.tensor(x)).detach().numpy(), **TOLERANCE)


@pytest.mark.parametrize("case", [c for c in MODERN if c.torch], ids=lambda c: c.name)
@pytest.mark.parametrize("images", [1, 5, 19])
def test_layers(case: Modern, images: int) -> None:
    torch.manual_seed(images)
    theirs = eval(str(case.torch), {"nn": nn}).double()
    pixels = int(np.prod(case.shape[1:]))
    if images * pixels == 1 and "BatchNorm" in case.name:
        with pytest.raises(ValueError, match="expected more than one number a channel"):
            case.build()(np.zeros((1, *case.shape)))
        return
    agree(case.build().astype("float64"), theirs, normal(case.name, (images, *case.shape), "f8"))


class Excitation(Module):
    """Squeeze and excitation: channels weighted by what all pixels say."""

    def __init__(self, c: int) -> None:
        self.a, self.b = Linear(c, c // 2), Linear(c // 2, c)

    def forward(self, x: Any) -> Any:
        weights = ops.sigmoid(self.b(ops.relu(self.a(x.mean((2, 3))))))
        return x * weights.reshape(x.shape[0], -1, 1, 1)


class TheirExcitation(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(c, c // 2), nn.Linear(c // 2, c)

    def forward(self, x: Any) -> Any:
        weights = torch.sigmoid(self.b(torch.relu(self.a(x.mean((2, 3))))))
        return x * weights.reshape(x.shape[0], -1, 1, 1)


class Mixed(Module):
    """Slices, joins, arithmetic, numbers that are learned."""

    def __init__(self) -> None:
        self.g = Parameter(np.ones((4, 1, 1), np.float32))
        self.c = Conv2d(4, 4, 3, padding=1)
        self.o = Parameter(np.full(1, 0.3, np.float32))

    def forward(self, x: Any) -> Any:
        first, second = x[:, :2], x[:, 2:]
        y = self.c(ops.concat([second, first])) * self.g - x / 3 + self.o
        return (1 - y * y).flatten()


class TheirMixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(4, 1, 1))
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.o = nn.Parameter(torch.full((1,), 0.3))

    def forward(self, x: Any) -> Any:
        first, second = x[:, :2], x[:, 2:]
        y = self.c(torch.cat([second, first], 1)) * self.g - x / 3 + self.o
        return (1 - y * y).flatten(1)


@pytest.mark.parametrize("images", [1, 19])
def test_forwards_of_ones_own(images: int) -> None:
    x = normal("own", (images, 4, 5, 6), "f8")
    agree(Excitation(4).astype("float64"), TheirExcitation(4).double(), x)
    agree(Mixed().astype("float64"), TheirMixed().double(), x)


class TheirBlock(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


def test_twenty_steps_of_a_residual_normalised_network() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        TheirBlock(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6, momentum=None))),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 5),
    ).double()  # fmt: skip
    mine = Sequential(
        Conv2d(2, 6, 3, padding=1, bias=False), BatchNorm2d(6), ReLU(),
        Residual(Sequential(Conv2d(6, 6, 3, padding=1), BatchNorm2d(6, momentum=None))),
        ReLU(), Flatten(), Linear(6 * 25, 5),
    ).astype("float64")  # fmt: skip
    mine.load_state_dict({key: np.asarray(value) for key, value in theirs.state_dict().items()})
    x, y = normal("x", (400, 2, 5, 5), "f8"), np.arange(400) % 5
    descent = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    trainer = Trainer(mine, optimizer=SGD(mine.parameters(), lr=0.05, momentum=0.9))
    for step in range(20):
        part = slice(step * 19, step * 19 + 19 + step % 2)
        descent.zero_grad()
        cost = nn.functional.cross_entropy(theirs(torch.tensor(x[part])), torch.tensor(y[part]))
        cost.backward()
        descent.step()
        assert trainer.train_on_batch(x[part], y[part]) == pytest.approx(cost.item(), rel=1e-10)
    state = theirs.state_dict()
    for name, array in mine.state_dict().items():
        assert_allclose(array, state[name].numpy(), rtol=1e-9, atol=1e-11)
