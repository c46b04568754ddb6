"""Scoring by workers of Dask: images per second with one and two of them, and their memory.

    python benchmarks/dask_scoring.py [--images 40000] [--rounds 3] [--many 1000000]

The network is resnet8 on pictures of 32 x 32 in bytes, which each task makes by itself (a seed a
chunk), so that the transport is of answers alone; the workers are processes with one thread each.
The second figure: the resident memory of two workers while they answer for --many digits by lenet5.
"""

from __future__ import annotations

import argparse
import statistics
import time

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster

from cnn_ext import architectures, distributed
from cnn_ext.run.plan import Plan

CHUNK = 1000


def plan_of(name: str, shape: tuple[int, ...]) -> Plan:
    net = architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
    return net.compile(shape)


def pictures(number: int, shape: tuple[int, ...]) -> np.ndarray:
    one = np.random.default_rng(number).integers(0, 256, (1, *shape), np.uint8)
    return np.repeat(one, CHUNK, 0)  # that a chunk costs next to nothing


def lazy(images: int, shape: tuple[int, ...]) -> da.Array:
    def chunk(block_info: dict[int, dict[str, tuple[int, ...]]] | None = None) -> np.ndarray:
        assert block_info is not None
        return pictures(block_info[None]["chunk-location"][0], shape)

    chunks = ((CHUNK,) * (images // CHUNK), *((size,) for size in shape))
    return da.map_blocks(chunk, chunks=chunks, dtype=np.uint8)


def seconds(workers: int, plan: Plan, images: int) -> float:
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        distributed.score(lazy(2 * CHUNK * workers, plan.input_shape), plan).compute()
        began = time.perf_counter()
        distributed.score(lazy(images, plan.input_shape), plan).compute()
        return time.perf_counter() - began


def memory(plan: Plan, images: int) -> list[int]:
    """Resident bytes of the larger of two workers, a number for each tenth of the images."""
    found = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for _ in range(10):
            distributed.score(lazy(images // 10, plan.input_shape), plan).argmax(1).sum().compute()
            sizes = client.run(resident)
            found.append(max(sizes.values()))
    return found


def resident() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    plan = plan_of("resnet8", (3, 32, 32))
    turns = [
        [options.images / seconds(workers, plan, options.images) for workers in (1, 2)]
        for _ in range(options.rounds)
    ]
    for i, workers in enumerate((1, 2)):
        speed = statistics.median(turn[i] for turn in turns)
        print(f"{workers} worker{'s' * i}: {speed:,.0f} images/s")
    print(f"ratio {statistics.median(two / one for one, two in turns):.2f}")
    sizes = memory(plan_of("lenet5", (1, 28, 28)), options.many)
    tenths = ", ".join(f"{size / 2**20:.0f}" for size in sizes)
    print(f"{options.many:,} digits; MiB of the larger worker after each tenth: {tenths}")


if __name__ == "__main__":
    main()
