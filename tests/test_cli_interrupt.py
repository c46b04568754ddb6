"""Training that a signal ends: what is learned is kept beside, and the old files stay whole."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run, start

import cnn_ext
import cnn_ext.cli.evaluate
import cnn_ext.cli.train
from cnn_ext import SGD, Trainer, datasets, metrics
from cnn_ext.cli import main
from cnn_ext.training.loop import Run

OLD = {"model.safetensors": "old model", "model.toml": "old options", "h.json": "old history"}
BESIDE = ("model.interrupted.safetensors", "model.interrupted.toml", "h.interrupted.json")
TRAIN = ("train", "--threads", 1, "--lr", 0.01, "--schedule", "constant", "--history", "h.json")
ENDLESS = (*TRAIN, "--epochs", 1_000_000)
READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": cnn_ext.load,
    ".toml": lambda path: tomllib.loads(path.read_text()),
    ".json": lambda path: json.loads(path.read_text()),
}
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to a process")


def until_epoch(process: Any, number: int) -> None:
    """Read until the given epoch is over; training is then in the middle of a later one."""
    for line in process.stderr:
        if line.startswith(f"epoch {number}/"):
            return
    pytest.fail("training ended before")


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """The signals that reach this process; its children get them as they are by default.

    They inherit what is ignored, as a test runner in the background may have it.
    """
    seen: list[int] = []
    before = {}
    for name in SIGNALS:
        number = getattr(signal, name)
        before[number] = signal.signal(number, lambda number, frame: seen.append(number))
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def old_files(folder: Path) -> None:
    for name, text in OLD.items():
        (folder / name).write_text(text)


def assert_old_files(folder: Path) -> None:
    for name, text in OLD.items():
        assert (folder / name).read_text() == text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -------------------------------------------------------------------------- a process and signals


@pytest.mark.parametrize("name", SIGNALS)
def test_what_was_learned_is_kept_beside_the_model(
    name: str, caught: list[int], tmp_path: Path
) -> None:
    old_files(tmp_path)
    with start(*ENDLESS, cwd=tmp_path) as process:
        until_epoch(process, 5)
        process.send_signal(getattr(signal, name))
        output, errors = process.communicate(timeout=60)
    assert process.returncode == SIGNALS[name]
    assert output == "" and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("cnn-ext train: interrupted in epoch ")
    assert errors.endswith(" of 1000000, model written to model.interrupted.safetensors\n")
    assert_old_files(tmp_path)
    assert names(tmp_path) == {*OLD, *BESIDE}
    history = json.loads((tmp_path / "h.interrupted.json").read_text())
    assert history["stopped"] == "interrupted" and len(history["epochs"]) >= 5
    data = datasets.digits()
    net = cnn_ext.load(tmp_path / "model.interrupted.safetensors")
    assert metrics.accuracy(data.y_test, net(data.x_test).argmax(1)) > 0.9
    assert run("evaluate", "model.interrupted.safetensors", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.02])
def test_more_signals_wait_for_the_write(pause: float, caught: list[int], tmp_path: Path) -> None:
    old_files(tmp_path)
    with start(*ENDLESS, cwd=tmp_path) as process:
        until_epoch(process, 2)
        for number in (signal.SIGTERM, *[signal.SIGINT, signal.SIGTERM] * 5):
            process.send_signal(number)
            time.sleep(pause)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 143)  # of two at once Python takes the lower number first
    assert "interrupted in epoch" in errors and "Traceback" not in errors
    assert_old_files(tmp_path)
    assert names(tmp_path) == {*OLD, *BESIDE}
    cnn_ext.load(tmp_path / "model.interrupted.safetensors")
    json.loads((tmp_path / "h.interrupted.json").read_text())


def test_signals_at_any_moment_leave_whole_files(caught: list[int], tmp_path: Path) -> None:
    moments = random.Random(0)
    started = time.monotonic()
    (tmp_path / "whole").mkdir()
    command = (*TRAIN, "--epochs", 8, "--validation-split", 0.3)
    assert run(*command, cwd=tmp_path / "whole").returncode == 0
    longest = time.monotonic() - started
    for i in range(5):
        folder = tmp_path / str(i)
        folder.mkdir()
        old_files(folder)
        with start(*command, cwd=folder) as process:
            time.sleep(moments.uniform(0.3, 1.0) * longest)
            for _ in range(3):
                process.send_signal(moments.choice([signal.SIGINT, signal.SIGTERM]))
                time.sleep(0.002)
            _, errors = process.communicate(timeout=60)
        for path in folder.iterdir():
            text = path.read_bytes()
            if text != OLD.get(path.name, "").encode():
                assert path.suffix in READERS, path  # nothing temporary
                READERS[path.suffix](path)
        if "model written to " in errors:
            assert process.returncode in (130, 143), errors
            cnn_ext.load(folder / errors.split("model written to ")[1].split()[0])


def test_kill_leaves_the_old_files(tmp_path: Path) -> None:
    old_files(tmp_path)
    with start(*ENDLESS, cwd=tmp_path) as process:
        until_epoch(process, 2)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert_old_files(tmp_path)
    assert names(tmp_path) == OLD.keys()


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(*ENDLESS, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        until_epoch(process, 1)
        process.send_signal(signal.SIGHUP)
        until_epoch(process, 4)
        process.kill()
        process.communicate(timeout=60)


# ---------------------------------------------------------------- signals within a known moment


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def before_each(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, action: Callable[[], None]
) -> None:
    function = getattr(owner, name)

    def with_action(*arguments: Any, **options: Any) -> Any:
        action()
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, with_action)


def train(*more: object) -> int:
    return main([str(word) for word in (*TRAIN, "--quiet", "--epochs", 2, *more)])


@pytest.fixture
def folder(
    caught: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, pytest.MonkeyPatch]]:
    monkeypatch.chdir(tmp_path)
    old_files(tmp_path)
    handlers = [signal.getsignal(getattr(signal, name)) for name in SIGNALS]
    yield tmp_path, monkeypatch
    assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] == handlers
    assert not caught  # all of them were the run's
    assert not list(tmp_path.glob(".*"))


Folder = tuple[Path, pytest.MonkeyPatch]
TWO = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)


def test_before_training_nothing_is_written(folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, cnn_ext.cli.train, "load_for_training", lambda: send(signal.SIGTERM))
    assert train() == 143
    assert capsys.readouterr() == ("", "cnn-ext train: interrupted\n")
    assert_old_files(path)
    assert names(path) == OLD.keys()


@pytest.mark.parametrize(
    ("owner", "name"), [(SGD, "step"), (Run, "_validate"), (Trainer, "_remember")]
)
def test_in_training_the_step_and_the_validation_are_finished(
    owner: Any, name: str, folder: Folder, capsys: Any
) -> None:
    path, patch = folder
    before_each(patch, owner, name, lambda: send(signal.SIGINT))
    assert train("--validation-split", 0.2) == 130
    epoch = 2 if name == "_validate" else 1
    message = f"in epoch {epoch} of 2, model written to model.interrupted.safetensors\n"
    assert capsys.readouterr() == ("", f"cnn-ext train: interrupted {message}")
    assert_old_files(path)
    cnn_ext.load("model.interrupted.safetensors")
    history = json.loads((path / "h.interrupted.json").read_text())
    assert history["stopped"] == "interrupted" and len(history["epochs"]) == epoch - 1


def test_the_write_of_an_interrupted_run_is_finished(folder: Folder) -> None:
    path, patch = folder
    before_each(patch, SGD, "step", lambda: send(signal.SIGTERM))
    before_each(patch, os, "fsync", lambda: send(*TWO))
    before_each(patch, os, "replace", lambda: send(*TWO))
    assert train() == 143
    assert_old_files(path)
    cnn_ext.load("model.interrupted.safetensors")
    assert json.loads((path / "h.interrupted.json").read_text())["stopped"] == "interrupted"


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_the_write_of_a_complete_model_is_finished(name: str, folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, os, name, lambda: send(*TWO))
    assert train() in (130, 143)
    message = "after training, model written to model.safetensors\n"
    assert capsys.readouterr() == ("", f"cnn-ext train: interrupted {message}")
    cnn_ext.load("model.safetensors")
    assert json.loads((path / "h.json").read_text())["stopped"] is None
    assert names(path) == OLD.keys()


def test_signals_while_the_end_is_told_change_nothing(folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, SGD, "step", lambda: send(signal.SIGTERM))
    before_each(patch, cnn_ext.cli, "say", lambda: send(*TWO))
    assert train() == 143
    message = "in epoch 1 of 2, model written to model.interrupted.safetensors\n"
    assert capsys.readouterr() == ("", f"cnn-ext train: interrupted {message}")
    assert_old_files(path)


def test_the_test_at_the_end_is_left_out(folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, Trainer, "evaluate", lambda: send(signal.SIGINT, signal.SIGINT))
    assert train("--validation-split", 0) == 130
    message = "after training, model written to model.safetensors\n"
    assert capsys.readouterr() == ("", f"cnn-ext train: interrupted {message}")
    cnn_ext.load("model.safetensors")
    assert names(path) == OLD.keys()


def test_what_an_interrupted_run_left_is_not_replaced(folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, SGD, "step", lambda: send(signal.SIGINT))
    (path / "h.interrupted.json").mkdir()  # both names are free, or neither is taken
    for _ in range(2):
        assert train() == 130
    lines = capsys.readouterr().err.splitlines()
    for line, number in zip(lines, (2, 3), strict=True):
        assert line.endswith(f"model written to model.interrupted-{number}.safetensors")
        cnn_ext.load(f"model.interrupted-{number}.safetensors")
        assert (path / f"h.interrupted-{number}.json").is_file()
    assert_old_files(path)


def test_beside_the_file_that_a_link_names(folder: Folder, capsys: Any) -> None:
    path, patch = folder
    before_each(patch, SGD, "step", lambda: send(signal.SIGINT))
    (path / "far").mkdir()
    (path / "link").symlink_to(path / "far" / "net")
    assert train("--out", "link") == 130
    assert capsys.readouterr().err.endswith(f"{path / 'far' / 'net.interrupted'}\n")
    cnn_ext.load(path / "far" / "net.interrupted")
    assert (path / "far" / "net.interrupted.toml").is_file()


def test_a_name_too_long_for_that_is_refused_before_training(folder: Folder, capsys: Any) -> None:
    assert train("--out", "m" * 250) == 1
    assert capsys.readouterr().err.endswith(".interrupted: File name too long\n")


def test_outside_the_main_thread_no_handler_is_set(folder: Folder) -> None:
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(train()))
    thread.start()
    thread.join()
    assert status == [0]


def test_other_commands_end_with_the_same_status(folder: Folder, capsys: Any) -> None:
    _, patch = folder
    before_each(patch, cnn_ext.cli.evaluate, "load_tested", lambda: send(signal.SIGTERM))
    assert main(["evaluate", "model.safetensors"]) == 143
    assert capsys.readouterr() == ("", "cnn-ext evaluate: interrupted\n")
