"""Programs that a benchmark runs in processes of their own."""

from __future__ import annotations

import os
import subprocess


def output_of(command: list[object], threads: int) -> str:
    """Standard output of a program."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode}: {' '.join(map(str, command[:4]))} ...")
    return done.stdout
