"""Every elementwise function of the list: values, gradients, edges; and what stands by channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cases import ACTIVATION_CASES, Array, ShapeCase, normal
from numpy.testing import assert_allclose, assert_array_equal
from operator_cases import ROUNDING

from cnn_ext import _core, ops
from cnn_ext.lanes import Lanes

DTYPES = ["float32", "float64"]
# units in the last place, beyond those by which a rounded x moves the result
UNITS = {"float32": 3.3, "float64": 6.0}
erf, erfc = (np.vectorize(f, otypes=[float]) for f in (math.erf, math.erfc))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@dataclass(frozen=True)
class Function:
    """A function of the list: its naive formula, where it has no derivative, how to call it."""

    formula: Callable[[Array], Array]
    low: float = -np.inf
    kinks: tuple[float, ...] = ()
    p: float = 0.0
    q: float = 0.0
    op: str = ""  # of `ops`
    options: tuple[tuple[str, Any], ...] = ()


SELU = 1.0507009873554804934, 1.6732632423543772848
FUNCTIONS = {
    "relu": Function(lambda x: np.maximum(x, 0), kinks=(0,), op="relu"),
    "leaky_relu": Function(lambda x: np.where(x > 0, x, x / 8), kinks=(0,), p=0.125),
    "clip": Function(lambda x: np.clip(x, 0, 6), kinks=(0, 6), q=6.0, op="relu6"),
    "sigmoid": Function(sigmoid, op="sigmoid"),
    "tanh": Function(np.tanh, op="tanh"),
    "elu": Function(
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)) / 2),
        kinks=(0,), p=0.5, op="elu", options=(("alpha", 0.5),),
    ),
    "selu": Function(
        lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(np.minimum(x, 0))),
        kinks=(0,), op="selu",
    ),
    "gelu": Function(lambda x: x * erfc(-x / math.sqrt(2)) / 2, op="gelu"),
    "gelu_tanh": Function(
        lambda x: x * sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)),
        op="gelu", options=(("approximate", "tanh"),),
    ),
    "silu": Function(lambda x: x * sigmoid(x), op="silu"),
    "hardsigmoid": Function(
        lambda x: np.clip(x / 6 + 0.5, 0, 1), kinks=(-3, 3), p=1 / 6, q=0.5, op="hardsigmoid"
    ),
    "hardswish": Function(
        lambda x: x * (np.clip(x + 3, 0, 6) / 6), kinks=(-3, 3), op="hardswish"
    ),
    "softplus": Function(
        lambda x: np.where(x > 10, x, np.maximum(x, 0) + np.log1p(np.exp(-abs(2 * x))) / 2),
        kinks=(10,), p=2.0, q=20.0, op="softplus", options=(("beta", 2.0),),
    ),
    "mish": Function(lambda x: x * np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-abs(x))))),
    "softsign": Function(lambda x: x / (1 + abs(x)), op="softsign"),
    "abs": Function(np.abs, kinks=(0,)),
    "neg": Function(lambda x: -x),
    "exp": Function(np.exp),
    "log": Function(np.log, low=0),
    "sqrt": Function(np.sqrt, low=0),
    "reciprocal": Function(lambda x: 1 / x, kinks=(0,)),
    "square": Function(np.square),
    "erf": Function(erf),
    "power": Function(lambda x: x**2.5, low=0, p=2.5),
}  # fmt: skip
BOUNDS = -2.0, 3.0  # of what has two numbers beside two arrays
PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "minimum": np.minimum, "maximum": np.maximum, "pow": np.power,
    "prelu": lambda a, b: np.where(a < 0, a * b, a),
    "add_clip": lambda a, b: np.clip(a + b, *BOUNDS),
}  # fmt: skip
ACTIVATIONS = [name for name, function in FUNCTIONS.items() if function.op]


def run(
    op: str, a: Array, b: Array | None = None, c: Array | None = None, p: float = 0, q: float = 0
) -> Array:
    y = np.empty_like(a)
    _core.elementwise(op, a, b, y, a.itemsize, a.size, p, q, c)
    return y


def whole_range(dtype: str, low: float = -np.inf) -> Array:
    info = np.finfo(dtype)
    far = 1.2 * float(np.log(float(info.max)))
    sizes = np.geomspace(float(info.tiny), float(info.max) / 8, 2000)
    x = np.concatenate([np.linspace(-far, far, 4001), np.linspace(-8, 8, 4001), sizes, -sizes])
    return x[x > low].astype(dtype)


def test_every_function_of_the_list_is_tested() -> None:
    ones, twos = set(FUNCTIONS), set(PAIRS)
    ones |= ROUNDING
    assert set(_core.SAVED) == ones and set(_core.SAVED.values()) == {"x", "y"}
    gradients = {name + "_back" for name in ones}
    gradients |= {f"{name}_back_{side}" for name in twos for side in "ab"}
    assert set(_core.OPS) == ones | twos | gradients


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name: str, dtype: str) -> None:
    case = FUNCTIONS[name]
    x = whole_range(dtype, case.low)
    y = run(name, x, p=case.p, q=case.q).astype(float)
    wide = x.astype(
        float if dtype == "float32" or "erf" in name or name == "gelu" else np.longdouble
    )
    with np.errstate(all="ignore"):
        expected = case.formula(wide).astype(float)
        sides = (np.abs(case.formula(wide * (1 + h)) - expected) / 1e-6 for h in (1e-6, -1e-6))
        moved = np.maximum(*sides).astype(float)
        expected = np.where(
            np.abs(expected) > np.finfo(dtype).max, np.copysign(np.inf, expected), expected
        )
        room = np.finfo(dtype).eps * (UNITS[dtype] * np.abs(expected) + np.nan_to_num(moved))
        near = np.abs(y - expected) <= room + 2000 * np.finfo(dtype).tiny
    wrong = ~(near | (y == expected))
    assert not wrong.any(), (x[wrong][:5], y[wrong][:5], expected[wrong][:5])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name: str) -> None:
    case = FUNCTIONS[name]
    x = np.concatenate([np.linspace(max(case.low, -9) + 0.013, 12, 701), [-30.0, 30.0]])
    x = x[(x > case.low) & (np.abs(x[:, None] - [*case.kinks, 1e9]).min(axis=1) > 1e-3)]
    dy = normal("dy", x.shape, np.float64)
    saved = x if _core.SAVED[name] == "x" else run(name, x, p=case.p, q=case.q)
    dx = run(name + "_back", saved, dy, p=case.p, q=case.q)
    step = 1e-5 * np.maximum(np.abs(x), 0.01)
    slope = (case.formula(x + step) - case.formula(x - step)) / (2 * step)
    assert_allclose(dx, dy * slope, rtol=1e-6, atol=1e-7)
    narrow = [a.astype(np.float32) for a in (saved, dy)]
    same = run(name + "_back", *(a.astype(float) for a in narrow), p=case.p, q=case.q)
    scale = np.maximum(np.abs(same), np.abs(dy))
    assert (np.abs(run(name + "_back", *narrow, p=case.p, q=case.q) - same) <= 1e-5 * scale).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges(name: str, dtype: str) -> None:
    # NaN stays; infinities give the limit, which the function has nearly reached here
    case = FUNCTIONS[name]
    far = math.sqrt(np.finfo(dtype).max) if name != "square" else np.inf
    x = np.array([np.nan, np.inf, -np.inf, far, -far, 0.0], dtype)
    y = run(name, x, p=case.p, q=case.q)
    assert np.isnan(y[0])
    for infinite, huge in ((1, 3), (2, 4)):
        if case.low == 0 and infinite == 2:
            assert np.isnan(y[huge])
        elif np.isfinite(y[infinite]):
            assert_allclose(y[infinite], y[huge], rtol=1e-6, atol=1e-6)
        else:
            assert abs(y[huge]) > 40 and y[huge] * y[infinite] > 0
    if name not in ("log", "reciprocal"):
        assert_array_equal(y[5], case.formula(np.zeros(1, dtype))[0].astype(dtype))
    dx = run(name + "_back", x, np.ones_like(x), p=case.p, q=case.q)
    if _core.SAVED[name] == "x" and name not in ("log", "square", "power"):
        assert np.isfinite(dx[1:3]).all()  # the slopes at infinity


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str, dtype: str) -> None:
    values = [0, -0.0, 1, -1, 2, -2.5, 3, 0.5, -7, 1e-3, 1e20, 16777217, np.inf, -np.inf, np.nan]
    a, b = (np.ascontiguousarray(v.ravel()) for v in np.meshgrid(*2 * [np.array(values, dtype)]))
    with np.errstate(all="ignore"):
        expected = PAIRS[name](a, b)
    assert_allclose(run(name, a, b, None, *BOUNDS), expected, rtol=4 * np.finfo(dtype).eps)
    a, b = 1 + np.abs(normal("a", (2, 99), np.float64))
    c = normal("c", a.shape, np.float64)
    h = 1e-6
    for side, x, y, u, v in (("a", a + h, a - h, b, b), ("b", a, a, b + h, b - h)):
        slope = (PAIRS[name](x, u) - PAIRS[name](y, v)) / (2 * h)
        assert_allclose(
            run(f"{name}_back_{side}", a, b, c, *BOUNDS), c * slope, rtol=1e-6, atol=1e-8
        )


def test_kinks() -> None:
    one = np.ones(2)
    assert_array_equal(run("clip_back", np.array([0.0, 6.0]), one, q=6.0), [0, 0])
    assert_array_equal(run("hardsigmoid_back", np.array([-3.0, 3.0]), one, p=1 / 6, q=0.5), [0, 0])
    assert_array_equal(run("hardswish_back", np.array([-3.0, 3.0]), one), [0, 1])
    assert_array_equal(run("maximum_back_a", one, one, one), [0.5, 0.5])
    assert_array_equal(run("pow_back_a", 0 * one, 0 * one, one), [0, 0])
    assert_array_equal(run("pow_back_b", 0 * one, one, one), [0, 0])
    assert_array_equal(run("power_back", 0 * one, one), [0, 0])


# ---------------------------------------------------------------------------- as functions of ops


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_functions_of_ops(name: str) -> None:
    case = FUNCTIONS[name]
    forward, backward = getattr(ops, case.op), getattr(ops, case.op + "_backward")
    for dtype, shape in (("float32", (17, 3, 5)), ("float64", (5,)), ("float32", ())):
        x, dy = (np.asarray(3 * normal(part, shape, dtype)) for part in ("x", "dy"))
        y = forward(x, **dict(case.options))
        assert_array_equal(y.ravel(), run(name, x.ravel(), p=case.p, q=case.q))
        saved = x if _core.SAVED[name] == "x" else y
        dx = backward(dy, saved, **dict(case.options))
        raw = saved.ravel(), dy.ravel()
        assert_array_equal(dx.ravel(), run(name + "_back", *raw, p=case.p, q=case.q))
        for function, args, answer in ((forward, (x,), y), (backward, (dy, saved), dx)):
            assert answer.shape == shape and answer.dtype == dtype
            out = np.empty_like(x)
            assert function(*args, **dict(case.options), out=out) is out
            assert_array_equal(out, answer)
            if shape:
                lanes = function(*map(Lanes.pack, args), **dict(case.options))
                assert_array_equal(lanes.unpack(), answer)
    wrong = rf"{_core.SAVED[name]}: expected real numbers|dy: expected shape \(3,\), got \(4,\)"
    with pytest.raises(ValueError, match=wrong):
        backward(np.ones(4), np.ones(3))
    with pytest.raises(TypeError, match="x: expected real numbers"):
        forward(["a"])
    with pytest.raises(ValueError, match="out: expected shape"):
        forward(np.ones(3), out=np.ones(4))


def test_options_are_named_when_wrong() -> None:
    x = np.ones(3)
    for call, message in (
        (lambda: ops.gelu(x, "sigmoid"), "approximate: expected 'none' or 'tanh', got 'sigmoid'"),
        (lambda: ops.elu(x, np.nan), "alpha: expected"),
        (lambda: ops.softplus(x, 0), "beta: expected"),
        (lambda: ops.softplus(x, 1, np.inf), "threshold: expected"),
        (
            lambda: ops.prelu(np.ones((2, 3)), np.ones(2)),
            r"weight: expected shape \(1,\) or \(3,\)",
        ),
        (lambda: ops.prelu_backward(np.ones((2, 4)), np.ones((2, 3)), [0.1]), "dy: expected shape"),
        (lambda: ops.log_softmax(x), r"x: expected shape \(N, K, \.\.\.\)"),
        (lambda: ops.log_softmax_backward(np.ones((2, 1)), np.ones((2, 3))), "dy: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="alpha: expected a number"):
        ops.elu(x, "a")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*ACTIVATIONS, "prelu", "log_softmax"])
def test_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    case = FUNCTIONS.get(name, Function(np.abs, op=name))
    x = np.concatenate([np.linspace(-12, 12, 97), [-40, 40, -3, 3, 6, 0.0]]).reshape(1, -1)
    dy = normal("dy", x.shape, np.float64)
    more = (np.linspace(-1, 1, x.size),) if name == "prelu" else ()
    theirs, *rest = (torch.tensor(a, requires_grad=True) for a in (x, *more))
    functional = getattr(torch.nn.functional, case.op, torch.tanh)
    options = {"dim": 1} if name == "log_softmax" else dict(case.options)
    expected = functional(theirs, *rest, **options)
    expected.backward(torch.tensor(dy))
    y = getattr(ops, case.op)(x, *more, **dict(case.options))
    assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    saved = x if _core.SAVED.get(name, "y" if name == "log_softmax" else "x") == "x" else y
    back = getattr(ops, case.op + "_backward")(dy, saved, *more, **dict(case.options))
    gradients = back if isinstance(back, tuple) else (back,)
    for ours, tensor in zip(gradients, (theirs, *rest), strict=True):
        # PyTorch's sixth of hardsigmoid is that of float32
        rtol = 1e-7 if name == "hardsigmoid" else 1e-11
        assert_allclose(ours, tensor.grad.numpy(), rtol=rtol, atol=1e-14)


# ------------------------------------------------------------------------------------- by channel


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ACTIVATION_CASES, ids=lambda case: case.id)
def test_prelu_and_affine(case: ShapeCase, dtype: str) -> None:
    x, dy = case.array(dtype), normal("dy", case.shape, dtype)
    C = case.shape[1]
    column = (1, C, *(1,) * (len(case.shape) - 2))
    w, b = (normal(part, (C,), dtype) for part in "wb")
    for weight in (w, w[:1]):
        wide = weight.reshape(1, -1, *column[2:])
        assert_array_equal(ops.prelu(x, weight), np.where(x < 0, x * wide, x))
        dx, dweight = ops.prelu_backward(dy, x, weight)
        assert_array_equal(dx, np.where(x > 0, dy, dy * wide))
        parts = np.where(x > 0, 0, dy.astype(float) * x)
        axes = tuple(i for i in range(x.ndim) if i != 1)
        expected = parts.sum(axis=axes) if weight is w else parts.sum(keepdims=True).reshape(1)
        room = 100 * np.finfo(dtype).eps * (np.abs(parts).sum() + 1)
        assert_allclose(dweight, expected, rtol=0, atol=room)
        assert dweight.shape == weight.shape and dweight.dtype == dtype
    out = np.empty_like(x)
    assert ops.prelu(x, w, out=out) is out
    lanes = Lanes.pack(x)
    assert_array_equal(ops.prelu(lanes, w).unpack(), out)
    pixels = math.prod(case.shape[2:])
    for scale, shift, clip in ((w, b, None), (w, None, (-0.5, 1.0)), (None, b, None)):
        y = Lanes.empty(x.shape, x.dtype)
        sizes = x.itemsize, lanes.blocks, C, pixels
        _core.affine(lanes.data, scale, shift, y.data, *sizes, clip)
        answer = x.astype(float) * (1 if scale is None else scale.reshape(column))
        answer = answer + (0 if shift is None else shift.reshape(column))
        if clip:
            answer = np.clip(answer, *clip)
        room = 4 * np.finfo(dtype).eps * (np.abs(x).max(initial=1) * np.abs(w).max() + 3)
        assert_allclose(y.unpack(), answer, rtol=0, atol=room)


def test_lanes_without_an_image_are_in_no_gradient_of_slopes() -> None:
    x = Lanes.pack(-np.ones((3, 2, 2), np.float32))
    dy = Lanes.pack(np.ones((3, 2, 2), np.float32))
    if x.data.size == 12:
        pytest.skip("no lane is empty")
    for lanes in (x, dy):
        lanes.data[-1, ..., 3 % lanes.data.shape[-1] :] = np.inf
    assert_array_equal(ops.prelu_backward(dy, x, np.ones(2, np.float32))[1], [-6, -6])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax(dtype: str) -> None:
    x = normal("x", (19, 7, 3), dtype)
    dy = normal("dy", x.shape, dtype)
    y = ops.log_softmax(x)
    assert_allclose(y, np.log(ops.softmax(x.astype(float))), rtol=0, atol=1e-6)
    expected = dy - np.exp(y.astype(float)) * dy.sum(axis=1, keepdims=True)
    assert_allclose(ops.log_softmax_backward(dy, y), expected, rtol=0, atol=1e-5)
    lanes = ops.log_softmax_backward(Lanes.pack(dy), ops.log_softmax(Lanes.pack(x)))
    assert_array_equal(lanes.unpack(), ops.log_softmax_backward(dy, y))
    assert_allclose(ops.log_softmax([[1e4, 0, -np.inf]]), [[0, -1e4, -np.inf]])
