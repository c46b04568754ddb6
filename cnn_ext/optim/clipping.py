"""Gradients that are clipped, by their norm or number by number, as `torch.nn.utils` does it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .. import _check as check
from .. import _core
from ..parameter import Call, at_once
from ._groups import Parameters, gradient_of, parameters_of

SMALL = 1e-6  # what PyTorch adds to the norm before it divides


def clip_grad_norm_(parameters: Parameters, max_norm: float) -> float:
    """Shrink all gradients by one factor, so that their norm together is at most `max_norm`.

    ``g *= min(1, max_norm / (norm + 1e-6))`` with the root of the sum of all squares as norm
    (Pascanu, Mikolov and Bengio 2013).  Where a gradient is NaN, all of them become NaN; where one
    is infinite, it becomes NaN and the others 0.

    Parameters
    ----------
    parameters : network or iterable of Parameter
        Those without a gradient are left out.
    max_norm : float
        0 or more.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    TypeError, ValueError
        If an argument or a gradient does not fit; then nothing has changed.
    """
    max_norm = check.number(max_norm, "max_norm")
    chosen = [parameter for parameter in parameters_of(parameters) if parameter.grad is not None]
    gradients = [np.require(gradient_of(parameter), None, "W") for parameter in chosen]
    norm = norm_of(gradients)
    calls = shrinking(gradients, gradients, factor_for(norm, max_norm))
    put = [(setattr, p, "grad", g) for p, g in zip(chosen, gradients, strict=True)]
    at_once([*calls, *put])  # what had another layout is replaced
    return norm


def clip_grad_value_(parameters: Parameters, max_value: float) -> None:
    """Bring every number of the gradients to -max_value ... max_value; NaN stays.

    `max_value` is 0 or more.  Parameters and errors are else as for `clip_grad_norm_`.

    Raises
    ------
    TypeError, ValueError
        If an argument or a gradient does not fit; then nothing has changed.
    """
    max_value = check.number(max_value, "max_value")
    chosen = [parameter for parameter in parameters_of(parameters) if parameter.grad is not None]
    gradients = [np.require(gradient_of(parameter), None, "W") for parameter in chosen]
    put = [(setattr, p, "grad", g) for p, g in zip(chosen, gradients, strict=True)]
    at_once([*cutting(gradients, gradients, max_value), *put])


def norm_of(gradients: Iterable[np.ndarray]) -> float:
    """The root of the sum of all squares, the same bits at any number of threads."""
    total = 0.0
    for gradient in gradients:
        total += _core.sum_of_squares(gradient, gradient.itemsize, gradient.size)
    return math.sqrt(total)


def factor_for(norm: float, max_norm: float) -> float:
    """What brings gradients of that norm to at most `max_norm`; NaN for a norm that is NaN."""
    factor = max_norm / (norm + SMALL)
    return 1.0 if factor > 1 else factor


def clipped(
    gradients: list[np.ndarray], max_norm: float | None, max_value: float | None
) -> list[np.ndarray]:
    """The gradients themselves, or clipped copies."""
    if max_value is not None:
        copies = [np.empty_like(gradient) for gradient in gradients]
        at_once(cutting(gradients, copies, max_value))
        gradients = copies
    if max_norm is not None and (factor := factor_for(norm_of(gradients), max_norm)) != 1:
        copies = [np.empty_like(gradient) for gradient in gradients]
        at_once(shrinking(gradients, copies, factor))
        gradients = copies
    return gradients


def shrinking(source: list[np.ndarray], target: list[np.ndarray], factor: float) -> list[Call]:
    # where the factor is 1 the numbers stay, and who waits for memory has less to wait for
    if factor == 1:
        return []
    return [
        (_core.shrink, g, y, g.itemsize, g.size, factor)
        for g, y in zip(source, target, strict=True)
    ]


def cutting(source: list[np.ndarray], target: list[np.ndarray], most: float) -> list[Call]:
    return [
        (_core.elementwise, "clip", g, None, y, g.itemsize, g.size, -most, most)
        for g, y in zip(source, target, strict=True)
    ]
