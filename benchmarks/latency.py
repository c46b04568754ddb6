"""Single predictions beside ONNX Runtime: latency, idling, many callers, start, memory.

    python benchmarks/latency.py [--nets lenet5 nielsen vgg6] [--threads 1 2] [--rounds 5]
                                 [--seconds 1] [--json FILE]

Each measurement is a process of its own; the peers take turns, round by round.  Figures are
medians over the rounds, ratios medians over the rounds of theirs by ours.  Each peer shows that its
outputs are right to 1e-4 before it is timed.  ONNX Runtime runs sequentially with all optimisations
of the graph.

Both have the same weights.  Start is the time from before the process exists until the first
prediction from a file is there, memory what the process has grown by then since the import.  Needs
Linux, onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from peers_models import INPUTS, write_onnx

import cnn_ext
from cnn_ext import _dispatch

WORKER = Path(__file__).with_name("latency_worker.py")
PEERS = {"cnn_ext": "cnn_ext", "onnxruntime": "ONNX Runtime"}
IMAGES = 8
Row = dict[str, Any]


def prepare(folder: Path, name: str) -> None:
    """Write the net as a file for each peer, images, and the outputs in float64."""
    shape = INPUTS[name]
    net = cnn_ext.architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
    net.input_shape = shape
    cnn_ext.save(net, folder / "model.safetensors")
    write_onnx(folder / "model.onnx", net.to_config()["layers"], net.state_dict(), shape)
    images = np.random.default_rng(1).random((IMAGES, *shape), np.float32)
    np.save(folder / "images.npy", images)
    np.save(folder / "outputs.npy", net.astype(np.float64)(images))


def measure(folder: Path, peer: str, what: str, threads: int, seconds: float) -> Row:
    """The figures of one peer, from a fresh process."""
    command = [sys.executable, WORKER, folder, peer, what, str(threads), str(seconds)]
    started = time.time()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{folder.name}, {what}, {peer}:\n{done.stderr}")
    figures: Row = json.loads(done.stdout.splitlines()[-1])
    if "clock" in figures:
        figures["start"] = figures.pop("clock") - started
    return figures


def compare(folder: Path, what: str, threads: int, options: argparse.Namespace) -> Row:
    """Both peers in turns; the medians of each, and those of the ratios of theirs by ours."""
    rounds = [
        {peer: measure(folder, peer, what, threads, options.seconds) for peer in PEERS}
        for _ in range(options.rounds)
    ]
    ours = [turn["cnn_ext"] for turn in rounds]
    theirs = [turn["onnxruntime"] for turn in rounds]
    row: Row = {"net": folder.name, "what": what, "threads": threads, "rounds": rounds}
    for peer, turns in (("cnn_ext", ours), ("onnxruntime", theirs)):
        row[peer] = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    row["ratios"] = {
        key: statistics.median(b[key] / a[key] for a, b in zip(ours, theirs, strict=True))
        for key in ours[0]
        if all(turn[key] for turn in ours)
    }
    return row


def table(title: str, *head: str) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)


def line(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def both(row: Row, key: str, scale: float, digits: int = 1) -> list[str]:
    return [f"{row[peer][key] * scale:,.{digits}f}" for peer in PEERS]


def run(options: argparse.Namespace, root: Path) -> list[Row]:
    """Measure and print; all rows."""
    folders = [root / name for name in options.nets]
    for folder in folders:
        folder.mkdir()
        prepare(folder, folder.name)
    names = list(PEERS.values())
    rows = []

    def compared(folder: Path, what: str, threads: int = 1) -> Row:
        rows.append(compare(folder, what, threads, options))
        return rows[-1]

    late = [f"{name}, 99th percentile by median" for name in names]
    table("One image, µs", "net", "threads", *names, "ratio", *late)
    for folder in folders:
        for threads in options.threads:
            row = compared(folder, "latency", threads)
            ratio = f"{row['ratios']['median']:.2f} x"
            line(folder.name, threads, *both(row, "median", 1e6), ratio, *both(row, "late", 1, 2))

    table("A process that predicts six times a second, % of a CPU", "net", "threads", *names)
    for folder in folders:
        for threads in options.threads:
            line(folder.name, threads, *both(compared(folder, "idle", threads), "share", 100, 2))

    heads = [f"{name}, {count} callers" for name in names for count in (2, 8)]
    table("Python threads that share one plan, predictions per second", "net", *heads,
          *(f"{name}, 8 by 2" for name in names))  # fmt: skip
    for folder in folders:
        row = compared(folder, "callers")
        speeds = [f"{row[peer][f'callers_{count}']:,.0f}" for peer in PEERS for count in (2, 8)]
        changes = [
            statistics.median(
                turn[peer]["callers_8"] / turn[peer]["callers_2"] for turn in row["rounds"]
            )
            for peer in PEERS
        ]
        line(folder.name, *speeds, *(f"{change:.2f}" for change in changes))

    memory = [f"{name}, memory" for name in names]
    table("From no process to the first prediction, ms, and memory for it, MB", "net", *names,
          "ratio", *memory, "weights and arena of the plan")  # fmt: skip
    for folder in folders:
        row = compared(folder, "first")
        plan = f"{row['cnn_ext']['plan_bytes'] / 1e6:.2f}"
        ratio = f"{row['ratios']['start']:.2f} x"
        line(folder.name, *both(row, "start", 1e3), ratio, *both(row, "bytes", 1e-6, 2), plan)

    table("Import, beyond NumPy", "", *names, "ratio")
    row = compared(folders[0], "import")
    for key, unit, scale in (("seconds", "ms", 1e3), ("bytes", "MB", 1e-6)):
        line(unit, *both(row, key, scale), f"{row['ratios'][key]:.2f} x")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    machine = {"python": platform.python_version(), **_dispatch.config()}
    machine["ONNX Runtime"] = version("onnxruntime")
    print(
        f"{machine['cpu']}, {os.cpu_count()} CPUs, instruction set {machine['instruction_set']}; "
        f"cnn_ext {machine['version']}, ONNX Runtime {machine['ONNX Runtime']}"
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = run(options, Path(folder))
    if options.json:
        result = {"machine": machine, "seconds": options.seconds, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
