"""Speed of training with augmentation, against the same training without.

    python benchmarks/augmentation.py [--threads 1 2] [--rounds 9] [--images ...] [--json FILE]

lenet5 on grey bytes of 28 x 28 and resnet8 on coloured ones of 32 x 32, in batches of 64.  Epochs
without and with each list of transforms take turns; the figure is the median of the ratios of their
speeds within a round.  Also the time of augmentation alone, for an image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import cnn_ext
from cnn_ext import architectures
from cnn_ext.augment import (
    Compose,
    Cutout,
    ElasticTransform,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
)

NETS = {"lenet5": ((1, 28, 28), 6400), "resnet8": ((3, 32, 32), 640)}
LISTS = {
    "shift, flip, cutout": Compose([RandomShift(2), RandomHorizontalFlip(), Cutout(8)]),
    "rotation, elastic": Compose([RandomRotation(15), ElasticTransform(34.0, 4.0)]),
}


def measure(name: str, threads: int, rounds: int, count: int) -> list[dict[str, object]]:
    """A line for each list of transforms."""
    shape, images = NETS[name]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count or images, *shape)).astype(np.uint8)
    y = rng.integers(0, 10, len(x))
    net = architectures.build(name, shape, 10, rng=rng)
    trainer = cnn_ext.Trainer(net, optimizer=cnn_ext.SGD(net, lr=1e-4), num_threads=threads)
    cases = {"": None, **LISTS}
    speeds: dict[str, list[float]] = {case: [] for case in cases}
    for turn in range(rounds + 1):
        for case, transforms in cases.items():
            history = trainer.fit(x, y, batch_size=64, progress=False, augment=transforms)
            if turn:  # the first one records the step
                speeds[case] += history["images_per_second"]
    lines = []
    for case, transforms in LISTS.items():
        ratios = [a / b for a, b in zip(speeds[case], speeds[""], strict=True)]
        lines.append({
            "net": name, "threads": threads, "transforms": case,
            "without": statistics.median(speeds[""]), "ratio": statistics.median(ratios),
            "alone_us": alone(transforms, x[:64], threads),
        })  # fmt: skip
    return lines


def alone(transforms: Compose, x: np.ndarray, threads: int) -> float:
    """Microseconds of an image in a batch."""
    times = []
    with cnn_ext.threads(threads):
        for epoch in range(100):
            started = time.perf_counter()
            transforms(x, epoch=epoch)
            times.append(time.perf_counter() - started)
    return statistics.median(times) / len(x) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--nets", nargs="*", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=0, help="of an epoch")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    print("| net | threads | transforms | images/s without | ratio with | us an image alone |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    lines = []
    for name in options.nets:
        for threads in options.threads:
            for line in measure(name, threads, options.rounds, options.images):
                lines.append(line)
                print(
                    f"| {name} | {threads} | {line['transforms']} | {line['without']:,.0f} | "
                    f"{line['ratio']:.3f} | {line['alone_us']:.2f} |",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
