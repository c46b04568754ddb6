"""One plan in many threads and processes: the same answers, and one image wakes no threads."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import architectures
from cnn_ext.run.plan import Plan

SHAPE = (1, 28, 28)
SIZES = (1, 3, 11, 16, 40)
FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def make(name: str = "lenet5") -> Plan:
    net = architectures.build(name, SHAPE, 10, rng=np.random.default_rng(0))
    return net.eval().compile(SHAPE, 64)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = cnn_ext.get_num_threads()
    yield
    cnn_ext.set_num_threads(before)


def batches(count: int) -> list[np.ndarray]:
    """Batches of all sizes, of numbers and of bytes."""
    rng = np.random.default_rng(1)
    shapes = [(SIZES[i % len(SIZES)], *SHAPE) for i in range(count)]
    return [
        rng.random(shape, np.float32) if i % 2 else rng.integers(0, 256, shape, np.uint8)
        for i, shape in enumerate(shapes)
    ]


def expected_of(plan: Plan, images: list[np.ndarray]) -> list[np.ndarray]:
    with cnn_ext.threads(1):
        return [plan(x) for x in images]


# ------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("name", ["lenet5", "nielsen"])
def test_the_same_bits_at_any_number_of_threads(name: str, threads: int) -> None:
    plan, images = make(name), batches(10)
    expected = expected_of(plan, images)
    cnn_ext.set_num_threads(threads)
    for x, answer in zip(images, expected, strict=True):
        assert_array_equal(plan(x), answer)
        assert_array_equal(plan(x[0]), answer[0])


def test_many_images_need_many_threads() -> None:
    # enough work for the threads to share the steps of a single image too
    shape = (16, 64, 64)
    conv = cnn_ext.Conv2d(16, 32, 3, padding=1, rng=np.random.default_rng(0))
    plan = cnn_ext.Sequential(conv, cnn_ext.ReLU()).eval().compile(shape, 16)
    x = np.random.default_rng(1).random((16, *shape), np.float32)
    with cnn_ext.threads(1):
        expected = plan(x)
    for threads in (2, 5):
        with cnn_ext.threads(threads):
            assert_array_equal(plan(x), expected)
            assert_array_equal(plan(x[3]), expected[3])


@pytest.mark.parametrize("threads", [1, 2])
def test_eight_python_threads_call_one_plan(plan: Plan, threads: int) -> None:
    images = batches(40)
    expected = expected_of(plan, images)
    cnn_ext.set_num_threads(threads)
    start = threading.Barrier(8)
    wrong: list[tuple[int, int]] = []
    done: list[int] = []

    def work(number: int) -> None:
        start.wait(60)
        room = np.empty((64, 10), np.float32)
        for i in range(60):
            which = (7 * number + i) % len(images)
            out = room[: len(images[which])] if i % 3 else None
            if not np.array_equal(plan(images[which], out=out), expected[which]):
                wrong.append((number, which))
        done.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == list(range(8)) and not wrong


def test_plans_are_made_in_many_threads_at_once() -> None:
    images = batches(4)
    expected = expected_of(make(), images)

    def work(number: int) -> bool:
        plan = make()
        return all(map(np.array_equal, map(plan, images), expected))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(12)))


def test_a_plan_answers_while_others_are_made_and_networks_run(plan: Plan) -> None:
    images = batches(10)
    expected = expected_of(plan, images)
    net = architectures.build("lenet5", SHAPE, 10, rng=np.random.default_rng(0)).eval()
    truth = net(images[1])
    stop = threading.Event()
    right: list[bool] = []

    def disturb() -> None:
        while not stop.is_set():
            make("nielsen")
            right.append(np.array_equal(net(images[1]), truth))

    worker = threading.Thread(target=disturb)
    worker.start()
    try:
        for i in range(200):
            assert_array_equal(plan(images[i % 10]), expected[i % 10])
    finally:
        stop.set()
        worker.join()
    assert right and all(right)


@pytest.mark.parametrize("images", [1, 64])
def test_another_python_thread_runs_during_a_call(images: int) -> None:
    plan = architectures.build("vgg6", (3, 32, 32), 10).eval().compile((3, 32, 32), 64)
    x = np.zeros((images, 3, 32, 32), np.float32)
    counter = 0
    seen: list[int] = []
    done = threading.Event()

    def work() -> None:
        try:
            for _ in range(3 * 64 // images):
                before = counter
                plan(x)
                seen.append(counter - before)
        finally:
            done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nothing but a release lets the other thread in
    try:
        worker = threading.Thread(target=work)
        worker.start()
        while not done.wait(1e-6):
            counter += 1
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(seen) == 3 * 64 // images and max(seen) > 0


def test_asyncio(plan: Plan) -> None:
    images = batches(20)
    expected = expected_of(plan, images)

    async def answers() -> list[np.ndarray]:
        return await asyncio.gather(*(asyncio.to_thread(plan, x) for x in images))

    for answer, right in zip(asyncio.run(answers()), expected, strict=True):
        assert_array_equal(answer, right)


TASKS = """
import os
import numpy as np
import cnn_ext
net = cnn_ext.architectures.build("lenet5", (1, 28, 28), 10).eval()
plan = net.compile((1, 28, 28), outputs="logits")
x, out = np.zeros((1, 1, 28, 28), np.float32), np.zeros((1, 10), np.float32)
cnn_ext.set_num_threads(4)
tasks = lambda: len(os.listdir("/proc/self/task"))
before = tasks()
for _ in range(50):
    plan(x); plan(x[0]); plan(x, out=out); plan.classify(x[0])
few = tasks() - before
plan(np.zeros((256, 1, 28, 28), np.float32))
print(few, tasks() - before)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_one_image_wakes_no_threads() -> None:
    done = subprocess.run([sys.executable, "-c", TASKS], capture_output=True, text=True, timeout=60)
    few, many = map(int, done.stdout.split())
    assert few == 0, done.stderr
    assert many == 3  # so that threads would have been seen


# ---------------------------------------------------------------------------------- processes

FORK = """
import os, sys, threading, warnings
import numpy as np
import cnn_ext

plan = cnn_ext.architectures.build("lenet5", (1, 28, 28), 10).eval().compile((1, 28, 28))
x = np.random.default_rng(0).random((256, 1, 28, 28), np.float32)
cnn_ext.set_num_threads(2)
expected = plan(x)  # with threads, before the fork
stop = threading.Event()
def work():
    while not stop.is_set():
        plan(x[:40])
workers = [threading.Thread(target=work) for _ in range(2)]  # calls under way while it forks
for worker in workers:
    worker.start()
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        right = np.array_equal(plan(x), expected) and np.array_equal(plan(x[0]), expected[0])
        again = cnn_ext.architectures.build("lenet5", (1, 28, 28), 10).eval().compile((1, 28, 28))
        right &= again(x).shape == (256, 10)
        os._exit(0 if right else 1)
    children.append(child)
failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
stop.set()
for worker in workers:
    worker.join()
sys.exit(failed or not np.array_equal(plan(x), expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_answer_alike() -> None:
    process = subprocess.Popen([sys.executable, "-c", FORK], start_new_session=True)
    try:
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:  # hung: end the children too
            os.killpg(process.pid, 9)
            process.wait()


def answer(plan: Plan, images: list[np.ndarray]) -> list[np.ndarray]:
    return [plan(x) for x in images]


def contexts() -> list[Any]:
    return [pytest.param(name, marks=FORKS) for name in multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize("method", contexts())
def test_process_pools(plan: Plan, method: str) -> None:
    images = batches(10)
    expected = expected_of(plan, images)
    cnn_ext.set_num_threads(2)
    plan(np.zeros((64, *SHAPE), np.float32))  # with threads, before the fork
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, context) as pool:
        for found in pool.map(answer, [plan] * 2, [images] * 2, timeout=60):
            for part, right in zip(found, expected, strict=True):
                assert_array_equal(part, right)


@FORKS
def test_joblib(plan: Plan) -> None:
    joblib = pytest.importorskip("joblib")
    images = batches(10)
    expected = expected_of(plan, images)
    for backend in ("threading", "loky"):
        with joblib.parallel_config(backend=backend, n_jobs=2):
            found = joblib.Parallel()(joblib.delayed(answer)(plan, [x]) for x in images)
        for (part,), right in zip(found, expected, strict=True):
            assert_array_equal(part, right)


def test_dask(plan: Plan) -> None:
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    images = np.random.default_rng(0).random((100, *SHAPE), np.float32)
    blocks = array.from_array(images, chunks=(32, *SHAPE))
    lazy = blocks.map_blocks(plan, dtype=np.float32, drop_axis=[2, 3], chunks=(32, 10))
    with dask.config.set(scheduler="threads"):
        assert_array_equal(lazy.compute(), plan(images[:64]).tolist() + plan(images[64:]).tolist())


def test_what_travels_is_small_and_whole(plan: Plan) -> None:
    text = pickle.dumps(plan)
    weights = sum(array.nbytes for node in plan.graph.nodes for array in node.weights.values())
    assert weights < len(text) < weights + 5000
    calls: list[Callable[[np.ndarray], np.ndarray]] = [pickle.loads(text), plan]
    x = batches(2)[1]
    assert_array_equal(calls[0](x), calls[1](x))
