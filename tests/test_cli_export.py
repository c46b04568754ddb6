"""The command `cnn-ext export`, run as a process: C and ONNX files, and its errors."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import run

from cnn_ext import Sequential, architectures
from cnn_ext.io import save


@pytest.fixture(scope="module")
def net() -> Sequential:
    return architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0)).eval()


@pytest.fixture
def folder(net: Sequential, tmp_path: Path) -> Path:
    """A model that says what it takes, and one that does not."""
    save(net, tmp_path / "model.safetensors", {"input_shape": "[1, 8, 8]"})
    save(net, tmp_path / "bare.safetensors")
    return tmp_path


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("model", [("model",), ("bare", "--input-shape", "1x8x8")])
def test_c(model: tuple[str, ...], folder: Path, net: Sequential) -> None:
    name, *options = model
    done = run("export", f"{name}.safetensors", "--c", "my-net.c", "--name", "digits", *options,
               cwd=folder)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    sizes = [(folder / file).stat().st_size for file in ("my-net.c", "my-net.h")]
    assert done.stdout == f"my-net.c: {sizes[0]:,} bytes\nmy-net.h: {sizes[1]:,} bytes\n"
    command = ["cc", "-O1", "-shared", "-fPIC", "my-net.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "net.so"))
    image = np.random.default_rng(1).random((1, 1, 8, 8), np.float32)
    output = np.zeros(10, np.float32)
    library.digits_predict(*(array.ctypes.data_as(ctypes.c_void_p) for array in (image, output)))
    np.testing.assert_allclose(output, net(image)[0], atol=1e-5)


def test_onnx(folder: Path, net: Sequential) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    done = run("export", "model.safetensors", "--onnx", "net.onnx", "--c", "net.c", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "net.c", "net.h", "net.onnx"
    ]  # fmt: skip
    onnx.checker.check_model(str(folder / "net.onnx"), full_check=True)
    image = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    (output,) = runtime.InferenceSession(folder / "net.onnx").run(None, {"input": image})
    np.testing.assert_allclose(output, net(image), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("model.safetensors",), 2, "nothing to write: expected --c FILE, --onnx FILE or both"),
        (("model.safetensors", "--c", "net.h"), 2, "argument --c: path: expected the name of"),
        (("model.safetensors", "--c", "1.c"), 2, "argument --c: name: expected a letter, then"),
        (("model.safetensors", "--c", "no/net.c"), 2, "argument --c: "),
        (("model.safetensors", "--onnx", "."), 2, "argument --onnx: . is not a regular file"),
        (("model.safetensors", "--onnx", "a", "--name", "a"), 2, "argument --name: is for --c"),
        (("bare.safetensors", "--c", "a.c"), 2, "bare.safetensors has no input_shape, so --inpu"),
        (("bare.safetensors", "--c", "a.c", "--input-shape", "8x8"), 2, "argument --input-shape"),
        (("bare.safetensors", "--c", "a.c", "--input-shape", "0x8x8"), 2, "argument --input-shape"),
        (("model.safetensors", "--c", "a.c", "--input-shape", "3x8x8"), 1, "model.safetensors: "),
        (("model.safetensors", "--c", "a.c", "--input-shape", "64"), 1, "model.safetensors: "),
        (("missing.safetensors", "--c", "a.c"), 1, "missing.safetensors: No such file"),
    ],
)
def test_errors(arguments: tuple[str, ...], status: int, message: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = run("export", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"cnn-ext export: {message}") and done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_help_names_the_command(folder: Path) -> None:
    done = run("--help", cwd=folder)
    assert "export" in done.stdout and "write a model as C source or as an ONNX file" in done.stdout
