"""Descent step by step against its formula, and the schedules of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference as ref
from cases import normal
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import SGD, Parameter, schedules

OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"momentum": 1.5},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 20_001])
def test_steps_follow_the_formula(size: int, options: dict[str, Any], dtype: str) -> None:
    parameter = Parameter(normal("p", (size,), dtype))
    optimizer = SGD([parameter], lr=0.05, **options)
    p, v = parameter.data.astype(np.float64), None
    for step in range(4):
        parameter.grad = normal(f"g{step}", (size,), dtype)
        optimizer.lr = 0.05 / (step + 1)
        p, v = ref.sgd_step(p, parameter.grad, v, optimizer.lr, **options)
        before = parameter.data
        optimizer.step()
        assert parameter.data is before  # in place
    assert parameter.data.dtype == dtype
    assert_allclose(parameter.data, p, rtol=0, atol=1e-13 if dtype == "float64" else 2e-6)


def test_without_momentum_the_mean_gradient_times_the_rate_is_taken_away() -> None:
    parameter = Parameter(np.array([1.0, 2]))
    parameter.grad = np.array([0.5, -1])
    SGD([parameter], lr=0.5).step()
    assert_array_equal(parameter.data, [0.75, 2.5])


def test_a_parameter_without_gradient_stays() -> None:
    one, other = Parameter(np.ones(3)), Parameter(np.ones(3))
    other.grad = np.ones(3)
    optimizer = SGD([one, other], 0.1, weight_decay=1)
    optimizer.step()
    assert_array_equal(one.data, 1)
    assert (other.data != 1).all()


def test_gradients_of_any_layout_and_number_type() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    parameter.grad = np.arange(6, dtype=np.float32).reshape(3, 2).T
    SGD([parameter], 1.0).step()
    assert_array_equal(parameter.data, -np.arange(6.0).reshape(3, 2).T)
    parameter.grad = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"grad: expected shape \(2, 3\), got \(3, 2\)"):
        SGD([parameter], 1.0).step()


def test_reset_forgets_the_velocity() -> None:
    parameter = Parameter(np.zeros(1))
    parameter.grad = np.ones(1)
    optimizer = SGD([parameter], 1.0, momentum=0.5)
    moves = []
    for step in range(4):
        if step == 2:
            optimizer.reset()
        before = parameter.data.copy()
        optimizer.step()
        moves.append(float((before - parameter.data)[0]))
    assert moves == [1, 1.5, 1, 1.5]


def test_the_velocity_follows_a_conversion() -> None:
    parameter = Parameter(np.zeros(1, np.float32))
    optimizer = SGD([parameter], 1.0, momentum=0.5)
    for dtype in ("float32", "float64"):
        parameter.data = parameter.data.astype(dtype)
        parameter.grad = np.ones(1, dtype)
        optimizer.step()
    assert_array_equal(parameter.data, [-2.5])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": 0}, ValueError, "lr: expected a number above 0, got 0"),
        ({"lr": -1}, ValueError, "lr: expected 0 or more, got -1"),
        ({"lr": math.inf}, ValueError, "lr"),
        ({"lr": math.nan}, ValueError, "lr"),
        ({"lr": "fast"}, TypeError, "lr: expected a number, got 'fast'"),
        ({"momentum": -0.1}, ValueError, "momentum: expected 0 or more, got -0.1"),
        ({"momentum": True}, TypeError, "momentum: expected a number, got True"),
        ({"dampening": math.inf}, ValueError, "dampening"),
        ({"weight_decay": None}, TypeError, "weight_decay"),
        ({"nesterov": True}, ValueError, "nesterov: expected momentum above 0 and dampening 0"),
        (
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            ValueError,
            "nesterov: expected momentum above 0 and dampening 0",
        ),
        ({"parameters": [np.ones(3)]}, TypeError, "parameters: expected Parameter objects"),
    ],
)
def test_arguments_that_do_not_fit(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    valid: dict[str, Any] = {"parameters": [], "lr": 0.1}
    with pytest.raises(error, match=f"^{message}"):
        SGD(**valid | arguments)


# --------------------------------------------------------------------------------- schedules


def values(schedule: schedules.Schedule, points: list[float]) -> list[float]:
    return [schedule(done) for done in points]


def test_constant() -> None:
    assert values(schedules.constant(), [0, 0.5, 1]) == [1, 1, 1]


def test_step() -> None:
    points = [0, 0.3, 0.34, 0.66, 0.67, 0.99, 1]
    assert_allclose(values(schedules.step(), points), [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert_allclose(values(schedules.step(1, 0.5), [0, 0.49, 0.5, 1]), [1, 1, 0.5, 0.5])


def test_cosine() -> None:
    half = 2**-0.5
    expected = [1, (1 + half) / 2, 0.5, (1 - half) / 2, 0]
    assert_allclose(values(schedules.cosine(), [0, 0.25, 0.5, 0.75, 1]), expected, atol=1e-15)
    assert_allclose(values(schedules.cosine(0.2), [0, 0.5, 1]), [1, 0.6, 0.2])


def test_one_cycle() -> None:
    schedule = schedules.one_cycle(0.25, 0.1, 0.01)
    assert_allclose(values(schedule, [0, 0.125, 0.25, 0.625, 1]), [0.1, 0.55, 1, 0.505, 0.01])
    rise, fall = np.linspace(0, 0.25, 20).tolist(), np.linspace(0.25, 1, 20).tolist()
    assert (np.diff(values(schedule, rise)) > 0).all()
    assert (np.diff(values(schedule, fall)) < 0).all()


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_schedules_by_name(name: str) -> None:
    points = np.linspace(0, 1, 30).tolist()
    by_name = values(schedules.schedule_of(name), points)
    assert by_name == values(schedules.SCHEDULES[name](), points)
    assert all(0 <= value <= 1 for value in by_name)


def test_schedules_of_other_kinds() -> None:
    assert schedules.schedule_of(None)(0.3) == 1
    assert schedules.schedule_of(lambda done: 5 * done)(0.5) == 2.5
    with pytest.raises(ValueError, match="schedule: expected one of constant, step, cosine, one-c"):
        schedules.schedule_of("square")
    with pytest.raises(TypeError, match="schedule: expected a name or a function, got 0.1"):
        schedules.schedule_of(0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drops: expected 1 to"):
        schedules.step(0)
    for warm_up in (0, 1, 2):
        with pytest.raises(ValueError, match="warm_up: expected a number between 0 and 1"):
            schedules.one_cycle(warm_up)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda p: setattr(p, "grad", np.ones(3, complex)),
            TypeError,
            "grad: expected real numbers",
        ),
        (
            lambda p: setattr(p, "grad", np.array([1, "a", None], object)),
            TypeError,
            "grad: expected",
        ),
        (lambda p: setattr(p, "grad", np.ones(2)), ValueError, r"grad: expected shape \(3,\)"),
        (lambda p: p.data.setflags(write=False), ValueError, "data: expected an array that can be"),
    ],
)
def test_a_step_that_fails_moves_nothing(spoil: Any, error: type[Exception], message: str) -> None:
    parameters = [Parameter(np.zeros(3)), Parameter(np.zeros(3))]
    optimizer = SGD(parameters, 0.1, 0.9)
    for p in parameters:
        p.grad = np.ones(3)
    spoil(parameters[1])
    with pytest.raises(error, match=message):
        optimizer.step()
    assert all((p.data == 0).all() for p in parameters)


def test_other_weights_and_a_parameter_given_twice() -> None:
    p = Parameter(np.zeros(3))
    optimizer = SGD([p, p], 0.1, 0.9)
    p.grad = np.ones(3)
    optimizer.step()
    np.testing.assert_allclose(p.data, -0.1)
    p.data, p.grad = np.zeros(2), np.ones(2)  # of another shape: its velocity begins anew
    optimizer.step()
    np.testing.assert_allclose(p.data, -0.1)
