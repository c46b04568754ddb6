"""Instruction sets: each one of this machine passes the parity tests and agrees with the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from calls import CALLS, assert_close

import cnn_ext
from cnn_ext import _core, _dispatch
from cnn_ext._isa import ISAS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
KERNELS = ["ops_conv", "ops_linear", "ops_pool", "ops_activation", "ops_loss"]
KERNELS += ["dead_lanes", "winograd_range", "optim_rules"]
SUPPORTED = _dispatch.supported_isas()

ANSWERS = """
import sys
import numpy as np
from calls import CALLS
answers = {}
for call in CALLS:
    for i, array in enumerate(call.run(*call.arrays(np.float32))):
        answers[f"{call.id}.{i}"] = array
np.savez(sys.argv[1], **answers)
"""


def run(isa: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "CNN_EXT_CPU": isa, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("isa", SUPPORTED)
def test_every_instruction_set_passes_the_tests_of_the_kernels(isa: str) -> None:
    files = [f"tests/test_{name}.py" for name in KERNELS]
    choice = "parity or units or denormal or smallest or saturation or lanes"
    choice += " or follow_the_formula or (not_finite and not pytorch)"
    done = run(isa, "-m", "pytest", "-p", "no:cacheprovider", "-k", choice, *files)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "[100%]" in done.stdout


def test_instruction_sets_agree(tmp_path: Path) -> None:
    answers = []
    for isa in SUPPORTED:
        done = run(isa, "-c", ANSWERS, str(tmp_path / f"{isa}.npz"))
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / f"{isa}.npz") as file:
            answers.append(dict(file))
    assert len(answers[0]) >= len(CALLS)
    for other in answers[1:]:
        assert other.keys() == answers[0].keys()
        for name, array in other.items():
            parts = 1.0 if name.startswith("softmax_backward") else 0.0
            assert_close(array, answers[0][name], 1e-5, parts)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_the_environment_chooses(isa: str) -> None:
    script = "import cnn_ext; cnn_ext.show_config()"
    done = run(isa, "-c", script)
    assert f"instruction set: {isa} (available: {', '.join(SUPPORTED)})" in done.stdout, done.stderr


def test_an_unknown_name_is_an_import_error_that_lists_what_there_is() -> None:
    done = run("mmx", "-c", "import cnn_ext")
    assert done.returncode != 0
    expected = f"CNN_EXT_CPU='mmx' is unknown; this machine can use: {', '.join(SUPPORTED)}"
    assert f"ImportError: {expected}" in done.stderr


def test_an_empty_name_chooses_the_best() -> None:
    done = run("", "-c", "from cnn_ext import _dispatch; print(_dispatch.ISA)")
    assert done.stdout.strip() == SUPPORTED[0], done.stderr


def test_a_cpu_without_vectors_gets_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "_cpu", SimpleNamespace(features=frozenset))
    assert _dispatch.supported_isas() == ["base"]
    other = next((isa.name for isa in ISAS if isa.needs), None)
    monkeypatch.setenv("CNN_EXT_CPU", str(other))
    with pytest.raises(
        ImportError, match=f"CNN_EXT_CPU='{other}' is .*; this machine can use: base"
    ):
        _dispatch.choose_isa()


def test_half_the_features_of_a_set_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for isa in ISAS:
        for missing in isa.needs:
            features = frozenset(isa.needs - {missing})
            monkeypatch.setattr(_dispatch, "_cpu", SimpleNamespace(features=lambda f=features: f))
            assert isa.name not in _dispatch.supported_isas()


def test_what_the_configuration_says(capsys: pytest.CaptureFixture[str]) -> None:
    cnn_ext.show_config()
    printed = capsys.readouterr().out
    assert f"cnn_ext {cnn_ext.__version__}\n" in printed
    assert f"instruction set: {_dispatch.ISA} (available: " in printed
    assert f"lanes: {_core.lanes(4)} float32, {_core.lanes(8)} float64\n" in printed
    assert "threads: " in printed
    config = _dispatch.config()
    assert config["instruction_set"] == _dispatch.ISA
    assert config["supported"] == SUPPORTED
    assert config["threads"] == cnn_ext.get_num_threads()


class Machine:
    """A CPU with everything there is; its operating system counts who asks for tiles."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, granted: bool = True, right: bool = True):
        self.asked, self.granted, self.loaded = 0, granted, ""
        monkeypatch.setattr(_dispatch, "_cpu", self)
        monkeypatch.setattr(_dispatch, "_core", self)
        monkeypatch.setattr(_dispatch, "_table", lambda name, kind: name)
        monkeypatch.setattr(_dispatch, "_sums_are_right", lambda: right)
        monkeypatch.setattr(_dispatch, "ISA", "avx512")
        monkeypatch.setenv("CNN_EXT_CPU", "")
        if not find_spec("cnn_ext._kernels_amx_i8"):
            pytest.skip("this build has no kernels for AMX")

    def features(self) -> frozenset[str]:
        return frozenset().union(*(isa.needs for isa in ISAS))

    def tiles_granted(self) -> bool:
        self.asked += 1
        return self.granted

    def use_tables(self, single: str, double: str) -> None:
        assert single == double

    def use_bytes(self, table: str) -> None:
        self.loaded = table


def test_tiles_are_asked_for_with_the_first_network_of_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    assert _dispatch.choose_isa() == "avx512" and machine.asked == 0
    assert _dispatch.bytes_isa.__wrapped__() == machine.loaded == "amx"
    assert machine.asked == 1
    monkeypatch.setenv("CNN_EXT_CPU", "avx512_vnni")
    assert _dispatch.choose_isa() == "avx512"
    assert _dispatch.bytes_isa.__wrapped__() == machine.loaded == "avx512_vnni"
    assert machine.asked == 1
    monkeypatch.setattr(_dispatch, "ISA", "avx2")  # chosen by hand: no more than that for bytes
    assert _dispatch.bytes_isa.__wrapped__() == machine.loaded != "amx"


def test_tiles_that_are_not_granted_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, granted=False)
    assert _dispatch.bytes_isa.__wrapped__() == machine.loaded == "avx512_vnni"
    monkeypatch.setenv("CNN_EXT_CPU", "amx")
    with pytest.raises(ImportError, match="'amx' is not supported here; this machine can use: avx"):
        _dispatch.choose_isa()
    machine.granted = True
    assert _dispatch.choose_isa() == "avx512"


def test_tiles_that_give_wrong_sums_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, right=False)
    with pytest.warns(RuntimeWarning, match="amx: wrong sums of bytes on this CPU"):
        assert _dispatch.bytes_isa.__wrapped__() == machine.loaded == "avx512_vnni"


def test_sums_of_bytes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    _dispatch.bytes_isa()
    assert _dispatch._sums_are_right()
    wrong = SimpleNamespace(
        ints=_core.ints,
        dot_offset=_core.dot_offset,
        byte_conv=lambda x, w, terms, y, *rest: y.fill(0),
    )
    monkeypatch.setattr(_dispatch, "_core", wrong)
    assert not _dispatch._sums_are_right()
