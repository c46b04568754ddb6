"""Other work in the midst of a recording: handlers of signals, finalisers, recordings within it."""

from __future__ import annotations

import copy
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
from interrupting import timer_signals
from recordings import X, Y, close, network, outputs_of
from training_steps import recorded

from cnn_ext import SGD, Trainer, ops
from cnn_ext.task import Task
from cnn_ext.training.backpropagation import Backpropagation
from cnn_ext.training.losses import LOSSES

OTHER = network(2)
OTHER_RIGHT = outputs_of(OTHER)
SHARED = network(3)
SHARED_RIGHT = outputs_of(SHARED)
W = np.random.default_rng(3).random((4, 5), np.float32)


def do_other_work() -> None:
    """Everything that a handler may do, each with the answer that is right."""
    x = np.random.default_rng(4).random((5, 5), np.float32)
    close(ops.linear(x, W), x @ W.T)
    copied = copy.deepcopy(OTHER).eval()
    close(copied(X), OTHER_RIGHT)  # a recording within the recording
    close(copied.compile((1, 8, 8))(X), OTHER_RIGHT)
    copied.train()
    trainer = Trainer(copied, optimizer=SGD(copied.parameters(), lr=0.01))
    wanted = ops.cross_entropy(OTHER_RIGHT, Y)[0]
    close(trainer.train_on_batch(X, Y), wanted)
    # with the weights of the network that is recorded
    weights = SHARED.layers[3].weight.data
    y = np.random.default_rng(5).random((20, 4, 6, 6), np.float32)
    close(ops.conv2d(y, weights), ops.conv2d(y.astype("f8"), weights.astype("f8")))
    close(ops.linear(weights.reshape(4, -1), weights.reshape(4, -1)),
          weights.reshape(4, -1) @ weights.reshape(4, -1).T)  # fmt: skip


@contextmanager
def at_every_line(work: Callable[[], None], every: int) -> Iterator[list[int]]:
    """Call `work` at each so manyth line that the package goes through meanwhile."""
    lines, calls = [0], [0]

    def trace(frame: Any, kind: str, arg: Any) -> Any:
        if "cnn_ext" not in frame.f_code.co_filename:
            return None
        if kind == "line":
            lines[0] += 1
            if lines[0] % every == 0:
                sys.settrace(None)
                work()
                calls[0] += 1
                sys.settrace(trace)
        return trace

    sys.settrace(trace)
    try:
        yield calls
    finally:
        sys.settrace(None)


def train_once() -> None:
    net = copy.deepcopy(SHARED)
    for parameter, shared in zip(net.parameters(), SHARED.parameters(), strict=True):
        parameter.data = shared.data
    truth = copy.deepcopy(SHARED).train()
    cost, gradient = ops.cross_entropy(truth.forward(X), Y)
    truth.backward(gradient)
    back = Backpropagation(net.train(), LOSSES["cross_entropy"], Task())
    for _ in range(2):
        close(back(X, Y)[0], cost)
        for parameter, right in zip(net.parameters(), truth.parameters(), strict=True):
            close(parameter.grad, right.grad)


def call_once() -> None:
    vars(SHARED).pop("_traces", None)
    for _ in range(2):
        close(SHARED.eval()(X), SHARED_RIGHT)


def compile_once() -> None:
    plan = SHARED.compile((1, 8, 8))
    close(plan(X), SHARED_RIGHT)
    close(plan(X[0]), SHARED_RIGHT[0])


@pytest.mark.parametrize("task", [train_once, call_once, compile_once])
@pytest.mark.parametrize("every", [41, 103])
def test_other_work_in_the_midst_of_it(task: Callable[[], None], every: int) -> None:
    every *= 5 if task is compile_once else 1
    with at_every_line(do_other_work, every) as calls:
        task()
    assert calls[0] > 2
    task()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_other_work_in_a_handler_of_signals() -> None:
    done = []

    def handler(*_: Any) -> None:
        do_other_work()
        done.append(True)

    rng, end = np.random.default_rng(0), time.monotonic() + 1.5
    with timer_signals(handler):
        while time.monotonic() < end:
            for task in (train_once, call_once, compile_once):
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 5e-3))
                task()
    assert len(done) > 5


class Watch:
    """Computes when it is collected."""

    wrong: ClassVar[list[Any]] = []
    right = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        x = np.full((5, 5), Watch.right, np.float32)
        if np.allclose(ops.linear(x, W), x @ W.T):
            Watch.right += 1
        else:
            Watch.wrong.append(x)


def test_finalisers() -> None:
    threshold = gc.get_threshold()
    gc.set_threshold(20, 5, 5)
    try:
        for _ in range(40):
            Watch()
            train_once()
            Watch()
            call_once()
            Watch()
            compile_once()
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
    assert Watch.right >= 120 and not Watch.wrong


def test_other_work_costs_the_recording_nothing() -> None:
    plain = SHARED.compile((1, 8, 8)).arena_bytes
    vars(SHARED).pop("_traces", None)
    SHARED.eval()(X)
    memory = recorded(SHARED)[0]._recorder.memory
    with at_every_line(do_other_work, 97):
        vars(SHARED).pop("_traces", None)
        SHARED(X)
        disturbed = SHARED.compile((1, 8, 8)).arena_bytes
    assert recorded(SHARED)[0]._recorder.memory == memory
    assert disturbed == plain
