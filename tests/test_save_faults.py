"""Saves that are cut short: by a kill, a full disk, a folder that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

IDX = b"\0\0\x0c\2" + np.array((2, 3), ">u4").tobytes() + bytes(24)
SHOWN = 1500  # characters of the longest message, beside the name of the file


KILLED_AT_EVERY_CALL = """
import itertools, os, signal, sys
from pathlib import Path
import cnn_ext

path = Path(sys.argv[1])
old, new = (cnn_ext.Sequential(cnn_ext.Linear(20, 30)) for _ in range(2))
cnn_ext.save(new, path)
whole = path.read_bytes()
cnn_ext.save(old, path)
before = path.read_bytes()
outcomes = []

def die_at(limit):
    calls = itertools.count()
    def watch(frame, event, function):
        if event in ("c_call", "c_return") and next(calls) == limit:
            os.kill(os.getpid(), signal.SIGKILL)
    return watch

for limit in itertools.count():
    child = os.fork()
    if not child:
        sys.setprofile(die_at(limit))
        cnn_ext.save(new, path)
        sys.setprofile(None)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    content = path.read_bytes()
    outcomes.append("old" if content == before else "new" if content == whole else "broken")
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    path.write_bytes(before)
print(*outcomes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_every_call_of_a_save_leaves_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"")
    command = [sys.executable, "-c", KILLED_AT_EVERY_CALL, str(tmp_path / "net")]
    outcomes = subprocess.check_output(command, text=True).split()
    assert set(outcomes) == {"old", "new"}
    assert len(outcomes) > 100
    assert outcomes.index("new") > 50  # it takes the name at the end
    assert outcomes[outcomes.index("new") :].count("old") == 0


FULL_DISK = """
import resource, sys
import numpy as np
import cnn_ext

net = cnn_ext.Sequential(cnn_ext.Linear(200, 300))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    cnn_ext.save(net, sys.argv[1])
except OSError as error:
    print(type(error).__name__, error.strerror)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize("limit", [0, 7, 400, 100_000, 240_000])
def test_a_full_disk_leaves_the_old_file(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, str(path), str(limit)]
    assert subprocess.check_output(command, text=True) == "OSError File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net"]


READ_ONLY = """
import os, sys
import cnn_ext

net, save = cnn_ext.Sequential(cnn_ext.Linear(2, 3)), cnn_ext.save
if os.geteuid() == 0:  # who may write everywhere
    os.seteuid(65534)
try:
    save(net, sys.argv[1])
    print("saved")
except PermissionError:
    print("refused")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(("mode", "outcome"), [(0o555, "refused"), (0o777, "saved")])
def test_a_read_only_folder_keeps_its_file(mode: int, outcome: str) -> None:
    # not in `tmp_path`, whose folders are closed to all but their owner
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "net"
        path.write_bytes(b"old")
        folder.chmod(mode)
        command = [sys.executable, "-c", READ_ONLY, str(path)]
        printed = subprocess.check_output(command, text=True)
        folder.chmod(0o755)
        assert printed == f"{outcome}\n"
        assert (path.read_bytes() == b"old") == (outcome == "refused")
        assert os.listdir(folder) == ["net"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_what_others_may_not_read_they_cannot_read_while_it_is_written(tmp_path: Path) -> None:
    from cnn_ext._files import atomic_write

    path = tmp_path / "net"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with atomic_write(path) as file:
        file.write(b"new")
        (temporary,) = (name for name in os.listdir(tmp_path) if name != "net")
        assert (tmp_path / temporary).stat().st_mode & 0o777 == 0o600
