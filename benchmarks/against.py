"""This commit against another one, both built and taking turns, so that no slow-down is unseen.

    python benchmarks/against.py BASE [--operators] [--threads 1] [--rounds 5] [--seconds 0.3]
                                      [--worst 1.03]

BASE is a commit; the other side is HEAD.  Each side is built in a folder of its own and each round
measures all rows in a fresh process for either: those of whole networks, or of `operators.py`.  A
ratio is the median over the rounds of HEAD's time by BASE's; those above the worst are marked, and
the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(commit: str, folder: Path) -> None:
    """A checkout of a commit with its compiled modules, and bytecode as an installed one has it."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", commit], cwd=folder, check=True)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "cnn_ext"], cwd=folder, check=True)


def measure(worker: str, folder: Path, threads: int, seconds: float) -> dict[str, float]:
    """All rows of one build, in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(worker)), str(threads), str(seconds)],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{folder.name}:\n{done.stderr}")
    rows: dict[str, float] = json.loads(done.stdout)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", metavar="BASE")
    parser.add_argument("--operators", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--worst", type=float, default=1.03)
    arguments = parser.parse_args()
    worker = "operators.py" if arguments.operators else "against_worker.py"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as work:
        sides = {"base": Path(work, "base"), "head": Path(work, "head")}
        build(arguments.base, sides["base"])
        build(head, sides["head"])
        rounds: dict[str, list[dict[str, float]]] = {"base": [], "head": []}
        for number in range(arguments.rounds):
            for side in sorted(sides, reverse=number % 2 == 1):
                rows = measure(worker, sides[side], arguments.threads, arguments.seconds)
                rounds[side].append(rows)
    print(f"| {arguments.threads} thread(s) | base, µs | head, µs | head / base |")
    print("| --- | --- | --- | --- |")
    slower = 0
    for row in rounds["head"][0]:
        base, now = ([rows[row] for rows in rounds[side]] for side in ("base", "head"))
        ratio = statistics.median(b / a for a, b in zip(base, now, strict=True))
        slower += ratio > arguments.worst
        mark = " slower" if ratio > arguments.worst else ""
        medians = f"{statistics.median(base):,.1f} | {statistics.median(now):,.1f}"
        print(f"| {row} | {medians} | {ratio:.3f}{mark} |")
    return int(slower > 0)


if __name__ == "__main__":
    sys.exit(main())
