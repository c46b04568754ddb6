"""The search for a learning rate: what it finds, and that it leaves everything as it was."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from networks import assert_same, small, stripes
from numpy.testing import assert_allclose

from cnn_ext import SGD, BatchNorm2d, Conv2d, Flatten, Linear, Parameter, ReLU, Sequential, Trainer
from cnn_ext import learning_rate_finder as find

X, Y = stripes(60)


def normalised() -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(
        Conv2d(1, 4, 3, rng=rng), BatchNorm2d(4), ReLU(), Flatten(), Linear(64, 3, rng=rng)
    )


@pytest.mark.parametrize(
    "make", [lambda: Trainer(small(dropout=0.5), average=0.9), lambda: Trainer(normalised())]
)
def test_training_goes_on_as_if_there_had_been_no_search(make: Any) -> None:
    plain, searched = make(), make()
    for trainer in (plain, searched):
        trainer.fit(X, Y, 1, 16, progress=False)
    before = pickle.dumps(searched)
    find(searched, X, Y, steps=20)
    assert pickle.dumps(searched) == before
    for trainer in (plain, searched):
        trainer.fit(X, Y, 2, 16, progress=False)
    assert_same(plain.net.state_dict(), searched.net.state_dict())
    untrained = make()
    find(untrained, X, Y, steps=5)
    assert untrained.net.task is None and untrained.epochs_begun == 0


def test_rates_rise_and_the_suggestion_is_where_the_cost_falls() -> None:
    found = find(Trainer(small()), X, Y, steps=60, batch_size=16)
    assert_allclose(found.rates, np.geomspace(1e-6, 10, 60)[: len(found.rates)])
    assert len(found.costs) == len(found.rates)
    assert found.suggestion in found.rates and found.suggestion < found.rates[found.costs.argmin()]
    assert 1e-4 < found.suggestion < 2


def test_it_ends_where_the_cost_explodes() -> None:
    net = normalised()
    found = find(Trainer(net, optimizer=SGD(net, 0.1)), X, Y, 1e-3, 1e30, 60, 16)
    assert 2 <= len(found.rates) < 60 and np.isfinite(found.costs).all()
    assert "<svg" in found._repr_html_()


def test_nothing_to_suggest() -> None:
    net = Sequential(Flatten(), Linear(36, 3))
    found = find(Trainer(net, lambda y, t: (float("nan"), y)), X, Y)
    assert len(found.rates) == len(found.costs) == 0 and found.suggestion is None
    assert "None" in found._repr_html_()
    constant = find(Trainer(net, lambda y, t: (1.0, y)), X, Y, highest=1e-5, steps=5)
    assert_allclose(constant.costs, np.ones(5))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lowest": 0}, ValueError, "highest: expected more than lowest"),
        ({"lowest": 1, "highest": 0.1}, ValueError, "highest: expected more than lowest"),
        ({"highest": "1"}, TypeError, "highest: expected a number"),
        ({"steps": 1}, ValueError, "steps: expected"),
        ({"batch_size": 0}, ValueError, "batch_size: expected"),
        ({"smoothing": 1}, ValueError, "smoothing: expected less than 1"),
        ({"y": Y[1:]}, ValueError, "y: expected 60 targets"),
        ({"trainer": small()}, TypeError, "trainer: expected a Trainer, got Sequential"),
    ],
)
def test_arguments_that_do_not_fit(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        find(**{"trainer": Trainer(small()), "x": X, "y": Y, **options})


def test_a_trainer_that_has_no_copy_is_refused() -> None:
    trainer = Trainer(small())
    trainer.net.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="trainer: expected one that can be copied: cannot"):
        find(trainer, X, Y)


def test_an_optimizer_of_other_parameters_is_refused() -> None:
    trainer = Trainer(small())
    trainer.optimizer = SGD([Parameter(np.zeros(3, np.float32))], 0.1)
    with pytest.raises(ValueError, match="optimizer: 1 of its parameters"):
        find(trainer, X, Y)
