"""One block of images that several threads share: the same bits, whatever each task is cut into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, Linear, Sequential, Trainer, layers, set_winograd


def net(channels: tuple[int, int, int], size: int, kernel: int) -> Sequential:
    rng = np.random.default_rng(0)
    first, second, third = channels
    return Sequential(
        Conv2d(first, second, kernel, padding=kernel // 2, rng=rng), layers.ReLU(),
        Conv2d(second, third, kernel, rng=rng), layers.MaxPool2d(2), layers.Flatten(),
        Linear(third * ((size - kernel + 1) // 2) ** 2, 5, rng=rng),
    )  # fmt: skip


def step(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> list[Any]:
    cost = trainer.train_on_batch(x, y)
    parameters = trainer.net.parameters()
    return [cost, *(p.grad for p in parameters), *(p.data.copy() for p in parameters)]


@pytest.mark.parametrize("images", [3, 10, 16])
@pytest.mark.parametrize(
    ("channels", "size", "kernel"),
    [((7, 20, 40), 12, 5), ((16, 33, 17), 13, 3), ((3, 70, 66), 9, 3), ((24, 16, 1), 10, 3)],
)
def test_training(channels: tuple[int, int, int], size: int, kernel: int, images: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(images, channels[0], size, size)).astype(np.float32)
    y = rng.integers(0, 5, images)
    found = []
    for threads in (1, 2, 3, 7):
        trainer = Trainer(net(channels, size, kernel), num_threads=threads)
        found.append([step(trainer, x, y) for _ in range(3)])
    for other in found[1:]:
        for now, then in zip(other, found[0], strict=True):
            for a, b in zip(now, then, strict=True):
                assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, 3e38])
def test_what_is_not_finite_stays_in_its_image(wrong: float) -> None:
    x = np.random.default_rng(1).normal(size=(10, 16, 13, 13)).astype(np.float32)
    model = net((16, 33, 17), 13, 3).eval()
    outputs = []
    x[4, 3, 6, 6] = wrong
    try:
        for winograd, threads in ((True, 1), (True, 2), (True, 3), (False, 1)):
            set_winograd(winograd)
            with cnn_ext.threads(threads):
                outputs.append(model(x))
    finally:
        set_winograd(True)
    for other in outputs[1:3]:
        assert_array_equal(other, outputs[0])
    rest = np.arange(10) != 4
    assert np.isfinite(outputs[0][rest]).all()
    assert_array_equal(np.isnan(outputs[0]), np.isnan(outputs[3]))
