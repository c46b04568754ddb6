"""Training on sets that are read from files, against the same sets in memory.

    python benchmarks/streaming.py [--threads 2] [--rounds 9] [--json FILE]
    python benchmarks/streaming.py --large FOLDER [--gigabytes 8]

lenet5 on grey bytes of 28 x 28 and resnet8 on coloured ones of 32 x 32, in batches of 64; the files
are warm.  Epochs on each source and in memory take turns; the figures are the medians of the ratios
of their speeds, and of the CPU times of all threads, within a round.  HDF5 and Zarr need h5py and
zarr.

With `--large` (Linux) shards of so many gigabytes are written to a new folder below FOLDER, two
epochs of training go through them, and an evaluation; after each the memory of the process is told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from timing import peak_memory, reset_peak

import cnn_ext
from cnn_ext import architectures
from cnn_ext.data import Shards, write_shards

NETS = {"lenet5": ((1, 28, 28), 32768), "resnet8": ((3, 32, 32), 4096)}
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
        works: dict[str, list[float]] = {case: [] for case in cases}
        for turn in range(rounds + 1):
            for case, given in cases.items():
                before = time.process_time()
                history = trainer.fit(given, y, batch_size=BATCH, progress=False)
                if turn:  # the first one records the step
                    speeds[case] += history["images_per_second"]
                    works[case].append(time.process_time() - before)
    return [
        {
            "net": name, "threads": threads, "source": case,
            "speed": statistics.median(found),
            "ratio": ratio(found, speeds["memory"]), "work": ratio(works[case], works["memory"]),
        }
        for case, found in speeds.items()
    ]  # fmt: skip


def ratio(found: list[float], memory: list[float]) -> float:
    """The median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(found, memory, strict=True))


def large(place: Path, gigabytes: float, threads: int) -> None:
    """Write a set, train and evaluate on it, and say what memory that took."""
    shape = (3, 64, 64)
    count = int(gigabytes * 1e9) // int(np.prod(shape))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4096, *shape), np.uint8)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, count, len(images)):
            rows = min(len(images), count - start)
            yield np.roll(images, start // len(images), 0)[:rows], rng.integers(0, 10, rows)

    folder = place / "shards"
    told("at the start")
    started = time.perf_counter()
    write_shards(folder, batches())
    told(f"written in {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    shards = Shards(folder)
    y = shards.y
    told(f"{shards!r} opened in {time.perf_counter() - started:.2f} s")
    net = cnn_ext.Sequential(
        cnn_ext.AvgPool2d(8), cnn_ext.Flatten(), cnn_ext.Linear(192, 10)
    )  # hardly more work than reading
    trainer = cnn_ext.Trainer(net, num_threads=threads)
    for epoch in range(2):
        history = trainer.fit(shards, y, batch_size=BATCH, progress=False)
        told(f"epoch {epoch + 1}, {history['seconds'][0]:.0f} s")
    started = time.perf_counter()
    trainer.evaluate(shards, y)
    told(f"evaluation, {time.perf_counter() - started:.0f} s")


def told(what: str) -> None:
    """A line with the memory that this process has now, and the most since the last line."""
    mine = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, amount, *_ = line.split()
        mine[name] = int(amount) / 1024
    alone = mine["Private_Clean:"] + mine["Private_Dirty:"]
    print(
        f"{what}: resident {mine['Rss:']:,.0f} MiB, private {alone:,.0f} MiB, most "
        f"{peak_memory() / 2**20:,.0f} MiB",
        flush=True,
    )
    reset_peak()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", nargs="*", type=int, default=[2])
    parser.add_argument("--nets", nargs="*", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--large", type=Path, help="a folder for many gigabytes, see above")
    parser.add_argument("--gigabytes", type=float, default=8.0)
    options = parser.parse_args()
    if options.large:
        with tempfile.TemporaryDirectory(dir=options.large) as folder:
            large(Path(folder), options.gigabytes, options.threads[0])
        return
    print("| net | threads | source | images/s | ratio to memory | CPU time to that |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    lines = []
    for name in options.nets:
        for threads in options.threads:
            for line in measure(name, threads, options.rounds):
                lines.append(line)
                print(
                    f"| {name} | {threads} | {line['source']} | {line['speed']:,.0f} | "
                    f"{line['ratio']:.3f} | {line['work']:.3f} |",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
