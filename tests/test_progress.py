"""What is shown while work goes on; no standard error, of whatever kind, ends the work."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from commands import COMMAND, ENVIRONMENT
from networks import small, stripes

import cnn_ext.training.progress
from cnn_ext import CostError, Trainer
from cnn_ext.cli import main
from cnn_ext.training.progress import Progress, duration

X, Y = stripes(20)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_there_is_a_line_an_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Trainer(small()).fit(X, Y, 2, 8, validation_split=0.2)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2: cost ")
    assert "validation cost" in lines[1] and lines[1].endswith("images/s")
    Trainer(small()).fit(X, Y, 2, 8, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    now = [0.0]
    monkeypatch.setattr(cnn_ext.training.progress, "clock", lambda: now[0])
    with Progress("work", 4) as bar:
        for _ in range(4):
            now[0] += 30
            bar.advance("fine")
        bar.close("done")
    assert terminal.getvalue() == (
        "\rwork: 25 %, fine, 1 min 30 s left\x1b[K\rwork: 50 %, fine, 1 min 0 s left\x1b[K"
        "\rwork: 75 %, fine, 30 s left\x1b[K\rwork: 100 %, fine\x1b[K\r\x1b[Kwork: done\n"
    )


def test_lengths_of_time() -> None:
    seconds = [0, 0.4, 59.7, 61, 3600, 86399, float("inf")]
    expected = ["0 s", "0 s", "1 min 0 s", "1 min 1 s", "1 h 0 min", "23 h 59 min", "ages"]
    assert [duration(each) for each in seconds] == expected


def test_the_line_of_an_epoch_says_how_long_training_will_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Trainer(small()).fit(X, Y, 3, 8)
    lines = capsys.readouterr().err.splitlines()
    assert [line.endswith(" s left") for line in lines] == [True, True, False]


def test_a_terminal_with_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("work", 2) as bar:
        for _ in range(2):
            bar.advance("fine")
        bar.close("done")
    assert "work:" in terminal.getvalue() and terminal.getvalue().endswith("work: done\n")


@pytest.mark.parametrize("library", ["plain", "tqdm"])
def test_an_error_clears_the_bar(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    if library == "plain":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    x, y = stripes(40)
    x[35] = np.nan
    with pytest.raises(CostError):
        Trainer(small()).fit(x, y, 1, 10, shuffle=False)
    shown = terminal.getvalue()
    assert "epoch 1/1" in shown
    assert shown.endswith("\r") or shown.endswith("\r\x1b[K")


# --------------------------------------------------------------- standard errors that do not work


class Logger:
    """An object that takes text and knows nothing else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Broken:
    """A terminal that fails from the nth call on."""

    def __init__(self, calls: int, error: type[Exception]) -> None:
        self.left, self.error = calls, error

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise self.error(f"no {name}")
            return True

        return call


class Nothing:
    pass


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "none": lambda: None,
    "closed": closed,
    "a logger": Logger,
    "an object": Nothing,
    **{
        f"{error.__name__} at call {calls}": lambda calls=calls, error=error: Broken(calls, error)
        for error in (OSError, ValueError, RuntimeError)
        for calls in (0, 1, 2, 3, 6, 9)
    },
}


@pytest.mark.parametrize("library", ["plain", "tqdm"])
@pytest.mark.parametrize("kind", STREAMS)
def test_training_goes_on(kind: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "plain":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    expected = Trainer(small()).fit(X, Y, 3, 4, progress=False)["cost"]
    stream = STREAMS[kind]()
    monkeypatch.setattr(sys, "stderr", stream)
    assert Trainer(small()).fit(X, Y, 3, 4)["cost"] == expected
    if isinstance(stream, Logger):
        assert stream.text.startswith("epoch 1/3: cost ") and stream.text.count("\n") == 3


@pytest.mark.parametrize("kind", STREAMS)
def test_commands_go_on_and_their_status_stays(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", STREAMS[kind]())
    assert main(["train", "--epochs", "1"]) == 0
    assert capsys.readouterr().out.endswith("model written to model.safetensors\n")
    assert main(["evaluate", "missing"]) == 1
    assert main(["train", "--epochs", "none"]) == main(["train", "--unknown"]) == main([]) == 2


def test_a_process_without_standard_error(tmp_path: Any) -> None:
    program = """
        import os, subprocess, sys
        os.close(2)
        sys.exit(subprocess.run(sys.argv[1:], close_fds=False).returncode)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), *COMMAND, "train", "--epochs", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.endswith("model written to model.safetensors\n")
