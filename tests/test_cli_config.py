"""Options in TOML files: what they may hold, who goes first, and that a run can be repeated."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from cnn_ext.cli import _config, main

TRAIN = ("train", "--quiet", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(name).read_text("utf-8"))


def test_a_run_can_be_repeated(folder: Path) -> None:
    given = ("--epochs", "1", "--lr", "1e-5", "--optimizer", "adamw", "--size", "9x10", "--seed")
    assert main([*TRAIN, *given, "3", "--out", "a.safetensors", "--history", "a.json"]) == 0
    assert main([*TRAIN, "--config", "a.toml", "--out", "b"]) == 0
    assert Path("a.safetensors").read_bytes() == Path("b").read_bytes()
    assert options("a.toml") == options("b.toml")
    found = options("a.toml")
    assert (found["epochs"], found["lr"], found["size"]) == (1, 1e-5, "9x10")
    assert (found["seed"], found["optimizer"], found["weight-decay"]) == (3, "adamw", 0.01)
    assert not {"out", "history", "quiet", "config", "recipe", "help"} & found.keys()


def test_the_command_line_goes_before_the_file_and_the_file_before_the_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine.toml").write_text("epochs = 2\nlr = 0.01\ncolour = true\nquiet = true")
    (folder / "plain.toml").write_text("epochs = 3\nlr = 0.02\nseed = 7\n")
    monkeypatch.setattr(_config, "RECIPES", folder)
    words = ["--epochs", "1", "--config", "mine.toml", "--recipe", "plain", "--no-colour"]
    assert main([*TRAIN, *words]) == 0
    found = options("model.toml")
    assert [found[name] for name in ("epochs", "lr", "seed", "colour")] == [1, 0.01, 7, False]
    assert _config.recipes() == ["mine", "model", "plain"]


def test_texts_are_kept_whatever_they_hold(folder: Path) -> None:
    name = '\x7f "quoted" \\ \t\u00e9 \U0001f600.npz'
    import numpy as np

    from cnn_ext import datasets

    data = datasets.digits()
    np.savez(name, x=data.x_train[:40], y=data.y_train[:40])
    assert main([*TRAIN, "--data", name, "--epochs", "1"]) == 0
    assert options("model.toml")["data"] == name


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("bogus = 1", 2, "c.toml: unknown option 'bogus'"),
        ("help = true", 2, "c.toml: unknown option 'help'"),
        ("debug = true", 2, "c.toml: unknown option 'debug'"),
        ("config = 'c.toml'", 2, "c.toml: unknown option 'config'"),
        ("batch_size = 8", 2, "c.toml: unknown option 'batch_size'"),
        ("[train]\nlr = 1", 2, "c.toml: unknown option 'train'"),
        ("lr = [0.1]", 2, "c.toml: argument --lr: expected a text or a number, got [0.1]"),
        ("lr = true", 2, "c.toml: argument --lr: expected a text or a number, got True"),
        ("lr = -1", 2, "c.toml: argument --lr: expected a number above 0, got '-1'"),
        ("lr = nan", 2, "c.toml: argument --lr: expected a number above 0, got 'nan'"),
        ("epochs = 1.5", 2, "c.toml: argument --epochs: expected a whole number of at least 1"),
        ("schedule = 'none'", 2, "c.toml: argument --schedule: invalid choice: 'none'"),
        ("quiet = 1", 2, "c.toml: argument --quiet: expected true or false, got 1"),
        ("lr = 1\nlr = 2", 1, "c.toml: not a file of TOML: Cannot overwrite a value"),
        ("lr = ", 1, "c.toml: not a file of TOML: "),
        ("\xff", 1, "c.toml: not a file of TOML: "),
        (None, 1, "c.toml: No such file or directory"),
    ],
)
def test_what_a_file_may_not_hold(
    folder: Path, capsys: Any, text: str | None, status: int, message: str
) -> None:
    if text is not None:
        (folder / "c.toml").write_bytes(text.encode("latin-1"))
    before = sorted(folder.iterdir())
    assert main([*TRAIN, "--config", "c.toml"]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"cnn-ext train: {message}")
    assert captured.err.count("\n") == 1 and sorted(folder.iterdir()) == before


def test_what_cannot_be_written_beside_the_model(folder: Path, capsys: Any) -> None:
    (folder / "taken.toml").mkdir()
    for words in (["--out", "m.toml"], ["--out", "taken"], ["--out", "m", "--history", "m.toml"]):
        assert main([*TRAIN, *words]) == 2
        argument = "--history" if "--history" in words else "--out"
        assert capsys.readouterr().err.startswith(f"cnn-ext train: argument {argument}: ")
    assert [path.name for path in folder.iterdir()] == ["taken.toml"]


def test_a_recipe_that_is_not_there(folder: Path, capsys: Any) -> None:
    assert main([*TRAIN, "--recipe", "nonsense"]) == 2
    assert "argument --recipe: invalid choice: 'nonsense'" in capsys.readouterr().err
