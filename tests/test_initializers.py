"""First values of weights: their distributions, the same ones again, functions of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import small
from numpy.testing import assert_array_equal

from cnn_ext import Conv2d, Linear, initializers

CONV, FULL = (64, 16, 5, 5), (300, 400)  # fan-in 400 of both
STANDARD_DEVIATIONS = {
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "lecun": lambda fan_in, fan_out: (1 / fan_in) ** 0.5,
    "normal": lambda fan_in, fan_out: 0.01,
    "zeros": lambda fan_in, fan_out: 0.0,
    "pytorch": lambda fan_in, fan_out: (1 / (3 * fan_in)) ** 0.5,
}
UNIFORM = ("glorot", "pytorch")


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
@pytest.mark.parametrize(("shape", "fans"), [(CONV, (400, 1600)), (FULL, (400, 300))])
def test_distributions(name: str, shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.fans(shape) == fans
    weights = initializers.INITIALIZERS[name](shape, np.random.default_rng(0))
    expected = STANDARD_DEVIATIONS[name](*fans)
    assert weights.shape == shape
    assert abs(weights.mean()) <= 4 * expected / weights.size**0.5
    assert abs(weights.std() - expected) <= 0.02 * expected
    if name in UNIFORM:
        assert 0.99 * 3**0.5 * expected < np.abs(weights).max() <= 3**0.5 * expected
    elif expected:  # of a normal distribution, 4.6 in 100 lie beyond two standard deviations
        assert abs((np.abs(weights) > 2 * expected).mean() - 0.0455) < 0.005


def test_normal_takes_its_width_and_mean() -> None:
    weights = initializers.normal(0.5, 3)((100, 100), np.random.default_rng(0))
    assert abs(weights.mean() - 3) < 0.02 and abs(weights.std() - 0.5) < 0.02


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
@pytest.mark.parametrize("kind", [Conv2d, Linear])
def test_layers_take_initialisers_by_name_and_by_function(name: str, kind: Any) -> None:
    arguments = (2, 3, 3) if kind is Conv2d else (4, 3)
    function = initializers.INITIALIZERS[name]
    layers = [
        kind(*arguments, initializer=initializer, rng=np.random.default_rng(3), dtype="float64")
        for initializer in (name, function)
    ]
    first = function(layers[0].weight.data.shape, np.random.default_rng(3))
    for layer in layers:
        assert_array_equal(layer.weight.data, first)
        if name == "pytorch":
            bound = 1 / np.sqrt(first[0].size)
            assert 0 < np.abs(layer.bias.data).max() <= bound
        else:
            assert_array_equal(layer.bias.data, 0)


def test_pytorch_is_the_default() -> None:
    default = Conv2d(2, 3, 3, rng=np.random.default_rng(1))
    named = Conv2d(2, 3, 3, initializer="pytorch", rng=np.random.default_rng(1))
    assert_array_equal(default.weight.data, named.weight.data)
    assert default.bias is not None and named.bias is not None
    assert_array_equal(default.bias.data, named.bias.data)


def test_networks_are_drawn_anew() -> None:
    net = small(seed=0)
    before = net.state_dict()
    net.initialize("he", np.random.default_rng(1))
    first = net.state_dict()
    net.initialize("he", np.random.default_rng(1))
    for name, array in net.state_dict().items():
        assert (before[name] != array).any()
        assert_array_equal(array, first[name])
    assert_array_equal(first["0.bias"], 0)
    net.initialize("he")
    assert (net.state_dict()["0.weight"] != first["0.weight"]).any()


@pytest.mark.parametrize(
    ("initializer", "error", "message"),
    [
        ("xavier", ValueError, "initializer: expected one of he, glorot, .*, got 'xavier'"),
        (0.1, TypeError, "initializer: expected a name or a function, got 0.1"),
        (lambda shape, rng: np.zeros(5), ValueError, r"weights of shape \(3, 2\), got \(5,\)"),
    ],
)
def test_initialisers_that_do_not_fit(
    initializer: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Linear(2, 3, initializer=initializer)
