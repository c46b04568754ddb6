"""A small network and its data, and what is compared where several ranks train it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from thread_group import on_ranks

from cnn_ext import Linear, Sequential, Trainer, layers

lock = threading.Lock()  # first weights are drawn in one order for the whole process


def small() -> Sequential:
    with lock:
        return Sequential(
            layers.Flatten(), Linear(9, 8, rng=np.random.default_rng(0)), layers.BatchNorm1d(8),
            layers.ReLU(), layers.Dropout(0.2), Linear(8, 3, rng=np.random.default_rng(1)),
        )  # fmt: skip


def points(images: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.random((images, 1, 3, 3), np.float32), rng.integers(0, 3, images)


def told(trainer: Trainer, history: Any = None) -> Any:
    """All that a training leaves, to be compared."""
    figures = [(e.cost, e.accuracy, e.validation_cost, e.validation_metrics) for e in history or ()]
    arrays = [kept.tobytes() for kept in trainer.net.state_dict().values()]
    return arrays, figures, trainer.task


def the_same(work: Callable[[Any], Any], sizes: tuple[int, ...] = (2, 3)) -> None:
    expected = work(None)
    for size in sizes:
        for rank, found in enumerate(on_ranks(size, work)):
            if isinstance(found, BaseException):
                raise found
            assert found == expected, f"rank {rank} of {size}"
