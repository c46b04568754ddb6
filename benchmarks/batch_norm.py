"""What batch normalisation costs in training: each net beside itself without those layers.

    python benchmarks/batch_norm.py [--nets resnet8 mobilenet_025 dscnn] [--batches 64 256]
                                    [--threads 1] [--seconds 4]

Both train recorded in one process and take turns, step by step; a time is the median of the steps,
a ratio the median over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from peers_models import MODERN

import cnn_ext
from cnn_ext import SGD, BatchNorm2d, Sequential, Trainer, _dispatch, architectures


def without(layer: dict[str, Any] | None) -> dict[str, Any] | None:
    """The configuration of a layer without the batch normalisation in it."""
    if layer is None:
        return None
    if layer["type"] == "Residual":
        return {**layer, "body": without(layer["body"]), "shortcut": without(layer["shortcut"])}
    if layer["type"] == "Sequential":
        kept = [inner for inner in layer["layers"] if inner["type"] != BatchNorm2d.__name__]
        return {**layer, "layers": [without(inner) for inner in kept]}
    return layer


def step_of(net: Sequential, x: np.ndarray, y: np.ndarray) -> Callable[[], float]:
    """A training step."""
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 1e-4))
    return lambda: trainer.train_on_batch(x, y)


def turns(steps: list[Callable[[], float]], seconds: float) -> list[list[float]]:
    """Times of the steps, which take turns."""
    for step in 2 * steps:
        step()
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        times.append([])
        for step in steps:
            started = time.perf_counter()
            step()
            times[-1].append(1e3 * (time.perf_counter() - started))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=list(MODERN), default=list(MODERN))
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each row")
    options = parser.parse_args()
    cnn_ext.set_num_threads(options.threads)
    machine = _dispatch.config()
    print(f"{machine['cpu']}, {machine['instruction_set']}, {options.threads} thread(s)\n")
    print("| net | images | with, ms | without, ms | ratio |\n| --- | --- | --- | --- | --- |")
    for name in options.nets:
        net = architectures.build(name, MODERN[name], 10, rng=np.random.default_rng(0))
        config = without({"type": "Sequential", **net.to_config()})
        assert config is not None
        other = Sequential.from_config(config["layers"])
        rng = np.random.default_rng(1)
        other.initialize("he", rng)
        for images in options.batches:
            x = rng.random((images, *MODERN[name]), np.float32)
            y = rng.integers(0, 10, images)
            times = turns([step_of(each, x, y) for each in (net, other)], options.seconds)
            ratio = statistics.median(a / b for a, b in times)
            medians = [f"{statistics.median(each):.1f}" for each in zip(*times, strict=True)]
            print(f"| {name} | {images} | {' | '.join(medians)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
