"""Pooling: worked numbers, parity with the reference, gradients, ties, NaN and odd windows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from calls import Call, by_id, calls_of, check_call_gradient, check_parity
from cases import AVG_POOL_CASES, POOL_CASES, PoolCase, normal
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import MaxPool2d, ops
from cnn_ext.lanes import Lanes

FEATURE_MAP = [[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 2, 1], [1, 4, 2, 1, 0], [0, 0, 1, 2, 1]]


def batch(plane: Any, dtype: str = "float64") -> np.ndarray:
    return np.array(plane, dtype)[None, None]


def case_id(case: PoolCase) -> str:
    return case.id


POOLINGS = ("max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward")


@pytest.mark.parametrize("call", calls_of(*POOLINGS), ids=by_id)
def test_parity(call: Call) -> None:
    check_parity(call)


@pytest.mark.parametrize("case", [case for case in POOL_CASES if not case.ties], ids=case_id)
def test_gradient_of_the_maximum(case: PoolCase) -> None:
    x = case.array()
    y, indices = ops.max_pool2d(x, **case.max_options, return_indices=True)
    dy = normal(case.id + ".dy", y.shape, np.float64)
    dx = ops.max_pool2d_backward(dy, indices, case.x_shape)
    check_call_gradient(lambda v: ops.max_pool2d(v, **case.max_options), (x,), (dx,), dy, 1e-6)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", AVG_POOL_CASES, ids=case_id)
def test_gradient_of_the_mean(case: PoolCase, count_include_pad: bool) -> None:
    x, options = case.array(), {**case.options, "count_include_pad": count_include_pad}
    y = ops.avg_pool2d(x, **options)
    dy = normal(case.id + ".dy", y.shape, np.float64)
    dx = ops.avg_pool2d_backward(dy, case.x_shape, **options)
    check_call_gradient(lambda v: ops.avg_pool2d(v, **options), (x,), (dx,), dy, 1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", POOL_CASES, ids=case_id)
def test_backward_in_lanes_agrees_with_backward_by_indices(case: PoolCase, dtype: str) -> None:
    x = case.array(dtype)
    options = {**case.max_options, "stride": case.stride}
    y, indices = ops.max_pool2d(x, **options, return_indices=True)
    layer = MaxPool2d(**options)
    assert_array_equal(layer(Lanes.pack(x)).unpack(), y)
    dy = normal(case.id + ".dy", y.shape, dtype)
    dx = layer.backward(Lanes.pack(dy)).unpack()
    expected = ops.max_pool2d_backward(dy, indices, case.x_shape)
    assert_allclose(dx, expected, rtol=0, atol=4 * np.finfo(dtype).eps * np.abs(dy).max(initial=1))


# -------------------------------------------------------------------------- worked numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_pooling(dtype: str) -> None:
    x = batch([[29, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]], dtype)
    y, indices = ops.max_pool2d(x, 2, return_indices=True)
    assert y.dtype == dtype
    assert_array_equal(y, [[[[100, 184], [12, 45]]]])
    assert indices.dtype == np.int64
    assert_array_equal(indices, [[[[5, 3], [8, 14]]]])
    dx = ops.max_pool2d_backward(batch([[1, 2], [3, 4]], dtype), indices, (1, 1, 4, 4))
    assert_array_equal(dx, batch([[0, 0, 0, 2], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 4, 0]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_average_pooling(dtype: str) -> None:
    x = batch([[31, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]], dtype)
    assert_array_equal(ops.avg_pool2d(x, 2), [[[[36.5, 80], [12, 15]]]])
    dx = ops.avg_pool2d_backward(batch([[4, 8], [12, 16]], dtype), (1, 1, 4, 4), 2)
    assert_array_equal(dx, batch([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]))


def test_ceil_mode_keeps_windows_that_hang_over_the_edge() -> None:
    x = batch(FEATURE_MAP)
    assert_array_equal(
        ops.max_pool2d(x, 2, ceil_mode=True), batch([[1, 1, 0], [4, 2, 1], [0, 2, 1]])
    )
    assert_array_equal(ops.max_pool2d(x, 2), batch([[1, 1], [4, 2]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_ceil_mode_keeps_the_only_window(pool: Any, dtype: str) -> None:
    assert_array_equal(pool(np.ones((1, 1, 1, 1), dtype), 2, ceil_mode=True), [[[[1]]]])
    with pytest.raises(ValueError, match=r"kernel_size: a window of \(2, 2\) .* does not fit"):
        pool(np.ones((1, 1, 1, 1), dtype), 2, stride=1, ceil_mode=True)


def test_ceil_mode_drops_a_window_beyond_the_input() -> None:
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    y = ops.max_pool2d(x, 2, stride=2, padding=1, ceil_mode=True)
    assert_array_equal(y, batch([[0, 2, 4], [10, 12, 14], [20, 22, 24]]))


def test_divisor_of_average_pooling() -> None:
    x = np.ones((1, 1, 3, 3))
    assert_array_equal(ops.avg_pool2d(x, 2, padding=1), batch([[1 / 4, 1 / 2], [1 / 2, 1]]))
    alone = ops.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    assert_array_equal(alone, np.ones((1, 1, 2, 2)))
    hanging = ops.avg_pool2d(np.ones((1, 1, 5, 5)), 2, ceil_mode=True)
    assert_array_equal(hanging, np.ones((1, 1, 3, 3)))


# ----------------------------------------------------------------------- ties, NaN, infinity


@pytest.mark.parametrize("value", [0.0, -3.0, np.inf, -np.inf])
def test_the_first_of_equals_wins(value: float) -> None:
    y, indices = ops.max_pool2d(np.full((1, 1, 4, 4), value), 2, return_indices=True)
    assert_array_equal(y, np.full((1, 1, 2, 2), value))
    assert_array_equal(indices, batch([[0, 2], [8, 10]]))


def test_maximum_of_nan_is_nan() -> None:
    y, indices = ops.max_pool2d([[[[1.0, np.nan, np.nan, 5.0]]]], (1, 4), return_indices=True)
    assert np.isnan(y).all()
    assert_array_equal(indices, [[[[2]]]])


def test_padding_never_wins_and_indices_stay_in_the_image() -> None:
    y, indices = ops.max_pool2d(np.full((1, 1, 3, 3), -np.inf), 3, 1, 1, return_indices=True)
    assert_array_equal(y, np.full((1, 1, 3, 3), -np.inf))
    assert_array_equal(indices, batch([[0, 0, 1], [0, 0, 1], [3, 3, 4]]))


def test_overlapping_windows_add_their_gradients() -> None:
    x = batch([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    y, indices = ops.max_pool2d(x, 2, 1, return_indices=True)
    dx = ops.max_pool2d_backward(np.ones_like(y), indices, x.shape)
    assert_array_equal(dx, batch([[0, 0, 0], [0, 4, 0], [0, 0, 0]]))


# ----------------------------------------------------------------------------------- errors

X = np.zeros((2, 3, 5, 6))


def test_a_window_that_holds_no_pixel_is_refused() -> None:
    message = r"kernel_size: a window of \(2, 2\) with dilation \(3, 3\) .* holds no pixel"
    with pytest.raises(ValueError, match=message):
        ops.max_pool2d(np.ones((1, 1, 2, 2)), 2, padding=1, dilation=3)
    grid = product(range(1, 6), range(1, 6), range(1, 8), (1, 2, 5), (False, True))
    for size, kernel, dilation, stride, ceil in grid:
        for padding in range(kernel // 2 + 1):
            reach = dilation * (kernel - 1)
            # in ceil mode one more window, if the one before ends before the last place
            end = min(size, size + padding - reach + stride - 1) if ceil else size + padding - reach
            starts = range(-padding, end, stride)
            taps = [range(start, start + reach + 1, dilation) for start in starts]
            empty = any(all(not 0 <= tap < size for tap in window) for window in taps)
            options = ((1, kernel), (1, stride), (0, padding), (1, dilation), ceil)
            if empty or not taps:
                with pytest.raises(ValueError, match="kernel_size"):
                    ops.max_pool2d(np.zeros((1, 1, 1, size)), *options)
            else:
                y = ops.max_pool2d(np.zeros((1, 1, 1, size)), *options)
                assert_array_equal(y, np.zeros((1, 1, 1, len(starts))))


def test_places_beyond_the_digits_of_float32_are_refused() -> None:
    x, options = np.zeros((1, 1, 9, 100)), ((9, 10**7), (1, 10**7), (0, 5 * 10**6))
    x[0, 0, 8, 99] = 1
    y, indices = ops.max_pool2d(x, *options, return_indices=True)
    assert_array_equal((y, indices), [[[[[1]]]], [[[[899]]]]])
    with pytest.raises(ValueError, match="kernel_size: 9 x 10000000 taps are too many .* float32"):
        ops.max_pool2d(x.astype(np.float32), *options, return_indices=True)
    assert_array_equal(ops.max_pool2d(x.astype(np.float32), *options), [[[[1]]]])


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_errors_name_the_argument(pool: Any) -> None:
    with pytest.raises(ValueError, match=r"x: expected 4 axes \(N, C, H, W\), got shape \(5, 6\)"):
        pool(X[0, 0], 2)
    with pytest.raises(ValueError, match=r"padding: expected at most half of kernel_size \(2, 2\)"):
        pool(X, 2, padding=2)
    with pytest.raises(ValueError, match=r"kernel_size: a window of \(6, 6\) .* does not fit"):
        pool(X, 6)
    with pytest.raises(ValueError, match=r"kernel_size: expected a number or two"):
        pool(X, (2, 2, 2))


def test_backward_checks_its_arguments() -> None:
    dy, indices = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 2, 3), np.int64)
    with pytest.raises(ValueError, match=r"input_shape: expected \(N, C, H, W\), got \(5, 6\)"):
        ops.max_pool2d_backward(dy, indices, (5, 6))
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 4, P, Q\), got \(2, 3, 2, 3\)"):
        ops.max_pool2d_backward(dy, indices, (2, 4, 5, 6))
    with pytest.raises(ValueError, match=r"indices: expected shape \(2, 3, 2, 3\), got"):
        ops.max_pool2d_backward(dy, indices[:1], X.shape)
    with pytest.raises(TypeError, match="indices: expected whole numbers, got float64"):
        ops.max_pool2d_backward(dy, indices + 0.0, X.shape)
    for wrong in (-1, 30):
        with pytest.raises(ValueError, match="indices: expected 0 to 29, got"):
            ops.max_pool2d_backward(dy, indices + wrong, X.shape)
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 3, 2, 3\), got \(2, 3, 2, 2\)"):
        ops.avg_pool2d_backward(dy[..., :2], X.shape, 2)
    with pytest.raises(ValueError, match=r"input_shape: expected \(N, C, H, W\), got \(2, 3\)"):
        ops.avg_pool2d_backward(dy, (2, 3), 2)
