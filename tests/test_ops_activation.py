"""Activations: accuracy over the whole range of exp, stability, parity, and gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from calls import (
    ACTIVATIONS,
    SLOPE,
    Call,
    assert_close,
    by_id,
    calls_of,
    check_call_gradient,
    check_parity,
)
from cases import ACTIVATION_CASES, ShapeCase, normal
from numpy.testing import assert_allclose, assert_array_equal, assert_array_max_ulp

from cnn_ext import ops

POINTWISE = ACTIVATIONS[:-1]
DTYPES = ["float32", "float64"]


@pytest.mark.parametrize(
    "call",
    calls_of("multiply", *ACTIVATIONS, *(op + "_backward" for op in ACTIVATIONS)),
    ids=by_id,
)
def test_parity(call: Call) -> None:
    check_parity(call)


@pytest.mark.parametrize("op", ACTIVATIONS)
@pytest.mark.parametrize("case", ACTIVATION_CASES, ids=lambda case: case.id)
def test_gradient(case: ShapeCase, op: str) -> None:
    options = {"negative_slope": SLOPE} if op == "leaky_relu" else {}
    x = case.array()

    def forward(x: np.ndarray) -> np.ndarray:
        return getattr(ops, op)(x, **options)

    y = forward(x)
    dy = normal(case.id + ".dy", case.shape, np.float64)
    dx = getattr(ops, op + "_backward")(dy, y, **options)
    # a step across the kink of a ReLU would see neither slope
    step = 1e-5 * min(case.scale, 1.0) if "relu" in op else 1e-5
    check_call_gradient(forward, (x,), (dx,), dy, step)


# ------------------------------------------------------------------------------- accuracy


def exact_sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def flushed(x: np.ndarray) -> np.ndarray:
    """Numbers below the smallest normal one as zero, as the kernels give them."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.zeros_like(x), x)


def whole_range(dtype: str) -> np.ndarray:
    """Arguments from the least to the greatest that change any result, and some beyond."""
    info = np.finfo(dtype)
    edge = float(np.log(info.max)) * 1.2
    small = np.geomspace(info.tiny, 1, 500)
    return np.concatenate([np.linspace(-edge, edge, 20_001), small, -small, [0.0]]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["sigmoid", "tanh"])
def test_a_few_units_in_the_last_place(op: str, dtype: str) -> None:
    x = whole_range(dtype)
    exact: dict[str, Callable[..., np.ndarray]] = {"sigmoid": exact_sigmoid, "tanh": np.tanh}
    with np.errstate(under="ignore"):
        expected = flushed(exact[op](x.astype(np.longdouble)).astype(dtype))
    assert_array_max_ulp(getattr(ops, op)(x), expected, maxulp=4, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_follows_exp_down_to_the_smallest_normal_number(dtype: str) -> None:
    # the greatest logit is 0 and all others are far below, so the outputs are e^x
    z = np.zeros((2001, 2), dtype)
    z[:, 1] = np.linspace(1.05 * float(np.log(np.finfo(dtype).smallest_subnormal)), -40, 2001)
    y = ops.softmax(z)
    with np.errstate(under="ignore"):
        expected = flushed(np.exp(z[:, 1].astype(np.longdouble)).astype(dtype))
    assert_array_equal(y[:, 0], np.ones(2001))
    assert_array_max_ulp(y[:, 1], expected, maxulp=4, dtype=dtype)
    tiny = np.finfo(dtype).tiny
    assert ((y[:, 1] > 0) & (y[:, 1] < 1e6 * tiny)).any()
    assert (y[:, 1] == 0).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturation(dtype: str) -> None:
    far = np.array([-np.inf, -1e30, -1e4, 0, 1e4, 1e30, np.inf], dtype)
    assert_array_equal(ops.sigmoid(far), [0, 0, 0, 0.5, 1, 1, 1])
    assert_array_equal(ops.tanh(far), [-1, -1, -1, 0, 1, 1, 1])
    assert_array_equal(ops.relu(far), np.maximum(far, 0))
    assert_array_equal(ops.leaky_relu(far, 0.5), np.where(far > 0, far, far / 2))


@pytest.mark.parametrize("op", ["sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_monotone_but_for_rounding(op: str, dtype: str) -> None:
    x = np.sort(whole_range(dtype))
    y = getattr(ops, op)(x)
    assert (np.diff(y) >= -2 * np.spacing(np.abs(y[1:]))).all()
    assert (np.abs(y) <= 1).all()


def test_values_by_hand() -> None:
    assert_array_equal(ops.relu([-2.0, 0.0, 3.0]), [0, 0, 3])
    assert_array_equal(ops.leaky_relu([-2.0, 0.0, 3.0], 0.5), [-1, 0, 3])
    assert_allclose(ops.leaky_relu([-2.0]), [-0.02])
    assert_allclose(ops.sigmoid([0.0, np.log(3), -np.log(3)]), [0.5, 0.75, 0.25], rtol=1e-15)
    assert_allclose(ops.tanh([0.0, np.log(2)]), [0, 0.6], rtol=1e-15)
    z = [[np.log(1), np.log(3), np.log(4)]]
    assert_allclose(ops.softmax(z), [[1 / 8, 3 / 8, 1 / 2]], rtol=1e-15)


def test_derivatives_by_hand() -> None:
    a = np.array([0.25, 0.5, 1.0])
    assert_array_equal(ops.sigmoid_backward([2.0, 2, 2], a), 2 * a * (1 - a))
    assert_array_equal(ops.tanh_backward([2.0, 2, 2], a), 2 * (1 - a**2))
    assert_array_equal(ops.relu_backward([5.0, 6, 7], [0.0, 1, 2]), [0, 6, 7])
    assert_array_equal(ops.leaky_relu_backward([8.0, 6, 7], [-1.0, 1, 2], 0.25), [2, 6, 7])


# --------------------------------------------------------------------------------- softmax


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 50.0, 1e4, 1e30])
def test_softmax_sums_to_one(scale: float, dtype: str) -> None:
    y = ops.softmax((scale * normal("z", (21, 10), np.float64)).astype(dtype))
    assert_allclose(y.sum(axis=1), np.ones(21), rtol=4 * float(np.finfo(dtype).eps))
    assert (y >= 0).all()


def test_softmax_does_not_see_a_shift() -> None:
    z = normal("z", (5, 7), np.float64).round(3)
    assert_close(ops.softmax(z + 1024), ops.softmax(z), 1e-12)


def test_a_logit_of_minus_infinity_has_no_chance() -> None:
    y = ops.softmax([[0.0, -np.inf, 0.0], [-np.inf, -np.inf, 5.0]])
    assert_array_equal(y, [[0.5, 0, 0.5], [0, 0, 1]])
    assert np.isnan(ops.softmax([[-np.inf, -np.inf]])).all()


def test_softmax_of_images_is_over_the_channels() -> None:
    z = normal("z", (3, 5, 4, 2), np.float64)
    rows = np.moveaxis(z, 1, -1).reshape(-1, 5)
    expected = np.moveaxis(ops.softmax(rows).reshape(3, 4, 2, 5), -1, 1)
    assert_array_equal(ops.softmax(z), expected)


def test_jacobian_of_softmax() -> None:
    a = ops.softmax([[0.3, -1.2, 0.8]])
    jacobian = np.vstack([ops.softmax_backward([row], a) for row in np.eye(3)])
    assert_allclose(np.diag(jacobian), (a * (1 - a))[0], rtol=1e-14)
    assert_allclose(jacobian, np.diag(a[0]) - np.outer(a, a), rtol=1e-14)


# ----------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("shape", [(), (1,), (17,), (2, 3, 4, 5, 6), (0,), (3, 0), (40_000,)])
@pytest.mark.parametrize("op", POINTWISE)
def test_any_shape(op: str, shape: tuple[int, ...]) -> None:
    x = normal("x", (max(1, int(np.prod(shape))),), np.float32)[: int(np.prod(shape))]
    y = getattr(ops, op)(x.reshape(shape))
    assert y.shape == shape
    assert_array_equal(y.ravel(), getattr(ops, op)(x))
    dx = getattr(ops, op + "_backward")(np.ones(shape, np.float32), y)
    assert dx.shape == shape


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"dy: expected shape \(3,\), got \(4,\)"):
        ops.relu_backward(np.ones(4), np.ones(3))
    with pytest.raises(ValueError, match=r"factor: expected shape \(3,\), got \(4,\)"):
        ops.multiply(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match=r"x: expected shape \(N, K, \.\.\.\), got \(3,\)"):
        ops.softmax(np.ones(3))
    with pytest.raises(ValueError, match=r"x: expected a batch with no empty axis"):
        ops.softmax(np.ones((3, 0)))
    with pytest.raises(ValueError, match=r"dy: expected shape \(3, 2\), got \(3, 1\)"):
        ops.softmax_backward(np.ones((3, 1)), np.ones((3, 2)))
    for slope in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="negative_slope: expected 0 or more"):
            ops.leaky_relu(np.ones(3), slope)
    for wrong in ("a", None, [0.1]):
        with pytest.raises(TypeError, match="negative_slope: expected a number"):
            ops.leaky_relu(np.ones(3), wrong)  # type: ignore[arg-type]
