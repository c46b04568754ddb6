"""Products of bfloat16 against the same in float32, pass by pass.

    CNN_EXT_CPU=avx512_bf16 python benchmarks/halves.py [--threads 1] [--batch 64]

GFLOP/s of convolutions on operands that are rounded to bfloat16: multiplied in float32, directly
and as it is fastest (Winograd's way where that is taken), and multiplied as bfloat16.  All three
take turns in each of nine rounds, medians.  CNN_EXT_CPU forces kernels that are not chosen here.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import cnn_ext
from cnn_ext import _core
from cnn_ext._bfloat16 import rounded
from cnn_ext._dispatch import halves_isa
from cnn_ext.lanes import Lanes
from cnn_ext.operators.conv2d import conv_sizes

# C, K, kernel, height
CONVOLUTIONS = [
    (3, 64, 3, 32), (32, 32, 3, 32), (64, 64, 3, 16), (128, 128, 3, 8), (64, 64, 1, 16),
]  # fmt: skip
WAYS = {"float32, direct": (False, False), "float32": (True, False), "bfloat16": (False, True)}
ROUNDS = 9


def random_lanes(shape: tuple[int, ...]) -> Lanes:
    lanes = Lanes.empty(shape, np.dtype(np.float32))
    numbers = np.random.default_rng(0).standard_normal(lanes.data.shape)
    lanes.data[...] = rounded(numbers)
    return lanes


def measured(case: tuple[int, int, int, int], N: int) -> dict[str, dict[str, float]]:
    """GFLOP/s of each way, for each pass."""
    C, K, R, H = case
    sizes = conv_sizes((C, H, H), (K, C, R, R), 1, R // 2, 1, 1)
    x, dy = random_lanes((N, C, H, H)), random_lanes((N, K, H, H))
    y, dx = Lanes.empty(dy.shape, dy.dtype), Lanes.empty(x.shape, x.dtype)
    w = rounded(np.random.default_rng(0).standard_normal((K, C, R, R)).astype(np.float32))
    dw, core, work = np.empty_like(w), (x.blocks, *sizes), 2.0 * N * K * C * R * R * H * H
    passes = {
        "forward": lambda halves: _core.conv2d(
            x.data, w, None, y.data, 4, core, None, None, None, halves
        ),
        "to input": lambda halves: _core.conv2d_input(dy.data, w, dx.data, 4, core, None, halves),
        "to weights": lambda halves: _core.conv2d_weight(
            dy.data, x.data, dw, 4, core, None, halves
        ),
    }
    found: dict[str, dict[str, float]] = {}
    for name, call in passes.items():
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, (winograd, halves) in WAYS.items():
                cnn_ext.set_winograd(winograd)
                call(halves)
                started = time.perf_counter()
                call(halves)
                times[way].append(time.perf_counter() - started)
        found[name] = {way: work / statistics.median(t) / 1e9 for way, t in times.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    cnn_ext.set_num_threads(options.threads)
    name = halves_isa()
    if name is None:
        raise SystemExit("no kernels of bfloat16 are chosen here; CNN_EXT_CPU=avx512_bf16 forces")
    print(f"{name}, {options.threads} threads, {options.batch} images; GFLOP/s")
    print(f"{'convolution':<24}{'pass':<12}" + "".join(f"{way:>17}" for way in WAYS))
    for case in CONVOLUTIONS:
        C, K, R, H = case
        for pass_, speeds in measured(case, options.batch).items():
            text = f"{C}-{K}, {R} x {R} on {H} x {H}"
            print(f"{text:<24}{pass_:<12}" + "".join(f"{speeds[way]:>17.0f}" for way in WAYS))


if __name__ == "__main__":
    main()
