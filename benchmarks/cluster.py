"""Training by several processes: measured here, and a model of larger clusters.

    python benchmarks/cluster.py [--nets lenet5 resnet8 airbench] [--seconds 2] [--rounds 3]
    python benchmarks/cluster.py --overlap [--seconds 10]

The first table: images per second of one process on two threads and of two processes on one thread
each, in turns, at the same batch, and the part of the time of two that they exchange.  The second:
1 to 8 processes with one thread each and a batch of so many images for each of them (weak scaling),
and in brackets the speed by that of one process and of as many CPUs as there are, at most.

The model: a step of a rank takes the measured time of its images and of the optimizer, and its
exchanges.  An exchange costs, for each doubling of the ranks, a latency, and its bytes by the
bandwidth: an allgather of b bytes among R ranks moves (R - 1) b into each.  Latency and bandwidth
are those measured between two processes here, or those of a network of 1, 10 and 100 Gbit/s with
30, 15 and 3 microseconds.  Strong scaling ends where twice the ranks gain less than a fifth.

With --overlap: a step of two processes with one thread each, by turns with gradients that travel
while lower layers go back, and with ones that all wait for as soon as they are sent.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np

import cnn_ext
from cnn_ext import SGD, Trainer, _core, architectures, distributed
from cnn_ext._dispatch import ISA

SHAPES = {"lenet5": (1, 28, 28), "resnet8": (3, 32, 32), "airbench": (3, 32, 32)}
BATCHES = {"lenet5": 1024, "resnet8": 512, "airbench": 256}
WIRES = {"1 Gbit/s": (30e-6, 125e6), "10 Gbit/s": (15e-6, 1.25e9), "100 Gbit/s": (3e-6, 12.5e9)}
MOST = 1024  # ranks
GAIN = 1.2


class Timed:
    """A group that notes what is exchanged, and how long that takes."""

    def __init__(self, group: Any) -> None:
        self.group, self.rank, self.size = group, group.rank, group.size
        self.overlaps = True  # else what is begun is waited for at once
        self.clear()

    def clear(self) -> None:
        self.seconds, self.calls, self.bytes = 0.0, 0, 0

    def begin_allgather(self, array: np.ndarray) -> Any:
        began = time.perf_counter()
        wait = self.group.begin_allgather(array)
        self.calls, self.bytes = self.calls + 1, self.bytes + array.nbytes
        self.seconds += time.perf_counter() - began

        def waited() -> Any:
            began = time.perf_counter()
            found = wait()
            self.seconds += time.perf_counter() - began
            return found

        if self.overlaps:
            return waited
        found = waited()
        return lambda: found

    def allgather(self, array: np.ndarray) -> Any:
        return self.begin_allgather(array)()

    def barrier(self) -> None:
        self.group.barrier()


def begun(name: str, batch: int, threads: int, group: Any) -> tuple[Trainer, Any, Any]:
    """A trainer that has made its first steps, and a batch."""
    shape = SHAPES[name]
    net = architectures.build(name, shape, 10, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    x, y = rng.random((batch, *shape), np.float32), rng.integers(0, 10, batch)
    optimizer = SGD(net.parameters(), 1e-3, 0.9)
    trainer = Trainer(net, optimizer=optimizer, num_threads=threads, group=group)
    for _ in range(3):
        trainer.train_on_batch(x, y)
    return trainer, x, y


def turns(name: str, batch: int, seconds: float) -> None:
    """Steps by turns with and without the overlap; rank 0 prints the figures."""
    with distributed.world() as world:
        group = Timed(world)
        trainer, x, y = begun(name, batch, 1, group)
        steps: list[list[float]] = []
        waits: list[list[float]] = []
        began, over = time.perf_counter(), False
        while not over:
            pair = [0.0, 0.0], [0.0, 0.0]
            for without in (0, 1) if len(steps) % 2 else (1, 0):
                group.overlaps = not without
                world.barrier()
                group.clear()
                pair[0][without] = _timed(lambda: trainer.train_on_batch(x, y))
                pair[1][without] = group.seconds
            steps.append(pair[0])
            waits.append(pair[1])
            gone = np.array([time.perf_counter() - began > seconds])
            over = bool(world.allgather(gone)[0][0])
        if world.rank == 0:
            with_it, without = np.median(steps, 0)
            quartiles = np.percentile([b - a for a, b in steps], [25, 50, 75])
            figures = {
                "with": with_it, "without": without, "count": len(steps),
                **dict(zip(("low", "difference", "high"), quartiles, strict=True)),
                **dict(zip(("wait with", "wait without"), np.median(waits, 0), strict=True)),
            }  # fmt: skip
            print(json.dumps(figures))


def overlap(nets: list[str], seconds: float) -> None:
    """What the overlap is worth: medians of milliseconds, and of differences of neighbours."""
    table(
        "net", "batch", "steps of each", "with", "without", "difference (quartiles)",
        "of that exchanging", "without",
    )  # fmt: skip
    for name in nets:
        f = {k: 1e3 * v for k, v in started(2, "turns", name, BATCHES[name], seconds).items()}
        print(
            f"| {name} | {BATCHES[name]} | {f['count'] / 1e3:.0f} | {f['with']:.2f} "
            f"| {f['without']:.2f} | {f['difference']:+.2f} ({f['low']:+.2f} to {f['high']:+.2f}) "
            f"| {f['wait with']:.2f} | {f['wait without']:.2f} |",
            flush=True,
        )


def work(name: str, batch: int, threads: int, seconds: float) -> None:
    """What a rank does: trains, and rank 0 prints its figures."""
    with distributed.world() as world:
        group = Timed(world)
        trainer, x, y = begun(name, batch, threads, group)
        group.clear()
        began, steps, over = time.perf_counter(), 0, False
        while not over:
            trainer.train_on_batch(x, y)
            steps += 1
            if steps % 4 == 0:
                gone = np.array([time.perf_counter() - began > seconds])
                over = bool(world.allgather(gone)[0][0])
        took = time.perf_counter() - began
        with cnn_ext.threads(threads):
            updates = [_timed(trainer.optimizer.step) for _ in range(20)]
        if world.rank == 0:
            figures = {
                "speed": steps * batch / took, "step": took / steps,
                "exchange": group.seconds / took, "calls": group.calls / steps,
                "bytes": group.bytes / steps, "update": statistics.median(updates),
            }  # fmt: skip
            print(json.dumps(figures))


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def wire() -> None:
    """Latency and bandwidth between the processes, by exchanges of few and of many bytes."""
    with distributed.world() as world:
        few, many = np.zeros(8, np.uint8), np.zeros(2**22, np.uint8)
        for array in (few, many):
            world.allgather(array)
        latency = statistics.median(_timed(lambda: world.allgather(few)) for _ in range(300))
        large = statistics.median(_timed(lambda: world.allgather(many)) for _ in range(30))
        if world.rank == 0:
            print(json.dumps({"latency": latency, "bandwidth": many.nbytes / (large - latency)}))


def started(ranks: int, *words: Any) -> dict[str, float]:
    """The figures of a run of so many processes."""
    mpiexec = Path(sysconfig.get_path("scripts"), "mpiexec")
    command = [mpiexec, "-n", ranks, sys.executable, __file__, *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(*head: str) -> None:
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)


def strong(nets: list[str], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """The first table; the figures of two ranks by net."""
    table(
        "net",
        "batch",
        "1 x 2 threads",
        "2 x 1 thread",
        "ratio",
        "exchange",
        "sent by a rank in a step",
    )
    found = {}
    for name in nets:
        turns = [
            [started(ranks, "work", name, BATCHES[name], 3 - ranks, seconds) for ranks in (1, 2)]
            for _ in range(rounds)
        ]
        one, two = (
            {key: statistics.median(turn[i][key] for turn in turns) for key in turns[0][0]}
            for i in (0, 1)
        )
        ratio = statistics.median(turn[1]["speed"] / turn[0]["speed"] for turn in turns)
        print(
            f"| {name} | {BATCHES[name]} | {one['speed']:,.0f} | {two['speed']:,.0f} | {ratio:.2f} "
            f"| {100 * two['exchange']:.0f} % | {two['calls']:.0f} exchanges, "
            f"{two['bytes'] / 1e3:,.0f} kB |",
            flush=True,
        )
        found[name] = two
    return found


def weak(nets: list[str], seconds: float) -> None:
    """The second table."""
    cpus = os.cpu_count() or 1
    counts = [1, 2, 4, 8]
    table("net", "images a rank", *(f"{n} rank{'s' * (n > 1)}" for n in counts))
    for name in nets:
        cells, alone = [], 0.0
        for ranks in counts:
            each = BATCHES[name] // 4
            speed = started(ranks, "work", name, ranks * each, 1, seconds)["speed"]
            alone = alone or speed
            cells.append(f"{speed:,.0f} ({speed / (alone * min(ranks, cpus)):.2f})")
        print(f"| {name} | {BATCHES[name] // 4} | {' | '.join(cells)} |", flush=True)


def model(found: dict[str, dict[str, float]], wires: dict[str, tuple[float, float]]) -> None:
    """Images per second of larger clusters, one thread a rank."""
    ranks = [2**i for i in range(int(math.log2(MOST)) + 1)]
    shown = [1, 2, 4, 8, 16, 64, 256, 1024]
    table("net", "batch", "network", *map(str, shown), "ends at")
    for name, two in found.items():
        batch = BATCHES[name]
        blocks = batch / _core.lanes(4)
        alone = (
            two["step"] * (1 - two["exchange"]) - two["update"]
        ) * 2  # of all images on one thread
        for wire_name, (latency, bandwidth) in wires.items():
            speeds = {}
            for R in ranks:
                compute = alone * math.ceil(blocks / R) / blocks + two["update"]
                rounds = math.ceil(math.log2(R))
                talk = two["calls"] * rounds * latency + (R - 1) * two["bytes"] / bandwidth
                speeds[R] = batch / (compute + talk)
            end = next((R for R in ranks[:-1] if speeds[2 * R] < GAIN * speeds[R]), MOST)
            cells = " | ".join(f"{speeds[R]:,.0f}" for R in shown)
            print(f"| {name} | {batch} | {wire_name} | {cells} | {end} |")


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        name, batch, threads, seconds = sys.argv[2:]
        work(name, int(batch), int(threads), float(seconds))
        return
    if sys.argv[1:2] == ["turns"]:
        turns(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        return
    if sys.argv[1:] == ["wire"]:
        wire()
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--overlap", action="store_true", help="measure that alone")
    options = parser.parse_args()
    cpu = cnn_ext._dispatch.config()["cpu"]
    print(f"{cpu}, {os.cpu_count()} CPUs, instruction set {ISA}, float32")
    if options.overlap:
        overlap(options.nets, options.seconds)
        return
    found = strong(options.nets, options.rounds, options.seconds)
    weak(options.nets, options.seconds)
    here = started(2, "wire")
    latency, bandwidth = here["latency"], here["bandwidth"]
    print(f"\nbetween two processes: {latency * 1e6:.0f} us, {bandwidth / 1e9:.1f} GB/s")
    model(found, {"as here": (latency, bandwidth), **WIRES})


if __name__ == "__main__":
    main()
