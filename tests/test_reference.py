"""The reference itself: worked numbers computed by hand, identities, and central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as ref
from cases import (
    AVG_POOL_CASES,
    CONV_CASES,
    LINEAR_CASES,
    POOL_CASES,
    ConvCase,
    LinearCase,
    PoolCase,
    ShapeCase,
    generator,
)
from gradcheck import Array, check_gradient
from numpy.testing import assert_allclose, assert_array_equal

TOLERANCE = 1e-6

NINE = np.arange(1.0, 10.0).reshape(3, 3)
TWO_BY_TWO = np.array([[1.0, 2.0], [3.0, 4.0]])
FEATURE_MAP = [[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 2, 1], [1, 4, 2, 1, 0], [0, 0, 1, 2, 1]]
POOLED_MAP = [[1, 1, 0], [4, 2, 1], [0, 2, 1]]


def by_id(case: ConvCase | PoolCase | LinearCase | ShapeCase) -> str:
    return case.id


def batch(plane: list[list[int]]) -> Array:
    return np.array(plane, dtype=np.float64)[None, None]


def one_hot(labels: list[int], classes: int) -> Array:
    return np.eye(classes)[labels]


def check_directions(
    f: Callable[[Array], float], x: Array, analytic: Array, rng: np.random.Generator
) -> float:
    """Two directions alone: the naive loops are slow, and each direction mixes every entry."""
    return check_gradient(f, x, analytic, rng, directions=2, max_entries=0)


# ----------------------------------------------------------------------------- convolution


def test_convolution_proper_of_the_nine_numbers() -> None:
    assert_array_equal(ref.convolve2d(NINE, TWO_BY_TWO, "valid"), [[23, 33], [53, 63]])


def test_convolution_proper_is_correlation_with_the_rotated_kernel() -> None:
    rotated = TWO_BY_TWO[::-1, ::-1]
    assert_array_equal(ref.correlate2d(NINE, rotated, "valid"), [[23, 33], [53, 63]])
    full = ref.convolve2d(NINE, TWO_BY_TWO, "full")
    assert_array_equal(ref.correlate2d(NINE, rotated, "full"), full)


def test_correlation_of_the_nine_numbers() -> None:
    assert_array_equal(ref.correlate2d(NINE, TWO_BY_TWO, "valid"), [[37, 47], [67, 77]])


def test_extents_of_convolution_proper() -> None:
    full = [[1, 4, 7, 6], [7, 23, 33, 24], [19, 53, 63, 42], [21, 52, 59, 36]]
    assert_array_equal(ref.convolve2d(NINE, TWO_BY_TWO, "full"), full)
    assert_array_equal(ref.convolve2d(NINE, TWO_BY_TWO, "same"), np.array(full)[:3, :3])


def test_same_correlation_pads_the_smaller_half_first() -> None:
    same = ref.correlate2d(NINE, TWO_BY_TWO, "same")
    assert_array_equal(same, [[37, 47, 21], [67, 77, 33], [23, 26, 9]])


def test_convolution_as_a_product_with_shared_weights() -> None:
    rotated = TWO_BY_TWO[::-1, ::-1]
    matrix = ref.conv2d_matrix(rotated[None, None], (1, 3, 3))
    expected = [
        [4, 3, 0, 2, 1, 0, 0, 0, 0],
        [0, 4, 3, 0, 2, 1, 0, 0, 0],
        [0, 0, 0, 4, 3, 0, 2, 1, 0],
        [0, 0, 0, 0, 4, 3, 0, 2, 1],
    ]
    assert_array_equal(matrix, expected)
    assert_array_equal(matrix @ NINE.ravel(), [23, 33, 53, 63])


def test_matrix_with_stride_padding_dilation_and_groups() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((4, 3, 2, 3)), rng.standard_normal((6, 5, 7))
    options: dict[str, Any] = {
        "stride": 2,
        "padding": (1, 0, 2, 1),
        "dilation": (2, 1),
        "groups": 2,
    }
    matrix = ref.conv2d_matrix(weight, x.shape, **options)
    y = ref.conv2d(x[None], weight, **options)
    assert matrix.shape == (y.size, x.size)
    assert_allclose(matrix @ x.ravel(), y.ravel(), rtol=0, atol=1e-12)


def test_feature_detector_slides_over_the_image() -> None:
    image = np.zeros((7, 7))
    for place in [(1, 1), (1, 5), (3, 3), (4, 1), (4, 5), (5, 2), (5, 3), (5, 4)]:
        image[place] = 1.0
    detector = [[0, 0, 1], [1, 0, 0], [0, 1, 1]]
    assert_array_equal(ref.correlate2d(image, detector, "valid"), FEATURE_MAP)


def test_conv2d_of_two_channels_and_two_feature_maps() -> None:
    x = np.stack([NINE, 10 * NINE])[None]
    weight = np.stack([[TWO_BY_TWO, np.zeros((2, 2))], [np.zeros((2, 2)), TWO_BY_TWO]])
    y = ref.conv2d(x, weight, bias=[1, 2])
    assert_array_equal(y, [[[[38, 48], [68, 78]], [[372, 472], [672, 772]]]])


def test_conv2d_stride_padding_dilation_and_groups() -> None:
    x, ones = NINE[None, None], np.ones((1, 1, 2, 2))
    assert_array_equal(ref.conv2d(x, ones, stride=2, padding=1), [[[[1, 5], [11, 28]]]])
    assert_array_equal(ref.conv2d(x, ones, dilation=2), [[[[20]]]])
    assert_array_equal(ref.conv2d(x, ones, padding=(1, 0, 0, 1), stride=(2, 3)), [[[[3], [24]]]])
    twice = np.concatenate([x, 10 * x], axis=1)
    depthwise = ref.conv2d(twice, np.ones((2, 1, 3, 3)), groups=2)
    assert_array_equal(depthwise, [[[[45]], [[450]]]])


def test_input_gradient_is_a_full_correlation_with_the_rotated_kernel() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 2))
    dy = rng.standard_normal((2, 4, 4, 4))
    dx, _, dbias = ref.conv2d_backward(dy, x, weight)
    rotated = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    assert_allclose(dx, ref.conv2d(dy, rotated, padding="full"), rtol=0, atol=1e-12)
    assert_allclose(dbias, dy.sum(axis=(0, 2, 3)), rtol=0, atol=1e-12)


def test_weight_gradient_is_a_correlation_of_the_input_with_the_output_gradient() -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((1, 3, 6, 5)), rng.standard_normal((1, 4, 4, 4))
    _, dweight, _ = ref.conv2d_backward(dy, x, np.zeros((4, 3, 3, 2)))
    for k, c in np.ndindex(4, 3):
        expected = ref.correlate2d(x[0, c], dy[0, k], "valid")
        assert_allclose(dweight[k, c], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CONV_CASES, ids=by_id)
def test_conv2d_gradients(case: ConvCase) -> None:
    x, weight, bias = case.arrays()
    bias = np.zeros(case.K) if bias is None else bias
    rng = generator(case.id + ".gradient")
    dy = rng.standard_normal(ref.conv2d(x, weight, **case.options).shape)

    def cost(x: Array, weight: Array, bias: Array) -> float:
        return float((ref.conv2d(x, weight, bias, **case.options) * dy).sum())

    dx, dweight, dbias = ref.conv2d_backward(dy, x, weight, **case.options)
    assert check_directions(lambda v: cost(v, weight, bias), x, dx, rng) < TOLERANCE
    assert check_directions(lambda v: cost(x, v, bias), weight, dweight, rng) < TOLERANCE
    assert check_directions(lambda v: cost(x, weight, v), bias, dbias, rng) < TOLERANCE


# --------------------------------------------------------------------------------- pooling


def test_max_pooling_keeps_the_greatest() -> None:
    x = batch([[29, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]])
    y, indices = ref.max_pool2d_with_indices(x, 2)
    assert_array_equal(y, [[[[100, 184], [12, 45]]]])
    assert_array_equal(indices, [[[[5, 3], [8, 14]]]])
    dx = ref.max_pool2d_backward([[[[1, 2], [3, 4]]]], indices, (1, 1, 4, 4))
    assert_array_equal(dx, batch([[0, 0, 0, 2], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 4, 0]]))


def test_average_pooling_spreads_its_gradient() -> None:
    x = batch([[31, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]])
    assert_array_equal(ref.avg_pool2d(x, 2), [[[[36.5, 80], [12, 15]]]])
    dx = ref.avg_pool2d_backward([[[[4, 8], [12, 16]]]], (1, 1, 4, 4), 2)
    assert_array_equal(dx, batch([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]))


def test_ceil_mode_keeps_windows_that_hang_over_the_edge() -> None:
    x = batch(FEATURE_MAP)
    assert_array_equal(ref.max_pool2d(x, 2, ceil_mode=True), batch(POOLED_MAP))
    assert_array_equal(ref.max_pool2d(x, 2), [[[[1, 1], [4, 2]]]])


def test_ceil_mode_drops_a_window_beyond_the_input() -> None:
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    y = ref.max_pool2d(x, 2, stride=2, padding=1, ceil_mode=True)
    assert_array_equal(y, batch([[0, 2, 4], [10, 12, 14], [20, 22, 24]]))


def test_divisor_of_average_pooling() -> None:
    x = np.ones((1, 1, 3, 3))
    counted = [[1 / 4, 1 / 2], [1 / 2, 1]]
    assert_array_equal(ref.avg_pool2d(x, 2, padding=1), [[counted]])
    y = ref.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    assert_array_equal(y, np.ones((1, 1, 2, 2)))
    y = ref.avg_pool2d(np.ones((1, 1, 5, 5)), 2, ceil_mode=True)  # no pixel beyond the edge counts
    assert_array_equal(y, np.ones((1, 1, 3, 3)))


def test_a_window_without_a_pixel_is_minus_infinity_and_has_no_place() -> None:
    y, indices = ref.max_pool2d_with_indices(np.ones((1, 1, 2, 2)), 2, padding=1, dilation=3)
    assert_array_equal(y, [[[[-np.inf]]]])
    assert_array_equal(indices, [[[[-1]]]])
    assert_array_equal(
        ref.max_pool2d_backward([[[[1]]]], indices, (1, 1, 2, 2)), np.zeros((1, 1, 2, 2))
    )


def test_maximum_of_nan_is_nan() -> None:
    y, indices = ref.max_pool2d_with_indices([[[[1.0, np.nan, np.nan, 5.0]]]], (1, 4))
    assert np.isnan(y).all()
    assert_array_equal(indices, [[[[2]]]])


@pytest.mark.parametrize("case", [case for case in POOL_CASES if not case.ties], ids=by_id)
def test_max_pool2d_gradient(case: PoolCase) -> None:
    x, rng = case.array(), generator(case.id + ".gradient")
    y, indices = ref.max_pool2d_with_indices(x, **case.max_options)
    dy = rng.standard_normal(y.shape)
    dx = ref.max_pool2d_backward(dy, indices, case.x_shape)
    error = check_directions(
        lambda v: float((ref.max_pool2d(v, **case.max_options) * dy).sum()), x, dx, rng
    )
    assert error < TOLERANCE


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", AVG_POOL_CASES, ids=by_id)
def test_avg_pool2d_gradient(case: PoolCase, count_include_pad: bool) -> None:
    x, rng = case.array(), generator(case.id + ".gradient")
    options = {**case.options, "count_include_pad": count_include_pad}
    dy = rng.standard_normal(ref.avg_pool2d(x, **options).shape)
    dx = ref.avg_pool2d_backward(dy, case.x_shape, **options)
    error = check_directions(lambda v: float((ref.avg_pool2d(v, **options) * dy).sum()), x, dx, rng)
    assert error < TOLERANCE


# ------------------------------------------------------------------------- full connection


def test_flatten_and_full_connection() -> None:
    flat = batch(POOLED_MAP).reshape(1, -1)
    assert_array_equal(flat, [[1, 1, 0, 4, 2, 1, 0, 2, 1]])
    weight = [np.ones(9), np.arange(9)]
    assert_array_equal(ref.linear(flat, weight, [1, -1]), [[13, 1 + 12 + 8 + 5 + 14 + 8 - 1]])


def test_linear_backward_over_a_batch() -> None:
    rng = np.random.default_rng(0)
    x, weight, delta = rng.standard_normal((5, 4)), rng.standard_normal((3, 4)), np.ones((5, 3))
    dx, dweight, dbias = ref.linear_backward(delta, x, weight)
    assert_allclose(dx, delta @ weight, rtol=0, atol=1e-12)
    assert_allclose(dweight, delta.T @ x, rtol=0, atol=1e-12)
    assert_array_equal(dbias, [5, 5, 5])


@pytest.mark.parametrize("case", LINEAR_CASES, ids=by_id)
def test_linear_gradients(case: LinearCase) -> None:
    x, weight, bias = case.arrays()
    bias = np.zeros(case.K) if bias is None else bias
    rng = generator(case.id + ".gradient")
    dy = rng.standard_normal((case.N, case.K))

    def cost(x: Array, weight: Array, bias: Array) -> float:
        return float((ref.linear(x, weight, bias) * dy).sum())

    dx, dweight, dbias = ref.linear_backward(dy, x, weight)
    assert check_directions(lambda v: cost(v, weight, bias), x, dx, rng) < TOLERANCE
    assert check_directions(lambda v: cost(x, v, bias), weight, dweight, rng) < TOLERANCE
    assert check_directions(lambda v: cost(x, weight, v), bias, dbias, rng) < TOLERANCE
