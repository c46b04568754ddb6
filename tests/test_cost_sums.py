"""Sums of several costs of the same outputs."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnn_ext import Linear, Module, ReLU, Sequential, Softmax, Trainer, losses

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((53, 6)).astype(np.float32), np.arange(53) % 3
ROWS, WEIGHTS = np.eye(3, dtype=np.float32)[Y], RNG.random(53) * 2


def net() -> Sequential:
    rng = np.random.default_rng(1)
    return Sequential(Linear(6, 8, rng=rng), ReLU(), Linear(8, 3, rng=rng))


def own(outputs: Any, targets: Any) -> tuple[float, Any]:
    return 0.0, np.zeros_like(outputs)


BOTH = {"cross_entropy": 1.0, losses.focal(1.0): 0.5, "quadratic": 0.1}


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_sum_has_the_sum_of_costs_and_gradients(weights: Any) -> None:
    whole = Trainer(net(), losses.weighted_sum(BOTH))
    cost = whole.train_on_batch(X, Y, weights)
    parts = [Trainer(net(), loss) for loss in BOTH]
    costs = [part.train_on_batch(X, Y, weights) for part in parts]
    assert_allclose(cost, costs @ np.array(list(BOTH.values())), rtol=1e-6)
    for own, *others in zip(*(t.net.parameters() for t in (whole, *parts)), strict=True):
        gradients = zip(others, BOTH.values(), strict=True)
        expected = sum(other.grad * w for other, w in gradients)  # type: ignore[operator]
        assert_allclose(own.grad, expected, rtol=1e-5, atol=1e-7)
    assert whole.task.outputs == "logits" and whole.task.kind == "classes"
    evaluated = [Trainer(net(), loss).evaluate(X, Y, sample_weight=weights) for loss in BOTH]
    expected = sum(e["cost"] * w for e, w in zip(evaluated, BOTH.values(), strict=True))
    got = Trainer(net(), losses.weighted_sum(BOTH)).evaluate(X, Y, sample_weight=weights)
    assert_allclose(got["cost"], expected, rtol=1e-6)


def test_sums_train_and_can_be_pickled_and_stand_at_one_of_several_outputs() -> None:
    loss = losses.weighted_sum({"mse": 1.0, losses.huber(0.5): 2.0})
    assert loss.name == "1 mse + 2 huber(delta=0.5)"
    trainer = pickle.loads(pickle.dumps(Trainer(net(), loss)))
    costs = trainer.fit(X, ROWS, 5, progress=False)["cost"]
    assert costs[-1] < costs[0] and trainer.task.kind == "numbers"

    class Two(Module):
        def __init__(self) -> None:
            self.body = net()

        def forward(self, x: Any) -> Any:
            return (self.body(x),)

    several = Trainer(Two(), [loss], loss_weights=[2.0])
    assert_allclose(
        several.train_on_batch(X, (ROWS,)), 2 * Trainer(net(), loss).train_on_batch(X, ROWS)
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "weights: expected numbers by loss, got {}"),
        (["mse"], "weights: expected numbers by loss, got"),
        ({"msse": 1}, "loss: expected one of"),
        ({"mse": -1}, "mse: expected 0 or more, got -1"),
        ({"cross_entropy": 1, "binary_cross_entropy": 1}, "got cross_entropy, binary_cross_en"),
        ({"cross_entropy": 1, "hinge": 1}, "got cross_entropy, hinge"),
        ({"cross_entropy": 1, "mse": 1}, "losses of the same outputs and targets, got cross_entro"),
        ({"hinge": 1, "mse": 1}, "got hinge, mse"),
    ],
)
def test_costs_that_do_not_go_together_are_refused(weights: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        losses.weighted_sum(weights)


def test_a_sum_that_contains_the_last_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="contains the last layer, Softmax"):
        Trainer(Sequential(*net().layers, Softmax()), losses.weighted_sum(BOTH))
    own_weights = {"quadratic": 1.0, own: 1.0}
    trainer = Trainer(net(), losses.weighted_sum(own_weights))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sample_weight, class_weight: .* got own"):
        trainer.train_on_batch(X, Y, WEIGHTS)
    trainer.train_on_batch(X, Y)
