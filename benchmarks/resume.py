"""What checkpoints cost, and whether a training that is killed again and again goes on exactly.

    python benchmarks/resume.py [KILLS]

The first table has the time of a save and of a step of the same training, and the size of the file;
then a training of lenet5 with everything that has a state is killed at random moments (kill -9),
resumed at 1, 2 or 3 threads each time, until it has been killed so often, 50 by default; the hash
of the weights, slots and averages that are left must be that of a training without a break.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext import Adam, EarlyStopping, ReduceLROnPlateau, Trainer, architectures
from cnn_ext.augment import RandomShift

IMAGES, BATCH, EPOCHS = 1600, 32, 6
SHAPES = {"lenet5": (1, 28, 28), "airbench": (3, 32, 32)}


def images(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, IMAGES)
    kinds = rng.random((10, *shape))
    x = (255 * (0.5 * kinds[y] + 0.5 * rng.random((IMAGES, *shape)))).astype(np.uint8)
    return x, y


def trainer(name: str, threads: int) -> Trainer:
    net = architectures.build(name, SHAPES[name], 10, rng=np.random.default_rng(0))
    layers = [net, cnn_ext.BatchNorm1d(10), cnn_ext.Dropout(0.1)]
    whole = cnn_ext.Sequential(*layers)
    return Trainer(whole, optimizer=Adam(whole, 2e-3), average=0.99, num_threads=threads)


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


def child(path: str, threads: str) -> None:
    one = trainer("lenet5", int(threads))
    if os.path.exists(path):
        one.resume(path)
    print("ready", flush=True)
    history = fit(one, *images(SHAPES["lenet5"]), checkpoint=path, every=10)
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as name:
            costs(Path(name))
            killed(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 50)
