"""Layers and parameters that stand more than once in a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..ops import _check as check
from .config import named
from .layer import Layer


def used_again(layers: Sequence[Layer]) -> set[int]:
    """Which layers and parameters (their `id`) more than one of these layers uses."""
    seen: set[int] = set()
    again: set[int] = set()
    for step in layers:
        here = set()
        for _, layer in step.named_layers():
            here.add(id(layer))
            here.update(map(id, layer.own_parameters()))
        again |= seen & here
        seen |= here
    return again


def take_saved(step: Layer, i: int, again: set[int]) -> list[tuple[Layer, Any]]:
    """Take what layer number `i` keeps for its backward pass, before another use writes over it.

    Raises
    ------
    TypeError
        If it keeps nothing, at least not by `save_for_backward`.
    """
    layers = [layer for _, layer in step.named_layers() if id(layer) in again]
    saved = [(layer, layer._saved) for layer in layers]
    if id(step) in again and all(values is None for _, values in saved):
        error = TypeError(
            "a layer that stands more than once must keep what backward needs by "
            "save_for_backward, even if it is nothing"
        )
        raise named(error, i, type(step).__name__)
    for layer in layers:
        layer._saved = None
    return saved


def gradient_sum(a: np.ndarray, b: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The sum of two gradients of one parameter, of the type of `like`."""
    first, second = (np.ascontiguousarray(part, like.dtype) for part in (a, b))
    check.same_shape(second, "grad", first.shape)
    _core.elementwise("add", first, second, first, like.itemsize, first.size, 0.0)
    return first
