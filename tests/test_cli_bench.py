"""The command `cnn-ext bench`, run as a process, and models without a shape."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import run

from cnn_ext import Task, architectures, load, save
from cnn_ext.cli._files import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that says what it takes, and one that does not."""
    net = architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0)).eval()
    save(net, tmp_path / "bare.safetensors")
    net.input_shape = (1, 8, 8)
    save(net, tmp_path / "model.safetensors")
    return tmp_path


QUICK = ("bench", "model.safetensors", "--seconds", 0.02)


def test_as_json(folder: Path) -> None:
    done = run(*QUICK, "--threads", 2, 1, "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    plan = load(folder / "model.safetensors").compile()
    assert result.pop("compile_seconds") > 0
    rows = result.pop("results")
    assert result == {
        "input_shape": [1, 8, 8],
        "precision": "float32",
        "weights_bytes": plan.weights_bytes,
        "arena_bytes": plan.arena_bytes,
        "batch": 256,
    }
    assert [row["threads"] for row in rows] == [2, 1]
    for row in rows:
        assert row["latency"].keys() == {"p50", "p90", "p99"}
        assert 0 < row["latency"]["p50"] <= row["latency"]["p90"] <= row["latency"]["p99"]
        assert row["images_per_second"] > 0


def test_as_text(folder: Path) -> None:
    done = run(*QUICK, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["image", "1", "x", "8", "x", "8"]
    heads = ["precision", "compiled", "weights", "scratch"]
    assert [line.split()[0] for line in lines[1:5]] == heads
    (row,) = lines[6:]  # the environment of these processes allows one thread
    numbers = re.fullmatch(r" +1 +([\d.,]+) +([\d.,]+) +([\d.,]+) +([\d,]+)", row)
    assert numbers and len({len(line) for line in lines[5:]}) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("bench", 2, "the following arguments are required: MODEL"),
        ("bench none", 1, "none: No such file"),
        ("bench bare.safetensors", 1, "bare.safetensors: no input_shape in the metadata"),
        ("bench model.safetensors --seconds 0", 2, "argument --seconds: expected a number above 0"),
        ("bench model.safetensors --seconds nan", 2, "argument --seconds: expected a number above"),
        ("bench model.safetensors --threads 1 0", 2, "argument --threads: expected a whole number"),
        ("bench model.safetensors --threads", 2, "argument --threads: expected at least one"),
    ],
)
def test_errors(arguments: str, status: int, message: str, folder: Path) -> None:
    done = run(*arguments.split(), cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"cnn-ext bench: {message}") and done.stderr.count("\n") == 1


def test_a_model_without_shape_and_classes_can_be_read_again(folder: Path) -> None:
    net, task = load_model(str(folder / "bare.safetensors"))
    assert (net.input_shape, task) == (None, Task())
    asked = run("evaluate", "bare.safetensors", cwd=folder)
    assert asked.returncode == 2 and "does not say its loss, so --loss must be" in asked.stderr
    evaluated = run("evaluate", "bare.safetensors", "--json", "--loss", "cross_entropy", cwd=folder)
    assert evaluated.returncode == 0 and json.loads(evaluated.stdout)["images"] == 359
    shape_alone = str(folder / "shape.safetensors")
    save(net, shape_alone, {"input_shape": "[1, 8, 8]"})
    net, task = load_model(shape_alone)
    assert (net.input_shape, task) == ((1, 8, 8), Task())
