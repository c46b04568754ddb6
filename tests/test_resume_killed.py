"""A training that is killed at random moments, with nothing left to do about it, and goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import resuming
from resuming import fit, left_by, trainer


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "training"
    whole = trainer()
    unbroken = repr(left_by(whole, fit(whole)))
    program = [sys.executable, resuming.__file__, str(path), "1", "1"]
    rng, kills = random.Random(0), 0
    while kills < 4:
        child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child:
            assert child.stdout.readline() == "ready\n"  # the checkpoint was whole
            time.sleep(rng.uniform(0, 0.03))
            child.kill()
            if child.stdout.read().strip() == unbroken:
                path.unlink()
        kills += child.returncode == -signal.SIGKILL
    told = subprocess.check_output(program, text=True).splitlines()
    assert told == ["ready", unbroken]
