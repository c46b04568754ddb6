"""Runs the command line as its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "cnn_ext"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "OMP_NUM_THREADS": "1",  # the same results, and no faster with more on so small images
}


def run(*arguments: object, cwd: Path | None = None, **options: Any) -> Any:
    """The finished process, with its text."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, text=True, **options
    )


def start(*arguments: object, cwd: Path, **options: Any) -> Any:
    """A process at work, whose standard error can be read line by line."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
