"""Numbers below the smallest normal one are zero to the kernels, and to nobody else."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_steps import training_program

import cnn_ext
from cnn_ext import _dispatch, architectures, ops
from cnn_ext.training.losses import LOSSES

TINY = float(np.finfo(np.float32).tiny)
pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"),
    reason="no such mode is known for this machine",
)


def tiny(*shape: int) -> np.ndarray:
    """Denormal numbers, all of them different from zero."""
    random = np.random.default_rng(0).random(shape, np.float32)
    return (np.float32(0.1) + random) * np.float32(TINY / 4)


def assert_numpy_counts_on() -> None:
    x = np.full(100, TINY, np.float32)
    assert (x / np.float32(4) != 0).all() and (x / np.float32(4) * np.float32(4) == x).all()
    assert TINY / 2**120 != 0  # of Python's own numbers too


@pytest.mark.parametrize("threads", [1, 3])
def test_every_thread_flushes(threads: int) -> None:
    x = tiny(64, 4, 24, 24)  # enough work for several threads
    with cnn_ext.threads(threads):
        y = ops.conv2d(x, np.ones((4, 4, 1, 1), np.float32))
        assert (y == 0).all()
        assert_numpy_counts_on()
        grad = ops.conv2d_backward(x, np.ones_like(x), np.ones((4, 4, 1, 1), np.float32))
        assert all((part == 0).all() for part in grad)
    assert_numpy_counts_on()


@pytest.mark.parametrize("images", [1, 3, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_plans(images: int, threads: int) -> None:
    net = architectures.build("lenet5", (1, 28, 28), 10, rng=np.random.default_rng(0)).eval()
    plan, x = net.compile((1, 28, 28)), tiny(images, 1, 28, 28)
    with cnn_ext.threads(threads):
        np.testing.assert_allclose(plan(x), plan(np.zeros_like(x)), rtol=0, atol=1e-37)
        assert_numpy_counts_on()
        np.testing.assert_allclose(net(x), net(np.zeros_like(x)), rtol=0, atol=1e-37)
        assert_numpy_counts_on()


def test_a_recorded_step_flushes_as_the_layers_do() -> None:
    net = architectures.build("lenet5", (1, 28, 28), 10, rng=np.random.default_rng(0)).train()
    for parameter in net.parameters():
        parameter.data *= 1e-12  # products of these are denormal
    x, y = tiny(16, 1, 28, 28) * np.float32(1e12), np.arange(16) % 10
    program = training_program(net, LOSSES["cross_entropy"], x)
    _, (rows,) = program.train([x], [y])
    recorded = [rows.copy(), *(parameter.grad.copy() for parameter in net.parameters())]
    assert_numpy_counts_on()
    outputs = net.forward(x)
    net.backward(ops.cross_entropy(outputs, y)[1])
    layers = [outputs, *(parameter.grad for parameter in net.parameters())]
    for one, other in zip(recorded, layers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-37)
    np.testing.assert_array_equal(recorded[0], layers[0])  # no sum over blocks is in them


@pytest.mark.parametrize("isa", [isa for isa in _dispatch.supported_isas() if isa != _dispatch.ISA])
def test_every_other_instruction_set(isa: str) -> None:
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), *filter(None, sys.path)])
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-k", "not other", __file__]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "CNN_EXT_CPU": isa, "PYTHONPATH": path},
        cwd=tests.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
