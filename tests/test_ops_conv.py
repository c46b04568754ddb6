"""Convolution: worked numbers, parity with the reference, gradients, and what algebra demands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import (
    Call,
    assert_close,
    by_id,
    calls_of,
    check_call_gradient,
    check_parity,
    conv_output,
)
from cases import CONV_CASES, ConvCase, normal
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import ops

BINARY_IMAGE = np.zeros((7, 7))
BINARY_IMAGE[[1, 1, 3, 4, 4, 5, 5, 5], [1, 5, 3, 1, 5, 2, 3, 4]] = 1
DETECTOR = [[0, 0, 1], [1, 0, 0], [0, 1, 1]]
FEATURE_MAP = [[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 2, 1], [1, 4, 2, 1, 0], [0, 0, 1, 2, 1]]


def case_id(case: ConvCase) -> str:
    return case.id


@pytest.mark.parametrize("call", calls_of("conv2d", "conv2d_backward"), ids=by_id)
def test_parity(call: Call) -> None:
    check_parity(call)


@pytest.mark.parametrize("case", CONV_CASES, ids=case_id)
def test_gradient(case: ConvCase) -> None:
    x, weight, bias = case.arrays()
    bias = np.zeros(case.K) if bias is None else bias
    dy = normal(case.id + ".dy", conv_output(case), np.float64)

    def forward(*arrays: Any) -> Any:
        return ops.conv2d(*arrays, **case.options)

    gradients = ops.conv2d_backward(dy, x, weight, **case.options)
    # the output is linear in each argument, so a long step costs no accuracy
    check_call_gradient(forward, (x, weight, bias), gradients, dy, step=1e-2)


# -------------------------------------------------------------------------- worked numbers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_feature_detector_slides_over_the_image(dtype: str) -> None:
    y = ops.conv2d(BINARY_IMAGE[None, None].astype(dtype), np.array([[DETECTOR]], dtype))
    assert y.dtype == dtype
    assert_array_equal(y, [[FEATURE_MAP]])


def test_convolution_proper_is_correlation_with_the_rotated_kernel() -> None:
    x, kernel = np.arange(1.0, 10).reshape(1, 1, 3, 3), np.array([[1.0, 2], [3, 4]])
    assert_array_equal(ops.conv2d(x, kernel[None, None, ::-1, ::-1]), [[[[23, 33], [53, 63]]]])


def test_bias_channels_and_images() -> None:
    x = np.array([[[[1.0]], [[2]]], [[[3]], [[4]]]])
    weight = np.array([[[[1.0]], [[10]]], [[[100]], [[1000]]]])
    assert_array_equal(
        ops.conv2d(x, weight, [0.5, -0.5])[..., 0, 0], [[21.5, 2099.5], [43.5, 4299.5]]
    )


def test_extents() -> None:
    x, weight = np.ones((1, 1, 4, 5)), np.ones((1, 1, 3, 2))
    assert ops.conv2d(x, weight, padding="valid").shape == (1, 1, 2, 4)
    assert ops.conv2d(x, weight, padding="same").shape == (1, 1, 4, 5)
    assert ops.conv2d(x, weight, padding="full").shape == (1, 1, 6, 6)
    row = ops.conv2d(
        np.arange(1.0, 5).reshape(1, 1, 1, 4), [[[[1, 10, 100, 1000]]]], padding="same"
    )
    assert_array_equal(row, [[[[3210, 4321, 432, 43]]]])  # one zero before, two behind


# ------------------------------------------------------------------------------- identities


def test_input_gradient_is_a_full_correlation_with_the_rotated_kernel() -> None:
    x, weight, dy = (
        normal(name, shape, np.float64)
        for name, shape in [("x", (3, 4, 6, 5)), ("w", (5, 4, 3, 2)), ("dy", (3, 5, 4, 4))]
    )
    dx, dweight, dbias = ops.conv2d_backward(dy, x, weight)
    rotated = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    assert_close(dx, ops.conv2d(dy, rotated, padding="full"), 1e-14)
    swapped = ops.conv2d(x.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3))
    assert_close(dweight, swapped.transpose(1, 0, 2, 3), 1e-14)
    assert_close(dbias, dy.sum((0, 2, 3)), 1e-14)


@pytest.mark.parametrize("case", CONV_CASES, ids=case_id)
def test_backward_is_the_adjoint_of_forward(case: ConvCase) -> None:
    x, weight, _ = case.arrays()
    dy = normal(case.id + ".dy", conv_output(case), np.float64)
    dx, dweight, _ = ops.conv2d_backward(dy, x, weight, **case.options)
    product = (ops.conv2d(x, weight, **case.options) * dy).sum()
    assert_allclose((dx * x).sum(), product, rtol=1e-11, atol=1e-11)
    assert_allclose((dweight * weight).sum(), product, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", CONV_CASES, ids=case_id)
def test_linear_in_the_image(case: ConvCase) -> None:
    x, weight, _ = case.arrays()
    other = normal(case.id + ".other", case.x_shape, np.float64)
    together = ops.conv2d(2 * x - 3 * other, weight, **case.options)
    apart = ops.conv2d(x, weight, **case.options), ops.conv2d(other, weight, **case.options)
    assert_close(together, 2 * apart[0] - 3 * apart[1], 1e-13)


def test_a_shifted_image_gives_a_shifted_map() -> None:
    x, weight = normal("x", (2, 3, 9, 9), np.float32), normal("w", (4, 3, 3, 3), np.float32)
    y = ops.conv2d(x, weight)
    assert_array_equal(ops.conv2d(x[:, :, 2:, 1:], weight), y[:, :, 2:, 1:])


@pytest.mark.parametrize("W", [1, 4, 5, 19])
def test_depthwise_padding_multiplies_nothing(W: int) -> None:
    x, weight = normal("x", (2, 1, 5, W), np.float32), normal("w", (1, 1, 3, 3), np.float32)
    infinite = weight.copy()
    infinite[..., 0, 0] = np.inf
    y = ops.conv2d(x, infinite, padding=1)
    plain = ops.conv2d(x, np.where(np.isinf(infinite), 0, weight), padding=1)
    assert_array_equal(y[..., 0, :], plain[..., 0, :])  # the tap lies above and left of these
    assert_array_equal(y[..., 0], plain[..., 0])
    assert not np.isfinite(y[..., 1:, 1:]).any()
    dy = normal("dy", x.shape, np.float32)
    dy[..., 0, 0] = np.nan
    _, dweight, _ = ops.conv2d_backward(dy, x, weight, padding=1)
    assert np.isfinite(dweight[..., 0, :]).all() and np.isfinite(dweight[..., 0]).all()
    assert np.isnan(dweight[..., 1, 1]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_image_alone_gives_the_same_as_in_a_batch(dtype: str) -> None:
    x, weight = normal("x", (21, 3, 7, 6), dtype), normal("w", (5, 3, 3, 3), dtype)
    together = ops.conv2d(x, weight, padding=1)
    for n in range(21):
        assert_array_equal(ops.conv2d(x[n : n + 1], weight, padding=1)[0], together[n])


def test_the_gradient_to_the_input_can_be_left_out() -> None:
    x, weight, dy = np.ones((2, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones((2, 1, 2, 2))
    dx, dweight, dbias = ops.conv2d_backward(dy, x, weight, need_dx=False)
    assert dx is None
    assert_array_equal(dweight, np.full((1, 1, 2, 2), 8))
    assert_array_equal(dbias, [8])


# ----------------------------------------------------------------------------------- errors

X, W = np.zeros((2, 4, 6, 5)), np.zeros((6, 2, 3, 3))


@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        (r"x: expected 4 axes \(N, C, H, W\), got shape \(6, 5\)", (X[0, 0], W), {}),
        (r"x: expected a batch with no empty axis but the first", (X[:, :, :0], W), {}),
        (r"weight: expected shape \(K, C / groups, R, S\), got \(3, 3\)", (X, W[0, 0]), {}),
        (r"weight: expected shape .* got \(0, 2, 3, 3\)", (X, W[:0]), {}),
        (r"x: expected 2 channels, got 4", (X, W), {}),
        (r"x: expected 6 channels, got 4", (X, W), {"groups": 3}),
        (r"groups: expected a divisor of the 6 output channels, got 4", (X, W), {"groups": 4}),
        (r"bias: expected shape \(6,\), got \(2,\)", (X, W, [1, 2]), {"groups": 2}),
        (r"weight: a kernel of 3 x 3 .* does not fit", (X[:, :, :2], W), {"groups": 2}),
        (r"weight: .* does not fit", (X, W), {"groups": 2, "dilation": (1, 3)}),
        (r"padding: 'same' needs stride 1", (X, W), {"groups": 2, "stride": 2, "padding": "same"}),
        (r"padding: expected 'valid', 'same' or 'full', got 'half'", (X, W), {"padding": "half"}),
        (r"padding: expected one, two or four numbers", (X, W), {"padding": (1, 2, 3)}),
        (r"stride: expected a number or two", (X, W), {"stride": (1, 2, 3)}),
    ],
)
def test_errors_name_the_argument(
    message: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    options = {"groups": 2, **options} if message.startswith(("padding", "stride")) else options
    with pytest.raises(ValueError, match=message):
        ops.conv2d(*arguments, **options)


def test_an_output_too_large_for_an_empty_batch_as_well() -> None:
    with pytest.raises(ValueError, match="padding: an output of 4294967300 x 5 is too large"):
        ops.conv2d(X[:0], W[..., :1, :1], groups=2, padding=(2**31 - 1, 0))


def test_backward_checks_the_shape_of_the_gradient() -> None:
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 6, 4, 3\), got \(2, 6, 4, 4\)"):
        ops.conv2d_backward(np.zeros((2, 6, 4, 4)), X, W, groups=2)
