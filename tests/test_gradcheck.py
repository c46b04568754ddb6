"""The judge of gradients tells right from wrong."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from gradcheck import Array, check_gradient, check_layer
from numpy.testing import assert_array_equal

TOLERANCE = 1e-6


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
