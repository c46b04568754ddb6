"""Ranks that are processes, connected by MPI: the same bits, and what happens when one is gone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from same_bits import NETS

from cnn_ext.data import write_shards

pytest.importorskip("mpi4py")

HERE = Path(__file__).parent
MPIEXEC = Path(sysconfig.get_path("scripts"), "mpiexec")
PROGRAM = HERE / "mpi_program.py"
LIMIT = 120  # seconds
pytestmark = pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec in this environment")


def command(ranks: int, *words: object) -> list[str]:
    """What starts so many ranks."""
    return [str(MPIEXEC), "-n", str(ranks), sys.executable, *map(str, words)]


def environment(**more: object) -> dict[str, str]:
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **{key: str(value) for key, value in more.items()}}


def started(words: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, env=environment(**more), timeout=LIMIT
    )


def run(ranks: int, *words: object, **more: object) -> str:
    done = started(command(ranks, *words), **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    """The hashes of one process."""
    return {name: run(1, PROGRAM, name, 1) for name in NETS}


@pytest.mark.parametrize(("ranks", "threads"), [(2, 1), (2, 2), (3, 1), (4, 2), (7, 1)])
@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_the_weights_are_those_of_one_process(
    alone: dict[str, str], name: str, ranks: int, threads: int
) -> None:
    assert run(ranks, PROGRAM, name, threads) == alone[name]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_gone_is_named_and_the_training_can_go_on(
    alone: dict[str, str], tmp_path: Path, blow: signal.Signals, rank: int
) -> None:
    checkpoint, pids = tmp_path / "run.safetensors", tmp_path / "pids"
    pids.mkdir()
    words = PROGRAM, "lenet5", 1, checkpoint
    process = subprocess.Popen(
        command(3, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(TIMEOUT=2, SLOW=0.2, PIDS=pids), start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + LIMIT
        while not checkpoint.exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(random.random() * 0.3)
        os.kill(int((pids / str(rank)).read_text()), blow)
        began = time.monotonic()
        output, errors = process.communicate(timeout=LIMIT)
        took = time.monotonic() - began
    finally:
        for file in pids.iterdir():
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
        process.kill()
    assert process.returncode != 0
    if blow == signal.SIGSTOP:
        assert f"no answer from rank {rank} within 2 s" in errors, errors
    else:  # the launcher sees it before anybody has to wait
        assert "Killed (signal 9)" in output, output
    assert took < 15
    assert run(2, *words) == alone["lenet5"]


def test_the_command_line_trains_by_several_processes(tmp_path: Path) -> None:
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    options = "-m", "cnn_ext", "train", "--epochs", 2, "--seed", 3
    first = run(1, *options, "--out", one)
    several = *options, "--checkpoint", tmp_path / "c", "--resume", "--out", two
    second = run(2, *several)
    assert first.partition(",")[0] == second.partition(",")[0]
    assert one.read_bytes() == two.read_bytes()
    assert run(2, *several) == second  # all is done


def test_gradients_travel_as_bfloat16(alone: dict[str, str]) -> None:
    found = run(2, PROGRAM, "lenet5", 1, WIRE="bfloat16")  # the program compares its ranks
    assert found == run(2, PROGRAM, "lenet5", 2, WIRE="bfloat16") != alone["lenet5"]
    assert run(1, PROGRAM, "lenet5", 1, WIRE="bfloat16") == alone["lenet5"]
    done = started(command(1, PROGRAM, "lenet5", 1), WIRE="float16")
    assert "ValueError: wire: expected 'bfloat16' or None, got 'float16'" in done.stderr


def test_a_rank_reads_its_part_of_shards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2048, 1, 28, 28), np.uint8)
    write_shards(tmp_path / "shards", x, rng.integers(0, 10, len(x)), 300)
    program = HERE / "mpi_reading.py"
    expected, *_ = run(1, program, tmp_path / "shards").split()
    for ranks in (2, 3):
        found, *parts = run(ranks, program, tmp_path / "shards").split()
        assert found == expected
        assert len(parts) == ranks
        if sys.platform == "linux":
            assert all(0.9 / ranks < float(part) < 1.25 / ranks for part in parts), parts


def test_the_command_line_reads_pictures_by_several_processes(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for number in range(120):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 200, (8, 8, 3), np.uint8) + np.uint8(50 * (number % 2))
        pillow.fromarray(image).save(folder / f"{number:03d}.png")
    options = "-m", "cnn_ext", "train", "--data", tmp_path / "pictures", "--epochs", 2
    told = [run(n, *options, "--lr", 0.01, "--out", tmp_path / f"{n}.safetensors") for n in (1, 2)]
    assert len({line.partition(",")[0] for line in told}) == 1
    one, two = (tmp_path / f"{ranks}.safetensors" for ranks in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_an_error_of_one_rank_ends_the_others_at_once(tmp_path: Path) -> None:
    program = tmp_path / "one_fails.py"
    program.write_text(
        "from cnn_ext import distributed\n"
        "with distributed.world(100) as group:\n"
        "    group.barrier()\n"
        "    if group.rank == 1: raise ValueError('of rank 1')\n"
        "    group.barrier()\n"
    )
    began = time.monotonic()
    done = started(command(3, program))
    assert done.returncode != 0
    assert "ValueError: of rank 1" in done.stderr
    assert time.monotonic() - began < 60


def test_without_mpi4py_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from cnn_ext import distributed\n"
        "distributed.world()"
    )
    done = started([sys.executable, "-c", code])
    assert "several processes needs mpi4py: pip install 'cnn_ext[mpi]'" in done.stderr


def test_nothing_imports_mpi4py_or_dask_by_itself() -> None:
    code = (
        "import sys, cnn_ext.distributed, cnn_ext.cli.train\n"
        "assert not {'mpi4py', 'dask', 'distributed'} & set(sys.modules)"
    )
    done = started([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
