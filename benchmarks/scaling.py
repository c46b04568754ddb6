"""Cost of a training step and of inference against batch, channels, image size and threads.

    python benchmarks/scaling.py [--seconds 0.3] [--batches ...] [--channels ...] [--sizes ...]
                                 [--threads ...] [--json FILE]

The net is two 3 x 3 convolutions of C to C channels with ReLU, max pooling and a linear layer, on
images of C channels; one of the four numbers changes, the others are those of BASE.  Times are
medians.  The slope is that of log time over log number from the line before (1: time grows as the
number does), and last that of the line that fits best.  A cliff is a unit of work - a multiply-add
of the forward pass, or, between threads, the time of all threads - that takes more than 1.5 times
as long as for a neighbour.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext._dispatch import ISA

BASE = {"batch": 64, "channels": 16, "size": 16}
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
CHANNELS = [4, 8, 16, 32, 64, 128]
SIZES = [8, 16, 32, 64]
CLIFF = 1.5
PASSES = ("training", "inference")
Point = dict[str, float]


def steps(batch: int, C: int, size: int) -> tuple[float, dict[str, Callable[[], object]]]:
    """Multiply-adds of a forward pass, and what is timed."""
    rng = np.random.default_rng(0)
    net = cnn_ext.Sequential(
        cnn_ext.Conv2d(C, C, 3, padding=1, rng=rng), cnn_ext.ReLU(),
        cnn_ext.Conv2d(C, C, 3, padding=1, rng=rng), cnn_ext.ReLU(), cnn_ext.MaxPool2d(2),
        cnn_ext.Flatten(), cnn_ext.Linear(C * (size // 2) ** 2, 10, rng=rng),
    )  # fmt: skip
    optimizer = cnn_ext.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    trainer = cnn_ext.Trainer(net, optimizer=optimizer)
    x, y = rng.random((batch, C, size, size), np.float32), rng.integers(0, 10, batch)

    def infer() -> object:
        net.eval()
        return net(x)

    calls = (lambda: trainer.train_on_batch(x, y), infer)
    return batch * net.multiply_adds((C, size, size)), dict(zip(PASSES, calls, strict=True))


def point(axis: str, number: int, threads: int, seconds: float) -> Point:
    """Times of one line of a table, and its work."""
    settings = {**BASE, **({} if axis == "threads" else {axis: number})}
    work, calls = steps(settings["batch"], settings["channels"], settings["size"])
    with cnn_ext.threads(threads):
        times = {name: median_seconds(call, seconds) for name, call in calls.items()}
    return {"number": number, "threads": threads, "work": work, **times}


def slope(points: list[Point], what: str) -> float:
    """Exponent of the power that fits the times best."""
    logs = np.log([[p["number"], p[what]] for p in points])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def unit(axis: str, p: Point, what: str) -> float:
    """Seconds for a multiply-add of the forward pass."""
    return p[what] * (p["threads"] if axis == "threads" else 1) / p["work"]


def cliffs(axis: str, points: list[Point]) -> list[str]:
    """Sentences that name the cliffs; the part of a pair that costs more is named first."""
    found = []
    for what in PASSES:
        for pair in pairwise(points):
            low, high = sorted(pair, key=lambda p: unit(axis, p, what))
            ratio = unit(axis, high, what) / unit(axis, low, what)
            if ratio > CLIFF:
                found.append(
                    f"{what}, {axis} {high['number']:.0f}: {ratio:.1f} x the time per unit of "
                    f"work of {low['number']:.0f}"
                )
    return found


def report(axis: str, numbers: list[int], threads: int, seconds: float) -> dict[str, Any]:
    """Measure and print the table of one axis."""
    fixed = [f"{name} {number}" for name, number in BASE.items() if name != axis]
    if axis != "threads":
        fixed.append(f"threads {threads}")
    print(f"\n{', '.join(fixed)}\n")
    head = [axis, *(f"{what} {cell}" for what in PASSES for cell in ("ms", "slope", "ps a unit"))]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    points: list[Point] = []
    for number in numbers:
        points.append(point(axis, number, number if axis == "threads" else threads, seconds))
        cells = [str(number)]
        for what in PASSES:
            grown = f"{slope(points[-2:], what):.2f}" if len(points) > 1 else ""
            picoseconds = unit(axis, points[-1], what) * 1e12
            cells += [f"{points[-1][what] * 1e3:.3f}", grown, f"{picoseconds:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    slopes = {}
    if len(points) > 1:
        slopes = {what: slope(points, what) for what in PASSES}
        print("| all | " + " | ".join(f" | {slopes[what]:.2f} | " for what in PASSES) + " |")
    names = cliffs(axis, points)
    print("\n" + "\n".join(f"cliff: {name}" for name in names) if names else "\nno cliff")
    return {"axis": axis, "points": points, "slopes": slopes, "cliffs": names}


def main() -> None:
    most = cnn_ext.get_num_threads()
    doubling = [2**i for i in range(int(math.log2(most)) + 1)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--channels", nargs="*", type=int, default=CHANNELS)
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES, help="even numbers")
    parser.add_argument(
        "--threads", nargs="*", type=int, default=sorted({*doubling, most}), help="the last one "
        "is used in the other tables",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    threads = options.threads[-1] if options.threads else most
    print(f"instruction set {ISA}, float32")
    axes = {
        "batch": options.batches,
        "channels": options.channels,
        "size": options.sizes,
        "threads": options.threads,
    }
    tables = [
        report(axis, numbers, threads, options.seconds) for axis, numbers in axes.items() if numbers
    ]
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
