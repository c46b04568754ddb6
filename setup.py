"""Builds the compiled modules: `_cpu`, `_core`, and the kernels for each set and number type."""

from __future__ import annotations

import gzip
import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
TABLE = runpy.run_path(str(ROOT / "cnn_ext" / "_isa.py"))
ISAS, TILES = TABLE["ISAS"], TABLE["TILES"]
STUBS = Path("build") / "stubs"

# CNN_EXT_CHECKS=1 builds with bounds checks in the Cython code, and with what a debugger reads
# (slow; for hunting a fault).
CHECKS = os.environ.get("CNN_EXT_CHECKS") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKS,
    "wraparound": False,
    "initializedcheck": CHECKS,
    "cdivision": True,
    "binding": False,  # functions of C, which load faster than Cython's own
    "embedsignature": True,
    "embedsignature.format": "clinic",  # read by inspect.signature
    "freethreading_compatible": True,
}
# CNN_EXT_ABI3=1 makes one build for every Python from here on, through the stable interface (which
# a Python without the lock does not have).  A single prediction is some per cent slower then.
STABLE = (3, 11)
LIMITED = os.environ.get("CNN_EXT_ABI3") == "1" and not sysconfig.get_config_var("Py_GIL_DISABLED")
MACROS = [("Py_LIMITED_API", f"0x{STABLE[0]:02x}{STABLE[1]:02x}0000")] if LIMITED else []
COMPILER = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
WINDOWS = sysconfig.get_platform().startswith("win")
CLANG_CL = WINDOWS and Path(COMPILER[0]).stem == "clang-cl"
MSVC = WINDOWS and not CLANG_CL  # has no vector types: the kernels get one lane
# The register tiles are loops with constant bounds; they must be inlined to become registers.
INLINE = "__forceinline" if WINDOWS else "inline __attribute__((always_inline))"
FLAGS = ["-ffp-contract=fast", "-fno-math-errno"]
# The loops of the kernels are for speed.  What calls them is as fast with less.
BEST, CALLING = "-O3", ["-O2"]
GCC = False
if WINDOWS:
    EXACT = ["/clang:-ffp-contract=off"] if CLANG_CL else []
    COMPILE = ["/O2", *(f"/clang:{flag}" for flag in FLAGS if CLANG_CL)]
    BEST, CALLING = f"/clang:{BEST}" if CLANG_CL else "/O2", []
    LINK = []
else:
    EXACT = ["-ffp-contract=off"]  # so that all instruction sets round sums of bytes alike
    # nothing unwinds through C, and the tables for it would be a twentieth of a module
    COMPILE = [*FLAGS, "-g" if CHECKS else "-g0", "-fvisibility=hidden"]
    COMPILE += [] if CHECKS else ["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
    LINK = ["-Wl,-x"] if sys.platform == "darwin" else ["-Wl,--strip-all"]
    LINK = [] if CHECKS else LINK
    version = subprocess.run([*COMPILER, "--version"], capture_output=True, text=True).stdout
    GCC = "clang" not in version
    if GCC:
        # else a quarter of the bytes is functions that are longer than a call of them (-Os would
        # halve the bytes, but a single prediction would take 2 % longer)
        CALLING += ["--param=max-inline-insns-single=8", "--param=max-inline-insns-auto=4"]
        CALLING += ["--param=early-inlining-insns=2", "-fno-align-functions"]
        CALLING += ["-fno-align-jumps", "-fno-align-loops"]


def tile_flags(wide: bool) -> list[str]:
    """What else the compiler needs to keep the accumulators of a tile in registers, without copies.

    GCC's copies of loops for each way a choice in them goes are a sixth of the bytes.  With 32
    registers (`wide`) the tiles of float32 are some per cent slower without most of them, with 16
    the convolutions are up to 15 % faster without all.
    """
    if MSVC:
        return []
    if not GCC:  # Clang's least unrolling leaves some tiles as arrays in memory
        return ["-mllvm", "-unroll-threshold=2000"]
    copies = ["version-loops-for-strides"] + ["split-loops", "unswitch-loops"] * (not wide)
    # on AArch64 GCC would move all loads to the front and spill
    return ["-fno-schedule-insns", *(f"-fno-{copy}" for copy in copies)]


# What the stub of a number type defines and includes.
MACROS_OF = {
    "f32": ([], "table.pxi"),
    "f64": ([("CNN_EXT_DOUBLE", "1")], "table.pxi"),
    "i8": ([], "bytes.pxi"),
    "bf16": ([("CNN_EXT_HALVES", "1")], "halves.pxi"),
}
WITH_TILES = {"i8": "byte_tiles.pxi", "bf16": "half_tiles.pxi"}


def kernel_extensions():
    """One stub for each instruction set and number type: all include the same loops."""
    STUBS.mkdir(parents=True, exist_ok=True)
    machine = platform.machine().lower()
    for isa in ISAS:
        if isa.machines and (machine not in isa.machines or MSVC):
            continue
        for name in isa.kinds:
            macros, table = MACROS_OF[name]
            if TILES in isa.needs:
                table = WITH_TILES[name]
            exact = EXACT if name == "i8" else []
            # what takes time is in instructions for whole tiles, which no unrolling helps
            level = ["-O2"] if TILES in isa.needs and not WINDOWS else [BEST]
            wide = name == "bf16" or (
                name == "f32" and (isa.name == "avx512" or machine in ("aarch64", "arm64"))
            )
            stub = STUBS / f"_kernels_{isa.name}_{name}.pyx"
            text = (
                f'"""The kernels for one instruction set and number type."""\ninclude "{table}"\n'
            )
            if not stub.exists() or stub.read_text() != text:
                stub.write_text(text)
            yield Extension(
                f"cnn_ext.{stub.stem}",
                [str(stub)],
                include_dirs=["src/kernels"],
                define_macros=[("CYTHON_INLINE", INLINE), *macros, *MACROS],
                extra_compile_args=[*COMPILE, *level, *tile_flags(wide), *isa.flags, *exact],
                extra_link_args=LINK,
                py_limited_api=LIMITED,
                depends=[str(path) for path in sorted(Path("src/kernels").iterdir())],
            )


class BuildExt(build_ext):
    """Compiles the modules side by side unless told otherwise."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        if CLANG_CL:  # it takes the options of cl.exe, the only compiler that setuptools looks for
            self.compiler.initialize()
            self.compiler.cc = shutil.which(COMPILER[0])
        super().build_extensions()


class Sdist(sdist):
    """With SOURCE_DATE_EPOCH set, the archive depends on nothing but the files in it."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **owner):
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, **owner)

        def plain(info):
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            info.mtime = int(epoch)
            return info

        path = f"{base_name}.tar.gz"
        with (
            gzip.GzipFile(path, "wb", mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            archive.add(base_dir, filter=plain)
        return path


extensions = [
    Extension(
        "cnn_ext._cpu",
        ["src/_cpu.pyx"],
        define_macros=MACROS,
        extra_compile_args=[*COMPILE, *CALLING, *(["-mxsave"] if CLANG_CL else [])],  # for _xgetbv
        extra_link_args=LINK,
        py_limited_api=LIMITED,
    ),
    Extension(
        "cnn_ext._core",
        ["src/_core.pyx"],
        include_dirs=["src"],
        define_macros=MACROS,
        extra_compile_args=[*COMPILE, *CALLING],
        extra_link_args=LINK,
        py_limited_api=LIMITED,
        depends=[
            "src/kernels/args.pxi",
            "src/kernels/bytes_args.pxi",
            "src/kernels/halves_args.pxi",
            "src/kernels/functions.h",
            "src/kernels/hash.h",
            *map(str, sorted(Path("src/core").iterdir())),
        ],
    ),
    *kernel_extensions(),
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir="build",
        include_path=["src", "src/kernels"],
        compiler_directives=DIRECTIVES,
    ),
    cmdclass={"build_ext": BuildExt, "sdist": Sdist},
    options={"bdist_wheel": {"py_limited_api": "cp{}{}".format(*STABLE)}} if LIMITED else {},
)
