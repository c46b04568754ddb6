"""Class numbers as lanes of targets, the cost of a batch, copies of arrays."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnn_ext import _core
from cnn_ext.lanes import Lanes
from cnn_ext.ops.loss import one_hot, total

INTEGERS = ["i1", "u1", "<i2", ">i2", "i4", "u4", "i8", ">i8", "u8"]


@given(
    st.integers(1, 40), st.integers(1, 12), st.sampled_from([(), (3,), (2, 3)]),
    st.sampled_from(INTEGERS), st.sampled_from(["f4", "f8"]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_rows_of_zeros_and_a_one(
    images: int, classes: int, pixels: tuple[int, ...], kind: str, dtype: str, seed: int
) -> None:
    numbers = np.random.default_rng(seed).integers(0, classes, (images, *pixels)).astype(kind)
    lanes = one_hot(numbers, (images, classes, *pixels), np.dtype(dtype))
    assert_array_equal(lanes.unpack(), np.moveaxis(np.eye(classes, dtype=dtype)[numbers], -1, 1))
    beyond = lanes.data.swapaxes(-1, 1).reshape(-1, math.prod(pixels) * classes)[images:]
    assert not beyond.any()


@pytest.mark.parametrize("kind", INTEGERS)
def test_no_class_is_refused_with_the_numbers_that_came(kind: str) -> None:
    numbers = np.arange(6).astype(kind)
    with pytest.raises(ValueError, match="^target: expected classes 0 to 4, got 0 to 5$"):
        one_hot(numbers, (6, 5), np.dtype("f4"))
    if numbers.dtype.kind == "i":
        with pytest.raises(ValueError, match="^target: expected classes 0 to 4, got -2 to 3$"):
            one_hot(numbers - numbers.dtype.type(2), (6, 5), np.dtype("f4"))


def test_numbers_beyond_int64_are_no_classes() -> None:
    with pytest.raises(ValueError, match="got 1 to 18446744073709551615"):
        one_hot(np.array([1, 2**64 - 1], np.uint64), (2, 5), np.dtype("f4"))


@given(st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_the_cost_is_the_sum_of_those_of_the_images_as_doubles(images: int, seed: int) -> None:
    size = Lanes.empty((max(images, 1), 1), np.dtype("f4")).data.size
    costs = np.random.default_rng(seed).random(size, np.float32)
    found = total(costs.reshape(-1, _core.lanes(4)), images)
    assert found == reduce(add, map(float, costs[:images]), 0.0)


def test_copies() -> None:
    arrays = [np.arange(3, dtype="f4"), np.arange(4, dtype="f8").reshape(2, 2), np.ones((), "f8")]
    into = [np.empty_like(array) for array in arrays]
    _core.copy_all(arrays, into)
    for array, copy in zip(arrays, into, strict=True):
        assert_array_equal(array, copy)
