"""Chooses the kernels for this CPU at import, and how many threads they may use."""

from __future__ import annotations

import functools
import importlib
import math
import operator
import os
import platform
import warnings
from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from ._cgroup import cpu_quota
from ._isa import ISAS, TILES, Isa
from ._version import VERSION


def _compiled(name: str) -> ModuleType:
    """Import a compiled module.

    Raises ImportError if it is missing, made for another Python, or does not load; the message says
    what to do.
    """
    try:
        return importlib.import_module(f"cnn_ext.{name}")
    except ImportError as error:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        cure = "install the package anew with `pip install --force-reinstall cnn_ext`"
        if os.path.exists(os.path.join(folder, "setup.py")):
            cure = (
                f"build the package with `pip install -e .` in {folder}, or, if it is installed "
                "elsewhere too, start Python in another folder"
            )
        raise ImportError(
            f"{error}: the compiled module is missing, broken or made for another Python than "
            f"{platform.python_version()}; {cure}",
            name=f"cnn_ext.{name}",
        ) from error


_cpu = _compiled("_cpu")
_core = _compiled("_core")


def supported_isas() -> list[str]:
    """Names of the instruction sets that this CPU, operating system and build offer, best first."""
    return [isa.name for isa in _usable("f32")]


def _usable(kind: str) -> list[Isa]:
    # what has kernels for numbers of that kind, best first
    features = _cpu.features()
    return [
        isa for isa in ISAS
        if kind in isa.kinds and isa.needs <= features
        and find_spec(f"cnn_ext._kernels_{isa.name}_{kind}")
    ]  # fmt: skip


def _granted(isa: Isa) -> bool:
    # asking makes what the process saves at a signal larger for good: not before there is need
    return TILES not in isa.needs or _cpu.tiles_granted()


def _table(name: str, kind: str) -> object:
    return _compiled(f"_kernels_{name}_{kind}").table


def choose_isa() -> str:
    """Load the best kernels, or those that the environment variable CNN_EXT_CPU names.

    Raises ImportError if CNN_EXT_CPU names an instruction set that is unknown or not supported
    here, or the kernels are not built.
    """
    supported = supported_isas() or [ISAS[-1].name]  # which every CPU has
    name = os.environ.get("CNN_EXT_CPU") or supported[0]
    beside = {
        isa.name: isa.beside
        for isa in (*_usable("i8"), *_usable("bf16"))
        if isa.beside and (isa.name != name or _granted(isa))
    }
    if name not in (*supported, *beside):
        known = "unknown" if name not in [isa.name for isa in ISAS] else "not supported here"
        raise ImportError(
            f"CNN_EXT_CPU={name!r} is {known}; this machine can use: "
            f"{', '.join([*supported, *beside])}"
        )
    name = beside.get(name, name)
    _core.use_tables(_table(name, "f32"), _table(name, "f64"))
    return name


@functools.cache
def bytes_isa() -> str:
    """Load the kernels for networks of bytes, when the first is compiled; their instruction set.

    The best that goes with those for other numbers, or the one that CNN_EXT_CPU names.  Tiles are
    taken if the operating system grants them and they give the right sums; if these are wrong there
    is a RuntimeWarning, and the next best are taken.

    Raises ImportError if they are not built.
    """
    names = [isa.name for isa in ISAS]
    usable = [
        isa
        for isa in _usable("i8")
        if isa.beside == ISA or names.index(isa.name) >= names.index(ISA)
    ]
    usable.sort(key=lambda isa: isa.name != os.environ.get("CNN_EXT_CPU"))
    for isa in filter(_granted, (*usable, ISAS[-1])):
        _core.use_bytes(_table(isa.name, "i8"))
        if TILES not in isa.needs or _sums_are_right():
            break
        warnings.warn(f"{isa.name}: wrong sums of bytes on this CPU", RuntimeWarning, stacklevel=3)
    return isa.name


def _sums_are_right() -> bool:
    # of the kernels of bytes in use, for two tiles of pixels and two of channels
    pixels, taps, blocks, ints = 32, 40, 2, _core.ints()
    K, width = blocks * ints, 4 * taps
    x = (np.arange(pixels * width) * 37 % 251).astype(np.uint8).reshape(pixels, width)
    w = (np.arange(K * width) * 29 % 255).astype(np.uint8).view(np.int8)
    columns = w.reshape(blocks, taps, ints, 4).transpose(1, 3, 0, 2).reshape(width, K)
    terms = np.zeros((3, K), np.float32)
    terms[0].view(np.int32)[...] = _core.dot_offset() * columns.sum(axis=0)
    terms[1] = 1
    y = np.empty((pixels, K), np.float32)
    tables = [np.arange(0, n * step, step) for n, step in ((pixels, width), (pixels, K), (taps, 4))]
    _core.byte_conv(x, w.view(np.uint8), terms, y, tables, K)
    return np.array_equal(y, x.astype(int) @ columns)


@functools.cache
def halves_isa() -> str | None:
    """Load the kernels for products of bfloat16, when the first graph in it is made.

    Those of the instruction set that CNN_EXT_CPU names, or the best that go with the kernels for
    float32 and are faster than they are, on the terms of `bytes_isa`; its name, or None if there
    are none.
    """
    named = os.environ.get("CNN_EXT_CPU")
    usable = [
        isa
        for isa in _usable("bf16")
        if isa.beside == ISA and (isa.name == named or _cpu.brand().startswith(isa.faster_on))
    ]
    usable.sort(key=lambda isa: isa.name != named)
    for isa in filter(_granted, usable):
        _core.use_halves(_table(isa.name, "bf16"))
        if TILES not in isa.needs or _products_are_right():
            return isa.name
        _core.use_halves(None)
        text = f"{isa.name}: wrong products of bfloat16 on this CPU"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    return None


def _products_are_right() -> bool:
    # of the kernels of bfloat16 in use, for whole numbers, of which sums are exact
    N, C, K, pixels, lanes = 2, 70, 40, 3, _core.lanes(4)

    def whole(*shape: int) -> np.ndarray:
        return (np.arange(math.prod(shape)) * 37 % 61 - 30).astype(np.float32).reshape(shape)

    x, dy, w = whole(N, C, pixels, lanes), whole(N, K, pixels, lanes), whole(K, C)
    y, dw = np.empty((N, K, lanes), np.float32), np.empty_like(w)
    first = np.ascontiguousarray(x[:, :, 0])
    _core.linear(first, w, None, y, 4, N, C, K, None, True)
    sizes = N, 1, C, K, 1, pixels, 1, 1, 1, pixels, 1, 1, 0, 0, 1, 1
    _core.conv2d_weight(dy, x, dw, 4, sizes, None, True)
    rows, columns = (a.transpose(1, 0, 2, 3).reshape(a.shape[1], -1) for a in (dy, x))
    return np.array_equal(y, w @ first) and np.array_equal(dw, rows @ columns.T)


MAX_THREADS = 1024


def cpus() -> int:
    """How many CPUs this process may really use: affinity, then control group."""
    affinity = getattr(os, "sched_getaffinity", None)
    number = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.floor(min(cpu_quota(), number, MAX_THREADS)))


def default_num_threads() -> int:
    """What OMP_NUM_THREADS says, as it does for most libraries, or as many as there are CPUs."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    given = wanted.isdecimal() and int(wanted) > 0
    return min(int(wanted), MAX_THREADS) if given else cpus()


def _checked(num_threads: int) -> int:
    try:
        number = operator.index(num_threads)
    except TypeError:
        number = None
    if number is None or isinstance(num_threads, bool):
        raise TypeError(f"num_threads: expected a whole number, got {num_threads!r}")
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(f"num_threads: expected 1 to {MAX_THREADS}, got {number}")
    return number


def set_num_threads(num_threads: int) -> None:
    """Set how many threads the kernels may use (1 to 1024) in this process.

    Within a block of `threads` its number counts.

    Raises
    ------
    TypeError, ValueError
        If `num_threads` is not a whole number from 1 to 1024.
    """
    _core.set_num_threads(_checked(num_threads))


def get_num_threads() -> int:
    """How many threads the calling thread would use."""
    return _core.get_num_threads()


def set_winograd(on: bool) -> None:
    """Allow Winograd's algorithm for 3 x 3 and 5 x 5 kernels, stride 1, float32, or forbid it.

    It is allowed from the start unless the environment variable CNN_EXT_WINOGRAD is 0.  It needs a
    quarter of the multiplications (5 x 5: a sixth) and rounds relative to the largest number of a
    tile, see docs/performance.md.
    """
    _core.set_winograd(bool(on))


def get_winograd() -> bool:
    """Whether Winograd's algorithm is allowed."""
    return _core.get_winograd()


def threads(num_threads: int | None) -> AbstractContextManager[None]:
    """Let the calling thread use `num_threads` inside a `with` block; None changes nothing.

    Other threads are not concerned.  Where blocks overlap, the one entered last counts.

    Raises
    ------
    TypeError, ValueError
        If `num_threads` is neither None nor a whole number from 1 to 1024.
    """
    number = None if num_threads is None else _checked(num_threads)
    block: AbstractContextManager[None] = _core.Threads(number)
    return block


def memory_use() -> dict[str, int]:
    """Memory of the package's arrays and scratch, without that of NumPy and of parameters.

    Returns
    -------
    dict
        Bytes "in_use" now, at the "peak" and "kept" for the next arrays of these sizes (at most
        twice the peak), and "allocations", how often the system was asked for memory: a training
        step asks for none after the first of its shape.
    """
    names = ("in_use", "peak", "kept", "allocations")
    return dict(zip(names, _core.memory_use(), strict=True))


def release_memory() -> None:
    """Give kept memory back to the system, and begin to count the peak anew."""
    _core.release_memory()


def config() -> dict[str, object]:
    """Version, CPU, instruction sets and threads as a dictionary."""
    return {
        "version": VERSION,
        "cpu": _cpu.brand() or platform.processor() or platform.machine(),
        "instruction_set": ISA,
        "supported": supported_isas(),
        "lanes": {"float32": _core.lanes(4), "float64": _core.lanes(8)},
        "threads": get_num_threads(),
        "winograd": get_winograd(),
    }


def show_config() -> None:
    """Print version, CPU, the instruction set in use and the number of threads."""
    c = config()
    print(f"cnn_ext {c['version']}")
    print(f"CPU: {c['cpu']}")
    print(f"instruction set: {c['instruction_set']} (available: {', '.join(supported_isas())})")
    print(f"lanes: {_core.lanes(4)} float32, {_core.lanes(8)} float64")
    print(f"threads: {c['threads']}")


ISA = choose_isa()
_core.set_cpus(cpus())
_core.set_num_threads(default_num_threads())
_core.set_winograd(os.environ.get("CNN_EXT_WINOGRAD") != "0")
