"""Speed of every kernel over a table of shapes, beside what the machine can do in the same run.

    python benchmarks/kernels.py [--threads 2] [--batches 64 256] [--json FILE]

Convolution and linear passes in GFLOP/s and percent of the multiply-add peak (sums in registers, on
as many threads); kernels that move memory in GB/s and percent of the speed of copying an array.
Medians; the peak is measured again for each shape, since the machine's speed drifts.  Winograd's
algorithm is measured beside the direct one, by the operations of the direct one.
CNN_EXT_CPU chooses the instruction set.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from timing import median_seconds

import cnn_ext
from cnn_ext import _core
from cnn_ext._dispatch import ISA
from cnn_ext.lanes import Lanes, empty
from cnn_ext.operators.conv2d import conv_sizes

FLOAT32 = np.dtype(np.float32)
# C, K, kernel, height, padding; where they are not 1, stride and groups
CONVOLUTIONS: list[tuple[int, ...]] = [
    (20, 40, 5, 12, 0),
    (32, 32, 3, 32, 1),
    (64, 64, 3, 16, 1),
    (128, 128, 3, 8, 1),
    (1, 6, 5, 28, 2),
    (1, 20, 5, 28, 0),
    (6, 16, 5, 14, 0),
    (3, 32, 3, 32, 1),
    (32, 64, 1, 16, 0),
    (16, 16, 7, 16, 3),
    (8, 16, 1, 48, 0),
    (64, 64, 1, 16, 0),
    (256, 256, 1, 4, 0),
    (32, 64, 1, 16, 0, 2),
    (32, 64, 3, 16, 1, 2),
    (64, 128, 3, 4, 1, 2),
    (8, 8, 3, 48, 1, 1, 8),
    (16, 16, 3, 48, 1, 2, 16),
    (64, 64, 3, 16, 1, 1, 64),
    (128, 128, 3, 4, 1, 1, 128),
    (32, 32, 5, 16, 2, 1, 32),
    (32, 64, 3, 16, 1, 1, 32),
]
WEIGHTS = 1_700_000  # that the optimizers move
LINEARS = [(400, 120), (640, 100), (2048, 128)]


def seconds(work: Callable[[], object]) -> float:
    """Median time of `work`, warm."""
    return median_seconds(work, 0.15)


def peak(threads: int) -> float:
    """Operations per second of multiply-adds in registers."""
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        operations = _core.peak(4, threads)
        best = max(best, operations / (time.perf_counter() - started))
    return best


def copy_speed(threads: int) -> float:
    """Bytes per second, read and written, of copying an array on so many threads."""
    parts = [np.ones(8 << 20, np.uint8) for _ in range(threads)]
    others = [part.copy() for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        moved = sum(2 * part.nbytes for part in parts)
        return moved / seconds(lambda: list(pool.map(np.copyto, others, parts)))


def random_lanes(shape: tuple[int, ...]) -> Lanes:
    lanes = Lanes.empty(shape, FLOAT32)
    lanes.data[...] = np.random.default_rng(0).standard_normal(lanes.data.shape)
    return lanes


def convolution(case: tuple[int, ...], N: int) -> dict[str, tuple[float, Callable[[], object]]]:
    """Operations and calls of the three passes."""
    C, K, R, H, padding, stride, groups = (*case, 1, 1)[:7]
    sizes = conv_sizes((C, H, H), (K, C // groups, R, R), stride, padding, 1, groups)
    x, dy = random_lanes((N, C, H, H)), random_lanes((N, *sizes.output))
    y, dx = Lanes.empty(dy.shape, FLOAT32), Lanes.empty(x.shape, FLOAT32)
    w = np.random.default_rng(0).standard_normal((K, C // groups, R, R)).astype(np.float32)
    dw, bias, core = np.empty_like(w), np.zeros(K, np.float32), (x.blocks, *sizes)
    # of the multiplications that padding and edges leave
    rows = sum(1 for p in range(sizes.P) for r in range(R) if 0 <= p * stride + r - padding < H)
    work = 2.0 * N * K * (C // groups) * rows * rows
    return {
        "forward": (work, lambda: _core.conv2d(x.data, w, bias, y.data, 4, core)),
        "to input": (work, lambda: _core.conv2d_input(dy.data, w, dx.data, 4, core)),
        "to weights": (work, lambda: _core.conv2d_weight(dy.data, x.data, dw, 4, core)),
    }


def linear(case: tuple[int, int], N: int) -> dict[str, tuple[float, Callable[[], object]]]:
    C, K = case
    x, dy = random_lanes((N, C)), random_lanes((N, K))
    y, dx = Lanes.empty(dy.shape, FLOAT32), Lanes.empty(x.shape, FLOAT32)
    w = np.random.default_rng(0).standard_normal((K, C)).astype(np.float32)
    dw, bias, blocks, work = np.empty_like(w), np.zeros(K, np.float32), x.blocks, 2.0 * N * K * C
    return {
        "forward": (work, lambda: _core.linear(x.data, w, bias, y.data, 4, blocks, C, K)),
        "to input": (work, lambda: _core.linear_input(dy.data, w, dx.data, 4, blocks, C, K)),
        "to weights": (work, lambda: _core.linear_weight(dy.data, x.data, dw, 4, N, C, K)),
    }


def memory_bound(N: int) -> dict[str, tuple[float, Callable[[], object]]]:
    """Bytes read and written, and calls, of the kernels that mostly move memory."""
    C, H = 32, 32
    x, y = random_lanes((N, C, H, H)), Lanes.empty((N, C, H // 2, H // 2), FLOAT32)
    dx, place = Lanes.empty(x.shape, FLOAT32), Lanes.empty(y.shape, FLOAT32)
    plain, size, small = x.unpack(), x.data.nbytes, y.data.nbytes
    pool = (x.blocks * C, H, H, 2, 2, H // 2, H // 2, 2, 2, 1, 1, 0, 0, 0, 0)
    bias, count, pixels = np.empty(C, np.float32), x.data.size, C * H * H

    def map_(op: str, b: Any) -> Callable[[], object]:
        return lambda: _core.elementwise(op, x.data, b, dx.data, 4, count, 0.0)

    return {
        "pack": (2 * size, lambda: _core.pack(plain, dx.data, 4, N, pixels, 1.0)),
        "unpack": (2 * size, lambda: _core.unpack(x.data, plain, 4, N, pixels)),
        "relu": (2 * size, map_("relu", None)),
        "relu backward": (3 * size, map_("relu_back", x.data)),
        "sigmoid": (2 * size, map_("sigmoid", None)),
        "tanh": (2 * size, map_("tanh", None)),
        "max pool": (
            size + 2 * small,
            lambda: _core.max_pool2d(x.data, y.data, place.data, 4, pool),
        ),
        "max pool backward": (
            size + 2 * small,
            lambda: _core.max_pool2d_input(y.data, place.data, dx.data, 4, pool),
        ),
        "avg pool": (size + small, lambda: _core.avg_pool2d(x.data, y.data, 4, pool, True)),
        "avg pool backward": (
            size + small,
            lambda: _core.avg_pool2d_input(y.data, dx.data, 4, pool, True),
        ),
        "bias gradient": (size, lambda: _core.channel_sum(x.data, bias, 4, x.blocks, C, H * H)),
        "softmax": (
            2 * size,
            lambda: _core.softmax(x.data, None, dx.data, 4, x.blocks, C, H * H),
        ),
        **descent(),
    }


def descent() -> dict[str, tuple[float, Callable[[], object]]]:
    """Bytes and calls of the steps of the optimizers on the weights of a middling network."""
    arrays = [empty((WEIGHTS,), FLOAT32) for _ in range(5)]
    for array in arrays:
        array[...] = 0.01
    p, g, v, b, a = arrays
    each, head = arrays[0].nbytes, (4, WEIGHTS)
    return {
        "sgd with momentum": (
            5 * each,
            lambda: _core.sgd(p, g, v, *head, 1e-3, 0.9, 0.0, 0.0, False, False),
        ),
        "adam": (
            7 * each,
            lambda: _core.adam(p, g, v, b, *head, 1e-3, 0.9, 0.999, 1e-8, 0.0, 1.0, 1.0),
        ),
        "rmsprop": (
            5 * each,
            lambda: _core.rmsprop(p, g, v, None, None, *head, 1e-3, 0.99, 1e-8, 0.0, 0.0),
        ),
        "rmsprop, centered, momentum": (
            9 * each,
            lambda: _core.rmsprop(p, g, v, b, a, *head, 1e-3, 0.99, 1e-8, 0.0, 0.9),
        ),
        "average of weights": (3 * each, lambda: _core.average(p, a, *head, 0.001)),
        "norm of gradients": (each, lambda: _core.sum_of_squares(g, *head)),
    }


def beside_torch(threads: int) -> None:
    """Milliseconds of a step on as many weights in ten arrays, ours and PyTorch's."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(threads)
    parts = np.array_split(np.full(WEIGHTS, 0.01, np.float32), 10)
    ours = [cnn_ext.Parameter(part.copy()) for part in parts]
    theirs = [torch.nn.Parameter(torch.from_numpy(part.copy())) for part in parts]
    for mine, other in zip(ours, theirs, strict=True):
        mine.grad, other.grad = np.full_like(mine.data, 1e-3), torch.full_like(other, 1e-3)
    print(f"\n| step on {WEIGHTS:,} weights | ms | PyTorch, foreach | fused |")
    print("| --- | --- | --- | --- |")
    for name, options in (
        ("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {}), ("RMSprop", {}),
        ("RMSprop", {"centered": True, "momentum": 0.9}),
    ):  # fmt: skip
        steps = [getattr(cnn_ext.optim, name)(ours, lr=1e-3, **options).step]
        for way in ("foreach", "fused"):
            if way == "foreach" or name != "RMSprop":
                kind = getattr(torch.optim, name)
                steps.append(kind(theirs, lr=1e-3, **{way: True}, **options).step)
        times = " | ".join(f"{1e3 * seconds(step):.2f}" for step in steps)
        print(f"| {name}{', centered, momentum' if 'centered' in options else ''} | {times} |")
    clips: list[Callable[[], object]] = [
        lambda: cnn_ext.optim.clip_grad_norm_(ours, 1e9),
        lambda: torch.nn.utils.clip_grad_norm_(theirs, 1e9),
    ]
    print(f"| clip_grad_norm_ | {' | '.join(f'{1e3 * seconds(clip):.2f}' for clip in clips)} |")
    average = cnn_ext.ExponentialMovingAverage(ours)
    copies = [tensor.detach().clone() for tensor in theirs]
    updates: list[Callable[[], object]] = [
        average.update,
        lambda: torch._foreach_lerp_(copies, [tensor.detach() for tensor in theirs], 1e-3),
    ]
    times = " | ".join(f"{1e3 * seconds(update):.2f}" for update in updates)
    print(f"| average of weights | {times} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=cnn_ext.get_num_threads())
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    cnn_ext.set_num_threads(options.threads)
    rows = []
    print(f"instruction set {ISA}, {options.threads} threads, float32\n")
    print("| kernel | batch | pass | GFLOP/s | of the peak |\n| --- | --- | --- | --- | --- |")
    cases: list[tuple[str, Any, Any]] = [
        (
            f"conv {c[0]}-{c[1]}, {c[2]} x {c[2]} on {c[3]} x {c[3]}, padding {c[4]}"
            + "".join(
                f", {name} {n}" for name, n in zip(("stride", "groups"), c[5:], strict=False)
            ),
            convolution,
            c,
        )
        for c in CONVOLUTIONS
    ]
    cases += [(f"linear {c[0]}-{c[1]}", linear, c) for c in LINEARS]
    for name, make, case in cases:
        for N in options.batches:
            most = peak(options.threads)
            for what, (work, call) in make(case, N).items():
                both = (
                    make is convolution
                    and case[2] in (3, 5)
                    and min(case[:2]) >= 16
                    and len(case) == 5
                )
                for winograd in (False, True) if both else (False,):
                    cnn_ext.set_winograd(winograd)
                    way = f"{what}, Winograd" if winograd else what
                    speed = work / seconds(call)
                    row = {"kernel": name, "batch": N, "pass": way, "flops": speed, "peak": most}
                    rows.append(row)
                    share = f"{speed / 1e9:.0f} | {speed / most:.0%}"
                    print(f"| {name} | {N} | {way} | {share} |", flush=True)
    print("\n| kernel | GB/s | of copying |\n| --- | --- | --- |")
    most = copy_speed(options.threads)
    for what, (moved, call) in memory_bound(options.batches[0]).items():
        speed = moved / seconds(call)
        rows.append({"kernel": what, "bytes": speed, "copy": most})
        print(f"| {what} | {speed / 1e9:.1f} | {speed / most:.0%} |", flush=True)
    beside_torch(options.threads)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
