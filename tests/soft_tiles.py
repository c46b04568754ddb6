"""Builds the kernels for AMX with tiles in plain C, for a CPU that has AVX-512 at least."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from cnn_ext import _dispatch
from cnn_ext._isa import ISAS

ROOT = Path(__file__).parents[1]
AMX = next(isa for isa in ISAS if isa.name == "amx")
HARD = {"amx_tile", "amx_int8", "amx_bf16"}
MAY_BUILD = sys.platform == "linux" and AMX.needs - HARD <= _dispatch._cpu.features()


SOURCES = {"i8": ("byte_tiles.pxi", []), "bf16": ("half_tiles.pxi", ["-DCNN_EXT_HALVES"])}


def build(folder: Path, *flags: str, kind: str = "i8") -> Path:
    """The compiled module for numbers of a kind."""
    source, module = (folder / f"_kernels_amx_{kind}.{end}" for end in ("pyx", "so"))
    table, macros = SOURCES[kind]
    source.write_text(f'include "{table}"\n')
    kernels = f"-I{ROOT / 'src' / 'kernels'}"
    plain = "boundscheck=False,wraparound=False,cdivision=True"  # as setup.py has it
    run(sys.executable, "-m", "cython", "-3", "-X", plain, kernels, source)
    vectors = [flag for flag in AMX.flags if not flag.startswith("-mamx")]
    run(os.environ.get("CC", "cc"), "-O2", "-w", "-shared", "-fPIC", "-ffp-contract=off", *vectors,
        "-DCNN_EXT_SOFT_TILES", *macros, *flags, kernels, f"-I{sysconfig.get_path('include')}",
        source.with_suffix(".c"), "-o", module, "-lm")  # fmt: skip
    return module


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
