"""Training: what it records, that it can be repeated bit for bit, and what it takes and gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    SGD,
    Conv2d,
    Dropout,
    EarlyStopping,
    Epoch,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Trainer,
    ops,
)

Weights = dict[str, np.ndarray]


def trained(
    seed: int | None = 0, threads: int | None = None, dropout: float = 0.3, **options: Any
) -> tuple[Weights, cnn_ext.History]:
    """Weights and history of a short training of the same first weights."""
    x, y = stripes()
    net = small(dropout=dropout)
    options = {"epochs": 2, "batch_size": 16, "validation_split": 0.2, **options}
    history = Trainer(net, seed=seed, num_threads=threads).fit(x, y, progress=False, **options)
    return net.state_dict(), history


def assert_same(a: Weights, b: Weights) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        assert array.tobytes() == b[name].tobytes(), name


class Recorder:
    """Images that note which of them were asked for."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.asked.append(np.array(indices))
        return self.x[indices]


# ------------------------------------------------------------------------------ repeatability


def test_the_same_seed_gives_the_same_weights_at_any_number_of_threads() -> None:
    first, history = trained(threads=1)
    for threads in (1, 2, 3, None):
        weights, again = trained(threads=threads)
        assert_same(weights, first)
        assert again["cost"] == history["cost"]
        assert again["validation_cost"] == history["validation_cost"]


def test_large_enough_work_to_be_shared_gives_the_same_weights_too() -> None:
    x, y = np.random.default_rng(0).random((48, 3, 20, 20), np.float32), np.arange(48) % 4
    weights = []
    for threads in (1, 2, 3):
        rng = np.random.default_rng(0)
        net = Sequential(
            Conv2d(3, 24, 5, padding=2, rng=rng), ReLU(),
            Conv2d(24, 16, 3, stride=2, rng=rng), ReLU(),
            Dropout(), Flatten(), Linear(16 * 81, 4, rng=rng),
        )  # fmt: skip
        Trainer(net, num_threads=threads).fit(x, y, 1, 24, progress=False)
        weights.append(net.state_dict())
    assert_same(weights[0], weights[1])
    assert_same(weights[0], weights[2])


def test_another_seed_gives_other_weights() -> None:
    first, _ = trained()
    for options in ({"seed": 1}, {"shuffle": False}, {"dropout": 0.0}):
        weights, _ = trained(**options)
        assert (weights["5.weight"] != first["5.weight"]).any(), options


def test_no_seed_differs_every_time() -> None:
    assert (trained(seed=None)[0]["5.weight"] != trained(seed=None)[0]["5.weight"]).any()


def test_the_number_of_threads_is_put_back() -> None:
    before = cnn_ext.get_num_threads()
    seen = []

    def look(trainer: Trainer, epoch: Epoch) -> None:
        seen.append(cnn_ext.get_num_threads())

    trained(threads=before + 1, callbacks=[look])
    assert cnn_ext.get_num_threads() == before and seen == [before, before]
    with pytest.raises(ValueError, match="num_threads: expected 1 to 1024, got 0"):
        Trainer(small(), num_threads=0)


# ------------------------------------------------------------------------------------ history


def test_the_history_tells_every_epoch() -> None:
    _, history = trained(epochs=3)
    assert len(history) == 3 and history["number"] == [1, 2, 3] and history.stopped is None
    assert [epoch.number for epoch in history] == [1, 2, 3]
    assert history["learning_rate"] == [0.05] * 3
    for epoch in history:
        assert epoch.cost > 0 and epoch.validation_cost is not None and epoch.validation_cost > 0
        assert epoch.accuracy is not None and 0 <= epoch.accuracy <= 1
        assert epoch.accuracy * 72 == pytest.approx(round(epoch.accuracy * 72))  # of 72 images
        assert epoch.validation_accuracy is not None
        assert epoch.validation_accuracy * 18 == pytest.approx(
            round(epoch.validation_accuracy * 18)
        )
        assert epoch.seconds > 0
        assert epoch.images_per_second == pytest.approx(72 / epoch.seconds)
    assert json.loads(json.dumps(history.as_dict()))["epochs"][2]["number"] == 3
    with pytest.raises(KeyError, match="expected one of number, cost, .* got 'loss'"):
        history["loss"]


def test_the_line_of_an_epoch() -> None:
    epoch = Epoch(1, 0.51, 0.8, 0.1, 2.0, 1500.0, 0.6, 0.75)
    assert epoch.text() == (
        "cost 0.5100, accuracy 80.00%, validation cost 0.6000, accuracy 75.00%, "
        "2.0 s, 1,500 images/s"
    )
    assert Epoch(1, 0.51, None, 0.1, 2.0, 1500.0).text() == "cost 0.5100, 2.0 s, 1,500 images/s"


def test_the_cost_of_an_epoch_is_the_mean_before_each_step() -> None:
    x, y = stripes(25)
    net = small()
    history = Trainer(net).fit(x, y, 1, 10, shuffle=False, progress=False)
    other = Trainer(small())
    costs = [other.train_on_batch(x[i : i + 10], y[i : i + 10]) for i in (0, 10, 20)]
    assert history["cost"] == [pytest.approx((10 * costs[0] + 10 * costs[1] + 5 * costs[2]) / 25)]
    assert_same(net.state_dict(), other.net.state_dict())


def test_it_learns() -> None:
    x, y = stripes(300)
    net = small()
    trainer = Trainer(net)
    history = trainer.fit(x, y, 5, 32, progress=False)
    assert history["cost"] == sorted(history["cost"], reverse=True)
    assert trainer.evaluate(*stripes(200, seed=1))["accuracy"] > 0.95


# --------------------------------------------------------------------------------- validation


def test_images_kept_for_validation_are_never_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = stripes()
    images = Recorder(x)
    trainer = Trainer(small())
    trained_on: list[np.ndarray] = []
    step = trainer._step

    def noting_step(batch: Any, targets: Any) -> Any:
        trained_on.append(images.asked[-1])
        return step(batch, targets)

    monkeypatch.setattr(trainer, "_step", noting_step)
    trainer.fit(images, y, 3, 16, validation_split=0.3, progress=False)
    seen = np.concatenate(trained_on)
    steps = [set(indices.tolist()) for indices in trained_on]
    kept = set(range(90)) - set(seen.tolist())
    assert len(kept) == 27 and len(seen) == 3 * 63
    assert all(len(set(seen[i * 63 : (i + 1) * 63].tolist())) == 63 for i in range(3))
    looked_at = [set(indices.tolist()) for indices in images.asked]
    assert [indices for indices in looked_at if indices not in steps] == [kept] * 3
    assert not any(kept & indices for indices in steps)


def test_validation_data_are_evaluated_and_nothing_else() -> None:
    x, y = stripes()
    kept = stripes(40, seed=1)
    net = small()
    trainer = Trainer(net)
    history = trainer.fit(x, y, 2, 16, validation_data=kept, progress=False)
    scores = trainer.evaluate(*kept)
    assert history["validation_cost"][-1] == scores["cost"]
    assert history["validation_accuracy"][-1] == scores["accuracy"]
    without = small()
    Trainer(without).fit(x, y, 2, 16, progress=False)
    assert_same(net.state_dict(), without.state_dict())


class Planned(Trainer):
    """Says the validation costs that it was told to, and notes the weights they stand for."""

    def plan(self, costs: list[float]) -> Planned:
        self.costs, self.weights = list(costs), []  # type: ignore[var-annotated]
        return self

    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> dict[str, float]:
        self.weights.append(self.net.state_dict())
        return {"cost": self.costs.pop(0), "accuracy": 0.5}


@pytest.mark.parametrize(
    ("rule", "costs", "epochs", "best"),
    [
        (2, [5, 4, 3, 3, 3], 5, 2),
        (1, [5, 6], 2, 0),
        (3, [5, 6, 7, 4, 5, 6, 7], 7, 3),
        (EarlyStopping(2, min_delta=0.5), [5, 4, 3.9, 3.6], 4, 1),
        (EarlyStopping(1, restore_best=False), [5, 6], 2, 1),
    ],
)
def test_early_stopping_restores_the_best(
    rule: Any, costs: list[float], epochs: int, best: int
) -> None:
    x, y = stripes()
    trainer = Planned(small()).plan(costs)
    history = trainer.fit(x, y, 20, 32, validation_data=(x, y), early_stopping=rule, progress=False)
    assert len(history) == epochs and history.stopped == "early"
    assert_same(trainer.net.state_dict(), trainer.weights[best])


def test_the_best_is_restored_when_all_epochs_are_done_or_a_callback_stops() -> None:
    x, y = stripes()
    for callbacks in ([], [lambda trainer, epoch: epoch.number == 3]):
        trainer = Planned(small()).plan([5, 6, 4, 7][: 3 if callbacks else 4])
        trainer.fit(x, y, 4, 32, (x, y), early_stopping=9, callbacks=callbacks, progress=False)
        assert_same(trainer.net.state_dict(), trainer.weights[2])


def test_a_rule_can_be_used_again() -> None:
    rule = EarlyStopping(1)
    x, y = stripes()
    for _ in range(2):
        trainer = Planned(small()).plan([5, 6])
        history = trainer.fit(x, y, 9, 32, (x, y), early_stopping=rule, progress=False)
        assert len(history) == 2


# --------------------------------------------------------------------- schedules and callbacks


def test_schedules_set_the_rate_of_every_step_and_it_is_put_back() -> None:
    x, y = stripes(30)
    net = small()
    optimizer = SGD(net.parameters(), 0.1)
    rates, done = [], []
    step = optimizer.step
    optimizer.step = lambda: (rates.append(optimizer.lr), step())[1]  # type: ignore[method-assign]

    def half(part: float) -> float:
        done.append(part)
        return 1 - part / 2

    history = Trainer(net, optimizer=optimizer).fit(x, y, 2, 10, schedule=half, progress=False)
    assert_allclose(done, np.arange(6) / 6)
    assert_allclose(rates, 0.1 * (1 - np.arange(6) / 12))
    assert history["learning_rate"] == [rates[2], rates[5]]
    assert optimizer.lr == 0.1


@pytest.mark.parametrize("name", cnn_ext.schedules.SCHEDULES)
def test_schedules_by_name(name: str) -> None:
    x, y = stripes(40)
    trainer = Trainer(small())
    history = trainer.fit(x, y, 4, 10, schedule=name, progress=False)
    schedule = cnn_ext.schedules.SCHEDULES[name]()
    last_steps = [(4 * epoch + 3) / 16 for epoch in range(4)]
    assert_allclose(history["learning_rate"], [0.05 * schedule(part) for part in last_steps])
    assert trainer.optimizer.lr == 0.05


def test_callbacks_see_every_epoch_and_may_stop() -> None:
    x, y = stripes(20)
    for answer, epochs in ((True, 2), (np.True_, 2), (None, 5), (False, 5), (1.5, 5)):
        seen: list[Epoch] = []

        def callback(
            trainer: Trainer, epoch: Epoch, seen: list[Epoch] = seen, answer: Any = answer
        ) -> Any:
            seen.append(epoch)
            return answer if epoch.number == 2 else None

        history = Trainer(small()).fit(
            x, y, 5, callbacks=(function for function in [callback]), progress=False
        )
        assert len(history) == epochs
        assert seen == history.epochs
        assert history.stopped == ("callback" if epochs == 2 else None)


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
        assert_array_equal(predicted, trainer.predict_proba(x))
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
    own = ChannelScale(4)
    net = Sequential(Conv2d(1, 4, 3), own, ReLU(), Flatten(), Linear(64, 3))
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
