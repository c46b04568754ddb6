"""The threads behind the kernels: forks, processes, exits, limits of the system, races."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import normal
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import ops

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads /proc")

BEGIN = """
import os, sys, threading, time, warnings
import numpy as np
import cnn_ext
from cnn_ext import ops

x, w = np.arange(64 * 3 * 20 * 20.0).reshape(64, 3, 20, 20), np.ones((8, 3, 3, 3))
cnn_ext.set_num_threads(2)
expected = ops.conv2d(x, w)
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads

def right():
    return np.array_equal(ops.conv2d(x, w), expected)

def tasks():
    return len(os.listdir("/proc/self/task"))
"""


def run(script: str) -> str:
    """What a process prints that begins with the above."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + script],
        start_new_session=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:  # it hangs: end its children too
            os.killpg(process.pid, 9)
            process.wait()
    assert process.returncode == 0
    return printed


# ------------------------------------------------------------------------------------- forks


@linux
def test_a_forked_child_computes_on_all_its_threads() -> None:
    run("""
child = os.fork()
if child == 0:
    fine = cnn_ext.get_num_threads() == 2 and tasks() == 1
    fine &= right() and tasks() == 2
    cnn_ext.set_num_threads(4)
    fine &= right() and tasks() == 4
    os._exit(0 if fine else 1)
status = os.waitpid(child, 0)[1]
assert cnn_ext.get_num_threads() == 2 and right()
sys.exit(os.waitstatus_to_exitcode(status))
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forks_while_other_threads_compute() -> None:
    run("""
over = False
def compute():
    while not over:
        assert right()
callers = [threading.Thread(target=compute) for _ in range(3)]
for caller in callers:
    caller.start()
children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        fine = right()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if right() else 1)
        os._exit(0 if fine and os.waitpid(grandchild, 0)[1] == 0 else 1)
    children.append(child)
states = [os.waitpid(child, 0)[1] for child in children]
over = True
for caller in callers:
    caller.join()
sys.exit(any(states))
""")


def compute(pipe: Connection, x: np.ndarray, w: np.ndarray) -> None:
    pipe.send((cnn_ext.get_num_threads(), ops.conv2d(x, w)))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_multiprocessing(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    x, w = normal("x", (64, 3, 20, 20), np.float32), normal("w", (8, 3, 3, 3), np.float32)
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with cnn_ext.threads(2):
        expected = ops.conv2d(x, w)  # with threads, before the fork
        process = context.Process(target=compute, args=(theirs, x, w))
        process.start()
        try:
            assert ours.poll(60), "the child hangs"
            threads, answer = ours.recv()
            process.join(60)
            assert process.exitcode == 0
        finally:
            process.kill()
            process.join()
    assert_array_equal(answer, expected)
    assert threads == 2 if method == "fork" else threads >= 1


# ------------------------------------------------------------------------------------- many, none


@linux
def test_python_threads_that_end_leave_nothing() -> None:
    printed = run("""
def call():
    threads = [threading.Thread(target=right) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
for _ in range(40):
    call()
few, grown = tasks(), []
for _ in range(5):
    before = resident()
    for _ in range(80):
        call()
    grown.append(resident() - before)
until = time.monotonic() + 20
while tasks() > few and time.monotonic() < until:  # the system may still know of the last ones
    time.sleep(0.01)
print(few, tasks(), *grown)
""")
    few, many, *grown = map(int, printed.split())
    assert many <= few
    assert min(grown) < 128 << 10  # the allocator takes its memory in steps, a leak in every round


@linux
def test_daemon_threads_do_not_hold_up_the_end() -> None:
    run("""
def compute():
    while True:
        right()
for _ in range(4):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.2)
""")


@linux
def test_a_thread_that_cannot_be_started_is_an_exception() -> None:
    printed = run("""
import resource
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))  # room for some stacks
big = np.repeat(x, 20, 0)
with cnn_ext.threads(1000):
    try:
        ops.conv2d(big, w)
    except RuntimeError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
assert right()
with cnn_ext.threads(3):
    assert right()
""")
    assert re.match(r"num_threads: \d+ threads could not be started$", printed)


@linux
def test_signals_are_not_for_the_threads_of_the_pool() -> None:
    run("""
before = os.listdir("/proc/self/task")
with cnn_ext.threads(4):
    assert right()
new = set(os.listdir("/proc/self/task")) - set(before)
assert len(new) == 2
for task in new:
    (line,) = [l for l in open(f"/proc/self/task/{task}/status") if l.startswith("SigBlk")]
    assert int(line.split()[1], 16) >> 1 & 1  # SIGINT
""")


# ------------------------------------------------------------------------------------- races

CORE = Path(__file__).parents[1] / "src" / "core"
SIZES = [(1, 2, 2000, 2), (4, 3, 500, 2), (4, 7, 500, 8), (8, 2, 500, 16)]


@pytest.mark.parametrize("flags", [["-O2"], ["-O1", "-g", "-fsanitize=thread"]], ids=["", "races"])
def test_teams_of_many_callers(flags: list[str], tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if not compiler or not CORE.is_dir():
        pytest.skip("needs a compiler and the sources")
    command = [compiler, *flags, "-Wall", "-Wextra", "-Werror", f"-I{CORE}"]
    source = Path(__file__).with_name("pool_check.c")
    built = subprocess.run([*command, source, "-o", tmp_path / "check", "-pthread"])
    if built.returncode and "-fsanitize=thread" in flags:
        pytest.skip("this compiler has no ThreadSanitizer")
    assert built.returncode == 0
    for sizes in SIZES:
        done = subprocess.run(
            [tmp_path / "check", *map(str, sizes)], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
