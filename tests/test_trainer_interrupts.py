"""Training that is interrupted at any moment leaves the weights and the velocity of one step."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any

import numpy as np
import pytest
from interrupting import everywhere, timer_signals
from networks import small, stripes

import cnn_ext.optim.optimizer
import cnn_ext.optim.rules
import cnn_ext.training.callbacks
import cnn_ext.training.descent
import cnn_ext.training.history
import cnn_ext.training.loop
import cnn_ext.training.progress
import cnn_ext.training.schedules
import cnn_ext.training.trainer
from cnn_ext import SGD, Epoch, Flatten, Linear, Parameter, Sequential, Trainer

X, Y = stripes(24)
OPTIM = (cnn_ext.optim.optimizer, cnn_ext.optim.rules)
LOOP = (cnn_ext.training.trainer, cnn_ext.training.loop, cnn_ext.training.descent)
State = tuple[bytes, tuple[bytes | None, ...]]


def state(trainer: Trainer) -> State:
    weights = b"".join(parameter.data.tobytes() for parameter in trainer.optimizer.parameters)
    return weights, tuple(map(slots, trainer.optimizer.state))


def slots(state: dict[str, Any]) -> bytes | None:
    """The slots of one parameter and the number of its steps."""
    if not state:
        return None
    return state["step"].to_bytes(8, "big") + b"".join(
        array.tobytes() for name, array in state.items() if name != "step"
    )


def states(trainer: Trainer) -> list[State]:
    """The states before training and after each step, as they come to be."""
    seen = [state(trainer)]
    step = trainer.optimizer.step

    def noting_step() -> None:
        step()
        seen.append(state(trainer))

    trainer.optimizer.step = noting_step  # type: ignore[method-assign]
    return seen


def network() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(Flatten(), Linear(36, 5, rng=rng), Linear(5, 3, rng=rng))


def recorded() -> Trainer:
    net = network()
    optimizer = SGD(net.parameters(), 0.05, 0.9, dampening=0.5, weight_decay=0.01)
    return Trainer(net, optimizer=optimizer)


RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "dampening": 0.5}),
    ("Adam", {}),
    ("AdamW", {"decay_biases": False}),
    ("RMSprop", {"momentum": 0.5, "centered": True, "max_norm": 0.1}),
]


def test_a_step_is_done_or_not_done_at_every_instruction() -> None:
    plain = recorded()
    allowed = states(plain)
    for _ in range(2):
        plain.train_on_batch(X, Y)
    for interrupt in everywhere(cnn_ext.training.descent, *OPTIM, instructions=True):
        trainer = recorded()
        try:
            with interrupt:
                for _ in range(2):
                    trainer.train_on_batch(X, Y)
        except KeyboardInterrupt:
            assert interrupt.place is not None
        assert state(trainer) in allowed, interrupt.place
        assert trainer.optimizer.lr == 0.05, interrupt.place
    assert state(trainer) == allowed[-1]


@pytest.mark.parametrize(("name", "options"), RULES, ids=[name for name, _ in RULES])
def test_slots_and_weights_are_of_one_step_at_every_instruction(
    name: str, options: dict[str, Any]
) -> None:
    net = network()
    trainer = Trainer(net, optimizer=getattr(cnn_ext.optim, name)(net, 0.05, **options))
    for _ in range(2):
        trainer.train_on_batch(X, Y)
    weights, slots = net.state_dict(), trainer.optimizer.state_dict()
    trainer.optimizer.step()
    after = state(trainer)
    for interrupt in everywhere(*OPTIM, instructions=True):
        net.load_state_dict(weights)
        trainer.optimizer.load_state_dict(slots)
        before = state(trainer)
        try:
            with interrupt:
                trainer.optimizer.step()
        except KeyboardInterrupt:
            assert interrupt.place is not None
        assert state(trainer) in (before, after), interrupt.place
    assert state(trainer) == after


@pytest.mark.skipif(os.name != "posix", reason="Windows has no timer that sends signals")
@pytest.mark.parametrize(("name", "options"), RULES, ids=[name for name, _ in RULES])
def test_real_signals_find_all_parameters_moved_or_none(name: str, options: dict[str, Any]) -> None:
    parameters = [Parameter(np.zeros(3, np.float32)) for _ in range(300)]
    for parameter in parameters:
        parameter.grad = np.ones(3, np.float32)
    optimizer = getattr(cnn_ext.optim, name)(parameters, 0.01, **options)
    rng = random.Random(0)
    interrupts = 0
    with timer_signals(signal.default_int_handler):
        while interrupts < 150:
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3))
                while True:
                    optimizer.step()
            except KeyboardInterrupt:
                interrupts += 1
            weights = {parameter.data.tobytes() for parameter in parameters}
            velocities = {slots(state) for state in optimizer.state if state}
            assert len(weights) == 1 and len(velocities) <= 1


def rate_of_a_step(trainer: Trainer) -> float:
    """The learning rate that a step takes after all."""
    rates = []
    step = trainer.optimizer.step

    def noting_step() -> None:
        rates.append(trainer.optimizer.lr)
        step()

    trainer.optimizer.step = noting_step  # type: ignore[method-assign]
    assert trainer.train_on_batch(X, Y) < 3
    return rates[0]


def fit(trainer: Trainer) -> cnn_ext.History:
    return trainer.fit(
        X, Y, 2, 9, validation_split=0.25, schedule="cosine", early_stopping=2,
        callbacks=[lambda trainer, epoch: None], progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("make", [recorded, lambda: Trainer(small(dropout=0.5))])
def test_fit_leaves_whole_weights_at_every_line(make: Any) -> None:
    plain = make()
    steps = states(plain)
    fit(plain)
    start_anew = (None,) * len(plain.optimizer.parameters)
    allowed = {*steps, *((weights, start_anew) for weights, _ in steps)}
    modules = (
        *LOOP,
        *OPTIM,
        cnn_ext.training.callbacks,
        cnn_ext.training.history,
        cnn_ext.training.progress,
        cnn_ext.training.schedules,
    )
    returned = 0
    for interrupt in everywhere(*modules):
        trainer = make()
        try:
            with interrupt:
                history = fit(trainer)
        except KeyboardInterrupt:  # before training began, or after its end
            assert interrupt.place is not None
        else:
            returned += 1
            assert history.stopped == ("interrupted" if interrupt.place else None)
            assert not trainer.net.training
        assert state(trainer) in allowed, interrupt.place
        assert trainer.optimizer.lr == 0.05, interrupt.place
        assert rate_of_a_step(trainer) == 0.05, interrupt.place
    assert returned > 50


def test_the_rates_of_all_groups_come_back_at_every_line() -> None:
    fits = 0
    for interrupt in everywhere(*LOOP, *OPTIM):
        net = network()
        groups: list[Any] = [
            {"params": layer.parameters(), "lr": rate}
            for layer, rate in zip(net.layers[1:], (0.03, 0.07), strict=True)
        ]
        trainer = Trainer(net, optimizer=cnn_ext.Adam(groups), average=0.9)
        try:
            with interrupt:
                trainer.fit(X, Y, 1, 12, schedule="cosine", progress=False)
        except KeyboardInterrupt:
            assert interrupt.place is not None
        fits += 1
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        assert rates == [0.03, 0.07], interrupt.place
    assert fits > 50


def test_weights_that_are_not_finite_are_taken_back() -> None:
    def interrupt() -> None:
        step()
        raise KeyboardInterrupt

    net = small()
    first = net.state_dict()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 1e38, weight_decay=1e30))
    step = trainer.optimizer.step
    trainer.optimizer.step = interrupt  # type: ignore[method-assign]
    with np.errstate(over="ignore"):
        assert trainer.fit(X, Y, progress=False).stopped == "interrupted"
    for name, array in net.state_dict().items():
        assert array.tobytes() == first[name].tobytes()


def test_a_gradient_that_does_not_fit_moves_nothing() -> None:
    trainer = recorded()
    trainer.train_on_batch(X, Y)
    before = state(trainer)
    trainer.optimizer.parameters[-1].grad = np.ones(7, np.float32)
    with pytest.raises(ValueError, match=r"grad: expected shape \(3,\), got \(7,\)"):
        trainer.optimizer.step()
    assert state(trainer) == before


# ---------------------------------------------------------------------------------- stopping


def test_training_can_be_told_to_stop_after_a_step() -> None:
    trainer = Trainer(small())
    seen = states(trainer)
    step = trainer.optimizer.step

    def fifth() -> None:
        step()
        trainer.stop_training = len(seen) == 6

    trainer.optimizer.step = fifth  # type: ignore[method-assign]
    history = trainer.fit(X, Y, 9, 8, progress=False)  # three steps an epoch
    assert history.stopped == "interrupted" and len(history) == 1 and len(seen) == 6
    assert not trainer.stop_training and not trainer.net.training
    assert len(trainer.fit(X, Y, 1, 8, progress=False)) == 1


def test_told_before_it_begins_and_after_its_last_step() -> None:
    trainer = Trainer(small())
    before = state(trainer)
    trainer.stop_training = True
    history = trainer.fit(X, Y, 2, 8, progress=False)
    assert history.stopped == "interrupted" and not len(history) and state(trainer) == before

    def last(trainer: Trainer, epoch: Epoch) -> None:
        trainer.stop_training = epoch.number == 2

    history = trainer.fit(X, Y, 2, 8, callbacks=[last], progress=False)
    assert history.stopped is None and len(history) == 2 and not trainer.stop_training


def test_told_by_another_thread() -> None:
    trainer = Trainer(small())
    begun = threading.Event()

    def stop() -> None:
        begun.wait(60)
        trainer.stop_training = True

    thread = threading.Thread(target=stop)
    thread.start()
    history = trainer.fit(
        X, Y, 10**6, 8, callbacks=[lambda trainer, epoch: begun.set()], progress=False
    )
    thread.join()
    assert history.stopped == "interrupted" and len(history) >= 1
