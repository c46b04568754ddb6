"""Speed and memory beside PyTorch, Keras, JAX, ONNX Runtime and OpenVINO, in one run.

    python benchmarks/peers.py [--nets lenet5 nielsen vgg6] [--threads 1 2] [--rounds 3]
                               [--seconds 1.5] [--json FILE]
                               [--only train|infer|train_bfloat16|infer_bfloat16|int8]

Each measurement is a process of its own; the peers take turns, round by round, so that a change
in the machine's speed meets all of them.  A speed is the median over the rounds of that of the
median step, a ratio the median over the rounds of ours by theirs.  Before it is timed, every peer
shows that its outputs, or the costs of its first steps, are right to 1e-4.

Nets, weights and steps are the same.  PyTorch runs with inference_mode, fused SGD and its images
ready as tensors, eagerly in its usual order of memory and in channels_last, and trains by
`torch.compile` too; the fastest counts.  Keras runs on TensorFlow, in channels_last, the step that
`fit` makes by default and the same compiled by XLA; JAX, one jitted step.  These two only train
here.  ONNX Runtime runs sequentially with all optimisations of the graph; OpenVINO for one request
at a time and a known batch, in float32 and, under a name of its own, in the precision that it takes
by itself, which is bfloat16 where the processor has it.  We answer with a compiled plan.

In bfloat16 PyTorch works under autocast, OpenVINO is asked for that precision, and we are too; in
int8 all three answer with the same network of bytes, which `cnn_ext.quantize` made and the
others read as an ONNX file with pairs of QuantizeLinear and DequantizeLinear.  Our own speed in
float32 stands beside both: where it is higher, low precision is no gain.
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
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from peers_models import INPUTS, prepare
from peers_worker import WRONG

from cnn_ext import _dispatch

WORKER = Path(__file__).with_name("peers_worker.py")
TRAINING_BATCHES: dict[str, tuple[int, ...]] = {
    "lenet5": (10, 64, 256), "nielsen": (10, 64, 256), "vgg6": (64,),
}  # fmt: skip
INFERENCE_BATCHES: tuple[int, ...] = (1, 10, 64, 256)
OURS, TORCH, KERAS, JAX = "cnn_ext", "PyTorch", "Keras", "JAX"
FLOAT32 = "cnn_ext in float32"
ONNX, OPENVINO, BY_ITSELF = "ONNX Runtime", "OpenVINO", "OpenVINO's own precision"
VARIANTS = {
    OURS: ["cnn_ext"],
    FLOAT32: ["cnn_ext float32"],
    TORCH: ["torch", "torch channels_last", "torch compile"],
    KERAS: ["keras", "keras jit"],
    JAX: ["jax"],
    ONNX: ["onnxruntime"],
    OPENVINO: ["openvino"],
    BY_ITSELF: ["openvino default"],
}
PACKAGES: dict[str, tuple[str, ...]] = {
    FLOAT32: (),
    TORCH: ("torch",), KERAS: ("keras", "tensorflow"), JAX: ("jax",),
    ONNX: ("onnxruntime", "onnx"), OPENVINO: ("openvino", "onnx"), BY_ITSELF: ("openvino", "onnx"),
}  # fmt: skip
ONLY = {
    TORCH: ("train", "infer", "train_bfloat16", "infer_bfloat16"), KERAS: ("train",),
    JAX: ("train",), ONNX: ("infer", "int8"), OPENVINO: ("infer", "infer_bfloat16", "int8"),
    BY_ITSELF: ("infer",), FLOAT32: ("train_bfloat16", "infer_bfloat16", "int8"),
}  # fmt: skip
MARKS = {"torch channels_last": " (cl)", "torch compile": " (tc)", "keras jit": " (jit)"}
TITLES = {
    "train": "Training", "infer": "Inference", "train_bfloat16": "Training in bfloat16",
    "infer_bfloat16": "Inference in bfloat16", "int8": "Inference in int8",
}  # fmt: skip
Row = dict[str, Any]


def measure(folder: str, variant: str, row: Row, seconds: float) -> Row | None:
    """The figures of one peer, from a fresh process; None if a peer's numbers are wrong."""
    threads = str(row["threads"])
    command = [
        sys.executable,
        str(WORKER),
        folder,
        variant,
        row["what"],
        str(row["batch"]),
        threads,
    ]
    done = subprocess.run(
        [*command, str(seconds)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": threads},
    )
    if done.returncode and WRONG in done.stderr and variant != OURS:
        print(f"left out, {row['net']}, batch {row['batch']}, {done.stderr.splitlines()[-1]}")
        return None
    if done.returncode:
        raise SystemExit(f"{row['net']}, batch {row['batch']}, {variant}:\n{done.stderr}")
    figures: Row = json.loads(done.stdout.splitlines()[-1])
    return figures


def skipped(variant: str, what: str) -> bool:
    """Whether the peer does not do that: who compiles for one batch only trains in float32."""
    return what != "train" and variant == "torch compile"


def compare(folder: str, row: Row, peers: list[str], rounds: int, seconds: float) -> Row:
    """All peers in turns; the row with the medians of each, and the ratios to them."""
    variants = [v for peer in peers for v in VARIANTS[peer] if not skipped(v, row["what"])]
    turns: dict[str, list[Row]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in list(turns):
            figures = measure(folder, variant, row, seconds)
            if figures is None:
                del turns[variant]
            else:
                turns[variant].append(figures)

    def median(variant: str, figure: str) -> float:
        return statistics.median(turn[figure] for turn in turns[variant])

    best_of, ratios = {}, {}
    for peer in peers:
        known = [variant for variant in VARIANTS[peer] if variant in turns]
        if not known:  # its numbers are wrong
            continue
        best = max(known, key=lambda variant: median(variant, "speed"))
        medians = {figure: median(best, figure) for figure in turns[best][0]}
        best_of[peer] = {"variant": best, **medians}
        if peer != OURS:
            pairs = zip(turns["cnn_ext"], turns[best], strict=True)
            ratios[peer] = statistics.median(a["speed"] / b["speed"] for a, b in pairs)
    return {**row, "figures": best_of, "ratios": ratios, "rounds": turns}


def table(head: list[str]) -> None:
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)


def print_row(row: Row, cells: list[str]) -> None:
    known = [str(row[key]) for key in ("net", "threads", "batch")]
    print(f"| {' | '.join(known + cells)} |", flush=True)


def speed_cells(row: Row, peers: list[str]) -> list[str]:
    cells = []
    for peer in peers:
        figures = row["figures"].get(peer)
        if figures is None:
            cells.append("wrong")
        else:
            cells.append(f"{figures['speed']:,.0f}{MARKS.get(figures['variant'], '')}")
    ratios = {peer: f"{ratio:.2f} x" for peer, ratio in row["ratios"].items()}
    return cells + [ratios.get(peer, "") for peer in peers if peer != OURS]


def memory_cells(row: Row, peers: list[str]) -> list[str]:
    def megabytes(figure: str) -> list[str]:
        return [f"{row['figures'][peer][figure] / 1e6:,.1f}" for peer in peers]

    return megabytes("training_bytes") + megabytes("process_bytes")


def cases(what: str, nets: list[str], threads: list[int]) -> Iterator[Row]:
    for net in nets:
        for count in threads:
            for batch in TRAINING_BATCHES[net] if "train" in what else INFERENCE_BATCHES:
                yield {"what": what, "net": net, "threads": count, "batch": batch}


def run(options: argparse.Namespace, there: list[str], root: Path) -> list[Row]:
    """Measure and print; all rows."""
    for net in options.nets:
        (root / net).mkdir()
        prepare(root / net, net, TRAINING_BATCHES[net])
    rows: list[Row] = []
    start = ["net", "threads", "batch"]
    for what in options.only:
        peers = [peer for peer in there if what in ONLY.get(peer, TITLES)]
        print(f"\n{TITLES[what]}, images per second\n")
        table(start + peers + [f"ratio to {peer}" for peer in peers if peer != OURS])
        for case in cases(what, options.nets, options.threads):
            folder = str(root / case["net"])
            rows.append(compare(folder, case, peers, options.rounds, options.seconds))
            print_row(rows[-1], speed_cells(rows[-1], peers))
    if "train" in options.only:
        peers = [peer for peer in there if "train" in ONLY.get(peer, TITLES)]
        print("\nPeak memory in MB: what training adds to the loaded net, and the whole process\n")
        table(start + [f"{peer} {part}" for part in ("adds", "whole") for peer in peers])
        for row in rows:
            if row["what"] == "train":
                print_row(row, memory_cells(row, peers))
    return rows


def main(nets: Iterable[str], threads: list[int], text: str | None) -> None:
    """Ask for options, measure these nets, by default with so many threads, and print."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=list(nets), default=list(nets))
    parser.add_argument("--threads", nargs="+", type=int, default=threads)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--only", choices=TITLES, help="training or inference alone")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    options.only = [options.only] if options.only else list(TITLES)

    machine = {"python": platform.python_version(), **_dispatch.config()}
    there = [OURS]
    for peer, packages in PACKAGES.items():
        missing = [package for package in packages if not find_spec(package)]
        if missing:
            print(f"{peer} is left out: {' and '.join(missing)} not installed")
        else:
            there.append(peer)
            if packages:
                machine[peer] = version(packages[0])
    versions = "".join(f", {peer} {machine[peer]}" for peer in there[1:] if peer in machine)
    print(
        f"{machine['cpu']}, {os.cpu_count()} CPUs, instruction set {machine['instruction_set']}; "
        f"cnn_ext {machine['version']}{versions}; "
        "(cl): PyTorch in channels_last, (tc): by torch.compile, (jit): by XLA"
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = run(options, there, Path(folder))
    if options.json:
        result = {"machine": machine, "seconds": options.seconds, "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(INPUTS, [1, 2], __doc__)
