"""The instruction sets that the kernels are compiled for, best first.  Read by `setup.py` too.

`flags` go to GCC and Clang, `needs` are the CPU features (names of `_cpu.features()`) without
which the compiled module must not be imported.  `kinds` are the numbers of its modules: "f32",
"f64", and, with instructions of their own, "i8" for networks of bytes and "bf16" for products of
bfloat16; those of `beside` go with them.  `faster_on` is how the brands begin of the CPUs on which
it is faster than those, where it is not on all; elsewhere it is used if it is named.
"""

from __future__ import annotations

from typing import NamedTuple


class Isa(NamedTuple):
    """One row of the table; `machines` are the values of `platform.machine()` that have it."""

    name: str
    machines: tuple[str, ...]
    flags: tuple[str, ...]
    needs: frozenset[str]
    kinds: tuple[str, ...] = ("f32", "f64")
    beside: str = ""
    faster_on: tuple[str, ...] = ("",)


_X86 = ("x86_64", "amd64")
_ARM = ("aarch64", "arm64")
_AVX512 = (
    "-mavx512f",
    "-mavx512dq",
    "-mavx512vl",
    "-mavx512bw",
    "-mfma",
    "-mprefer-vector-width=512",
)
_NEEDS_AVX512 = frozenset({"avx512f", "avx512dq", "avx512vl", "avx512bw", "fma"})
_VNNI = (*_AVX512, "-mavx512vnni")
_NEEDS_VNNI = _NEEDS_AVX512 | {"avx512_vnni"}
TILES = "amx_tile"  # which the operating system must grant besides

ISAS = (
    Isa("avx512", _X86, _AVX512, _NEEDS_AVX512),
    Isa(
        "amx",
        _X86,
        (*_VNNI, "-mamx-tile", "-mamx-int8", "-mamx-bf16"),
        _NEEDS_VNNI | {TILES, "amx_int8", "amx_bf16"},
        ("i8", "bf16"),
        "avx512",
    ),
    Isa("avx512_vnni", _X86, _VNNI, _NEEDS_VNNI, ("i8",), "avx512"),
    Isa(
        "avx512_bf16",
        _X86,
        (*_AVX512, "-mavx512bf16"),
        _NEEDS_AVX512 | {"avx512_bf16"},
        ("bf16",),
        "avx512",
        ("AMD",),  # Intel's do it at half the rate of a multiply-add of float32
    ),
    Isa(
        "avx_vnni",
        _X86,
        ("-mavx2", "-mfma", "-mavxvnni"),
        frozenset({"avx2", "fma", "avx_vnni"}),
        ("i8",),
        "avx2",
    ),
    Isa("avx2", _X86, ("-mavx2", "-mfma"), frozenset({"avx2", "fma"}), ("f32", "f64", "i8")),
    Isa(
        "i8mm",
        _ARM,
        ("-march=armv8.2-a+dotprod+i8mm",),
        frozenset({"dotprod", "i8mm"}),
        ("i8",),
        "base",
    ),
    Isa("dotprod", _ARM, ("-march=armv8.2-a+dotprod",), frozenset({"dotprod"}), ("i8",), "base"),
    # some do as many products of float32 in the time of one
    Isa("bf16", _ARM, ("-march=armv8.2-a+bf16",), frozenset({"bf16"}), ("bf16",), "base", ()),
    Isa("base", (), (), frozenset(), ("f32", "f64", "i8")),
)
