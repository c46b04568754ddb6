"""Clipping of gradients, in functions and in the steps of an optimizer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cases import normal
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import SGD, Parameter
from cnn_ext.optim import clip_grad_norm_, clip_grad_value_

SHAPES = [(3, 4), (0,), (17,), (), (40, 1001)]


def parameters(dtype: str = "float64") -> list[Parameter]:
    chosen = [Parameter(normal(f"p{shape}", shape, dtype)) for shape in SHAPES]
    for parameter in chosen:
        parameter.grad = np.array(normal(f"g{parameter.data.shape}", parameter.data.shape, dtype))
    return [*chosen, Parameter(np.ones(3, dtype))]  # the last has no gradient


def norm(chosen: list[Parameter]) -> float:
    parts = [p.grad.astype(np.float64).ravel() for p in chosen if p.grad is not None]
    return float(np.linalg.norm(np.concatenate(parts)))


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("max_norm", [0, 0.5, 100.0, 1e6])
def test_the_norm_of_all(dtype: str, rtol: float, max_norm: float) -> None:
    chosen, before = parameters(dtype), parameters(dtype)
    total = norm(chosen)
    arrays = [p.grad for p in chosen]
    assert_allclose(clip_grad_norm_(chosen, max_norm), total, rtol=rtol)
    factor = min(1, max_norm / (total + 1e-6))
    for p, old, array in zip(chosen, before, arrays, strict=True):
        assert p.grad is array  # in place
        if old.grad is not None:
            assert_allclose(p.grad, old.grad * factor, rtol=max(rtol, 1e-12), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_number_by_number(dtype: str) -> None:
    chosen, before = parameters(dtype), parameters(dtype)
    chosen[0].grad[0, 0] = before[0].grad[0, 0] = np.nan
    clip_grad_value_(chosen, 0.3)
    for p, old in zip(chosen, before, strict=True):
        if old.grad is not None:
            assert_array_equal(p.grad, np.clip(old.grad, np.dtype(dtype).type(-0.3), 0.3))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_goes_pytorchs_way(bad: float) -> None:
    chosen = parameters()
    chosen[0].grad[0, 0] = bad
    assert_array_equal(clip_grad_norm_(chosen, 1.0), bad)
    assert np.isnan(chosen[0].grad[0, 0])
    rest = chosen[2].grad
    assert np.isnan(rest).all() if math.isnan(bad) else (rest == 0).all()


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
@pytest.mark.parametrize("limit", [0.1, 1e5])
def test_both_are_those_of_pytorch(bad: float | None, limit: float) -> None:
    torch = pytest.importorskip("torch")
    for ours, theirs in (
        (clip_grad_norm_, torch.nn.utils.clip_grad_norm_),
        (clip_grad_value_, torch.nn.utils.clip_grad_value_),
    ):
        chosen = parameters()
        if bad is not None:
            chosen[0].grad[1, 1] = bad
        tensors = []
        for p in chosen:
            tensor = torch.nn.Parameter(torch.from_numpy(p.data.copy()))
            tensor.grad = None if p.grad is None else torch.from_numpy(p.grad.copy())
            tensors.append(tensor)
        mine, other = ours(chosen, limit), theirs(tensors, limit)
        if mine is not None:
            assert_allclose(mine, float(other), rtol=1e-12)
        for p, tensor in zip(chosen, tensors, strict=True):
            if p.grad is not None:
                assert_allclose(p.grad, tensor.grad.numpy(), rtol=1e-12)


def test_gradients_of_any_layout_and_number_type() -> None:
    p = Parameter(np.zeros((2, 3)))
    given = np.arange(6, dtype=np.float32).reshape(3, 2).T
    for values in (given, given.astype(">f8"), np.broadcast_to(np.float64(2), (2, 3))):
        p.grad = values
        total = clip_grad_norm_([p], 1.0)
        assert_allclose(p.grad, values / (total + 1e-6))
        assert p.grad.dtype == np.float64
    p.grad = np.ones((3, 2))
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(ValueError, match="grad: expected shape"):
            clip([p], 1.0)
        with pytest.raises(ValueError, match="max_"):
            clip([p], -1.0)
        with pytest.raises(TypeError, match="parameters: expected"):
            clip([3], 1.0)  # type: ignore[list-item]


@pytest.mark.parametrize("options", [{"max_norm": 0.5}, {"max_value": 0.5}, {"max_norm": 1e9}])
def test_in_a_step_gradients_stay_as_they_are(options: dict[str, Any]) -> None:
    chosen, other = parameters(), parameters()
    before = [None if p.grad is None else p.grad.copy() for p in chosen]
    groups = [{"params": chosen[:2]}, {"params": chosen[2:]}]
    SGD(groups, 0.1, **options).step()
    clip = clip_grad_norm_ if "max_norm" in options else clip_grad_value_
    clip(other, *options.values())
    SGD(other, 0.1).step()
    for p, q, old in zip(chosen, other, before, strict=True):
        assert_array_equal(p.data, q.data)
        assert p.grad is None or (p.grad == old).all()


def test_what_is_not_moved_does_not_count() -> None:
    a, b = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    a.grad, b.grad, b.trainable = np.ones(1), np.full(1, 1e9), False
    SGD([a, b], 1.0, max_norm=0.5).step()
    assert_allclose(a.data, -0.5, rtol=1e-5)


def test_the_norm_has_the_same_bits_at_any_number_of_threads() -> None:
    p = Parameter(np.zeros(1_000_003, np.float32))
    p.grad = normal("g", (1_000_003,), np.float32)
    found = set()
    for threads in (1, 2, 3, 7):
        with cnn_ext.threads(threads):
            found.add(clip_grad_norm_([p], 1e9))
    assert len(found) == 1
    assert_allclose(found.pop(), np.linalg.norm(p.grad.astype(np.float64)), rtol=1e-6)
