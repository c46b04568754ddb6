"""The command that draws figures: what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ENVIRONMENT, run
from networks import small, stripes
from PIL import Image

import cnn_ext
from cnn_ext import Linear, Sequential, Trainer

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the digits, its history, and a model that does not classify."""
    root = tmp_path_factory.mktemp("plot")
    done = run("train", "--epochs", 1, "--quiet", "--history", "history.json", cwd=root)
    assert done.returncode == 0, done.stderr
    net = cnn_ext.load(root / "model.safetensors")
    net.task = cnn_ext.Task("numbers", loss="mse")
    cnn_ext.save(net, root / "mse")
    layers = [cnn_ext.Flatten(), Linear(64, 10)]
    cnn_ext.save(Sequential(*layers), root / "flat", {"loss": "quadratic"})
    (root / "nan.json").write_text('{"epochs": [{"number": 1, "cost": NaN}]}')
    return root


def test_plot_writes_every_figure(folder: Path) -> None:
    arguments = ("plot", "model.safetensors", "--history", "history.json", "--limit", 12)
    done = run(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    names = ["kernels", "weights", "feature_maps", "saliency", "grad_cam", "exciting", "guesses",
             "mistakes", "confusion", "reliability", "history"]  # fmt: skip
    files = [Path("plots", f"{name}.png") for name in names]
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(file) for file in files]
    assert sorted((folder / "plots").iterdir()) == sorted(folder / file for file in files)
    for file in files:
        with Image.open(folder / file) as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
            assert len(picture.convert("L").getcolors()) > 10
    evaluated = json.loads(run("evaluate", "model.safetensors", "--json", cwd=folder).stdout)
    wrong = round(359 * evaluated["error"])
    assert lines[6].startswith(f"{files[6]}: 12 of 359 images")
    assert lines[7].startswith(f"{files[7]}: {wrong} of 359 images are guessed wrong")
    assert lines[8].startswith(f"{files[8]}: {359 - wrong} of 359 guesses are right")
    assert lines[10] == f"{files[10]}: Training, 1 epoch"


def test_plot_writes_the_kinds_that_are_asked_for(folder: Path, tmp_path: Path) -> None:
    asked = ("--kinds", "weights, history,kernels", "--out", tmp_path)
    done = run("plot", "model.safetensors", *asked, cwd=folder)
    assert done.returncode == 0
    assert done.stderr == "cnn-ext plot: no history.png, as --history FILE is not given\n"
    assert {file.name for file in tmp_path.iterdir()} == {"weights.png", "kernels.png"}


def test_plot_without_a_convolution_into_an_old_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "guesses.png").write_text("old")
    done = run("plot", "flat", "--out", tmp_path, cwd=folder)
    assert done.returncode == 0
    assert "no kernels.png, as flat has no convolution" in done.stderr
    assert "no grad_cam.png, as flat has no layer with maps" in done.stderr
    assert "history" not in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {
        "feature_maps.png", "weights.png", "saliency.png", "guesses.png", "mistakes.png",
        "confusion.png", "reliability.png",
    }  # fmt: skip
    assert (tmp_path / "guesses.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_single_output(tmp_path: Path) -> None:
    x, y = stripes(30)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y % 2, x_test=x, y_test=y % 2)
    net = small(classes=1)
    Trainer(net, "binary_cross_entropy").fit(x, y % 2, progress=False)
    cnn_ext.save(net, tmp_path / "net")
    done = run("plot", "net", "--data", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("none", 1, "none: No such file"),
        (
            "model.safetensors --kinds maps",
            2,
            "argument --kinds: expected some of kernels",
        ),
        ("model.safetensors --limit 0", 2, "argument --limit: expected a whole number of at"),
        ("model.safetensors --out flat", 2, "argument --out: flat is not a folder"),
        ("model.safetensors --out no/where", 2, "argument --out: "),
        ("model.safetensors --history none", 1, "none: No such file"),
        ("model.safetensors --history flat", 1, "flat: not a history of training: "),
        ("model.safetensors --history nan.json", 1, "nan.json: not a history of training: "),
        ("mse", 1, "mse: its task is numbers, but digits has classes"),
    ],
)
def test_errors_of_the_command(folder: Path, arguments: str, status: int, message: str) -> None:
    before = sorted(folder.rglob("*"))
    done = run("plot", *arguments.split(), cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"cnn-ext plot: {message}") and done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    if arguments == "none":
        assert run("plot", "none", "--debug", cwd=folder).stderr.startswith("Traceback")


def test_the_command_without_matplotlib(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from cnn_ext.cli import main; "
        "sys.exit(main(['plot', 'model.safetensors', '--out', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new")],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert done.stderr == ("cnn-ext plot: figures need Matplotlib: pip install 'cnn_ext[plot]'\n")
