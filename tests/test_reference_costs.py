"""The reference's activations, costs and descent: worked numbers and central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference as ref
from calls import LOSSES, LOSSES_OF_CLASSES
from cases import ACTIVATION_CASES, LOSS_CASES, ShapeCase, generator
from gradcheck import Array, check_gradient
from numpy.testing import assert_allclose, assert_array_equal

TOLERANCE = 1e-6


def by_id(case: ShapeCase) -> str:
    return case.id


def one_hot(labels: list[int], classes: int) -> Array:
    return np.eye(classes)[labels]


# ----------------------------------------------------------------------------- activations


def test_values_of_the_activations() -> None:
    assert_array_equal(ref.relu([-2, 0, 3]), [0, 0, 3])
    assert_array_equal(ref.leaky_relu([-2, 0, 3], 0.5), [-1, 0, 3])
    assert_allclose(ref.sigmoid([0, np.log(3), -np.log(3)]), [0.5, 0.75, 0.25], rtol=1e-15)
    assert_allclose(ref.tanh([0, np.log(2)]), [0, 0.6], rtol=1e-15)
    assert_allclose(ref.softmax([[np.log(1), np.log(3), np.log(4)]]), [[1 / 8, 3 / 8, 1 / 2]])


def test_activations_are_stable_far_from_zero() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert_array_equal(ref.sigmoid([-1e4, 1e4]), [0, 1])
        assert_array_equal(ref.tanh([-1e4, 1e4]), [-1, 1])
        assert_array_equal(ref.softmax([[1e4, -1e4], [1e4, 1e4]]), [[1, 0], [0.5, 0.5]])
        assert ref.cross_entropy([[1e4, -1e4]], [1])[0] == 2e4
        assert ref.binary_cross_entropy([[1e4, -1e4]], [[0, 1]])[0] == 2e4


def test_jacobian_of_softmax() -> None:
    a = ref.softmax([[0.3, -1.2, 0.8]])
    jacobian = np.vstack([ref.softmax_backward([row], a) for row in np.eye(3)])
    assert_allclose(np.diag(jacobian), (a * (1 - a))[0], rtol=1e-14)
    assert_allclose(jacobian[0, 1], -a[0, 0] * a[0, 1], rtol=1e-14)
    assert_allclose(jacobian, np.diag(a[0]) - np.outer(a, a), rtol=1e-14)


ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "relu": (ref.relu, ref.relu_backward),
    "leaky_relu": (ref.leaky_relu, ref.leaky_relu_backward),
    "sigmoid": (ref.sigmoid, ref.sigmoid_backward),
    "tanh": (ref.tanh, ref.tanh_backward),
    "softmax": (ref.softmax, ref.softmax_backward),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("case", ACTIVATION_CASES, ids=by_id)
def test_activation_gradient(case: ShapeCase, name: str) -> None:
    forward, backward = ACTIVATIONS[name]
    x, rng = case.array(), generator(case.id + ".gradient")
    step = 1e-5
    if "relu" in name:  # a step across the kink would see neither slope
        step *= min(case.scale, 1.0)
    y = forward(x)
    dy = rng.standard_normal(y.shape)
    error = check_gradient(
        lambda v: float((forward(v) * dy).sum()), x, backward(dy, y), rng, step=step
    )
    assert error < TOLERANCE


# ---------------------------------------------------------------------------------- losses

# three pictures of a dog, a cat and a dog; columns are dog and cat
ANSWERS = {
    1: np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]),
    2: np.array([[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]),
}
ANIMALS = [0, 1, 0]


@pytest.mark.parametrize(
    ("network", "squared_error", "cross_entropy"), [(1, 0.25, 0.38), (2, 0.71, 1.06)]
)
def test_three_pictures(network: int, squared_error: float, cross_entropy: float) -> None:
    answer, target = ANSWERS[network], one_hot(ANIMALS, 2)
    assert round(float((answer.argmax(axis=1) != ANIMALS).mean()), 2) == 0.33
    assert round(2 * ref.quadratic(answer, target)[0], 2) == squared_error
    assert round(2 * ref.mse(answer, target)[0], 2) == squared_error
    assert round(ref.cross_entropy(np.log(answer), ANIMALS)[0], 2) == cross_entropy


def test_gradient_of_cross_entropy_is_output_less_target() -> None:
    z = np.log(ANSWERS[1])
    assert_allclose(ref.cross_entropy(z, ANIMALS)[1], (ANSWERS[1] - one_hot(ANIMALS, 2)) / 3)


def test_quadratic_cost_by_hand() -> None:
    cost, da = ref.quadratic([[1, 2], [3, 4]], [[0, 0], [3, 2]])
    assert cost == (1 + 4 + 0 + 4) / 4
    assert_array_equal(da, [[0.5, 1], [0, 1]])
    cost, da = ref.mse([[1, 2], [3, 4]], [[0, 0], [3, 2]])
    assert cost == (1 + 4 + 0 + 4) / 4
    assert_array_equal(da, [[0.5, 1], [0, 1]])


@pytest.mark.parametrize("y", [0.1, 0.5, 0.8])
def test_least_binary_cross_entropy_is_the_binary_entropy(y: float) -> None:
    entropy = -(y * np.log(y) + (1 - y) * np.log(1 - y))
    cost, dz = ref.binary_cross_entropy([[np.log(y / (1 - y))]], [[y]])
    assert_allclose(cost, entropy, rtol=1e-14)
    assert_allclose(dz, [[0]], atol=1e-15)
    for z in (-1.0, 3.0):
        assert ref.binary_cross_entropy([[z]], [[y]])[0] > entropy


def test_a_saturated_neuron_learns_fast_under_cross_entropy_alone() -> None:
    z, target = np.array([[8.0]]), np.array([[0.0]])
    a = ref.sigmoid(z)
    slow = ref.sigmoid_backward(ref.quadratic(a, target)[1], a)
    fast = ref.binary_cross_entropy(z, target)[1]
    assert_allclose(fast, a - target, rtol=1e-14)
    assert_allclose(slow, (a - target) * a * (1 - a), rtol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", LOSS_CASES, ids=by_id)
def test_loss_gradient(case: ShapeCase, name: str) -> None:
    loss = getattr(ref, name)
    z, rng = case.array(), generator(case.id + ".gradient")
    labels = name in LOSSES_OF_CLASSES
    target = rng.integers(0, z.shape[1], len(z)) if labels else rng.random(z.shape)
    step = 1e-5 * max(case.scale, 1.0)  # a cost of 1e4 needs a greater step
    error = check_gradient(lambda v: loss(v, target)[0], z, loss(z, target)[1], rng, step=step)
    assert error < TOLERANCE


# ----------------------------------------------------------------------------------- chain


def test_backpropagation_through_convolution_pooling_and_connection() -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((3, 2, 6, 6)), rng.standard_normal((4, 2, 3, 3))
    weight, target = rng.standard_normal((5, 16)), rng.integers(0, 5, 3)

    def cost(kernel: Array) -> float:
        a = ref.avg_pool2d(ref.tanh(ref.conv2d(x, kernel)), 2)
        return ref.cross_entropy(ref.linear(a.reshape(3, 16), weight), target)[0]

    a1 = ref.tanh(ref.conv2d(x, kernel))
    a2 = ref.avg_pool2d(a1, 2).reshape(3, 16)
    da2, _, _ = ref.linear_backward(
        ref.cross_entropy(ref.linear(a2, weight), target)[1], a2, weight
    )
    delta = ref.tanh_backward(ref.avg_pool2d_backward(da2.reshape(3, 4, 2, 2), a1.shape, 2), a1)
    _, dkernel, _ = ref.conv2d_backward(delta, x, kernel)
    assert check_gradient(cost, kernel, dkernel, rng) < TOLERANCE


# --------------------------------------------------------------------------------- descent


def test_plain_descent() -> None:
    parameter, velocity = ref.sgd_step([1, 2], [10, -20], None, lr=0.5)
    assert_array_equal(parameter, [-4, 12])
    assert velocity is None


def test_weight_decay_adds_to_the_gradient() -> None:
    assert_array_equal(ref.sgd_step([4], [1], None, lr=0.5, weight_decay=0.25)[0], [3])


def test_momentum_and_dampening() -> None:
    options: dict[str, Any] = {"lr": 1.0, "momentum": 0.5, "dampening": 0.25}
    parameter, velocity = ref.sgd_step([0], [8], None, **options)
    assert_array_equal((parameter, velocity), ([-8], [8]))  # the first step is not dampened
    parameter, velocity = ref.sgd_step(parameter, [8], velocity, **options)
    assert_array_equal((parameter, velocity), ([-18], [10]))  # 0.5 * 8 + 0.75 * 8


def test_nesterov_looks_ahead() -> None:
    parameter, velocity = ref.sgd_step([0], [8], None, lr=1.0, momentum=0.5, nesterov=True)
    assert_array_equal((parameter, velocity), ([-12], [8]))  # 8 + 0.5 * 8
    parameter, velocity = ref.sgd_step(
        parameter, [8], velocity, lr=1.0, momentum=0.5, nesterov=True
    )
    assert_array_equal((parameter, velocity), ([-26], [12]))  # 8 + 0.5 * (0.5 * 8 + 8)
