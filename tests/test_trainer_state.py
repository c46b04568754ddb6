"""What a trainer owns: the learning rate, the division of the images, and all of it in a copy."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from networks import Recorder, all_kinds, assert_same, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import SGD, EarlyStopping, Epoch, Linear, Sequential, Trainer, schedules
from cnn_ext.training.losses import LOSSES, Loss

X, Y = stripes(30)

# ------------------------------------------------------------------------------ learning rate


def halve(trainer: Trainer, epoch: Epoch) -> None:
    trainer.optimizer.lr /= 2


def sgd_trainer(lr: float = 0.1) -> Trainer:
    net = small()
    return Trainer(net, optimizer=SGD(net.parameters(), lr, momentum=0.9))


def test_a_callback_that_halves_the_rate() -> None:
    trainer = sgd_trainer(1e-2)
    history = trainer.fit(X, Y, 3, callbacks=[halve], progress=False)
    assert history["learning_rate"] == [1e-2, 1e-2 / 2, 1e-2 / 4]
    assert trainer.optimizer.lr == 1e-2 / 8


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_the_schedule_multiplies_what_was_set(name: str) -> None:
    plain, halved = sgd_trainer(), sgd_trainer()
    rates: list[float] = []
    step = halved.optimizer.step

    def noting_step() -> None:
        rates.append(halved.optimizer.lr)
        step()

    halved.optimizer.step = noting_step  # type: ignore[method-assign]
    expected = plain.fit(X, Y, 4, 10, schedule=name, progress=False)["learning_rate"]
    history = halved.fit(X, Y, 4, 10, schedule=name, callbacks=[halve], progress=False)
    assert_allclose(history["learning_rate"], np.array(expected) / [1, 2, 4, 8])
    factor = schedules.SCHEDULES[name]()
    assert_allclose(rates, [0.1 / 2 ** (i // 3) * factor(i / 12) for i in range(12)])
    assert plain.optimizer.lr == 0.1 and halved.optimizer.lr == 0.1 / 16


def test_a_schedule_multiplies_the_rates_of_all_groups() -> None:
    net = small()
    first, *rest = net.parameters()
    optimizer = SGD([{"params": first}, {"params": rest, "lr": 0.03}], 0.1)
    trainer = Trainer(net, optimizer=optimizer)
    rates: list[list[float]] = []
    step = optimizer.step

    def noting_step() -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        step()

    optimizer.step = noting_step  # type: ignore[method-assign]
    history = trainer.fit(X, Y, 2, 15, schedule=lambda done: 1 - done, progress=False)
    assert_allclose(rates, [[0.1 * f, 0.03 * f] for f in (1, 0.75, 0.5, 0.25)])
    assert_allclose(history["learning_rate"], [0.075, 0.025])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.03]


def test_a_rate_can_be_set_within_a_step_to_what_the_schedule_gave_and_to_nothing() -> None:
    trainer = sgd_trainer()
    step = trainer.optimizer.step

    def setting_step() -> None:
        step()
        trainer.optimizer.lr = 0.3

    trainer.optimizer.step = setting_step  # type: ignore[method-assign]
    history = trainer.fit(X, Y, 2, 15, schedule=lambda done: 1 - done, progress=False)
    assert_allclose(history["learning_rate"], [0.3 * 0.75, 0.3 * 0.25])
    assert trainer.optimizer.lr == 0.3

    def take_over(trainer: Trainer, epoch: Epoch) -> None:
        trainer.optimizer.lr = epoch.learning_rate

    trainer = sgd_trainer()
    trainer.fit(X, Y, 1, 15, schedule=lambda done: 1 - done, callbacks=[take_over], progress=False)
    assert trainer.optimizer.lr == 0.05
    trainer.optimizer.lr = 0
    before = trainer.net.state_dict()
    trainer.fit(X, Y, progress=False)
    assert_same(trainer.net.state_dict(), before)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_rates_that_are_refused(value: float) -> None:
    trainer = sgd_trainer()
    with pytest.raises(ValueError, match="lr: expected 0 or more, got"):
        trainer.optimizer.lr = value
    with pytest.raises(ValueError, match="schedule: expected 0 or more, got"):
        trainer.fit(X, Y, schedule=lambda done: value, progress=False)
    with pytest.raises(TypeError, match="lr: expected a number, got 'fast'"):
        trainer.optimizer.lr = "fast"  # type: ignore[assignment]
    assert trainer.optimizer.lr == 0.1


def test_a_rate_of_numpy_is_a_plain_number_in_the_history() -> None:
    trainer = sgd_trainer()
    trainer.optimizer.lr = np.float32(0.5)  # type: ignore[assignment]
    assert type(trainer.fit(X, Y, progress=False)["learning_rate"][0]) is float


# ------------------------------------------------------------------- division into two parts


def parts(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[set, set]:
    """The images that one `fit` trained on, and those that it only looked at."""
    images, trained = Recorder(X), []
    step = trainer._gradients

    def noting_step(*batch: Any) -> Any:
        trained.append(images.asked[-1])
        return step(*batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_gradients", noting_step)
        trainer.fit(images, Y, 2, 7, validation_split=0.3, progress=False, **options)
    used = set(np.concatenate(trained).tolist())
    return used, set(np.concatenate(images.asked).tolist()) - used


@pytest.mark.parametrize("seed", [0, 7, None])
def test_no_image_for_validation_is_ever_trained_on(
    seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(small(), seed=seed)
    first = parts(trainer, monkeypatch)
    trainer.fit(X[:20], Y[:20], 1, validation_split=0.5, progress=False)  # other data between
    trainer.evaluate(X, Y)
    again = pickle.loads(pickle.dumps(trainer))
    for one, options in ((trainer, {}), (trainer, {"shuffle": False}), (again, {})):
        assert parts(one, monkeypatch, **options) == first
    assert len(first[1]) == 9 and first[0] | first[1] == set(range(30))
    if seed is not None:
        assert parts(Trainer(small(1, dropout=0.5), seed=seed), monkeypatch) == first


def test_another_seed_and_another_number_divide_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = [parts(Trainer(small(), seed=seed), monkeypatch)[1] for seed in (0, 1, None, None)]
    assert len({tuple(sorted(part)) for part in kept}) == 4


# ----------------------------------------------------------------------------- pickles, copies


def cubic(outputs: Any, targets: Any, scale: float = 1.0) -> tuple[float, np.ndarray]:
    difference = np.asarray(outputs) - targets
    return scale * float((difference**4).mean()), scale * 4 * difference**3 / difference.size


def deepcopy(trainer: Trainer) -> Trainer:
    return copy.deepcopy(trainer)


def pickled(trainer: Trainer) -> Trainer:
    return pickle.loads(pickle.dumps(trainer))


ROWS = np.eye(3, dtype=np.float32)[Y]
LOSS_KINDS = {
    **{name: (name, ROWS) for name in LOSSES},
    "Loss": (LOSSES["cross_entropy"], Y),
    "Loss on arrays": (Loss("cubic", cubic), ROWS),
    "function": (cubic, ROWS),
    "partial": (functools.partial(cubic, scale=0.5), ROWS),
}


def arrays_of(trainer: Trainer) -> list[np.ndarray]:
    optimizer = trainer.optimizer
    weights = [array for p in optimizer.parameters for array in (p.data, p.grad)]
    slots = [state.get(slot) for state in optimizer.state for slot in optimizer.slots]
    everything = [*weights, *slots, *trainer._good]
    return [array for array in everything if array is not None]


@pytest.mark.parametrize("copied", [deepcopy, pickled])
@pytest.mark.parametrize("kind", LOSS_KINDS)
@pytest.mark.parametrize("dropout", [False, True])
def test_a_copy_goes_on_as_the_original_does(
    kind: str, copied: Callable[[Trainer], Trainer], dropout: bool
) -> None:
    loss, y = LOSS_KINDS[kind]
    net = small(dropout=0.5) if dropout else Sequential(*(small().layers[i] for i in (0, 1, 2, 5)))
    optimizer = SGD(net.parameters(), 0.02, 0.9, weight_decay=1e-3)
    trainer = Trainer(net, loss, optimizer)
    options: dict[str, Any] = {"validation_split": 0.2, "progress": False}
    trainer.fit(X, y, 2, 8, **options)
    net(X)  # a forward pass is recorded too
    other = copied(trainer)
    assert other.optimizer.parameters == other.net.parameters()
    for mine, theirs in zip(arrays_of(trainer), arrays_of(other), strict=True):
        assert mine is not theirs and not np.shares_memory(mine, theirs)
        assert_array_equal(mine, theirs)
    before = trainer.net.state_dict()
    history = other.fit(X, y, 2, 8, schedule="cosine", **options)
    assert_same(trainer.net.state_dict(), before)  # the copy has its own memory, weights and chance
    expected = trainer.fit(X, y, 2, 8, schedule="cosine", **options)
    assert history["cost"] == expected["cost"]
    assert history["validation_cost"] == expected["validation_cost"]
    for _ in range(2):
        assert trainer.train_on_batch(X, y) == other.train_on_batch(X, y)
    assert_same(trainer.net.state_dict(), other.net.state_dict())
    assert other.optimizer.lr == trainer.optimizer.lr == 0.02
    assert_array_equal(other.predict(X), trainer.predict(X))


def test_a_network_of_every_kind_of_layer_in_a_copy() -> None:
    trainer = Trainer(all_kinds(), optimizer=None)
    x, y = np.random.default_rng(0).random((20, 2, 7, 7)), np.arange(20) % 3
    trainer.fit(x, y, progress=False)
    for other in (deepcopy(trainer), pickled(trainer)):
        state = pickled(trainer)
        assert other.train_on_batch(x, y) == state.train_on_batch(x, y)
        assert_same(other.net.state_dict(), state.net.state_dict())


def test_a_callback_may_copy_and_what_belongs_to_training_has_a_pickle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies: list[Trainer] = []

    def keep(trainer: Trainer, epoch: Epoch) -> None:
        copies.append(pickled(trainer))

    trainer, rule = Trainer(small(dropout=0.5)), EarlyStopping(5)
    options: dict[str, Any] = {"validation_split": 0.2, "early_stopping": rule}
    history = trainer.fit(X, Y, 3, 8, callbacks=[halve, keep], progress=False, **options)
    assert [one.optimizer.lr for one in copies] == [0.05 / 2, 0.05 / 4, 0.05 / 8]
    again, rule_again, function = pickle.loads(pickle.dumps((history, rule, halve)))
    assert again == history and function is halve
    assert rule_again.reached == rule.reached and len(rule_again.best) == len(rule.best or ())


def test_a_lambda_has_no_pickle_but_a_copy() -> None:
    trainer = Trainer(Sequential(Linear(36, 3)), lambda outputs, targets: cubic(outputs, targets))
    x = X.reshape(30, 36)
    trainer.fit(x, ROWS, progress=False)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(trainer)
    assert deepcopy(trainer).train_on_batch(x, ROWS) == trainer.train_on_batch(x, ROWS)
