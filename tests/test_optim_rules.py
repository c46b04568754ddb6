"""Adam, AdamW, RMSprop and SGD against their formulas and against PyTorch; numbers at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Array, normal
from descent import OPTIONS, RULES
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import Parameter, RMSprop, optim

STEPS, LR = 20, 0.02
SIZES = [(1,), (15,), (16,), (17,), (0,), (3, 0), (), (40, 1001)]


def gradient(step: int, shape: tuple[int, ...], dtype: str = "float64") -> Array:
    return normal(f"g{step}", shape, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_steps_follow_the_formula(
    name: str, options: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    parameter = Parameter(normal("p", shape, dtype))
    optimizer = getattr(optim, name)([parameter], lr=LR, **options)
    p, state, before = parameter.data.astype(np.float64), {}, parameter.data
    for step in range(STEPS):
        parameter.grad = gradient(step, shape, dtype)
        optimizer.lr = LR / (step + 1)
        p = RULES[name](p, parameter.grad.astype(np.float64), state, lr=optimizer.lr, **options)
        optimizer.step()
    assert parameter.data is before and before.dtype == dtype
    assert optimizer.state[0]["step"] == STEPS
    # a number divided by nearly nothing carries the rounding of the difference below it
    narrow = 2e-2 if options.get("centered") else 2e-5
    assert_allclose(before, p, rtol=0, atol=1e-12 if dtype == "float64" else narrow)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_the_formulas_are_those_of_pytorch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    shape = (7, 11)
    mine, theirs = Parameter(normal("p", shape, "float64")), torch.nn.Parameter(
        torch.from_numpy(normal("p", shape, "float64"))
    )  # fmt: skip
    ours = getattr(optim, name)([mine], lr=LR, **options)
    other = getattr(torch.optim, name)([theirs], lr=LR, **options)
    p, state = mine.data.copy(), {}
    for step in range(STEPS):
        mine.grad = gradient(step, shape)
        theirs.grad = torch.from_numpy(mine.grad.copy())
        p = RULES[name](p, mine.grad, state, lr=LR, **options)
        ours.step()
        other.step()
    assert_allclose(p, theirs.detach().numpy(), rtol=0, atol=1e-12)
    assert_allclose(mine.data, theirs.detach().numpy(), rtol=0, atol=1e-12)
    slots = other.state_dict()["state"].get(0, {})
    for slot in ours.slots_for(ours.param_groups[0]):
        assert_allclose(ours.state[0][slot], slots[slot].numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_the_same_bits_at_any_number_of_threads_and_any_place(
    name: str, options: dict[str, Any]
) -> None:
    results = []
    for threads in (1, 2, 5):
        with cnn_ext.threads(threads):
            parameter = Parameter(normal("p", (300_001,), "float32"))
            optimizer = getattr(optim, name)([parameter], lr=LR, max_norm=1.0, **options)
            for step in range(3):
                parameter.grad = gradient(step, (300_001,), "float32")
                optimizer.step()
            results.append(parameter.data)
    assert all(result.tobytes() == results[0].tobytes() for result in results)
    # whatever vector a number lies in, its step is the same
    part = Parameter(normal("p", (300_001,), "float32")[5:48])
    optimizer = getattr(optim, name)([part], lr=LR, **options)
    whole = Parameter(normal("p", (300_001,), "float32"))
    other = getattr(optim, name)([whole], lr=LR, **options)
    whole.grad = gradient(0, (300_001,), "float32")
    part.grad = whole.grad[5:48]
    optimizer.step()
    other.step()
    assert part.data.tobytes() == whole.data[5:48].tobytes()


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_a_gradient_that_is_not_a_number_spoils_its_own_number_alone(
    name: str, options: dict[str, Any]
) -> None:
    p = Parameter(np.ones(37, np.float32))
    optimizer = getattr(optim, name)([p], lr=LR, **options)
    p.grad = np.ones(37, np.float32)
    p.grad[3] = np.nan
    for _ in range(2):
        optimizer.step()
    assert_array_equal(np.isnan(p.data), np.arange(37) == 3)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_slots_follow_a_conversion(name: str, options: dict[str, Any]) -> None:
    p = Parameter(np.linspace(-1, 1, 19, dtype=np.float32))
    optimizer = getattr(optim, name)([p], lr=LR, **options)
    for dtype in ("float32", "float64", "float32"):
        p.data = p.data.astype(dtype)
        p.grad = np.linspace(1, 2, 19).astype(dtype)
        optimizer.step()
        slots = [array for slot, array in optimizer.state[0].items() if slot != "step"]
        assert all(array.dtype == dtype for array in slots)
    assert optimizer.state[0]["step"] == 3


def test_the_variance_of_equal_gradients_is_nothing_and_not_less() -> None:
    p = Parameter(np.zeros(40, np.float32))
    optimizer = RMSprop([p], 1e-3, alpha=0.5, centered=True, eps=1.0)
    p.grad = np.linspace(0.1, 3, 40, dtype=np.float32)
    for _ in range(300):
        optimizer.step()
    assert np.isfinite(p.data).all()


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop"])
def test_zero_gradients_move_nothing(name: str) -> None:
    p = Parameter(np.ones(20))
    optimizer = getattr(optim, name)([p], weight_decay=0.0)
    p.grad = np.zeros(20)
    optimizer.step()
    assert_array_equal(p.data, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("Adam", {"lr": 0}, ValueError, "lr: expected a number above 0, got 0"),
        ("Adam", {"betas": (0.9, 1)}, ValueError, "betas: expected less than 1, got 1"),
        ("Adam", {"betas": (-0.1, 0.9)}, ValueError, "betas: expected 0 to 1, got -0.1"),
        ("Adam", {"betas": 0.9}, ValueError, "betas: expected two numbers, got 0.9"),
        ("AdamW", {"eps": -1}, ValueError, "eps: expected 0 or more"),
        ("AdamW", {"weight_decay": "much"}, TypeError, "weight_decay: expected a number"),
        ("RMSprop", {"alpha": 1}, ValueError, "alpha: expected less than 1, got 1"),
        ("RMSprop", {"momentum": -1}, ValueError, "momentum: expected 0 or more"),
        ("SGD", {"decay_biases": 1}, TypeError, "decay_biases: expected a bool, got 1"),
        ("SGD", {"max_norm": -1}, ValueError, "max_norm: expected 0 or more"),
        ("SGD", {"max_value": "x"}, TypeError, "max_value: expected a number"),
        ("SGD", {"max_norm": 1, "max_value": 1}, ValueError, "max_value: expected None with max_"),
    ],
)
def test_arguments_that_do_not_fit(
    name: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        getattr(optim, name)([], **arguments)


def test_hyper_parameters_are_attributes_too() -> None:
    optimizer = cnn_ext.SGD([], momentum=0.9)
    optimizer.momentum, optimizer.nesterov = 0.5, True
    assert optimizer.param_groups[0]["momentum"] == optimizer.momentum == 0.5
    with pytest.raises(ValueError, match="nesterov: expected momentum above 0"):
        optimizer.momentum = 0
    assert optimizer.momentum == 0.5
