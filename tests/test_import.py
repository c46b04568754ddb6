"""Importing the package loads NumPy and the kernels, not what only some programs need."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cnn_ext

LATER = {
    "matplotlib",
    "cnn_ext._html",
    "cnn_ext.cli",
    "cnn_ext.architectures",
    "cnn_ext.data.datasets",
    "cnn_ext.data.download",
    "cnn_ext.io",
    "cnn_ext.optim",
    "cnn_ext.training",
    "numpy.random",
    "pathlib",
    "PIL",
    "pooch",
    "scipy",
    "tqdm",
}


def test_import_is_light():
    found, eager = (
        subprocess.run(
            [sys.executable, "-c", f"import sys, {name}; print(*{LATER} & sys.modules.keys())"],
            capture_output=True,
            text=True,
            check=True,
        )
        for name in ("cnn_ext", "numpy")
    )
    # older releases of NumPy load their random numbers themselves
    assert set(found.stdout.split()) <= set(eager.stdout.split())


def test_a_prediction_from_a_file_is_light(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    cnn_ext.save(cnn_ext.architectures.build("lenet5", (1, 28, 28), 10), file)
    predict = "cnn_ext.load(sys.argv[1]).compile((1, 28, 28))(numpy.zeros((1, 1, 28, 28), 'f4'))"
    found, eager = (
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys, numpy, cnn_ext; {code}; print(*sys.modules)",
                file,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        for code in (predict, "0")
    )
    more = set(found.stdout.split()) - set(eager.stdout.split())
    assert "json" in more
    assert not more & {"numpy.ma", "numpy.random", "inspect", "cnn_ext.training", "cnn_ext.optim"}


def test_data_sets_load_at_first_use():
    code = "import cnn_ext; print(len(cnn_ext.datasets.digits().y_test), dir(cnn_ext))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("359 [") and "'datasets'" in done.stdout
    assert all(hasattr(cnn_ext, name) for name in cnn_ext.__all__)
    assert not hasattr(cnn_ext, "nonsense")


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="Python has its lock")
def test_python_without_its_lock_stays_without():
    code = "import sys, cnn_ext; cnn_ext.ops; sys.exit(sys._is_gil_enabled())"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


ROOMS = ("graph", "operators", "run", "layers")


def test_imports_run_down() -> None:
    package = Path(cnn_ext.__file__).parent
    for number, room in enumerate(ROOMS):
        above = ROOMS[number + 1 :]
        for file in (package / room).glob("*.py"):
            found = re.findall(r"^ *from \.\.(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert not {*found} & {*above}, file
