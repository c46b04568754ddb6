"""A training with everything in it, what it leaves behind, and a program that goes on with it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from networks import stripes

from cnn_ext import (
    Adam,
    BatchNorm2d,
    Callback,
    Conv2d,
    Dropout,
    EarlyStopping,
    Epoch,
    Flatten,
    History,
    Linear,
    MaxPool2d,
    ReduceLROnPlateau,
    ReLU,
    Sequential,
    Trainer,
)
from cnn_ext.augment import RandomHorizontalFlip, RandomShift

X, Y = stripes(60)
WEIGHTS = np.linspace(0.5, 2, 60)


def trainer(threads: int | None = None, seed: int = 39) -> Trainer:
    """Batch normalisation, dropout, Adam, an average."""
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv2d(1, 4, 3, rng=rng), BatchNorm2d(4), ReLU(), MaxPool2d(2), Dropout(0.3), Flatten(),
        Linear(16, 3, rng=rng),
    )  # fmt: skip
    return Trainer(net, optimizer=Adam(net, 0.4), average=0.8, num_threads=threads, seed=seed)


def resumed(path: Path, threads: int | None = None) -> Trainer:
    one = trainer(threads)
    one.resume(path)
    return one


def fit(one: Trainer, *callbacks: Callback, **options: Any) -> History:
    """Augmentation, weights, plateaus; of twelve epochs of four steps it makes eight."""
    arguments: dict[str, Any] = {
        "x": X, "y": Y, "epochs": 12, "batch_size": 12, "validation_split": 0.2,
        "early_stopping": EarlyStopping(2), "augment": [RandomShift(1), RandomHorizontalFlip()],
        "callbacks": [ReduceLROnPlateau(0.5, patience=1, min_delta=0.01), *callbacks],
        "sample_weight": WEIGHTS, "class_weight": "balanced", "progress": False, **options,
    }  # fmt: skip
    return one.fit(**arguments)


def left_by(one: Trainer, history: History | None = None) -> tuple[Any, ...]:
    """A hash of weights, buffers, averages and slots, and the history without its times."""
    made = hashlib.sha256()
    for kept in one._moving:
        made.update(kept.data.tobytes())
    for state in one.optimizer.state:
        for name, value in sorted(state.items()):
            made.update(f"{name} {value}".encode() if name == "step" else value.tobytes())
    draws = [(layer.draws.seed, layer.draws.count) for layer in one._dropouts]
    rates = [group["lr"] for group in one.optimizer.param_groups]
    found = (made.hexdigest(), draws, rates, one.epochs_begun, one.net.task, one.net.input_shape)
    return found if history is None else (*found, figures(history), history.stopped)


def figures(history: History) -> list[tuple[Any, ...]]:
    """All that a clock does not tell."""
    return [
        (e.number, e.cost, e.accuracy, e.learning_rate, e.validation_cost, e.validation_accuracy)
        for e in history
    ]


class At(Callback):
    """Does something at the nth call of one of its methods, and writes down all calls."""

    def __init__(self, moment: str = "", nth: int = 0, action: Any = None) -> None:
        self.moment, self.nth, self.action = moment, nth, action
        self.calls: list[str] = []

    def _called(self, moment: str, one: Trainer, number: int) -> None:
        self.calls.append(f"{moment} {number}")
        if moment == self.moment and sum(c.startswith(moment) for c in self.calls) == self.nth:
            self.action(one)

    def on_epoch_begin(self, trainer: Trainer, number: int) -> None:
        self._called("epoch_begin", trainer, number)

    def on_batch_begin(self, trainer: Trainer, number: int) -> None:
        self._called("batch_begin", trainer, number)

    def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
        self._called("batch_end", trainer, number)

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> None:
        self._called("epoch_end", trainer, epoch.number)

    def state_dict(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.calls = list(state["calls"])


def main(path: str, threads: str, every: str) -> None:
    """Train, or go on if there is a checkpoint, and print what is left."""
    one = trainer(int(threads))
    if os.path.exists(path):
        one.resume(path)
    print("ready", flush=True)
    history = fit(one, checkpoint=path, every=every if every == "epoch" else int(every))
    print(repr(left_by(one, history)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
