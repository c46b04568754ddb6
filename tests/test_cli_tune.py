"""The search for options: what it tries, what it writes, and how it ends."""

from __future__ import annotations

import csv
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands import run, start

import cnn_ext.cli.tune
from cnn_ext.cli import main

TUNE = ("tune", "--quiet", "--epochs", "1", "--threads", "1", "--arch", "tiny")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(name: str = "tuned.csv") -> list[dict[str, str]]:
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def best(rows: list[dict[str, str]]) -> dict[str, str]:
    return max(
        rows, key=lambda row: (float(row["validation_accuracy"]), -float(row["validation_cost"]))
    )


def test_the_best_options_train(folder: Path, capsys: Any) -> None:
    assert main([*TUNE, "--trials", "4"]) == 0
    told = capsys.readouterr().out
    rows = table()
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert len({row["lr"] for row in rows}) == 4
    chosen = best(rows)
    options = tomllib.loads(Path("tuned.toml").read_text())
    assert f"number {chosen['trial']}: " in told and "options written to tuned.toml" in told
    for name in ("lr", "weight_decay", "batch_size", "augment", "label_smoothing"):
        assert str(options[name.replace("_", "-")]) == chosen[name]
    assert main(["train", "--config", "tuned.toml", "--history", "h.json", "--quiet"]) == 0
    history = Path("h.json").read_text()
    assert chosen["validation_cost"] in history  # the same training, to the last digit


def test_what_is_given_stays(folder: Path) -> None:
    words = ("--lr", "0.02", "--augment", "none", "--label-smoothing", "0.2", "--trials", "3")
    assert main([*TUNE, *words, "--out", "mine.toml"]) == 0
    rows = table("mine.csv")
    assert {(row["lr"], row["augment"], row["label_smoothing"]) for row in rows} == {
        ("0.02", "none", "0.2")
    }
    assert len({row["weight_decay"] for row in rows}) == 3


def test_the_same_seed_tries_the_same(folder: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main([*TUNE, "--trials", "2", "--seed", seed, "--out", f"{name}.toml"]) == 0
    a, b, c = (table(f"{name}.csv")[1]["lr"] for name in "abc")
    assert a == b != c


def test_processes_of_their_own_try_the_same(folder: Path) -> None:
    assert main([*TUNE, "--trials", "3", "--out", "one.toml"]) == 0
    done = run(*TUNE, "--trials", 3, "--jobs", 2, "--out", "two.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    one, two = ({row["trial"]: row for row in table(f"{name}.csv")} for name in ("one", "two"))
    for number, row in one.items():
        assert {**row, "seconds": ""} == {**two[number], "seconds": ""}
    assert Path("one.toml").read_bytes() == Path("two.toml").read_bytes()


def test_optuna_chooses(folder: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is missing")
    assert main([*TUNE, "--trials", "4", "--sampler", "optuna"]) == 0
    assert len({row["lr"] for row in table()}) == 4


def test_without_optuna_the_extra_is_named(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    assert main([*TUNE, "--sampler", "optuna"]) == 1
    assert "pip install 'cnn_ext[tune]'" in capsys.readouterr().err


def test_trials_that_fail_are_noted_and_never_the_best(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = cnn_ext.cli.tune.Training.fit
    failing = iter([True, False, True] + [True] * 3)

    def sometimes(self: Any) -> Any:
        if next(failing):
            raise cnn_ext.CostError("the cost is nan")
        return fit(self)

    monkeypatch.setattr(cnn_ext.cli.tune.Training, "fit", sometimes)
    assert main([*TUNE, "--trials", "3"]) == 0
    assert [bool(row["validation_cost"]) for row in table()] == [False, True, False]
    assert "number 2: " in capsys.readouterr().out
    assert main([*TUNE, "--trials", "3", "--out", "none.toml"]) == 1
    assert "not finite in any trial; no options were written" in capsys.readouterr().err
    assert not Path("none.toml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--trials 0", "argument --trials: expected a whole number of at least 1"),
        ("--jobs 0", "argument --jobs: expected a whole number from 1"),
        ("--sampler grid", "argument --sampler: invalid choice: 'grid'"),
        ("--out tuned.json", "argument --out: expected a name that ends in .toml"),
        ("--out none/tuned.toml", "argument --out: "),
        ("--validation-split 0", "argument --validation-split: a search needs such a part"),
        ("--lr 1 --weight-decay 0 --batch-size 8 --augment none --label-smoothing 0",
         "nothing to search: "),
        ("--history h.json", "unknown arguments: --history h.json"),
    ],
)  # fmt: skip
def test_what_it_refuses(words: str, message: str, folder: Path, capsys: Any) -> None:
    assert main([*TUNE, *words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"cnn-ext tune: {message}")
    assert captured.err.count("\n") == 1 and not list(folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to a process")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_ends_it_with_the_best_so_far(jobs: int, folder: Path) -> None:
    words = ("tune", "--epochs", 1, "--arch", "tiny", "--trials", 1_000_000, "--jobs", jobs)
    with start(*words, cwd=folder) as process:
        try:
            for line in process.stderr:
                if line.startswith("trial "):
                    break
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 143 and output == ""
    assert "interrupted after " in errors.splitlines()[-1]
    assert errors.endswith(" options written to tuned.toml\n")
    assert {path.name for path in folder.iterdir()} == {"tuned.toml", "tuned.csv"}
    tomllib.loads(Path("tuned.toml").read_text())
    assert table()
