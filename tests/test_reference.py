"""The reference itself: worked numbers computed by hand, identities, and central differences."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reference as ref
from cases import (
    ACTIVATION_CASES,
    AVG_POOL_CASES,
    CONV_CASES,
    LINEAR_CASES,
    LOSS_CASES,
    POOL_CASES,
    ConvCase,
    LinearCase,
    PoolCase,
    ShapeCase,
    generator,
)
from gradcheck import Array, check_gradient, check_layer
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


# ------------------------------------------------------------------------------- the judge


class Affine:
    """y = factor * x + shift, whose gradients are off by `error`."""

    def __init__(self, error: Array, shift_error: float = 0.0) -> None:
        self.factor = SimpleNamespace(data=np.array([2.0, 3.0]), grad=None)
        self.shift = SimpleNamespace(data=np.array([1.0, -1.0]), grad=None)
        self.error, self.shift_error = error, shift_error

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(x * self.factor.data + self.shift.data)

    def backward(self, dy: Array) -> Array:
        self.factor.grad = (dy * self.x).sum(axis=0)
        self.shift.grad = dy.sum(axis=0) + self.shift_error
        return np.asarray(dy * self.factor.data + self.error)

    def parameters(self) -> list[SimpleNamespace]:
        return [self.factor, self.shift]


def test_the_gradient_check_tells_right_from_wrong() -> None:
    x, one_entry = np.arange(8.0).reshape(4, 2), np.zeros((4, 2))
    one_entry[2, 1] = 1e-3
    layer = Affine(np.zeros((4, 2)))
    check_layer(layer, x)
    assert_array_equal(layer.factor.data, [2, 3])
    with pytest.raises(AssertionError, match=r"{'input': "):
        check_layer(Affine(one_entry), x)
    with pytest.raises(AssertionError, match=r"{'parameter 1 \(2,\)': "):
        check_layer(Affine(np.zeros((4, 2)), shift_error=1e-3), x)
    with pytest.raises(AssertionError, match="input"):
        check_layer(Affine(np.full((4, 2), np.nan)), x)


def test_random_directions_alone_see_one_wrong_entry() -> None:
    x, rng = np.linspace(0, 1, 1000), np.random.default_rng(0)
    gradient = np.cos(x)
    assert check_gradient(lambda v: float(np.sin(v).sum()), x, gradient, rng) < TOLERANCE
    gradient[700] += 1e-3
    assert check_gradient(lambda v: float(np.sin(v).sum()), x, gradient, rng) > TOLERANCE


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


LOSSES = ["cross_entropy", "binary_cross_entropy", "mse", "quadratic"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", LOSS_CASES, ids=by_id)
def test_loss_gradient(case: ShapeCase, name: str) -> None:
    loss = getattr(ref, name)
    z, rng = case.array(), generator(case.id + ".gradient")
    labels = name == "cross_entropy"
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
