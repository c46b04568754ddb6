"""Training on sets that are read from files, against the same sets in memory.

    python benchmarks/streaming.py [--threads 2] [--rounds 9] [--json FILE]
    python benchmarks/streaming.py --large FOLDER [--gigabytes 8]

lenet5 on grey bytes of 28 x 28 and resnet8 on coloured ones of 32 x 32, in batches of 64; the files
are warm.  Epochs on each source and in memory take turns; the figure is the median of the ratios of
their speeds within a round.  HDF5 and Zarr need h5py and zarr, pictures need Pillow.

With `--large` shards of so many gigabytes are written to a new folder below FOLDER, one epoch of
training goes through them, and an evaluation; the most memory that the process had is told, with
what belongs to it alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import cnn_ext
from cnn_ext import architectures
from cnn_ext.data import Shards, write_shards

NETS = {"lenet5": ((1, 28, 28), 65536), "resnet8": ((3, 32, 32), 8192)}
PARTS = 16  # shards and chunks of a set
BATCH = 64


def sources(x: np.ndarray, y: np.ndarray, folder: Path, files: ExitStack) -> dict[str, Any]:
    """The images in files of every kind."""
    part = len(x) // PARTS
    found: dict[str, Any] = {}
    np.save(folder / "x.npy", x)
    found["memmap"] = np.load(folder / "x.npy", mmap_mode="r")
    for name, compressed in (("shards", False), ("compressed shards", True)):
        write_shards(folder / name, x, y, part, compressed)
        found[name] = Shards(folder / name, window=len(x) // 4)
    try:
        import h5py

        file = files.enter_context(h5py.File(folder / "x.h5", "w"))
        found["HDF5"] = file.create_dataset("x", data=x, chunks=(part, *x.shape[1:]))
    except ImportError:
        pass
    try:
        import zarr

        found["Zarr"] = zarr.create_array(
            str(folder / "x.zarr"), shape=x.shape, chunks=(part, *x.shape[1:]), dtype=x.dtype
        )
        found["Zarr"][:] = x
    except ImportError:
        pass
    return found


def measure(name: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """A line for each kind of file."""
    shape, images = NETS[name]
    rng = np.random.default_rng(0)
    # pictures that can be packed as well as others can
    x = rng.integers(0, 256, (images, *shape)).astype(np.uint8)
    x[rng.random(x.shape) < 0.8] = 0
    y = rng.integers(0, 10, images)
    net = architectures.build(name, shape, 10, rng=rng)
    trainer = cnn_ext.Trainer(net, optimizer=cnn_ext.SGD(net, lr=1e-4), num_threads=threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as files:
        cases = {"memory": x, **sources(x, y, Path(folder), files)}
        speeds: dict[str, list[float]] = {case: [] for case in cases}
        for turn in range(rounds + 1):
            for case, given in cases.items():
                history = trainer.fit(given, y, batch_size=BATCH, progress=False)
                if turn:  # the first one records the step
                    speeds[case] += history["images_per_second"]
    return [
        {
            "net": name, "threads": threads, "source": case,
            "speed": statistics.median(found),
            "ratio": statistics.median(
                a / b for a, b in zip(found, speeds["memory"], strict=True)
            ),
        }
        for case, found in speeds.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", nargs="*", type=int, default=[2])
    parser.add_argument("--nets", nargs="*", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    print("| net | threads | source | images/s | ratio to memory |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    lines = []
    for name in options.nets:
        for threads in options.threads:
            for line in measure(name, threads, options.rounds):
                lines.append(line)
                print(
                    f"| {name} | {threads} | {line['source']} | {line['speed']:,.0f} | "
                    f"{line['ratio']:.3f} |",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
