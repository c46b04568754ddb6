"""One measurement for `latency.py`, in a process that has no other.

    python latency_worker.py FOLDER PEER latency|idle|callers|first|import THREADS SECONDS

Prints a line of JSON.  Times are in seconds, memory is physical memory in bytes.  Ends with an
error if an output differs from the truth in the folder.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CALLERS = (2, 8)  # Python threads that call at once
PAUSE = 1 / 6  # seconds between the calls of a process that has little to do
TOLERANCE = 1e-4  # of the largest number, or of 1
Predict = Callable[[np.ndarray], np.ndarray]
Figures = dict[str, float]


def resident() -> int:
    """Bytes of physical memory that this process has now (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS")


def cnn_ext_predict(folder: Path, threads: int) -> Predict:
    import cnn_ext

    cnn_ext.set_num_threads(threads)
    return cnn_ext.load(folder / "model.safetensors").compile()


def onnxruntime_predict(folder: Path, threads: int) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(["y"], {"x": x})[0]


LOAD = {"cnn_ext": cnn_ext_predict, "onnxruntime": onnxruntime_predict}


def check(found: np.ndarray, truth: np.ndarray) -> None:
    """End the process if outputs are not those that they should be."""
    error = float(np.abs(found - truth).max())
    if not error <= TOLERANCE * max(1.0, float(np.abs(truth).max())):
        raise SystemExit(f"outputs differ from the truth by {error:g}")


def latency(predict: Predict, x: np.ndarray, seconds: float) -> Figures:
    """Median and 99th percentile of single calls."""
    end = time.perf_counter() + seconds / 5
    while time.perf_counter() < end:
        predict(x)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter_ns()
        predict(x)
        times.append(time.perf_counter_ns() - started)
    middle, late = np.percentile(times, [50, 99])
    return {"median": middle * 1e-9, "late": late / middle}


def idle(predict: Predict, x: np.ndarray, seconds: float) -> Figures:
    """Which part of a CPU a process takes that predicts six times a second."""
    predict(x)
    started, used = time.perf_counter(), time.process_time()
    while time.perf_counter() < started + seconds:
        time.sleep(PAUSE)
        predict(x)
    return {"share": (time.process_time() - used) / (time.perf_counter() - started)}


def callers(
    predict: Predict, images: np.ndarray, truth: np.ndarray, count: int, seconds: float
) -> float:
    """Predictions per second of some Python threads, each with an image of its own."""
    start = threading.Barrier(count + 1)
    stop = threading.Event()
    done: list[int] = []

    def work(number: int) -> None:
        x = images[number : number + 1]
        start.wait()
        calls = 0
        while not stop.is_set():
            y = predict(x)
            calls += 1
        check(y, truth[number : number + 1])
        done.append(calls)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    if len(done) < count:
        raise SystemExit("a caller failed")
    return sum(done) / (time.perf_counter() - started)


def importing(peer: str) -> Figures:
    """What the package costs beyond NumPy, which is here already."""
    before, started = resident(), time.perf_counter()
    __import__(peer)
    return {"seconds": time.perf_counter() - started, "bytes": resident() - before}


def measure(folder: Path, peer: str, what: str, threads: int, seconds: float) -> Figures:
    if what == "import":
        return importing(peer)
    if what == "first":
        __import__(peer)
    before = resident()
    predict = LOAD[peer](folder, threads)
    images = np.load(folder / "images.npy")
    found = predict(images[:1])
    clock = time.time()
    figures: dict[str, Any] = {"clock": clock, "bytes": resident() - before}
    truth = np.load(folder / "outputs.npy")
    check(found, truth[:1])
    if what == "first":
        figures["plan_bytes"] = sum(
            getattr(predict, f"{of}_bytes", 0) for of in ("weights", "arena")
        )
        return figures
    if what == "latency":
        return latency(predict, images[:1].copy(), seconds)
    if what == "idle":
        return idle(predict, images[:1].copy(), 3 * seconds)
    return {
        f"callers_{count}": callers(predict, images, truth, count, seconds) for count in CALLERS
    }


def main() -> None:
    folder, peer, what, threads, seconds = sys.argv[1:]
    print(json.dumps(measure(Path(folder), peer, what, int(threads), float(seconds))))


if __name__ == "__main__":
    main()
