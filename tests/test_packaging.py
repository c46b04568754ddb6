"""The source archive holds what a build needs, and the wheel made of it works without the rest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import cnn_ext

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MADE = shutil.ignore_patterns(".*", "build", "dist", "*.so", "*.pyd", "*.egg-info", "__pycache__")
HEAVIEST = 1.63e6  # bytes of a wheel with all instruction sets
INSTALLED = ["test_ops_conv.py", "test_layers.py", "test_optim.py"]  # need NumPy and pytest alone
PREDICT = """
import numpy as np, sys
import cnn_ext
digits = cnn_ext.datasets.digits()
net = cnn_ext.load("model.safetensors")
right = (net(digits.x_test).argmax(axis=1) == digits.y_test).mean()
assert right > 0.95, right
print(cnn_ext.__version__, cnn_ext.__file__)
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    """What a command prints; with what it says instead if it fails."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Path, Path]]:
    """Makes a source archive, and a wheel from nothing but that, in new folders each time."""

    def made() -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("made")
        shutil.copytree(ROOT, folder / "copy", ignore=MADE)
        epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
        script = "from setuptools.build_meta import build_sdist; build_sdist('..')"
        run(sys.executable, "-c", script, cwd=folder / "copy", **epoch)
        (source,) = folder.glob("*.tar.gz")
        pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        run(*pip, source, cwd=folder, **epoch)
        (wheel,) = folder.glob("*.whl")
        return source, wheel

    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    return made


@pytest.fixture(scope="module")
def made(build: Callable[[], tuple[Path, Path]]) -> tuple[Path, Path]:
    return build()


def test_the_source_archive_holds_every_source(made: tuple[Path, Path]) -> None:
    source, _ = made
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.py"}
    for folder in ("src", "cnn_ext", "tests"):
        for path in (ROOT / folder).rglob("*"):
            made_here = path.suffix in {".so", ".pyd", ".pyc"}
            if path.is_file() and not made_here and not path.name.startswith("."):
                wanted.add(path.relative_to(ROOT).as_posix())
    assert "cnn_ext/data/digits.npz" in wanted and "src/kernels/vec.h" in wanted
    assert wanted - inside == set()
    made_of_sources = re.compile(r"(?!tests/(pool|dot|tiles)_check\.c).*\.(so|pyd|c|o|pyc)$")
    assert not [name for name in inside if made_of_sources.match(name)]


def test_the_wheel_holds_the_package_alone(made: tuple[Path, Path]) -> None:
    _, wheel = made
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cnn_ext").rglob("*")
        if path.suffix in {".py", ".pyi", ".typed", ".npz", ".toml", ".js", ".css"}
    }
    assert wanted - inside == set()
    information = f"cnn_ext-{cnn_ext.__version__}.dist-info/"
    assert f"{information}licenses/LICENSE" in inside
    rest = {name for name in inside - wanted if not name.startswith(information)}
    assert {name.split(".")[0] for name in rest if name.endswith((".so", ".pyd"))} >= {
        f"cnn_ext/{name}" for name in ("_core", "_cpu", "_kernels_base_f32", "_kernels_base_f64")
    }
    assert all(name.endswith((".so", ".pyd", ".md")) for name in rest), rest
    assert wheel.stat().st_size < HEAVIEST


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm to read the modules with")
@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_compiled_modules_show_one_name_and_no_path(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(made[1]) as archive:
        archive.extractall(tmp_path)
    for path in (tmp_path / "cnn_ext").glob("*.so"):
        names = run("nm", "-D", "--defined-only", path, cwd=tmp_path).split()[2::3]
        assert names == [f"PyInit_{path.name.split('.')[0]}"]
        assert str(made[0].parent).encode() not in path.read_bytes()


def test_two_builds_are_the_same(
    made: tuple[Path, Path], build: Callable[[], tuple[Path, Path]]
) -> None:
    for first, second in zip(made, build(), strict=True):
        assert first.name == second.name and first.read_bytes() == second.read_bytes()


def test_the_wheel_works_elsewhere(made: tuple[Path, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "there", cwd=tmp_path)
    programs = tmp_path / "there" / ("Scripts" if os.name == "nt" else "bin")
    alone = {"PATH": str(programs), "OMP_NUM_THREADS": "1"}  # no compiler
    python = programs / "python"
    run(python, "-m", "pip", "install", "-q", made[1], cwd=tmp_path, **alone)
    names = {line.split("==")[0] for line in run(
        python, "-m", "pip", "list", "--format=freeze", cwd=tmp_path, **alone
    ).splitlines()}  # fmt: skip
    assert names - {"pip", "setuptools"} == {"cnn_ext", "numpy"}
    # `train` uses no module of the repository: the folder holds none
    run(programs / "cnn-ext", "train", "--out", "model.safetensors", cwd=tmp_path, **alone)
    version, place = run(python, "-c", PREDICT, cwd=tmp_path, **alone).split()
    assert version == cnn_ext.__version__ and Path(place).is_relative_to(tmp_path)
    run(python, "-m", "pip", "install", "-q", "pytest", cwd=tmp_path, **alone)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=MADE)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    tests = [f"tests/{name}" for name in INSTALLED]
    assert " passed" in run(python, "-m", "pytest", *tests, cwd=tmp_path, **alone)
