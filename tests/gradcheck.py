"""Central differences in float64: the judge of every analytic gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

STEP = 1e-5  # truncation (step^2) and rounding (1e-16 / step) both come to about 1e-10
FLOOR = 1e-3  # a gradient smaller than this is compared absolutely: rounding hides its digits


def check_gradient(
    f: Callable[[Array], float],
    x: ArrayLike,
    analytic: ArrayLike,
    rng: np.random.Generator,
    directions: int = 3,
    step: float = STEP,
    max_entries: int = 200,
) -> float:
    """Relative error of a gradient against central differences.

    Parameters
    ----------
    f
        Scalar function of a float64 array; it must be smooth within `step` of `x`.
    x
        Where to differentiate.
    analytic
        Gradient of `f` at `x`, of the shape of `x`.
    rng
        Draws the directions.
    directions
        Number of random directions of entries +1 and -1.
    step
        Half the distance between the two evaluations, per entry.
    max_entries
        An array of at most so many entries is checked entry by entry as well.

    Returns
    -------
    float
        Greatest difference over the norm of the gradient, which is also the root mean square of its
        product with a random direction. 0 for an empty array.
    """
    x = np.array(x, dtype=np.float64)
    analytic = np.asarray(analytic)
    if analytic.shape != x.shape:
        raise ValueError(f"analytic: expected shape {x.shape}, got {analytic.shape}")
    if x.size == 0:
        return 0.0

    def slope(direction: Array) -> float:
        return (f(x + step * direction) - f(x - step * direction)) / (2 * step)

    scale = max(float(np.linalg.norm(analytic)), FLOOR)
    errors = []
    for _ in range(directions):
        direction = rng.choice([-1.0, 1.0], size=x.shape)
        errors.append(abs(slope(direction) - float((analytic * direction).sum())) / scale)
    if x.size <= max_entries:
        numeric = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            direction = np.zeros_like(x)
            direction[index] = 1.0
            numeric[index] = slope(direction)
        errors.append(float(np.linalg.norm(numeric - analytic)) / scale)
    return float(np.max(errors))  # unlike max(), lets a NaN through


def check_layer(
    layer: Any, x: ArrayLike, rng: np.random.Generator | None = None, tolerance: float = 1e-6
) -> None:
    """Assert that a layer's gradients to its input and to each parameter agree with differences.

    The scalar is the sum of the outputs times fixed random numbers, so every output counts.

    Parameters
    ----------
    layer
        Has `forward(x)`, `backward(dy)` -> dx and `parameters()`, each with float64 `.data`
        (changed and restored in place) and `.grad`.
    x
        Input, away from kinks (ReLU at 0, ties of a maximum) by more than the step of 1e-5.
    rng
        Draws the output weights and the directions; by default of seed 0.
    tolerance
        Greatest relative error allowed.

    Raises
    ------
    AssertionError
        Names the gradient that is wrong and its relative error.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    x = np.array(x, dtype=np.float64)
    parameters = list(layer.parameters())
    for number, parameter in enumerate(parameters):
        assert parameter.data.dtype == np.float64, f"parameter {number} is {parameter.data.dtype}"
        if parameter.grad is not None:
            parameter.grad[...] = 0.0

    y = layer.forward(x)
    assert y.dtype == np.float64, f"the output is {y.dtype}"
    weights = rng.standard_normal(y.shape)
    dx = np.array(layer.backward(weights))
    gradients = [np.array(parameter.grad) for parameter in parameters]

    def cost(value: Array) -> float:
        return float((layer.forward(value) * weights).sum())

    errors = {"input": check_gradient(cost, x, dx, rng)}
    for number, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        original = parameter.data.copy()

        def cost_of_parameter(value: Array, data: Array = parameter.data) -> float:
            data[...] = value
            return cost(x)

        errors[f"parameter {number} {gradient.shape}"] = check_gradient(
            cost_of_parameter, original, gradient, rng
        )
        parameter.data[...] = original
    wrong = {name: error for name, error in errors.items() if not error < tolerance}
    assert not wrong, f"gradients off by (relative): {wrong}"
