"""One measurement for `peers.py`: images per second of one peer with one net, as a line of JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

INPUTS = {"lenet5": (1, 28, 28), "nielsen": (1, 28, 28), "vgg6": (3, 32, 32)}
SECONDS = 1.5  # of each measurement, after as long a warm-up as a fifth of it


def median_seconds(step: Callable[[], object]) -> float:
    """The median time of a step, warm."""
    end = time.perf_counter() + SECONDS / 5
    while time.perf_counter() < end:
        step()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def cnn_ext_steps(
    net: str, x: np.ndarray, y: np.ndarray, threads: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    import cnn_ext

    cnn_ext.set_num_threads(threads)
    model = cnn_ext.architectures.build(net, x.shape[1:], 10, rng=np.random.default_rng(0))
    optimizer = cnn_ext.SGD(model.parameters(), lr=0.01, momentum=0.9)
    trainer = cnn_ext.Trainer(model, optimizer=optimizer)

    def infer() -> object:
        model.eval()
        return model(x)

    return lambda: trainer.train_on_batch(x, y), infer


def torch_steps(
    net: str, x: np.ndarray, y: np.ndarray, threads: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    import torch
    from torch import nn

    import cnn_ext

    torch.set_num_threads(threads)
    described = cnn_ext.architectures.build(net, x.shape[1:], 10).to_config()["layers"]
    layers = []
    for arguments in described:
        kind = arguments.pop("type")
        layers.append(getattr(nn, kind)(**arguments))
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss = nn.CrossEntropyLoss()
    images, labels = torch.tensor(x), torch.tensor(y)

    def train() -> object:
        model.train()
        optimizer.zero_grad()
        cost = loss(model(images), labels)
        cost.backward()
        optimizer.step()
        return cost.item()

    def infer() -> object:
        model.eval()
        with torch.inference_mode():
            return model(images)

    return train, infer


def main() -> None:
    peer, net, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rng = np.random.default_rng(0)
    x = rng.random((batch, *INPUTS[net]), np.float32)
    y = rng.integers(0, 10, batch)
    steps = {"cnn_ext": cnn_ext_steps, "torch": torch_steps}[peer]
    train, infer = steps(net, x, y, threads)
    print(
        json.dumps({"train": batch / median_seconds(train), "infer": batch / median_seconds(infer)})
    )


if __name__ == "__main__":
    main()
