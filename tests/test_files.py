"""Atomic writing: a file is the old one or the new one whole, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupting import everywhere
from numpy.testing import assert_array_equal

from cnn_ext import _files
from cnn_ext._files import atomic_write
from cnn_ext.safetensors import read, write


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"new and longer")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of a file that was just opened
@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_at_any_instruction_leaves_a_whole_file_and_nothing_else(
    fails: bool, old: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    seen = set()
    for interrupt in everywhere(_files, contextlib, instructions=True):
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)
        ends = contextlib.suppress(KeyboardInterrupt, RuntimeError)
        with ends, interrupt, atomic_write(path) as file:
            file.write(b"new")
            if fails:
                raise RuntimeError
        seen.add(path.read_bytes() if path.exists() else None)
        assert all(other == path for other in tmp_path.iterdir()), interrupt.place
    assert seen == ({old} if fails else {old, b"new"})


def test_a_failed_replacement_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("in use")

    write(tmp_path / "net", {"x": np.zeros(2)})
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write(tmp_path / "net", {"x": np.ones(2)})
    assert_array_equal(read(tmp_path / "net")[0]["x"], [0, 0])
    assert list(tmp_path.iterdir()) == [tmp_path / "net"]


def test_nothing_takes_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("fsync folder" if folder else "fsync file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(tmp_path / "net", {"x": np.zeros(2)})
    assert calls[:2] == ["fsync file", "replace"]
    assert calls[2:] == ([] if os.name == "nt" else ["fsync folder"])


def test_a_long_name_fits(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 100)
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="regular file"), atomic_write(tmp_path):
        raise AssertionError("not reached")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "file"):
        raise AssertionError("not reached")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask and no permission bits")
def test_permissions_are_those_of_a_plain_file(tmp_path: Path) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    old = os.umask(0o027)
    try:
        write(tmp_path / "net", {})
    finally:
        os.umask(old)
    assert mode(tmp_path / "net") == 0o640
    os.chmod(tmp_path / "net", 0o600)
    write(tmp_path / "net", {})
    assert mode(tmp_path / "net") == 0o600


@pytest.mark.skipif(os.name == "nt", reason="making a link on Windows needs a privilege")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "net")
    for value in (1.0, 2.0):
        write(tmp_path / "link", {"x": np.array(value)})
        assert (tmp_path / "link").is_symlink()
        assert read(tmp_path / "folder" / "net")[0]["x"] == value


HALF_WRITTEN = """
import sys, time
from cnn_ext._files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""

FOREVER = """
import itertools, sys
import numpy as np
from cnn_ext.safetensors import write
for number in itertools.count():
    write(sys.argv[1], {"x": np.full(50_000, number % 100)})
    if number == 1:
        print("ready", flush=True)
"""


def start(script: str, path: Path) -> subprocess.Popen[bytes]:
    """A process that runs the script, once it has said that it is ready."""
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.kill()


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    kill(start(HALF_WRITTEN, path))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("delay", [0.0, 0.011, 0.023, 0.037])
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "net"
    process = start(FOREVER, path)
    time.sleep(delay)
    kill(process)
    array = read(path)[0]["x"]
    assert array.shape == (50_000,)
    assert (array == array[0]).all()
