"""Training that is interrupted or killed: what is learned is kept, or the old files stay whole."""

from __future__ import annotations

import json
import signal

import pytest
from commands import run, start

import cnn_ext
from cnn_ext import datasets, metrics

ENDLESS = ("train", "--threads", 1, "--epochs", 1_000_000, "--lr", 0.01, "--history", "h.json")


def until_epoch(process, number):
    """Read until the given epoch is over; training is then in the middle of a later one."""
    for line in process.stderr:
        if line.startswith(f"epoch {number}/"):
            return
    pytest.fail("training ended before")


@pytest.fixture
def interruptible():
    """Children inherit that interrupts are ignored, as a test runner in the background may have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupt_keeps_what_was_learned(interruptible, tmp_path):
    with start(*ENDLESS, "--schedule", "constant", cwd=tmp_path) as process:
        until_epoch(process, 5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == "" and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("cnn-ext train: interrupted in epoch ")
    assert errors.endswith(" of 1000000, model written to model.safetensors\n")
    history = json.loads((tmp_path / "h.json").read_text())
    assert history["stopped"] == "interrupted" and len(history["epochs"]) >= 5
    data = datasets.digits()
    net = cnn_ext.load(tmp_path / "model.safetensors")
    assert metrics.accuracy(data.y_test, net(data.x_test).argmax(1)) > 0.9
    assert run("evaluate", "model.safetensors", cwd=tmp_path).returncode == 0


def test_kill_leaves_the_old_files(tmp_path):
    (tmp_path / "h.json").write_text("old history")
    (tmp_path / "model.safetensors").write_text("old model")
    with start(*ENDLESS, cwd=tmp_path) as process:
        until_epoch(process, 2)
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "h.json").read_text() == "old history"
    assert (tmp_path / "model.safetensors").read_text() == "old model"
    assert len(list(tmp_path.iterdir())) == 2
