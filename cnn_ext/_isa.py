"""The instruction sets that the kernels are compiled for, best first.  Read by `setup.py` too.

`flags` go to GCC and Clang, `needs` are the CPU features (names of `_cpu.features()`) without which
the compiled module must not be imported.
"""

from __future__ import annotations

from typing import NamedTuple


class Isa(NamedTuple):
    """One row of the table; `machines` are the values of `platform.machine()` that have it."""

    name: str
    machines: tuple[str, ...]
    flags: tuple[str, ...]
    needs: frozenset[str]


_X86 = ("x86_64", "amd64")

ISAS = (
    Isa(
        "avx512",
        _X86,
        (
            "-mavx512f",
            "-mavx512dq",
            "-mavx512vl",
            "-mavx512bw",
            "-mfma",
            "-mprefer-vector-width=512",
        ),
        frozenset({"avx512f", "avx512dq", "avx512vl", "avx512bw", "fma"}),
    ),
    Isa("avx2", _X86, ("-mavx2", "-mfma"), frozenset({"avx2", "fma"})),
    Isa("base", (), (), frozenset()),
)
