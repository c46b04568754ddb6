"""All rows of `against.py` for the build that PYTHONPATH names, as a line of JSON: microseconds.

python against_worker.py THREADS SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import numpy as np
from timing import median_seconds

started = time.perf_counter()
import cnn_ext  # noqa: E402

ROWS = {"import": 1e6 * (time.perf_counter() - started)}

from cnn_ext import (  # noqa: E402
    SGD,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Trainer,
    architectures,
)

NETS = {"lenet5": (1, 28, 28), "nielsen": (1, 28, 28), "vgg6": (3, 32, 32)}
TRAINING = {"lenet5": (10, 64, 256), "nielsen": (10, 64, 256), "vgg6": (64,), "dropout": (10, 64),
            "wide": (64, 256)}  # fmt: skip
INFERENCE = (1, 8, 64, 256)


def images(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random((256, *shape), np.float32)


def with_dropout() -> Sequential:
    """A network whose steps are not recorded."""
    rng = np.random.default_rng(0)
    body = [Conv2d(1, 20, 5, rng=rng), ReLU(), MaxPool2d(2), Flatten(), Dropout(0.3)]
    return Sequential(*body, Linear(20 * 144, 10, rng=rng))


def wide() -> Sequential:
    """Linear layers whose weights are more than a cache holds."""
    rng = np.random.default_rng(0)
    body = [Flatten(), Linear(784, 1024, rng=rng), ReLU(), Linear(1024, 1024, rng=rng), ReLU()]
    return Sequential(*body, Linear(1024, 10, rng=rng))


def train(name: str, net: Sequential, shape: tuple[int, ...], seconds: float) -> None:
    """The time of a step."""
    x, y = images(shape), np.arange(256) % 10
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 1e-4))
    for n in TRAINING[name]:
        step = partial(trainer.train_on_batch, x[:n], y[:n])
        ROWS[f"{name} train b{n}"] = 1e6 * median_seconds(step, seconds)


def infer(name: str, net: Sequential, shape: tuple[int, ...], seconds: float) -> None:
    """The time of a call of the network and of its plan."""
    x = images(shape)
    for way, predict in (("net(x)", net.eval()), ("plan", net.compile(shape))):
        for n in INFERENCE:
            ROWS[f"{name} {way} b{n}"] = 1e6 * median_seconds(partial(predict, x[:n]), seconds)


if __name__ == "__main__":
    threads, seconds = int(sys.argv[1]), float(sys.argv[2])
    cnn_ext.set_num_threads(threads)
    for name, shape in NETS.items():
        net = architectures.build(name, shape, 10, rng=np.random.default_rng(0))
        train(name, net, shape, seconds)
        infer(name, net, shape, seconds)
    train("dropout", with_dropout(), (1, 28, 28), seconds)
    train("wide", wide(), (1, 28, 28), seconds)
    print(json.dumps(ROWS))
