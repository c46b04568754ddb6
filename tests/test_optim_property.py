"""Any shape, layout, rule and options: steps follow the formula, and no number beside changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from descent import OPTIONS, RULES
from numpy.testing import assert_allclose

from cnn_ext import ExponentialMovingAverage, Parameter, optim

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = st.lists(st.lists(st.integers(0, 9), max_size=4).map(tuple), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    SHAPES,
    st.sampled_from(OPTIONS),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
    st.sampled_from([None, 0.01, 1.0]),
)
def test_steps_of_any_shapes(
    shapes: list[tuple[int, ...]], rule: tuple[str, dict[str, Any]], dtype: str, turned: bool,
    max_norm: float | None,
) -> None:  # fmt: skip
    name, options = rule
    parameters = [Parameter(normal(f"p{i}", shape, dtype)) for i, shape in enumerate(shapes)]
    optimizer = getattr(optim, name)(parameters, lr=0.01, max_norm=max_norm, **options)
    average = ExponentialMovingAverage(parameters, 0.5)
    expected = [p.data.astype(np.float64) for p in parameters]
    states: list[dict[str, Any]] = [{} for _ in parameters]
    for step in range(3):
        gradients = [normal(f"g{step}", shape, dtype).astype(np.float64) for shape in shapes]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = np.array(g, order="F") if turned else g.astype(dtype)
        optimizer.step()
        average.update()
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))
        expected = [
            RULES[name](p, g * factor, state, lr=0.01, **options)
            for p, g, state in zip(expected, gradients, states, strict=True)
        ]
    atol = 1e-12 if dtype == "float64" else 2e-2 if options.get("centered") else 2e-5
    for p, q in zip(parameters, expected, strict=True):
        assert_allclose(p.data, q, rtol=0, atol=atol)
