"""One seed gives one set of weights, at any threads, on every instruction set that fuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from same_bits import NETS, trained

from cnn_ext import _core, _dispatch
from cnn_ext.layers import running

#: what `same_bits.py` prints; changed on purpose alone, whenever a sum gets another order
HASHES = {
    "lenet5": "08110cad1dcb1a96",
    "nielsen": "f6e57e9592025d44",
    "resnet8": "5d4497838428894e",
    "mixed": "4288013931f2fe84",
    "bytes": "0f0e9df8a733034d",
}
FUSED = [isa for isa in _dispatch.supported_isas() if isa != "base"]
CASES = [(isa, threads) for isa in FUSED for threads in (1, 2, 3, 7)]


def printed(isa: str, threads: int, *names: str) -> list[str]:
    script = Path(__file__).with_name("same_bits.py")
    done = subprocess.run(
        [sys.executable, script, str(threads), *names],
        env={**os.environ, "CNN_EXT_CPU": isa}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("isa", "threads"), CASES)
def test_two_hundred_steps(isa: str, threads: int) -> None:
    found = printed(isa, threads, *HASHES)
    assert dict(zip(HASHES, found, strict=True)) == HASHES


@pytest.mark.parametrize("isa", [isa.name for isa in _dispatch._usable("i8")])
def test_answers_in_bytes(isa: str) -> None:
    assert printed(isa, 2, "bytes") == [HASHES["bytes"]]


@pytest.mark.skipif(_dispatch.ISA not in FUSED, reason="the hashes are those of multiply-adds")
@pytest.mark.parametrize("name", NETS)
def test_kernel_by_kernel_instead_of_recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("it was recorded")

    monkeypatch.setattr(running, "worth_it", lambda *_: False)
    monkeypatch.setattr(_core, "record", refused)
    assert trained(name) == HASHES[name]
