"""Measure how fast a model answers on this machine.

The images are random. Latency is that of calls with one image, throughput that of calls with 256,
or with fewer if they are so large that those would have more than a gigabyte. With --precision
auto the data say how much the answers change, and the fastest precision is measured then.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

from .._dispatch import MAX_THREADS, get_num_threads, threads
from ..graph.precision import AUTO
from ..run import timing
from ..run.plan import PRECISIONS
from ._files import drawn, image_shape, load_model, load_tested
from ._options import SAMPLE, UsageError, add_data, add_json, real, whole

BATCH = 256
LARGEST = 2**28  # numbers in a batch
PERCENTILES = (50, 90, 99)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    parser.add_argument(
        "--threads",
        type=whole(1, MAX_THREADS),
        nargs="+",
        metavar="N",
        help="threads of the kernels, measured one after the other "
        "(default: 1, and OMP_NUM_THREADS or the CPUs that this process may use)",
    )
    parser.add_argument(
        "--seconds",
        type=real("above 0", lambda seconds: seconds > 0),
        default=1.0,
        metavar="S",
        help="time for each of the measurements, after a fifth of it as warm-up (default: 1)",
    )
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        help="what the plan computes with; int8 is for models that quantize wrote; auto is the "
        "fastest within --tolerance (default: int8 for those, else float32)",
    )
    add_json(parser)
    group = parser.add_argument_group(f"with --precision {AUTO}")
    group.add_argument(
        "--tolerance",
        type=real("of at least 0", lambda part: part >= 0),
        metavar="PART",
        help=f"the most that the answers to {SAMPLE} training images may change, as a part of "
        "their size (default: none, it is required)",
    )
    add_data(group)


def run(arguments: argparse.Namespace) -> int:
    if (arguments.precision == AUTO) != (arguments.tolerance is not None):
        raise UsageError(f"--precision {AUTO} and --tolerance: expected both or neither")
    if arguments.precision != AUTO and arguments.data != "digits":
        raise UsageError(f"argument --data: it is for --precision {AUTO}")
    net, _ = load_model(arguments.model)
    shape = image_shape(net)
    if shape is None:
        raise ValueError(f"{arguments.model}: no input_shape in the metadata")
    how = {}
    if arguments.precision == AUTO:
        how = {"sample": drawn(load_tested(arguments)[2], SAMPLE), "tolerance": arguments.tolerance}
    started = time.perf_counter()
    plan = net.compile(shape, BATCH, precision=arguments.precision, **how)
    compiling = time.perf_counter() - started
    most = min(BATCH, max(LARGEST // math.prod(shape), 1))
    images = np.random.default_rng(0).random((most, *shape), np.float32)
    image = images[0]
    rows = []
    for count in arguments.threads or sorted({1, get_num_threads()}):
        with threads(count):
            latency = np.percentile(
                timing.times(lambda: plan(image), arguments.seconds), PERCENTILES
            ).tolist()
            batch = float(np.median(timing.times(lambda: plan(images), arguments.seconds)))
        rows.append(
            {"threads": count, "latency": latency, "images_per_second": len(images) / batch}
        )
    if arguments.json:
        for row in rows:
            row["latency"] = dict(zip((f"p{p}" for p in PERCENTILES), row["latency"], strict=True))
        result = {
            "input_shape": shape,
            "precision": plan.precision,
            "compile_seconds": compiling,
            "weights_bytes": plan.weights_bytes,
            "arena_bytes": plan.arena_bytes,
            "batch": len(images),
            "results": rows,
        }
        print(json.dumps(result, allow_nan=False))
        return 0
    print(f"image           {' x '.join(map(str, shape))}")
    print(f"precision       {plan.precision}")
    print(f"compiled in     {1e3 * compiling:.1f} ms")
    print(f"weights         {plan.weights_bytes:,} bytes")
    print(f"scratch memory  {plan.arena_bytes:,} bytes a thread")
    print(f"threads  {'latency in µs: median':>21}  {'90 %':>8}  {'99 %':>8}  images per second")
    for row in rows:
        times = [f"{1e6 * seconds:,.1f}" for seconds in row["latency"]]
        print(
            f"{row['threads']:7}  {times[0]:>21}  {times[1]:>8}  {times[2]:>8}  "
            f"{row['images_per_second']:17,.0f}"
        )
    return 0
