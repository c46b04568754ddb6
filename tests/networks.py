"""Networks, pictures and a layer of one's own that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnn_ext import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)

Weights = dict[str, np.ndarray]


class ChannelScale(Layer):
    """A layer of one's own on plain (N, C, H, W): each channel times a number that is learned."""

    arguments = ("channels",)

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.gain = Parameter(np.linspace(0.5, 1.5, channels).astype(np.float32))

    def forward(self, x: np.ndarray) -> np.ndarray:
        assert type(x) is np.ndarray and x.ndim == 4
        self.save_for_backward(x)
        return x * self.gain.data[:, None, None]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        assert type(dy) is np.ndarray and dy.ndim == 4
        (x,) = self.saved()
        self.gain.grad = (dy * x).sum((0, 2, 3))
        return dy * self.gain.data[:, None, None]

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        if input_shape[0] != self.channels:
            raise ValueError(f"expected {self.channels} channels, got {input_shape[0]}")
        return input_shape


def all_kinds(seed: int = 0, dtype: Any = np.float64) -> Sequential:
    """Every kind of layer, one within another network, and a layer of one's own; (2, 7, 7)."""
    rng = np.random.default_rng(seed)
    net = Sequential(
        Conv2d(2, 6, 3, padding="same", rng=rng), Tanh(), ChannelScale(6),
        Sequential(
            Conv2d(6, 8, (3, 2), 2, (1, 0, 2, 1), 2, 2, rng=rng), LeakyReLU(0.2),
            MaxPool2d(2, 1, 1, ceil_mode=True),
        ),
        Conv2d(8, 4, 1, bias=False, rng=rng), ReLU(), AvgPool2d(2, 1, 1, False, False),
        Sequential(Sigmoid(), Softmax(), Dropout(0.0)), Flatten(),
        Linear(4 * 4 * 6, 10, rng=rng), Tanh(), Linear(10, 3, bias=False, rng=rng),
    )  # fmt: skip
    return net.astype(dtype)


def pooled(seed: int = 0, dtype: Any = np.float64) -> Sequential:
    """A small network that ends in a mean over each channel; (2, 6, 6)."""
    rng = np.random.default_rng(seed)
    net = Sequential(Conv2d(2, 5, 3, rng=rng), Sigmoid(), GlobalAvgPool2d(), Linear(5, 3, rng=rng))
    return net.astype(dtype)


def small(seed: int = 0, classes: int = 3, dropout: float = 0.0) -> Sequential:
    """A network for quick training; (1, 6, 6)."""
    rng = np.random.default_rng(seed)
    return Sequential(
        Conv2d(1, 4, 3, rng=rng), ReLU(), MaxPool2d(2), Dropout(dropout), Flatten(),
        Linear(16, classes, rng=rng),
    )  # fmt: skip


def normalised(classes: int = 5, seed: int = 0) -> Sequential:
    """Convolutions with batch normalisation, and statistics of some batches; float64."""
    rng = np.random.default_rng(seed)
    net = Sequential(
        Conv2d(3, 6, 3, padding=1, rng=rng), BatchNorm2d(6), ReLU(), MaxPool2d(2),
        Residual(Sequential(Conv2d(6, 6, 3, padding=1, rng=rng), BatchNorm2d(6, affine=False))),
        ReLU(), Flatten(), Linear(96, classes, rng=rng),
    ).astype(np.float64)  # fmt: skip
    for _ in range(2):
        net(rng.standard_normal((9, 3, 8, 8)) + 1)
    return net


def stripes(images: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures (N, 1, 6, 6) of three kinds, lying, standing and chequered, and the kinds."""
    rng = np.random.default_rng(seed)
    rows = np.indices((6, 6))
    kinds = np.stack([rows[0] % 2, rows[1] % 2, rows.sum(0) % 2]).astype(np.float32)
    y = rng.integers(0, 3, images)
    x = kinds[y][:, None] + 0.3 * rng.standard_normal((images, 1, 6, 6))
    return x.astype(np.float32), y


def assert_same(a: Weights, b: Weights) -> None:
    """Equal bit for bit."""
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert array.tobytes() == b[name].tobytes(), name


class Recorder:
    """Images that note which of them were asked for."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.asked.append(np.array(indices))
        return self.x[indices]
