"""What checkpoints cost, and whether a training that is killed again and again goes on exactly.

    python benchmarks/resume.py [KILLS] [--ranks N]

The first table has the time of a save and of a step of the same training, and the size of the file;
then a training of lenet5 with everything that has a state is killed at random moments (kill -9),
resumed at 1, 2 or 3 threads each time, until it has been killed so often, 50 by default; the hash
of the weights, slots and averages that are left must be that of a training without a break.

With --ranks so many processes train together, by mpiexec.  A random one of them is killed so often,
20 times by default, and so often stopped for good (SIGSTOP), each time at a random moment; then the
others must end, and how long that takes is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext import Adam, EarlyStopping, ReduceLROnPlateau, Trainer, architectures, distributed
from cnn_ext.augment import RandomShift

IMAGES, BATCH, EPOCHS = 1600, 32, 6
TIMEOUT = 2.0  # seconds that a rank waits for another
SHAPES = {"lenet5": (1, 28, 28), "airbench": (3, 32, 32)}


def images(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, IMAGES)
    kinds = rng.random((10, *shape))
    x = (255 * (0.5 * kinds[y] + 0.5 * rng.random((IMAGES, *shape)))).astype(np.uint8)
    return x, y


def trainer(name: str, threads: int, group: Any = None) -> Trainer:
    net = architectures.build(name, SHAPES[name], 10, rng=np.random.default_rng(0))
    layers = [net, cnn_ext.BatchNorm1d(10), cnn_ext.Dropout(0.1)]
    whole = cnn_ext.Sequential(*layers)
    return Trainer(
        whole, optimizer=Adam(whole, 2e-3), average=0.99, num_threads=threads, group=group
    )


def fit(one: Trainer, x: np.ndarray, y: np.ndarray, **options: Any) -> cnn_ext.History:
    return one.fit(
        x, y, EPOCHS, BATCH, validation_split=0.1, augment=[RandomShift(1)],
        early_stopping=EarlyStopping(3), callbacks=[ReduceLROnPlateau(0.5, patience=1)],
        sample_weight=np.linspace(0.5, 1.5, len(y)), progress=False, **options,
    )  # fmt: skip


def left_by(one: Trainer, history: cnn_ext.History) -> str:
    made = hashlib.sha256()
    for kept in one._moving:
        made.update(kept.data.tobytes())
    for state in one.optimizer.state:
        for name in ("exp_avg", "exp_avg_sq"):
            made.update(state[name].tobytes() if state else b"")
    made.update(repr([history["cost"], history["validation_cost"], history.stopped]).encode())
    return made.hexdigest()


def child(path: str, threads: str, pids: str | None = None) -> None:
    with nullcontext() if pids is None else distributed.world(TIMEOUT) as group:
        speaks = group is None or group.rank == 0
        if pids is not None:
            Path(pids, str(group.rank)).write_text(str(os.getpid()))
            group.barrier()
        one = trainer("lenet5", int(threads), group)
        if os.path.exists(path):
            one.resume(path)
        if speaks:
            print("ready", flush=True)
        history = fit(one, *images(SHAPES["lenet5"]), checkpoint=path, every=10)
        if speaks:
            print(left_by(one, history), flush=True)


def costs(folder: Path) -> None:
    print(
        f"{'net':10} {'MB':>7} {'save':>9} {'resume':>9} {'step':>9}  milliseconds, batch {BATCH}"
    )
    for name, shape in SHAPES.items():
        one, (x, y) = trainer(name, 1), images(shape)
        one.train_on_batch(x[:BATCH], y[:BATCH])
        path = folder / name
        save = median_seconds(lambda one=one, path=path: one.save(path), 1)
        load = median_seconds(lambda one=one, path=path: one.resume(path), 1)
        step = median_seconds(lambda one=one, x=x, y=y: one.train_on_batch(x[:BATCH], y[:BATCH]), 1)
        size = path.stat().st_size / 1e6
        print(f"{name:10} {size:7.2f} {save * 1e3:9.2f} {load * 1e3:9.2f} {step * 1e3:9.2f}")


def killed(folder: Path, kills: int) -> None:
    one = trainer("lenet5", 1)
    started = time.perf_counter()
    unbroken = left_by(one, fit(one, *images(SHAPES["lenet5"])))
    seconds = time.perf_counter() - started
    print(f"\nwithout a break  {unbroken}  {seconds:.1f} s")
    path, rng, done, ends = folder / "training", random.Random(0), 0, []
    while done < kills or path.exists():
        program = [sys.executable, __file__, "child", str(path), str(rng.randint(1, 3))]
        running = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n", "the checkpoint is not whole"
        if done < kills:
            time.sleep(rng.uniform(0, seconds / 4))
            running.kill()
        told = running.stdout.read().strip()
        if running.wait() == 0 or told:
            ends.append(told)
            path.unlink()
        else:
            done += 1
    assert ends and set(ends) == {unbroken}, ends
    for end in ends:
        print(f"resumed          {end}")
    print(f"killed {done} times, {len(ends)} trainings came to their end, all the same")


def ranks_gone(folder: Path, ranks: int, times: int) -> None:
    one = trainer("lenet5", 1)
    started = time.perf_counter()
    unbroken = left_by(one, fit(one, *images(SHAPES["lenet5"])))
    seconds = time.perf_counter() - started
    print(f"one process, without a break  {unbroken}  {seconds:.1f} s")
    path, pids, rng, ends = folder / "training", folder / "pids", random.Random(0), []
    pids.mkdir()
    mpiexec = Path(sysconfig.get_path("scripts"), "mpiexec")
    program = [mpiexec, "-n", ranks, sys.executable, __file__, "child", path, 1, pids]
    took: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
    while not ends or any(len(found) < times for found in took.values()):
        running = subprocess.Popen(
            [*map(str, program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n", "the checkpoint is not whole"
        blow = next((blow for blow, found in took.items() if len(found) < times), None)
        if blow is not None:
            time.sleep(rng.uniform(0, seconds / 2))
            began = time.perf_counter()
            with suppress(ProcessLookupError):
                os.kill(int((pids / str(rng.randrange(ranks))).read_text()), blow)
        told = running.stdout.read().strip()
        if running.wait(60) == 0:
            ends.append(told)
            path.unlink()
        elif blow is not None:
            took[blow].append(time.perf_counter() - began)
        for file in pids.iterdir():
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
    assert set(ends) == {unbroken}, ends
    for blow, found in took.items():
        print(
            f"{blow.name}: {len(found)} times one of {ranks} ranks; the others ended after "
            f"{min(found):.2f} to {max(found):.2f} s, with a time-out of {TIMEOUT:g} s"
        )
    print(f"{len(ends)} trainings came to their end, all with the hash of one process")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kills", nargs="?", type=int)
    parser.add_argument("--ranks", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.ranks:
            ranks_gone(Path(name), options.ranks, options.kills or 20)
            return
        costs(Path(name))
        killed(Path(name), options.kills or 50)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        main()
