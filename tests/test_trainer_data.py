"""What a trainer takes, images and targets of every form, and what its evaluation gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, Recorder, assert_same, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import (
    SGD,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Trainer,
    ops,
)

# ------------------------------------------------------------------------------------- inputs


def variants(folder: Path) -> dict[str, Callable[[np.ndarray], Any]]:
    def memmap(x: np.ndarray) -> Any:
        path = folder / "x.bin"
        x.tofile(path)
        return np.memmap(path, x.dtype, "r", shape=x.shape)

    def frozen(x: np.ndarray) -> Any:
        x = x.copy()
        x.flags.writeable = False
        return x

    return {
        "a list of arrays": list,
        "nested lists": lambda x: x.tolist(),
        "a memmap": memmap,
        "a read-only array": frozen,
        "float64": lambda x: x.astype(np.float64),
        "big-endian": lambda x: x.astype(">f4"),
        "not contiguous": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
        "anything with indices": Recorder,
    }


@pytest.mark.parametrize("kind", variants(Path()))
def test_images_in_any_form(kind: str, tmp_path: Path) -> None:
    x, y = stripes(50)
    expected = small()
    plain = Trainer(expected)
    history = plain.fit(x, y, 2, 16, progress=False)
    other = variants(tmp_path)[kind](x)
    net = small()
    trainer = Trainer(net)
    again = trainer.fit(other, y.tolist(), 2, 16, progress=False)
    assert_same(net.state_dict(), expected.state_dict())
    assert again["cost"] == history["cost"]
    assert_array_equal(trainer.predict(other), plain.predict(x))
    assert trainer.evaluate(other, y) == plain.evaluate(x, y)


def test_bytes_are_taken_as_parts_of_255() -> None:
    x, y = stripes(50)
    pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    nets = []
    for images in (pixels, list(pixels), (pixels / 255).astype(np.float32)):
        nets.append(small())
        Trainer(nets[-1]).fit(images, y, 1, 16, progress=False)
    assert_same(nets[0].state_dict(), nets[1].state_dict())
    for name, array in nets[2].state_dict().items():
        assert_allclose(array, nets[0].state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "quadratic"])
def test_class_numbers_are_one_hot_rows(loss: str) -> None:
    x, y = stripes(40)
    results = []
    for targets in (y, y.astype(np.uint8), np.eye(3)[y], np.eye(3, dtype=int)[y]):
        trainer = Trainer(small(), loss)
        history = trainer.fit(x, targets, 2, 16, progress=False)
        scores = trainer.evaluate(x, targets)
        results.append((history["cost"], history["accuracy"], scores))
    assert results[1:] == results[:-1]


def test_soft_targets() -> None:
    x, y = stripes(60)
    soft = 0.8 * np.eye(3)[y] + 0.2 / 3
    trainer = Trainer(small())
    trainer.fit(x, soft, 10, 16, progress=False)
    z = trainer.outputs(x)
    scores = trainer.evaluate(x, soft)
    assert scores["cost"] == pytest.approx(-(soft * np.log(ops.softmax(z))).sum(1).mean(), rel=1e-5)
    assert scores["accuracy"] == (z.argmax(1) == y).mean() > 0.9


def test_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4)).astype(np.float32)
    y = x @ [1.0, -2, 0.5, 0] + 3
    for targets in (y, y[:, None]):
        net = Sequential(Linear(4, 1, rng=np.random.default_rng(0)))
        trainer = Trainer(net, "mse")
        history = trainer.fit(x, targets, 30, 20, validation_split=0.2, progress=False)
        assert history["accuracy"] == history["validation_accuracy"] == [None] * 30
        assert trainer.evaluate(x, targets).keys() == {"cost"}
        assert trainer.evaluate(x, targets)["cost"] < 1e-6
        predicted = trainer.predict(x)
        assert predicted.shape == (200, 1)
        with pytest.raises(ValueError, match="outputs: the network gives no probabilities"):
            trainer.predict_proba(x)
        assert_allclose(predicted[:, 0], y, atol=1e-2)
        assert_allclose(net.state_dict()["0.weight"], [[1, -2, 0.5, 0]], atol=1e-3)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "quadratic"])
def test_one_output_for_two_classes(loss: str) -> None:
    x, y = stripes(120)
    x, y = x[y < 2], y[y < 2]
    layers = [Sigmoid()] if loss == "quadratic" else []
    for targets in (y, y.astype(bool), y.astype(np.float32), y[:, None]):
        net = Sequential(*small(classes=1), *layers)
        trainer = Trainer(net, loss, SGD(net.parameters(), 0.2, 0.9))
        trainer.fit(x, targets, 10, 16, progress=False)
        assert trainer.evaluate(x, targets)["accuracy"] > 0.95
        predicted = trainer.predict(x)
        assert predicted.shape == (len(x),) and predicted.dtype == np.int64
        assert (predicted == y).mean() > 0.95
        assert trainer.predict_proba(x).shape == (len(x), 1)
        assert_array_equal(trainer.predict_proba(x)[:, 0] > 0.5, predicted)


def test_float64_networks_train_in_float64() -> None:
    x, y = stripes(40)
    net = small().astype("float64")
    trainer = Trainer(net)
    trainer.fit(x, y, 1, 16, progress=False)
    assert trainer.outputs(x).dtype == np.float64
    assert all(p.grad is not None and p.grad.dtype == np.float64 for p in net.parameters())


def test_a_layer_of_ones_own_is_trained() -> None:
    x, y = stripes(60)
    own, rng = ChannelScale(4), np.random.default_rng(0)
    net = Sequential(Conv2d(1, 4, 3, rng=rng), own, ReLU(), Flatten(), Linear(64, 3, rng=rng))
    before = own.gain.data.copy()
    Trainer(net).fit(x, y, 2, 16, progress=False)
    assert (own.gain.data != before).all() and own.gain.data.dtype == np.float32


# ------------------------------------------------------------------- batches and evaluation


def test_train_on_batch_is_one_step() -> None:
    x, y = stripes(10)
    net, other = small(), small()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1))
    cost = trainer.train_on_batch(x, y)
    expected, gradient = ops.cross_entropy(other.forward(x), y)
    other.backward(gradient)
    assert cost == pytest.approx(expected, rel=1e-6)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert theirs.grad is not None
        assert_allclose(
            mine.data, theirs.data - np.float32(0.1) * theirs.grad, rtol=1e-5, atol=1e-6
        )
    assert trainer.train_on_batch(x, y) < cost


def test_evaluation_by_hand() -> None:
    x, y = stripes(300)
    trainer = Trainer(small())
    trainer.fit(x, y, 1, 64, progress=False)
    z = trainer.net(x).astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = {"cost": -np.log(p[np.arange(300), y]).mean(), "accuracy": (z.argmax(1) == y).mean()}
    for batch_size in (1, 7, 256, 300, 1000):
        scores = trainer.evaluate(x, y, batch_size)
        assert scores == pytest.approx(expected, rel=1e-5)
        assert_allclose(trainer.outputs(x, batch_size), z, rtol=1e-5, atol=1e-5)
        assert_allclose(trainer.predict_proba(x, batch_size), p, rtol=1e-5, atol=1e-6)
        assert_array_equal(trainer.predict(x, batch_size), z.argmax(1))


@pytest.mark.parametrize("call", ["evaluate", "outputs", "predict", "predict_proba"])
def test_evaluation_leaves_no_traces(call: str) -> None:
    x, y = stripes(40)
    inner = Sequential(Dropout(0.5), Sequential(Dropout(0.5)))
    net = Sequential(Conv2d(1, 4, 3), inner, Flatten(), Linear(64, 3))
    trainer = Trainer(net)
    net.train()
    inner[0].eval()
    state = net.state_dict()
    everything = [net, *net, *inner, *net.walk()]
    modes = [layer.training for layer in everything]
    first = getattr(trainer, call)(*((x, y) if call == "evaluate" else (x,)))
    assert [layer.training for layer in everything] == modes
    assert all(layer._saved is None for layer in everything)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert_same(net.state_dict(), state)
    again = getattr(trainer, call)(*((x, y) if call == "evaluate" else (x,)))
    assert_array_equal(again, first)
    with pytest.raises((TypeError, ValueError)):
        trainer.outputs("images")
    assert [layer.training for layer in everything] == modes


def test_training_ends_in_evaluation_mode() -> None:
    net = small(dropout=0.5)
    x, y = stripes(20)
    Trainer(net).fit(x, y, 1, progress=False)
    assert not any(layer.training for layer in [net, *net])
    assert_array_equal(net(x), net(x))


def test_no_images_have_no_predictions() -> None:
    trainer = Trainer(small())
    none = np.zeros((0, 1, 6, 6), np.float32)
    assert trainer.outputs(none).shape == trainer.predict_proba(none).shape == (0, 3)
    assert trainer.predict(none).shape == (0,)


def test_the_callers_arrays_are_not_changed() -> None:
    x, y = stripes(40)
    targets = np.eye(3, dtype=np.float32)[y]
    pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    copies = x.copy(), y.copy(), targets.copy(), pixels.copy()
    for images in (x, pixels):
        for labels in (y, targets):
            trainer = Trainer(small(dropout=0.5))
            trainer.fit(images, labels, 1, 16, validation_data=(images, labels), progress=False)
            trainer.fit(images, labels, 1, 16, validation_split=0.5, progress=False)
            trainer.train_on_batch(images, labels)
            trainer.evaluate(images, labels)
            trainer.predict(images)
    for array, copy in zip((x, y, targets, pixels), copies, strict=True):
        assert_array_equal(array, copy)


def test_training_can_go_on() -> None:
    x, y = stripes(60)
    trainer = Trainer(small())
    first = trainer.fit(x, y, 2, 16, progress=False)
    second = trainer.fit(x, y, 2, 16, progress=False)
    assert second["number"] == [1, 2]
    assert second["cost"][-1] < first["cost"][0]
