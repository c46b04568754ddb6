"""Products in bfloat16: the rounding, training with it, and plans."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from byte_networks import NETS, network
from c_files import compiled, needs_compiler, predict
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    Adam,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Residual,
    Sequential,
    Trainer,
    _core,
    datasets,
)
from cnn_ext._bfloat16 import rounded
from cnn_ext.graph import Graph
from cnn_ext.graph.precision import in_bfloat16
from cnn_ext.layers import graph_of

SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1.0,
        1.00390625,
        1.01171875,
        3.4e38,
        -3.4e38,
        np.inf,
        -np.inf,
        np.nan,
        1e-40,
        1 / 3,
    ],
    np.float32,
)


def kernel(x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    _core.elementwise("bfloat16", x, None, y, x.itemsize, x.size)
    return y


def test_rounding_by_hand() -> None:
    # 1 + 1/256 lies between 1 and 1 + 2/256: to the even one; 1 + 3/256 goes up
    found = kernel(SPECIAL)
    assert found[2] == 1 and found[3] == 1 and found[4] == 1 + 4 / 256
    assert found[5] == np.inf and found[6] == -np.inf  # the greatest of bfloat16 is 3.39e38
    assert found[7] == np.inf and found[8] == -np.inf and np.isnan(found[9])
    assert np.signbit(found[1]) and not np.signbit(found[0])
    assert abs(found[11] * 3 - 1) < 2**-8


def test_the_kernel_rounds_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 100_000, dtype=np.uint32)
    x = np.concatenate([bits.view(np.float32), SPECIAL])
    x = x[np.isfinite(x) | np.isinf(x)]
    theirs = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    _core_flushes = np.abs(x) < np.finfo(np.float32).tiny  # numbers that kernels take for zero
    assert_array_equal(kernel(x)[~_core_flushes], theirs[~_core_flushes])
    assert_array_equal(rounded(x), theirs)


def test_float64_keeps_as_many_bits() -> None:
    x = np.random.default_rng(0).normal(size=1000)
    y = kernel(x)
    assert (np.abs(y - x) <= 2.0**-8 * np.abs(x)).all() and (y != x).any()
    assert_array_equal(kernel(y), y)


def net_of(seed: int = 0) -> Sequential:
    net = Sequential(
        Conv2d(1, 8, 3, padding=1), BatchNorm2d(8), ReLU(),
        Residual(Sequential(Conv2d(8, 8, 3, padding=1), ReLU(), Conv2d(8, 8, 3, padding=1))),
        ReLU(), MaxPool2d(2), Flatten(), Dropout(0.2), Linear(128, 10),
    )  # fmt: skip
    net.initialize("he", np.random.default_rng(seed))
    return net


def trained(net: Module, precision: str, steps: int = 12, **options: object) -> list[float]:
    digits = datasets.digits()
    trainer = Trainer(
        net, optimizer=Adam(net.parameters(), lr=1e-3), precision=precision, **options
    )
    x, y = digits.x_train, digits.y_train
    return [trainer.train_on_batch(x[i * 40 : i * 40 + 40], y[i * 40 : i * 40 + 40])
            for i in range(steps)]  # fmt: skip


def test_steps_are_those_of_a_network_that_rounds_by_itself() -> None:
    # one linear layer in float64, with inputs, weights and the gradient of the outputs rounded
    net = Sequential(Linear(6, 5), ReLU(), Linear(5, 3))
    net.initialize("he", np.random.default_rng(1))
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    weights = [p.data.astype(np.float64) for p in net.parameters()]
    trainer = Trainer(net, optimizer="sgd", precision="bfloat16")
    trainer.train_on_batch(x, y)
    w1, b1, w2, b2 = weights

    def short(a: np.ndarray) -> np.ndarray:
        return rounded(a.astype(np.float32)).astype(np.float64)

    hidden = short(short(x) @ short(w1).T + b1)
    active = np.maximum(hidden, 0)
    z = active @ short(w2).T + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    dz = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[y]) / 20
    da = dz @ short(w2)
    dh = short(np.where(hidden > 0, da, 0))
    gradients = [parameter.grad for parameter in net.parameters()]
    for found, truth in zip(
        gradients, [dh.T @ short(x), dh.sum(axis=0), dz.T @ active, dz.sum(axis=0)], strict=True
    ):
        assert_allclose(found, truth, atol=2e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bits_are_the_same_on_any_threads_and_recorded(threads: int) -> None:
    nets = [net_of(), net_of()]
    costs = trained(nets[0], "bfloat16", num_threads=1)
    assert trained(nets[1], "bfloat16", num_threads=threads) == costs
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert_array_equal(a.data, b.data)


def test_it_learns_what_float32_learns() -> None:
    digits, accuracies = datasets.digits(), {}
    for precision in ("float32", "bfloat16"):
        net = net_of()
        trainer = Trainer(net, optimizer=Adam(net.parameters(), lr=2e-3), precision=precision)
        trainer.fit(digits.x_train, digits.y_train, epochs=4, batch_size=32, progress=False)
        accuracies[precision] = trainer.evaluate(digits.x_test, digits.y_test)["accuracy"]
        assert all(p.data.dtype == np.float32 for p in net.parameters())
    assert accuracies["float32"] > 0.95
    assert abs(accuracies["bfloat16"] - accuracies["float32"]) < 0.02


def test_a_training_that_is_resumed(tmp_path: Path) -> None:
    digits, file = datasets.digits(), tmp_path / "run.ckpt"
    x, y = digits.x_train[:300], digits.y_train[:300]
    whole, again = net_of(), net_of(1)
    Trainer(whole, precision="bfloat16").fit(x, y, epochs=3, progress=False)
    interrupts = [KeyboardInterrupt()]

    def interrupted(trainer: Trainer, epoch: object) -> None:
        if interrupts:
            raise interrupts.pop()  # after the first epoch

    stop = [interrupted]
    stopped = Trainer(net_of(), precision="bfloat16")
    stopped.fit(x, y, epochs=3, progress=False, checkpoint=file, callbacks=stop)
    with pytest.raises(ValueError, match="precision"):
        Trainer(net_of()).resume(file)
    trainer = Trainer(again, precision="bfloat16")
    trainer.resume(file)
    trainer.fit(x, y, epochs=3, progress=False, callbacks=stop)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("name", NETS)
def test_plans(name: str) -> None:
    net, x = network(name)
    plan = net.compile(precision="bfloat16")
    assert plan.precision == "bfloat16"
    truth = net(x)
    error = np.abs(plan(x) - truth).max() / np.abs(truth).max()
    assert 1e-5 < error < 0.03
    assert_array_equal(plan(x)[3], plan(x[3]))


@needs_compiler
def test_onnx_and_c(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net, x = network("plain")
    graph: Graph = in_bfloat16(graph_of(net))
    truth = net.compile(precision="bfloat16")(x)
    library: ctypes.CDLL = compiled(graph, tmp_path)
    found = np.stack([predict(library, graph, image) for image in x])
    assert_allclose(found, truth, atol=0.02 * np.abs(truth).max())
    assert np.median(np.abs(found - truth)) < 1e-3 * np.abs(truth).max()
    cnn_ext.onnx.export(graph, tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert_allclose(session.run(None, {"input": x})[0], truth, atol=0.02 * np.abs(truth).max())


def test_nan_and_infinity_come_through() -> None:
    net, x = network("plain")
    plan = net.compile(precision="bfloat16")
    x[0, 0, 4, 4], x[1, 0, 4, 4] = np.nan, np.inf
    assert np.isnan(plan(x)[0]).any() and not np.isfinite(plan(x)[1]).all()
    assert np.isfinite(plan(x)[2]).all()


class Own(Module):
    def forward(self, x: np.ndarray) -> np.ndarray:
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


def test_what_does_not_fit_is_refused() -> None:
    net = net_of()
    with pytest.raises(
        ValueError, match="precision: expected one of float32, bfloat16, got 'int8'"
    ):
        Trainer(net, precision="int8")
    with pytest.raises(ValueError, match="precision: bfloat16 is for a float32 network"):
        Trainer(net.astype(np.float64), precision="bfloat16")
    own = Sequential(Linear(4, 4), Own(), Linear(4, 2))
    trainer = Trainer(own, precision="bfloat16")
    with pytest.raises(ValueError, match="without layers of one's own"):
        trainer.train_on_batch(np.zeros((3, 4), np.float32), np.zeros(3, int))
