"""Full connection: worked numbers, parity with the reference, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from calls import Call, by_id, calls_of, check_call_gradient, check_parity
from cases import LINEAR_CASES, LinearCase, normal
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import ops

FLAT = np.array([[1.0, 1, 0, 4, 2, 1, 0, 2, 1]])


@pytest.mark.parametrize("call", calls_of("linear", "linear_backward"), ids=by_id)
def test_parity(call: Call) -> None:
    check_parity(call)


@pytest.mark.parametrize("case", LINEAR_CASES, ids=lambda case: case.id)
def test_gradient(case: LinearCase) -> None:
    x, weight, bias = case.arrays()
    bias = np.zeros(case.K) if bias is None else bias
    dy = normal(case.id + ".dy", (case.N, case.K), np.float64)
    gradients = ops.linear_backward(dy, x, weight)
    check_call_gradient(ops.linear, (x, weight, bias), gradients, dy, step=1e-2)


def test_full_connection_of_a_flattened_map() -> None:
    flat = np.array([[1, 1, 0], [4, 2, 1], [0, 2, 1]]).reshape(1, -1)
    assert_array_equal(flat, FLAT)
    y = ops.linear(flat, [np.ones(9), np.arange(9)], [1, -1])
    assert_array_equal(y, [[13, 1 + 12 + 8 + 5 + 14 + 8 - 1]])


def test_gradients_over_a_batch_are_products_of_matrices() -> None:
    delta, z, weight = (
        normal(n, s, np.float64) for n, s in [("d", (5, 3)), ("z", (5, 4)), ("w", (3, 4))]
    )
    dx, dweight, dbias = ops.linear_backward(delta, z, weight)
    assert_allclose(dx, delta @ weight, rtol=1e-13, atol=1e-14)
    assert_allclose(dweight, delta.T @ z, rtol=1e-13, atol=1e-14)
    assert_allclose(dbias, delta.sum(axis=0), rtol=1e-13, atol=1e-14)


def test_a_linear_layer_is_a_convolution_of_one_pixel() -> None:
    x, weight = normal("x", (19, 33), np.float32), normal("w", (7, 33), np.float32)
    pixels = ops.conv2d(x[:, :, None, None], weight[:, :, None, None])
    assert_array_equal(ops.linear(x, weight), pixels[:, :, 0, 0])


def test_the_gradient_to_the_input_can_be_left_out() -> None:
    dx, dweight, dbias = ops.linear_backward([[2.0]], FLAT, np.ones((1, 9)), need_dx=False)
    assert dx is None
    assert_array_equal(dweight, 2 * FLAT)
    assert_array_equal(dbias, [2])


def test_errors_name_the_argument() -> None:
    x, weight = np.zeros((2, 4)), np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"x: expected 2 axes \(N, features\), got shape \(4,\)"):
        ops.linear(x[0], weight)
    with pytest.raises(ValueError, match=r"x: expected a batch with no empty axis"):
        ops.linear(x[:, :0], weight[:, :0])
    with pytest.raises(ValueError, match=r"weight: expected shape \(K, C\), got \(4,\)"):
        ops.linear(x, weight[0])
    with pytest.raises(ValueError, match=r"weight: expected shape \(K, C\), got \(0, 4\)"):
        ops.linear(x, weight[:0])
    with pytest.raises(ValueError, match="x: expected 3 features, got 4"):
        ops.linear(x, weight[:, :3])
    with pytest.raises(ValueError, match=r"bias: expected shape \(3,\), got \(4,\)"):
        ops.linear(x, weight, np.zeros(4))
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 3\), got \(2, 4\)"):
        ops.linear_backward(np.zeros((2, 4)), x, weight)
