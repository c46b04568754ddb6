"""Training: what it records, that it can be repeated bit for bit, and what it takes and gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, Recorder, Weights, assert_same, small, stripes
from numpy.testing import assert_allclose

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
    Trainer,
)


def trained(
    seed: int | None = 0, threads: int | None = None, dropout: float = 0.3, **options: Any
) -> tuple[Weights, cnn_ext.History]:
    """Weights and history of a short training of the same first weights."""
    x, y = stripes()
    net = small(dropout=dropout)
    options = {"epochs": 2, "batch_size": 16, "validation_split": 0.2, **options}
    history = Trainer(net, seed=seed, num_threads=threads).fit(x, y, progress=False, **options)
    return net.state_dict(), history


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
    step = trainer._gradients

    def noting_step(*batch: Any) -> Any:
        trained_on.append(images.asked[-1])
        return step(*batch)

    monkeypatch.setattr(trainer, "_gradients", noting_step)
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

    def plan(self, costs: Sequence[float]) -> Planned:
        self.costs = list(costs)
        self.weights: list[Weights] = []
        return self

    def evaluate(self, x: Any, y: Any, **options: Any) -> dict[str, float]:
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

    def noting_step() -> None:
        rates.append(optimizer.lr)
        step()

    optimizer.step = noting_step  # type: ignore[method-assign]

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


# ------------------------------------------------------------------------ shape of the images


def test_the_network_keeps_the_shape_of_its_images(tmp_path: Path) -> None:
    x, y = stripes(20)
    net = small()
    Trainer(net).fit(x, y, progress=False)
    assert net.input_shape == (1, 6, 6)
    plan = net.compile()
    assert_allclose(plan(x), net(x), atol=1e-6)
    cnn_ext.save(net, tmp_path / "net.safetensors")
    assert cnn_ext.load(tmp_path / "net.safetensors").input_shape == (1, 6, 6)
    Trainer(net).fit(list(x), y, progress=False)
    assert net.input_shape == (1, 6, 6)


def test_a_shape_that_is_known_stays() -> None:
    x, y = stripes(20)
    net = Sequential(Conv2d(1, 4, 3), ReLU(), cnn_ext.GlobalAvgPool2d(), Linear(4, 3))
    net.input_shape = (1, 20, 20)
    Trainer(net).fit(x, y, progress=False)
    assert net.input_shape == (1, 20, 20)


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError])
def test_a_layer_that_does_not_know_its_shapes_can_be_trained_and_saved(
    error: type[Exception], tmp_path: Path
) -> None:
    class Shapeless(ChannelScale):
        def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            raise error("unknown")

    x, y = stripes(20)
    net = Sequential(Shapeless(1), Flatten(), Linear(36, 3))
    Trainer(net).fit(x, y, progress=False)
    assert net.input_shape is None
    cnn_ext.save(net, tmp_path / "net.safetensors")
    flat = Sequential(Flatten(), Linear(36, 3))
    Trainer(flat).fit(x[:, 0], y, progress=False)  # (N, 6, 6): no shape that a file can have
    assert flat.input_shape is None
    cnn_ext.save(flat, tmp_path / "net.safetensors")
