"""What `train` chooses for one's own pictures, and what its options change."""

from __future__ import annotations

import errno
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import picture_sets
import pytest

import cnn_ext
from cnn_ext import BatchNorm2d, Normalize, datasets
from cnn_ext.cli import main
from cnn_ext.training.defaults import defaults_for, mild, normalized

pytest.importorskip("PIL", reason="Pillow is missing")
QUICK = ("--quiet", "--epochs", "1", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str, count: int, seed: int, folder: Path) -> None:
    draw = np.random.default_rng(seed)
    picture_sets.write(picture_sets.SETS[name](count, draw), folder)


def chosen() -> dict[str, Any]:
    return tomllib.loads(Path("model.toml").read_text("utf-8"))


def accuracy(output: str) -> float:
    assert output.startswith("test accuracy ")
    return float(output.split()[2])


@pytest.mark.parametrize(
    ("name", "count", "options", "least"),
    [("textures", 120, ("--size", "24", "--epochs", "40"), 80), ("digits", 300, (), 93)],
)
def test_pictures_are_learned_at_the_defaults(
    name: str, count: int, options: tuple[str, ...], least: float, folder: Path, capsys: Any
) -> None:
    made(name, count, 1, folder / "set" / "train")
    made(name, 200, 2, folder / "set" / "test")
    assert main(["train", "--data", "set", *options]) == 0
    captured = capsys.readouterr()
    assert accuracy(captured.out) >= least
    assert "sgd with a rate of" in captured.err.splitlines()[0]
    net = cnn_ext.load("model.safetensors")
    kinds = {type(layer) for _, layer in net.named_modules()}
    assert {Normalize, BatchNorm2d} <= kinds
    assert chosen()["augment"] == "mild"


@pytest.mark.parametrize("images", [2, 50, 240, 1_000, 5_000, 50_000, 10**6])
@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 28, 28), (3, 32, 32), (3, 96, 70), (1, 224, 224)])
def test_every_set_has_defaults(images: int, shape: tuple[int, int, int]) -> None:
    found = defaults_for(images, shape)
    assert found.epochs >= 1 and 16 <= found.batch_size <= 128
    assert found.validation_split * images >= 20 or found.validation_split == 0
    # neither a set of few nor one of many takes for ever
    assert 5_000 <= max(found.epochs, 2) * max(images, 5_000) and found.epochs * images < 8 * 10**6
    net = cnn_ext.architectures.build(found.arch, shape, 7)
    assert net.output_shape(shape) == (7,)


def test_fewer_steps_a_picture_the_more_there_are() -> None:
    epochs = [defaults_for(images, (3, 32, 32)).epochs for images in (100, 1_000, 10_000, 100_000)]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] > 3 * epochs[1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
def test_inputs_are_normalised_whatever_their_numbers(dtype: str) -> None:
    draw = np.random.default_rng(0)
    top = {"uint8": 255, "uint16": 65535, "float32": 1, "int32": 4000}[dtype]
    x = (draw.uniform(0.5, 0.9, (50, 3, 8, 8)) * top).astype(dtype)
    net = normalized(cnn_ext.Sequential(), x)
    assert net(x).mean() == pytest.approx(0, abs=1e-2)
    assert net(x).std() == pytest.approx(1, abs=1e-2)
    step = net.layers[0]
    assert isinstance(step, Normalize) and step.unit == (dtype != "int32")


def test_what_is_mild_leaves_pictures_as_they_are_but_for_some_pixels() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 48, 40)).astype(np.uint8)
    changed = cnn_ext.augment.Compose(mild((3, 48, 40)))(x)
    assert changed.shape == x.shape and (changed != x).any()
    np.testing.assert_allclose(changed[:, :, 4:-4, 4:-4].mean(), x.mean(), atol=2)


def test_every_option_is_heard(folder: Path, capsys: Any) -> None:
    options = {
        "augment": "RandomShift(1, padding_mode='edge'), Cutout(2)", "class-weight": "balanced",
        "label-smoothing": 0.1, "average": 0.9, "optimizer": "adamw", "lr": 0.004, "arch": "tiny",
        "max-seconds": 500.0, "validation-split": 0.25, "normalize": False, "clip-norm": 1.0,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items() if name != "normalize"]
    assert main(["train", *QUICK, "--no-normalize", *words, "--history", "h.json"]) == 0
    assert chosen().items() >= options.items()
    [epoch] = json.loads(Path("h.json").read_text())["epochs"]
    found = accuracy(capsys.readouterr().out)
    net = cnn_ext.load("model.safetensors")
    data = datasets.digits()
    right = cnn_ext.metrics.accuracy(data.y_test, net(data.x_test).argmax(1))
    assert found == pytest.approx(100 * right, abs=0.01)  # the averages are what was written
    assert not isinstance(net.layers[0], Normalize) and epoch["validation_cost"] > 0
    plain = Path("model.safetensors").read_bytes()
    for name, other in (("augment", "mild"), ("label-smoothing", 0), ("average", 0)):
        again = [*words, f"--{name}={other}"]
        assert main(["train", *QUICK, "--no-normalize", *again]) == 0
        assert Path("model.safetensors").read_bytes() != plain


def test_time_ends_training(folder: Path, capsys: Any) -> None:
    words = ["--max-seconds", "0.3", "--epochs", "100000", "--history", "h.json", "--quiet"]
    assert main(["train", *words]) == 0
    assert json.loads(Path("h.json").read_text())["stopped"] == "time"


def test_a_rate_that_is_too_high_is_not_trusted(folder: Path, monkeypatch: Any) -> None:
    from cnn_ext.training import defaults

    monkeypatch.setitem(defaults.RATES, "sgd", (1e4, 1e4))
    assert main(["train", *QUICK, "--arch", "tiny"]) == 0
    assert chosen()["lr"] < 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--augment Compose([])", "argument --augment: expected mild, none, or transforms"),
        ("--augment MixUp(),Cutout(1)", "argument --augment: transforms: expected a mixing"),
        ("--augment=", "argument --augment: expected mild, none, or transforms"),
        ("--label-smoothing 1", "argument --label-smoothing: expected a number from 0 up to"),
        ("--class-weight none", "argument --class-weight: invalid choice: 'none'"),
        ("--average 1", "argument --average: expected a number from 0 up to but not 1"),
        ("--max-seconds 0", "argument --max-seconds: expected a number above 0"),
        ("--validation-split 1e-9", "argument --validation-split: 1438 images have no such part"),
        ("--data one", "argument --data: expected images of two classes or more to learn from, "
         "one has those of good alone"),
    ],
)  # fmt: skip
def test_what_options_refuse(words: str, message: str, folder: Path, capsys: Any) -> None:
    if "one" in words:
        made("faults", 6, 0, folder / "one")
    before = sorted(folder.iterdir())
    assert main(["train", *QUICK, *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"cnn-ext train: {message}")
    assert captured.err.count("\n") == 1 and sorted(folder.iterdir()) == before


def test_a_full_disk_leaves_the_old_files(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    for name in ("model.safetensors", "model.toml"):
        (folder / name).write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main(["train", *QUICK]) == 1
    error = capsys.readouterr().err
    assert error == "cnn-ext train: model.safetensors: No space left on device\n"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "model.safetensors": "old", "model.toml": "old",
    }  # fmt: skip


def test_a_training_that_was_killed_goes_on_bit_for_bit(folder: Path, capsys: Any) -> None:
    from commands import run, start

    words = ["train", "--epochs", "12", "--average", "0.9", "--checkpoint", "c.safetensors"]
    assert run(*words, "--quiet", "--out", "whole", cwd=folder).returncode == 0
    (folder / "c.safetensors").unlink()
    with start(*words, cwd=folder) as process:
        for line in process.stderr:
            if line.startswith("epoch 4/"):
                break
        process.kill()
        process.communicate(timeout=60)
    assert not Path("model.safetensors").exists()
    done = run(*words, "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/" not in done.stderr and "epoch 12/" in done.stderr
    assert Path("model.safetensors").read_bytes() == Path("whole").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--resume", 2, "argument --resume: needs --checkpoint"),
        ("--resume --checkpoint broken", 1, "broken: "),
        ("--checkpoint model.safetensors", 2, "argument --checkpoint: expected another file"),
        ("--checkpoint model.toml", 2, "argument --checkpoint: expected another file"),
        ("--checkpoint no/c", 2, "argument --checkpoint: "),
    ],
)
def test_checkpoints_that_are_refused(
    words: str, status: int, message: str, folder: Path, capsys: Any
) -> None:
    (folder / "broken").write_bytes(b"no checkpoint")
    assert main(["train", *QUICK, *words.split()]) == status
    error = capsys.readouterr().err
    assert error.startswith(f"cnn-ext train: {message}") and error.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["broken"]
