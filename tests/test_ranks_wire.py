"""Gradients that travel as bfloat16: how they are rounded, and ranks that stay equal with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from rank_cases import points, small, told
from thread_group import ThreadGroup, on_ranks

from cnn_ext import Linear, Sequential, Trainer, _core, layers
from cnn_ext._bfloat16 import from_bfloat16, to_bfloat16
from cnn_ext.training.descent import CostError

LANES = _core.lanes(4)
ROUNDED = 2.0**-8  # of a number, at most


def rounded(numbers: Any) -> np.ndarray:
    return from_bfloat16(to_bfloat16(np.asarray(numbers, np.float32)))


def test_every_bfloat16_stays_what_it_is() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = from_bfloat16(bits)
    here = ~np.isnan(numbers)
    assert_array_equal(to_bfloat16(numbers)[here], bits[here])
    assert np.isnan(rounded(numbers)[~here]).all()


def test_nan_and_infinity_survive() -> None:
    low = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(rounded(low)).all()
    assert_array_equal(rounded([np.inf, -np.inf, 0.0, -0.0]), [np.inf, -np.inf, 0.0, -0.0])
    assert_array_equal(np.signbit(rounded([0.0, -0.0])), [False, True])
    largest = np.finfo(np.float32).max
    assert_array_equal(rounded([largest, -largest]), [np.inf, -np.inf])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_nearest_is_taken_and_the_even_one_of_two(number: float) -> None:
    found = to_bfloat16(np.array([number], np.float32))
    sign, size = found & 0x8000, found & 0x7FFF
    around = [abs(from_bfloat16(np.uint16([max(0, int(size[0]) + d)]))[0]) for d in (-1, 0, 1)]
    around = [float(each) if math.isfinite(each) else 2.0**128 for each in around]
    away = [abs(each - abs(number)) for each in around]
    assert away[1] == min(away)
    if away[1] in (away[0], away[2]) and around[0] != around[1]:
        assert size[0] % 2 == 0
    assert bool(sign[0]) == bool(np.signbit(np.float32(number)))


class Wired(ThreadGroup):
    """A rank whose gradients are rounded; it keeps what travels."""

    wire = "bfloat16"

    def __init__(self, group: ThreadGroup) -> None:
        super().__init__(group.meeting, group.rank)
        self.sent: list[np.ndarray] = []

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        self.sent.append(array.copy())
        return super().allgather(array)


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_all_ranks_have_the_same_weights(ranks: int) -> None:
    x, y = points(7 * LANES + 3)

    def work(group: ThreadGroup) -> Any:
        trainer = Trainer(small(), optimizer="adam", group=Wired(group))
        return told(trainer, trainer.fit(x, y, 3, 5 * LANES, progress=False))

    first, *others = on_ranks(ranks, work)
    assert isinstance(first, tuple), first
    assert others == [first] * (ranks - 1)
    trainer = Trainer(small(), optimizer="adam")
    exact = told(trainer, trainer.fit(x, y, 3, 5 * LANES, progress=False))
    assert first[0] != exact[0]
    costs, expected = ([figures[0] for figures in each[1]] for each in (first, exact))
    assert np.allclose(costs, expected, rtol=0.01)


def plain() -> Sequential:
    return Sequential(
        layers.Flatten(), Linear(9, 8, rng=np.random.default_rng(0)), layers.Tanh(),
        Linear(8, 3, rng=np.random.default_rng(1)),
    )  # fmt: skip


def test_gradients_are_off_by_no_more_than_the_rounding_of_each_rank() -> None:
    x, y = points(8 * LANES)
    halves = slice(0, 4 * LANES), slice(4 * LANES, 8 * LANES)  # a subtree for each of two ranks

    def gradients(group: Any, part: slice = slice(None)) -> list[np.ndarray]:
        net = plain()
        Trainer(net, group=group).train_on_batch(x[part], y[part])
        return [parameter.grad.copy() for parameter in net.parameters()]

    first, second = on_ranks(2, lambda group: gradients(Wired(group)))
    for found, other, exact, *parts in zip(
        first, second, gradients(None), *(gradients(None, half) for half in halves), strict=True
    ):
        assert_array_equal(found, other)
        most = ROUNDED * sum(abs(part) / 2 for part in parts)
        assert (abs(found - exact) <= most * 1.001 + 1e-9).all()
        assert (found != exact).any()


def test_statistics_and_costs_travel_as_they_are_and_gradients_in_half() -> None:
    x, y = points(8 * LANES)
    groups = []

    def work(group: ThreadGroup) -> None:
        mine = Wired(group)
        groups.append(mine)
        Trainer(small(), group=mine).train_on_batch(x, y)

    assert on_ranks(2, work) == [None] * 2
    halves = [array for array in groups[0].sent if array.dtype == np.uint16]
    bytes_ = [array for array in groups[0].sent if array.dtype == np.uint8]
    learned = sum(p.data.size for p in small().parameters())
    assert sum(map(len, halves)) >= learned - 2 * 8  # all but those of batch normalisation
    assert bytes_  # its statistics


def test_a_gradient_that_is_not_finite_is_so_on_all_ranks() -> None:
    x, y = points(8 * LANES)
    x[-1] = 3e38

    def work(group: ThreadGroup) -> Any:
        net = Sequential(layers.Flatten(), Linear(9, 3, rng=np.random.default_rng(0)))
        trainer = Trainer(net, "mse", group=Wired(group))
        try:
            trainer.train_on_batch(x, np.eye(3)[y])
        except CostError as error:
            return str(error)
        return [np.isfinite(parameter.grad).all() for parameter in net.parameters()]

    first, second = on_ranks(2, work)
    assert first == second
    assert isinstance(first, str) or not all(first)


def test_ranks_that_differ_are_refused_by_all() -> None:
    x, y = points()

    def work(group: ThreadGroup) -> None:
        mine: Any = Wired(group) if group.rank else group
        Trainer(small(), group=mine).fit(x, y, 1, 33, progress=False)

    for error in on_ranks(2, work):
        assert isinstance(error, ValueError)
        assert "wire: expected None, got 'bfloat16' (as rank 0 has it" in str(error)


def test_what_is_not_known_is_refused() -> None:
    x, y = points()

    def work(group: ThreadGroup) -> None:
        wired = Wired(group)
        wired.wire = "float16"
        Trainer(small(), group=wired).fit(x, y, 1, 33, progress=False)

    for error in on_ranks(2, work):
        assert isinstance(error, ValueError)
        assert str(error) == "wire: expected 'bfloat16' or None, got 'float16'"


def test_it_is_for_networks_of_float32() -> None:
    x, y = points()

    def work(group: ThreadGroup) -> None:
        net = small().astype("float64")
        Trainer(net, group=Wired(group)).fit(x, y, 1, 33, progress=False)

    for error in on_ranks(2, work):
        assert isinstance(error, ValueError)
        assert str(error) == "wire: expected a network of float32 with bfloat16, got float64"
