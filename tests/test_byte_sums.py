"""Sums of bytes by every set of kernels, and by those for AMX with tiles in plain C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soft_tiles
from byte_networks import NETS, network, two_convolutions
from byte_sums import table_of
from c_files import CC, needs_compiler
from numpy.testing import assert_array_equal

from cnn_ext import Plan, _core, _dispatch, quantize, threads
from cnn_ext._isa import ISAS
from cnn_ext.layers import graph_of

HERE = Path(__file__).parent
SETS = [isa.name for isa in _dispatch._usable("i8")]
ON_TILES = "-mavx512f -mavx512bw -mamx-tile -mamx-int8 -mamx-bf16"


def sums(*arguments: str, isa: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HERE / "byte_sums.py", *arguments], capture_output=True, text=True,
        env={**os.environ, "CNN_EXT_CPU": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.mark.parametrize("isa", SETS)
def test_sums_on_each_instruction_set(isa: str) -> None:
    done = sums(isa=isa)
    if "is not supported here" in done.stderr:
        pytest.skip("the operating system does not grant tiles")
    assert done.stdout.split()[:1] == [isa], done.stderr


@needs_compiler
@pytest.mark.parametrize("flags", ["-DCNN_EXT_SOFT_TILES", ON_TILES])
def test_tiles_against_plain_arithmetic(flags: str, tmp_path: Path) -> None:
    features = {"avx512bw", "amx_tile", "amx_int8", "amx_bf16"}
    if flags == ON_TILES and not features <= _dispatch._cpu.features():
        pytest.skip("this CPU has no tiles")
    program = tmp_path / "check"
    subprocess.run(
        [CC or "cc", "-O2", *flags.split(), f"-I{HERE.parent}/src/kernels", HERE / "tiles_check.c",
         "-o", program, "-lm"], check=True,
    )  # fmt: skip
    status = subprocess.run([program]).returncode
    if status == 2:
        pytest.skip("the operating system does not grant tiles")
    assert status == 0


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("Cython")
    if CC is None or not soft_tiles.MAY_BUILD:
        pytest.skip("needs a C compiler for Linux, and AVX-512")
    return str(soft_tiles.build(tmp_path_factory.mktemp("tiles")))


@pytest.fixture
def tables(module: str) -> Iterator[tuple[object, object]]:
    """Kernels without tiles and with them; afterwards those of this machine are back."""
    own = _dispatch.bytes_isa()
    yield _dispatch._table("base", "i8"), table_of(module)
    _core.use_bytes(_dispatch._table(own, "i8"))


def answers(net: object, x: np.ndarray, table: object) -> np.ndarray:
    _core.use_bytes(table)
    return Plan(graph_of(net))(x)


def test_sums_on_tiles(module: str) -> None:
    done = sums(module)
    assert done.stdout.split()[:1] == [module], done.stderr


@pytest.mark.parametrize("name", NETS)
def test_networks_on_tiles(name: str, tables: tuple[object, object]) -> None:
    net, x = network(name)
    small = quantize(net, x)
    base, tiled = (answers(small, x, table) for table in tables)
    assert_array_equal(tiled, base)


@pytest.mark.parametrize("seed", range(20))
def test_convolutions_on_tiles(seed: int, tables: tuple[object, object]) -> None:
    net, x = two_convolutions(np.random.default_rng(seed))
    small = quantize(net, x)
    with threads(1 + seed % 2):
        base, tiled = (answers(small, x, table) for table in tables)
    assert_array_equal(tiled, base)


OF_FLAGS = {"": set(), **{" ".join(isa.flags): isa.needs for isa in ISAS if isa.flags}}


@needs_compiler
@pytest.mark.parametrize("flags", ["-DCNN_EXT_SCALAR", *OF_FLAGS])
def test_vectors_of_integers_on_each_instruction_set(flags: str, tmp_path: Path) -> None:
    if not OF_FLAGS.get(flags, set()) <= _dispatch._cpu.features():
        pytest.skip(f"this CPU does not have {flags}")
    program = tmp_path / "check"
    subprocess.run(
        [CC or "cc", "-O2", "-ffp-contract=off", *flags.split(), f"-I{HERE.parent}/src/kernels",
         HERE / "dot_check.c", "-o", program, "-lm"], check=True,
    )  # fmt: skip
    assert subprocess.run([program]).returncode == 0
