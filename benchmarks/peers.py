"""Speed of training and inference beside PyTorch, with the same nets and steps, in one run.

    python benchmarks/peers.py [--nets lenet5 nielsen] [--batches 10 64 256] [--threads 2]
                               [--rounds 3] [--json FILE]

Each measurement is a process of its own; the peers take turns, round by round, so that a change
in the machine's speed meets all of them.  Figures are medians over the rounds of the median step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("peers_worker.py")


def measure(peer: str, net: str, batch: int, threads: int) -> dict[str, Any]:
    """Images per second of one peer, from a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(WORKER), peer, net, str(batch), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["lenet5", "nielsen"])
    parser.add_argument("--batches", nargs="+", type=int, default=[10, 64, 256])
    parser.add_argument("--threads", nargs="+", type=int, default=[2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()

    rows = []
    head = ["net", "threads", "batch"]
    for what in ("train", "infer"):
        head += [f"{what} cnn_ext", "PyTorch", "ratio"]
    print(f"| {' | '.join(head)} |")
    print("|" + " --- |" * len(head))
    for net in options.nets:
        for threads in options.threads:
            for batch in options.batches:
                figures: dict[str, dict[str, list[float]]] = {}
                for _ in range(options.rounds):
                    for peer in ("cnn_ext", "torch"):
                        for what, speed in measure(peer, net, batch, threads).items():
                            figures.setdefault(peer, {}).setdefault(what, []).append(speed)
                row: dict[str, Any] = {"net": net, "threads": threads, "batch": batch}
                cells = []
                for what in ("train", "infer"):
                    ours = statistics.median(figures["cnn_ext"][what])
                    theirs = statistics.median(figures["torch"][what])
                    row[what] = {"cnn_ext": ours, "torch": theirs, "ratio": ours / theirs}
                    cells += [f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.1f} x"]
                row["all"] = figures
                rows.append(row)
                print(f"| {net} | {threads} | {batch} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
