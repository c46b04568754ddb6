"""Builds the compiled modules: `_cpu`, `_core`, and the kernels for each set and number type."""

from __future__ import annotations

import os
import platform
import runpy
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
ISAS = runpy.run_path(str(ROOT / "cnn_ext" / "_isa.py"))["ISAS"]
STUBS = Path("build") / "stubs"

# CNN_EXT_CHECKS=1 builds with bounds checks in the Cython code (slow; for hunting a fault).
CHECKS = os.environ.get("CNN_EXT_CHECKS") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKS,
    "wraparound": False,
    "initializedcheck": CHECKS,
    "cdivision": True,
    "embedsignature": True,
}
# The register tiles are loops with constant bounds; they must be inlined to become registers.
MSVC = sysconfig.get_platform().startswith("win")
INLINE = "__forceinline" if MSVC else "inline __attribute__((always_inline))"
COMPILE = ["/O2"] if MSVC else ["-O3", "-ffp-contract=fast", "-fno-math-errno", "-g0"]
COMPILER = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()


def tile_flags() -> list[str]:
    """What else the compiler needs to keep the accumulators of a tile in registers."""
    if MSVC:
        return []
    version = subprocess.run([*COMPILER, "--version"], capture_output=True, text=True).stdout
    if "clang" in version:  # its least unrolling leaves some tiles as arrays in memory
        return ["-mllvm", "-unroll-threshold=2000"]
    return ["-fno-schedule-insns"]  # on AArch64 GCC would move all loads to the front and spill


def kernel_extensions():
    """One stub for each instruction set and number type: all include the same loops."""
    STUBS.mkdir(parents=True, exist_ok=True)
    machine = platform.machine().lower()
    compile_args = [*COMPILE, *tile_flags()]
    for isa in ISAS:
        if isa.machines and (machine not in isa.machines or MSVC):
            continue
        for name, macros in (("f32", []), ("f64", [("CNN_EXT_DOUBLE", "1")])):
            stub = STUBS / f"_kernels_{isa.name}_{name}.pyx"
            text = (
                '"""The kernels for one instruction set and number type."""\ninclude "table.pxi"\n'
            )
            if not stub.exists() or stub.read_text() != text:
                stub.write_text(text)
            yield Extension(
                f"cnn_ext.{stub.stem}",
                [str(stub)],
                include_dirs=["src/kernels"],
                define_macros=[("CYTHON_INLINE", INLINE), *macros],
                extra_compile_args=[*compile_args, *isa.flags],
                depends=[str(path) for path in sorted(Path("src/kernels").iterdir())],
            )


def openmp_flags() -> list[str]:
    """The compiler's OpenMP flag, or nothing if a small program does not build with it."""
    if MSVC:
        return ["/openmp"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(
            "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        )
        command = [*COMPILER, "-fopenmp", str(source), "-o", str(source.with_suffix(""))]
        try:
            if subprocess.run(command, capture_output=True).returncode == 0:
                return ["-fopenmp"]
        except OSError:
            pass
    print("cnn_ext: no OpenMP; the kernels will run on one thread", file=sys.stderr)
    return []


class BuildExt(build_ext):
    """Compiles the modules side by side unless told otherwise."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()


openmp = openmp_flags()
extensions = [
    Extension("cnn_ext._cpu", ["src/_cpu.pyx"], extra_compile_args=COMPILE),
    Extension(
        "cnn_ext._core",
        ["src/_core.pyx"],
        extra_compile_args=[*COMPILE, *openmp],
        extra_link_args=[] if MSVC else openmp,
        depends=["src/kernels/args.pxi", *map(str, sorted(Path("src/core").iterdir()))],
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
    cmdclass={"build_ext": BuildExt},
)
