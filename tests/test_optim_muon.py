"""Muon against its formula, against PyTorch, and the matrices that its iteration makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from descent import RULES, muon
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import Muon, Parameter
from cnn_ext.optim.muon import orthogonalized

OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.6, "weight_decay": 0.3, "ns_steps": 5},
    {"momentum": 0.9, "nesterov": False},
    {"momentum": 0.0, "nesterov": False, "ns_steps": 1},
    {"momentum": 0.6, "keep_norms": True, "weight_decay": 0.3},
]
SHAPES = [(5, 9), (9, 5), (6, 6), (1, 4), (4, 1), (8, 3, 3, 3), (4, 7, 2)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matrices_follow_the_formula(
    shape: tuple[int, ...], options: dict[str, Any], dtype: str
) -> None:
    parameter = Parameter(normal("p", shape, dtype))
    before, expected, state = parameter.data, parameter.data.astype(np.float64), {}
    optimizer = Muon([parameter], lr=0.1, **options)
    for step in range(5):
        parameter.grad = normal(f"g{step}", shape, dtype)
        optimizer.lr = 0.1 / (step + 1)
        expected = muon(
            expected, parameter.grad.astype(np.float64), state, lr=optimizer.lr, **options
        )
        optimizer.step()
    assert parameter.data is before and before.dtype == dtype
    assert_allclose(before, expected, rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize(
    ("shape", "group"), [((7,), {}), ((), {}), ((0, 3), {}), ((5, 9), {"orthogonal": False})]
)
def test_the_rest_is_moved_as_by_sgd(shape: tuple[int, ...], group: dict[str, Any]) -> None:
    parameter = Parameter(normal("p", shape, "float64"))
    optimizer = Muon([{"params": parameter, "weight_decay": 0.1, **group}], lr=0.1, momentum=0.8)
    expected, state = parameter.data.copy(), {}
    for step in range(4):
        parameter.grad = normal(f"g{step}", shape, "float64")
        expected = RULES["SGD"](
            expected, parameter.grad, state, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.1
        )
        optimizer.step()
    assert_allclose(parameter.data, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"ns_steps": 5}, {"momentum": 0.6, "weight_decay": 0.3, "ns_steps": 3}]
)
@pytest.mark.parametrize("shape", [(12, 30), (30, 12)], ids=str)
def test_pytorch_takes_the_same_steps(shape: tuple[int, int], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    mine = Parameter(normal("p", shape, "float32"))
    theirs = torch.nn.Parameter(torch.from_numpy(mine.data.copy()))
    ours = Muon([mine], lr=0.1, **options)
    other = torch.optim.Muon([theirs], lr=0.1, **{"weight_decay": 0.0, **options})
    for step in range(4):
        mine.grad = normal(f"g{step}", shape, "float32")
        theirs.grad = torch.from_numpy(mine.grad.copy())
        ours.step()
        other.step()
    # PyTorch iterates in bfloat16, whose numbers have 8 bits
    moved = mine.data - normal("p", shape, "float32")
    assert_allclose(mine.data, theirs.detach().numpy(), rtol=0, atol=0.03 * np.abs(moved).max())


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (33, 33)], ids=str)
def test_the_vectors_stay_and_the_values_become_nearly_1(shape: tuple[int, int]) -> None:
    matrix = normal("m", shape, "float64")
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalized(matrix, 8) @ v.T
    values = np.diag(inner)
    assert 0.6 < values.min() < values.max() < 1.3
    assert_allclose(inner, np.diag(values), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_a_matrix_of_low_rank_takes_the_steps_of_the_formula(dtype: str, tolerance: float) -> None:
    # what rounding leaves in the other directions must not grow from step to step
    low = normal("u", (60, 3), "float64") @ normal("v", (3, 90), "float64")
    x = low / (np.linalg.norm(low) + 1e-7)
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    assert_allclose(orthogonalized(low.astype(dtype), 3), x, rtol=0, atol=tolerance)


def test_a_matrix_of_zeros_stays_one() -> None:
    assert_array_equal(orthogonalized(np.zeros((3, 4), np.float32), 3), np.zeros((3, 4)))


def test_the_same_bits_at_any_number_of_threads() -> None:
    results = []
    for threads in (1, 2, 3):
        with cnn_ext.threads(threads):
            parameter = Parameter(normal("p", (64, 32, 3, 3), "float32"))
            optimizer = Muon([parameter])
            for step in range(2):
                parameter.grad = normal(f"g{step}", parameter.shape, "float32")
                optimizer.step()
            results.append(parameter.data.tobytes())
    assert results[0] == results[1] == results[2]


def test_the_state_goes_on_where_it_was() -> None:
    first, second = (Parameter(normal("p", (5, 9), "float64")) for _ in range(2))
    one, other = Muon([first]), Muon([second])
    first.grad = second.grad = normal("g", (5, 9), "float64")
    one.step()
    second.data[...] = first.data
    other.load_state_dict(one.state_dict())
    one.step()
    other.step()
    assert_array_equal(first.data, second.data)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ns_steps": 0}, "ns_steps"), ({"momentum": 0}, "nesterov"), ({"lr": 0}, "lr")],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon([Parameter(np.ones((2, 2)))], **options)
