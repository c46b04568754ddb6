"""Costs: worked numbers, parity with the reference, gradients, and the far ends of the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import LOSSES, LOSSES_OF_CLASSES, Call, assert_close, by_id, calls_of, check_parity
from cases import LOSS_CASES, ShapeCase, generator
from gradcheck import check_gradient
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import ops

# three pictures of a dog, a cat and a dog; columns are dog and cat
ANSWERS = {
    1: np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]),
    2: np.array([[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]),
}
ANIMALS = [0, 1, 0]
WANTED = np.eye(2)[ANIMALS]


@pytest.mark.parametrize("call", calls_of(*LOSSES), ids=by_id)
def test_parity(call: Call) -> None:
    check_parity(call)


@pytest.mark.parametrize("op", LOSSES)
@pytest.mark.parametrize("case", LOSS_CASES, ids=lambda case: case.id)
def test_gradient(case: ShapeCase, op: str) -> None:
    z, rng = case.array(), generator(case.id + ".gradient")
    labels = op in LOSSES_OF_CLASSES
    target: Any = rng.integers(0, z.shape[1], len(z)) if labels else rng.random(z.shape)
    cost, dz = getattr(ops, op)(z, target)
    assert type(cost) is float
    step = 1e-5 * max(case.scale, 1.0)  # a cost of 1e4 needs a greater step
    error = check_gradient(lambda v: getattr(ops, op)(v, target)[0], z, dz, rng, step=step)
    assert error < 1e-6


# -------------------------------------------------------------------------- worked numbers


@pytest.mark.parametrize(
    ("network", "squared_error", "cross_entropy"), [(1, 0.25, 0.38), (2, 0.71, 1.06)]
)
def test_three_pictures(network: int, squared_error: float, cross_entropy: float) -> None:
    answer = ANSWERS[network]
    assert round(float((answer.argmax(axis=1) != ANIMALS).mean()), 2) == 0.33
    assert round(2 * ops.quadratic(answer, WANTED)[0], 2) == squared_error
    assert round(2 * ops.mse(answer, WANTED)[0], 2) == squared_error
    assert round(ops.cross_entropy(np.log(answer), ANIMALS)[0], 2) == cross_entropy
    assert round(ops.cross_entropy(np.log(answer), WANTED)[0], 2) == cross_entropy


def test_gradient_of_cross_entropy_is_output_less_target() -> None:
    z = np.log(ANSWERS[1])
    assert_allclose(ops.cross_entropy(z, ANIMALS)[1], (ANSWERS[1] - WANTED) / 3, atol=1e-16)


def test_quadratic_cost_by_hand() -> None:
    cost, da = ops.quadratic([[1.0, 2], [3, 4]], [[0, 0], [3, 2]])
    assert cost == (1 + 4 + 0 + 4) / 4
    assert_array_equal(da, [[0.5, 1], [0, 1]])
    cost, da = ops.mse([[1.0, 2], [3, 4]], [[0, 0], [3, 2]])
    assert cost == (1 + 4 + 0 + 4) / 4
    assert_array_equal(da, [[0.5, 1], [0, 1]])


@pytest.mark.parametrize("y", [0.1, 0.5, 0.8])
def test_least_binary_cross_entropy_is_the_binary_entropy(y: float) -> None:
    entropy = -(y * np.log(y) + (1 - y) * np.log(1 - y))
    cost, dz = ops.binary_cross_entropy([[np.log(y / (1 - y))]], [[y]])
    assert_allclose(cost, entropy, rtol=1e-14)
    assert_allclose(dz, [[0]], atol=1e-15)
    for z in (-1.0, 3.0):
        assert ops.binary_cross_entropy([[z]], [[y]])[0] > entropy


def test_binary_cross_entropy_sums_over_the_outputs() -> None:
    a, y = np.array([[0.2, 0.7, 0.9]]), np.array([[1.0, 0.25, 0.0]])
    expected = -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum()
    cost, dz = ops.binary_cross_entropy(np.log(a / (1 - a)), y)
    assert_allclose(cost, expected, rtol=1e-14)
    assert_allclose(dz, a - y, rtol=1e-14)


def test_a_saturated_neuron_learns_fast_under_cross_entropy_alone() -> None:
    z, target = np.array([[8.0]]), np.array([[0.0]])
    a = ops.sigmoid(z)
    slow = ops.sigmoid_backward(ops.quadratic(a, target)[1], a)
    fast = ops.binary_cross_entropy(z, target)[1]
    assert_allclose(fast, a - target, rtol=1e-14)
    assert_allclose(slow, (a - target) * a * (1 - a), rtol=1e-14)
    assert fast > 1000 * slow


# ------------------------------------------------------------------------------- the far ends


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_great_logits(dtype: str) -> None:
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    assert ops.cross_entropy(z, [0, 1])[0] == 0
    cost, dz = ops.cross_entropy(z, [1, 0])
    assert cost == 2e4
    assert_array_equal(dz, [[0.5, -0.5], [-0.5, 0.5]])
    assert ops.binary_cross_entropy(z, [[1, 0], [0, 1]])[0] == 0
    assert ops.binary_cross_entropy(z, [[0, 1], [1, 0]])[0] == 2e4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cost_near_zero_keeps_its_digits(dtype: str) -> None:
    for z in (5.0, 10.0, 15.0):
        exact = np.log1p(np.exp(np.longdouble(-z)))
        ours = ops.binary_cross_entropy(np.array([[z]], dtype), [[1.0]])[0]
        assert_allclose(ours, float(exact), rtol=8 * float(np.finfo(dtype).eps))


def test_a_class_ruled_out_costs_nothing_unless_it_is_the_answer() -> None:
    z = [[0.0, -np.inf, 0.0]]
    cost, dz = ops.cross_entropy(z, [0])
    assert_allclose(cost, np.log(2), rtol=1e-15)
    assert_allclose(dz, [[-0.5, 0, 0.5]], rtol=1e-15)
    assert ops.cross_entropy(z, [1])[0] == np.inf


def test_targets_as_probabilities() -> None:
    z = generator("z").standard_normal((5, 4))
    target = ops.softmax(generator("t").standard_normal((5, 4)))
    cost, dz = ops.cross_entropy(z, target)
    a = ops.softmax(z)
    assert_allclose(cost, -(target * np.log(a)).sum() / 5, rtol=1e-13)
    assert_close(dz, (a - target) / 5, 1e-13)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64"])
def test_labels_of_any_whole_type(dtype: str) -> None:
    z = generator("z").standard_normal((3, 4))
    assert ops.cross_entropy(z, np.array([3, 0, 1], dtype))[0] == ops.cross_entropy(z, [3, 0, 1])[0]


@pytest.mark.parametrize("op", LOSSES)
def test_the_cost_is_a_mean_over_the_images(op: str) -> None:
    z = generator("z").standard_normal((35, 3))
    target = np.arange(35) % 3 if op in LOSSES_OF_CLASSES else generator("t").random((35, 3))
    cost, dz = getattr(ops, op)(z, target)
    alone = [getattr(ops, op)(z[n : n + 1], target[n : n + 1]) for n in range(35)]
    assert_allclose(cost, np.mean([c for c, _ in alone]), rtol=1e-13)
    assert_close(dz, np.concatenate([d for _, d in alone]) / 35, 1e-14)


# ----------------------------------------------------------------------------------- errors


def test_errors_name_the_argument() -> None:
    z = np.zeros((3, 4))
    for op in LOSSES:
        first = "z" if op in (*LOSSES_OF_CLASSES, "binary_cross_entropy") else "a"
        with pytest.raises(ValueError, match=f"{first}: expected 2 axes"):
            getattr(ops, op)(z[0], [1])
        with pytest.raises(ValueError, match=f"{first}: expected at least one image"):
            getattr(ops, op)(z[:0], z[:0])
        with pytest.raises(ValueError, match="target: expected shape"):
            getattr(ops, op)(z, z[:, :2])
        with pytest.raises(TypeError, match="target: expected real numbers"):
            getattr(ops, op)(z, z + 1j)
    with pytest.raises(ValueError, match="target: expected classes 0 to 3, got 0 to 4"):
        ops.cross_entropy(z, [0, 4, 1])
    with pytest.raises(ValueError, match="target: expected classes 0 to 3, got -1 to 2"):
        ops.cross_entropy(z, [0, -1, 2])
    with pytest.raises(TypeError, match="target: expected whole class numbers, got float64"):
        ops.cross_entropy(z, [0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match="target: expected whole class numbers, got bool"):
        ops.cross_entropy(z, [True, False, True])
