"""A checkout that is not built, or not wholly, or for another Python, says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import cnn_ext

PACKAGE = Path(cnn_ext.__file__).parent


def compiled(folder: Path, pattern: str = "*") -> list[Path]:
    """The compiled modules of a package."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    return [path for path in folder.glob(pattern) if path.name.endswith(suffixes)]


def remove(pattern: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in compiled(folder, pattern):
            path.unlink()

    return change


def for_another_python(folder: Path) -> None:
    for path in compiled(folder):
        path.rename(folder / f"{path.name.partition('.')[0]}.cpython-39-x86_64-linux-gnu.so")


def damage(pattern: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in compiled(folder, pattern):
            path.unlink()  # the copy is a link
            path.write_text("no module")

    return change


CHANGES = {
    "nothing is built": (remove("*"), "_cpu"),
    "for another Python": (for_another_python, "_cpu"),
    "no core": (remove("_core*"), "_core"),
    "no kernels": (remove("_kernels*"), "_kernels_base_f32"),
    "one number type": (remove("_kernels*_f64*"), r"_kernels_\w+_f64"),
    "the other number type": (remove("_kernels*_f32*"), r"_kernels_\w+_f32"),
    "a damaged core": (damage("_core*"), "_core"),
    "damaged kernels": (damage("_kernels*"), r"_kernels_\w+_f32"),
}


ALONE = """
import sys
# an editable install would find in its own folder what is missing here
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder)]
import cnn_ext
print(cnn_ext._dispatch.ISA)
"""


def imported(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "CNN_EXT_CPU": ""},
        capture_output=True,
        text=True,
    )


def copy_of_the_package(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "cnn_ext", copy_function=os.symlink, ignore=ignored)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("checkout", [True, False])
def test_an_import_error_says_what_to_do(kind: str, checkout: bool, tmp_path: Path) -> None:
    change, module = CHANGES[kind]
    copy_of_the_package(tmp_path)
    if checkout:
        (tmp_path / "setup.py").write_text("")
    change(tmp_path / "cnn_ext")
    last = imported(tmp_path).stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and re.search(rf"{module}\b", last), last
    assert "the compiled module is missing, broken or made for another Python" in last
    cure = f"`pip install -e .` in {tmp_path}," if checkout else "pip install --force-reinstall"
    assert cure in last


def test_some_sets_of_instructions_are_enough(tmp_path: Path) -> None:
    copy_of_the_package(tmp_path)
    remove("_kernels_avx*")(tmp_path / "cnn_ext")
    done = imported(tmp_path)
    assert done.stdout == "base\n", done.stderr
