"""Schedules that rise, restart and fall along lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnn_ext import schedules


def values(schedule: schedules.Schedule, points: Any) -> list[float]:
    return [schedule(float(done)) for done in points]


def test_linear() -> None:
    assert_allclose(values(schedules.linear(), [0, 0.25, 1]), [1, 0.75, 0])
    assert_allclose(values(schedules.linear(0.2), [0, 0.5, 1]), [1, 0.6, 0.2])


def test_warm_up_then_another() -> None:
    warmed = schedules.warm_up(0.2, "linear", 0.1)
    assert_allclose(values(warmed, [0, 0.1, 0.2, 0.6, 1]), [0.1, 0.55, 1, 0.5, 0])
    doubled = schedules.warm_up(0.5, lambda done: 2 + done, 0.0)
    assert_allclose(values(doubled, [0, 0.25, 0.5, 1]), [0, 1, 2, 3])
    assert values(schedules.warm_up(0.1, None), [0.1, 1]) == [1, 1]


def test_cosine_restarts() -> None:
    cosine = schedules.cosine(0.1)
    thirds = schedules.cosine_restarts(3, 0.1)
    points = np.arange(33) / 33
    assert_allclose(values(thirds, points), [cosine(i % 11 / 11) for i in range(33)], atol=1e-12)
    assert thirds(1.0) == pytest.approx(0.1)
    doubling = schedules.cosine_restarts(3, 0.1, growth=2)  # 1/7, 2/7, 4/7
    starts_and_middles = np.array([0, 0.5, 1, 2, 3, 5]) / 7 + 1e-12
    assert_allclose(values(doubling, starts_and_middles), [1, 0.55] * 3, atol=1e-9)
    assert_allclose(
        values(schedules.cosine_restarts(1), points), values(schedules.cosine(), points)
    )
    for growth in (1e-300, 1e300):
        extreme = values(schedules.cosine_restarts(9, growth=growth), [0, 0.3, 1])
        assert np.isfinite(extreme).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.linear(-1), "final: expected"),
        (lambda: schedules.warm_up(0), "part: expected"),
        (lambda: schedules.warm_up(1), "part: expected"),
        (lambda: schedules.warm_up(0.1, "square"), "schedule: expected one of"),
        (lambda: schedules.warm_up(start=-1), "start: expected"),
        (lambda: schedules.cosine_restarts(0), "periods: expected"),
        (lambda: schedules.cosine_restarts(growth=0), "growth: expected"),
        (lambda: schedules.cosine_restarts(final=-1), "final: expected"),
    ],
)
def test_arguments_that_do_not_fit(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
