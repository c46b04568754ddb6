"""Networks and sets for the tests of the report."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import cnn_ext
from cnn_ext import (
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool1d,
    MaxPool2d,
    Module,
    Normalize,
    ReLU,
    Sequential,
    Task,
)


class Subject(NamedTuple):
    """A network and pictures to ask it about."""

    net: Module
    x: np.ndarray
    y: np.ndarray


def subject(net: Sequential, x: np.ndarray, classes: list[str], images: int = 60) -> Subject:
    net.task = Task("classes", "logits", classes)
    net.input_shape = x.shape[1:]
    return Subject(net.eval(), x, np.arange(images) % len(classes))


def digits() -> Subject:
    """Bundled digits, and a network that has learned them a little."""
    data = cnn_ext.datasets.digits()
    rng = np.random.default_rng(0)
    net = Sequential(
        Normalize().fit(data.x_train), Conv2d(1, 8, 3, padding=1, rng=rng), ReLU(), MaxPool2d(2),
        Flatten(), Linear(128, 10, rng=rng),
    )  # fmt: skip
    trainer = cnn_ext.Trainer(net, seed=0, task=Task("classes", classes=data.classes))
    trainer.fit(data.x_train, data.y_train, epochs=3, batch_size=32, progress=False)
    net.input_shape = (1, 8, 8)
    return Subject(net.eval(), data.x_test, data.y_test)


def colour(classes: list[str] | None = None) -> Subject:
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv2d(3, 6, 3, padding="same", rng=rng), BatchNorm2d(6), ReLU(), GlobalAvgPool2d(),
        Linear(6, 3, rng=rng),
    )  # fmt: skip
    x = rng.integers(0, 256, (60, 3, 12, 10), np.uint8)
    return subject(net, x, classes or ["red", "green", "blue"])


def sequences() -> Subject:
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv1d(2, 4, 5, rng=rng), BatchNorm1d(4), ReLU(), MaxPool1d(2), Flatten(),
        Linear(52, 3, rng=rng),
    )  # fmt: skip
    return subject(net, rng.standard_normal((60, 2, 30)).astype(np.float32), ["a", "b", "c"])


def vectors() -> Subject:
    rng = np.random.default_rng(0)
    net = Sequential(Linear(9, 5, rng=rng), ReLU(), Linear(5, 1, rng=rng))
    net.task = Task("probability", "logits", ["no", "yes"])
    x = rng.standard_normal((60, 9)).astype(np.float32)
    return Subject(net.eval(), x, np.arange(60) % 2)
