"""Answers of a plan by Dask: the same bits in any chunks, also when a worker is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnn_ext
from cnn_ext import architectures, distributed
from cnn_ext.run.plan import Plan

pytest.importorskip("dask.array")
pytest.importorskip("distributed")
import dask.array
import dask.bag
from dask.distributed import Client, LocalCluster

SHAPE = (1, 28, 28)
pytestmark = pytest.mark.filterwarnings("default")  # those of the packages that are tried here


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def plan() -> Plan:
    net = architectures.build("lenet5", SHAPE, 10, rng=np.random.default_rng(0))
    return net.eval().compile(SHAPE)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, *SHAPE), np.float32)


@pytest.mark.parametrize("chunks", [1, 7, 16, 100, (3, 40, 57)])
def test_any_chunks_have_the_bits_of_one_process(client: Client, plan: Plan, chunks: Any) -> None:
    x = images(100)
    lazy = distributed.score(dask.array.from_array(x, (chunks, 1, 14, 28)), plan)
    assert lazy.shape == (100, 10)
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(), plan(x))


def test_bytes_and_bags(client: Client, plan: Plan) -> None:
    x = np.random.default_rng(2).integers(0, 256, (30, *SHAPE), np.uint8)
    lazy = distributed.score(dask.array.from_array(x, (11, *SHAPE)), plan)
    np.testing.assert_array_equal(lazy.compute(), plan(x))
    bag = dask.bag.from_sequence(list(x), npartitions=4)
    np.testing.assert_array_equal(distributed.score(bag, plan).compute(), plan(x))


def test_a_task_takes_one_thread(client: Client) -> None:
    class Asks(Plan):
        def __call__(self, x: Any, *, out: Any = None) -> Any:
            return np.full((len(x), 10), cnn_ext.get_num_threads(), np.float32)

    from cnn_ext.distributed.scoring import _answers

    net = architectures.build("lenet5", SHAPE, 10, rng=np.random.default_rng(0))
    asks = Asks(net.eval().compile(SHAPE)._saved)
    assert (_answers(images(2), asks) == 1).all()


def slow(image: np.ndarray) -> np.ndarray:
    time.sleep(0.02)
    return image


def test_a_worker_that_is_killed_is_made_good(client: Client, plan: Plan) -> None:
    x = images(200)
    lazy = dask.array.from_array(x, (5, *SHAPE)).map_blocks(slow, dtype=x.dtype)
    result = client.compute(distributed.score(lazy, plan))
    time.sleep(0.2)
    victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    np.testing.assert_array_equal(result.result(timeout=60), plan(x))
    client.wait_for_workers(2, timeout=60)


def test_what_does_not_fit_is_refused_at_once(plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"images: expected shape \(N, 1, 28, 28\), got \(5, 28"):
        distributed.score(dask.array.zeros((5, 28, 28)), plan)
    with pytest.raises(TypeError, match=r"images: expected a dask.array or a dask.bag, got ndarr"):
        distributed.score(images(2), plan)
    with pytest.raises(TypeError, match="plan: expected a Plan, got str"):
        distributed.score(dask.array.zeros((5, *SHAPE)), "plan")  # type: ignore[arg-type]


def test_the_command_asks_the_workers(client: Client, tmp_path: Path) -> None:
    net = architectures.build("lenet5", SHAPE, 10, rng=np.random.default_rng(0))
    net.input_shape, net.task = SHAPE, cnn_ext.Task("classes", outputs="logits")
    cnn_ext.save(net, tmp_path / "net.safetensors")
    for i, image in enumerate(np.random.default_rng(3).integers(0, 256, (9, 28, 28), np.uint8)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "9.png").write_bytes(b"no picture")
    words = [sys.executable, "-m", "cnn_ext", "predict", "net.safetensors", ".", "--json"]
    here, there = (
        subprocess.run([*words, *more], cwd=tmp_path, capture_output=True, text=True)
        for more in ([], ["--dask", client.scheduler.address])
    )
    assert (here.returncode, there.returncode) == (1, 1), here.stderr + there.stderr
    wanted, got = json.loads(here.stdout), json.loads(there.stdout)
    assert len(got) == 10
    assert got[:9] == wanted[:9]
    assert "9.png" in got[9]["error"]
