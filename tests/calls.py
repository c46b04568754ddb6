"""Every function of `cnn_ext.ops` on every case of the table, as calls that any test can make.

A call knows its arrays, its options, its answer by the naive reference, and what it is the gradient
of; so parity, gradients, layouts of arrays, `out=`, threads and instruction sets share one list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import reference as ref
from cases import (
    ACTIVATION_CASES,
    AVG_POOL_CASES,
    CONV_CASES,
    LINEAR_CASES,
    LOSS_CASES,
    POOL_CASES,
    Array,
    ConvCase,
    LinearCase,
    PoolCase,
    ShapeCase,
    generator,
    normal,
)
from gradcheck import check_gradient
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import DTypeLike

from cnn_ext import ops, threads

DTYPES = ("float32", "float64")
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax")
LOSSES_OF_CLASSES = ("cross_entropy", "focal", "hinge")
LOSSES = (*LOSSES_OF_CLASSES, "binary_cross_entropy", "mse", "quadratic", "huber")
SLOPE = 0.125  # of the leaky ReLU
Answer = tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """One function of `ops` on one case.

    `build` makes its arrays of a dtype; the first `batched` of them have the batch as their first
    axis.  `work` is the number of products or sums that it does.
    """

    op: str
    case: str
    build: Callable[[DTypeLike], tuple[Any, ...]]
    options: dict[str, Any]
    batched: int
    work: int

    @property
    def id(self) -> str:
        return f"{self.op}-{self.case}"

    def arrays(self, dtype: DTypeLike = np.float64) -> tuple[Any, ...]:
        return self.build(dtype)

    def run(self, *arrays: Any, **more: Any) -> Answer:
        """The answer of `ops` as a tuple."""
        options = {**self.options, **more}
        if "input_shape" in options:  # of a batch that a test may have made longer
            options["input_shape"] = (len(arrays[0]), *options["input_shape"][1:])
        answer = getattr(ops, self.op)(*arrays, **options)
        return answer if isinstance(answer, tuple) else (answer,)


def truth(call: Call) -> Answer:
    """The answer of the naive reference to the call's float64 arrays."""
    return _truth(call.id)


@cache
def _truth(id: str) -> Answer:
    call = BY_ID[id]
    options = {name: value for name, value in call.options.items() if name != "return_indices"}
    if call.op == "multiply":
        function: Callable[..., Any] = np.multiply
    else:
        function = getattr(ref, "max_pool2d_with_indices" if call.op == "max_pool2d" else call.op)
    answer = function(*call.arrays(), **options)
    return answer if isinstance(answer, tuple) else (answer,)


# ------------------------------------------------------------------------------- the calls


def conv_output(case: ConvCase) -> tuple[int, int, int, int]:
    """(N, K, P, Q)."""
    strides, gaps = ref.pair(case.stride), ref.pair(case.dilation)
    around = ref.sides(case.padding, case.kernel, gaps)
    P, Q = (
        (case.x_shape[2 + i] + sum(around[2 * i : 2 * i + 2]) - gaps[i] * (case.kernel[i] - 1) - 1)
        // strides[i]
        + 1
        for i in (0, 1)
    )
    return (case.x_shape[0], case.K, P, Q)


def pool_output(case: PoolCase) -> tuple[int, ...]:
    """(N, C, P, Q)."""
    kernel, pads, gaps = map(ref.pair, (case.kernel_size, case.padding, case.dilation))
    strides = kernel if case.stride is None else ref.pair(case.stride)
    windows = (
        ref.pool_output(
            case.x_shape[2 + i], kernel[i], strides[i], pads[i], gaps[i], case.ceil_mode
        )
        for i in (0, 1)
    )
    return (*case.x_shape[:2], *windows)


def conv_calls(case: ConvCase) -> list[Call]:
    def forward(dtype: DTypeLike) -> tuple[Any, ...]:
        return case.arrays(dtype)

    def backward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (normal(case.id + ".dy", conv_output(case), dtype), *case.arrays(dtype)[:2])

    work = int(np.prod(conv_output(case)) * np.prod(case.weight_shape[1:]))
    return [
        Call("conv2d", case.id, forward, case.options, 1, work),
        Call("conv2d_backward", case.id, backward, case.options, 2, work),
    ]


def linear_calls(case: LinearCase) -> list[Call]:
    def backward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (normal(case.id + ".dy", (case.N, case.K), dtype), *case.arrays(dtype)[:2])

    work = case.N * case.C * case.K
    return [
        Call("linear", case.id, case.arrays, {}, 1, work),
        Call("linear_backward", case.id, backward, {}, 2, work),
    ]


def max_pool_calls(case: PoolCase) -> list[Call]:
    def forward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (case.array(dtype),)

    def backward(dtype: DTypeLike) -> tuple[Any, ...]:
        indices = ref.max_pool2d_with_indices(case.array(dtype), **case.max_options)[1]
        return normal(case.id + ".dy", pool_output(case), dtype), indices

    options = {**case.max_options, "return_indices": True}
    work = int(np.prod(pool_output(case)))
    return [
        Call("max_pool2d", case.id, forward, options, 1, work),
        Call("max_pool2d_backward", case.id, backward, {"input_shape": case.x_shape}, 2, work),
    ]


def avg_pool_calls(case: PoolCase) -> list[Call]:
    def forward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (case.array(dtype),)

    def backward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (normal(case.id + ".dy", pool_output(case), dtype),)

    calls = []
    work = int(np.prod(pool_output(case)))
    for count in (True, False):
        options = {**case.options, "count_include_pad": count}
        id = case.id if count else case.id + "-pixels-alone"
        back = {**options, "input_shape": case.x_shape}
        calls.append(Call("avg_pool2d", id, forward, options, 1, work))
        calls.append(Call("avg_pool2d_backward", id, backward, back, 1, work))
    return calls


def activation_calls(case: ShapeCase) -> list[Call]:
    def forward(dtype: DTypeLike) -> tuple[Any, ...]:
        return (case.array(dtype),)

    def pair_of_arrays(dtype: DTypeLike) -> tuple[Any, ...]:
        return case.array(dtype), normal(case.id + ".dy", case.shape, dtype)

    def backward(op: str, dtype: DTypeLike) -> tuple[Any, ...]:
        y = getattr(ref, op)(case.array(dtype)).astype(dtype)
        return normal(case.id + ".dy", case.shape, dtype), y

    work = int(np.prod(case.shape))
    calls = [Call("multiply", case.id, pair_of_arrays, {}, 2, work)]
    for op in ACTIVATIONS:
        options = {"negative_slope": SLOPE} if op == "leaky_relu" else {}
        calls.append(Call(op, case.id, forward, options, 1, work))
        calls.append(Call(op + "_backward", case.id, partial(backward, op), options, 2, work))
    return calls


def loss_calls(case: ShapeCase) -> list[Call]:
    def labels(dtype: DTypeLike) -> tuple[Any, ...]:
        return case.array(dtype), generator(case.id).integers(0, case.shape[1], case.shape[0])

    def targets(dtype: DTypeLike) -> tuple[Any, ...]:
        return case.array(dtype), generator(case.id).random(case.shape).astype(dtype)

    work = int(np.prod(case.shape))
    return [
        Call(op, case.id, labels if op in LOSSES_OF_CLASSES else targets, {}, 2, work)
        for op in LOSSES
    ]


CALLS = [
    *(call for case in CONV_CASES for call in conv_calls(case)),
    *(call for case in LINEAR_CASES for call in linear_calls(case)),
    *(call for case in POOL_CASES for call in max_pool_calls(case)),
    *(call for case in AVG_POOL_CASES for call in avg_pool_calls(case)),
    *(call for case in ACTIVATION_CASES for call in activation_calls(case)),
    *(call for case in LOSS_CASES for call in loss_calls(case)),
]
BY_ID = {call.id: call for call in CALLS}
assert len(BY_ID) == len(CALLS)


def calls_of(*names: str) -> list[Call]:
    return [call for call in CALLS if call.op in names]


def by_id(call: Call) -> str:
    return call.id


# ------------------------------------------------------------------------------ the checks


def assert_close(actual: Any, expected: Any, tolerance: float, parts: float = 0.0) -> None:
    """Relative to the greatest entry or part: what cancels keeps the rounding of its parts."""
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    scale = float(np.abs(expected).max(initial=parts)) or 1.0
    assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def check_parity(call: Call) -> None:
    """float64 agrees with the reference, and float32 with float64 on the same numbers."""
    parts = 1.0 if call.op == "softmax_backward" else 0.0  # a saturated row cancels altogether
    exact = call.run(*call.arrays())
    for ours, theirs in zip(exact, truth(call), strict=True):
        assert np.result_type(ours) in (np.float64, np.int64)
        assert_close(ours, theirs, 1e-12, parts)
    narrow = call.arrays(np.float32)
    same = tuple(a if a is None or a.dtype.kind == "i" else a.astype(np.float64) for a in narrow)
    for ours, wide in zip(call.run(*narrow), call.run(*same), strict=True):
        if isinstance(ours, np.ndarray):
            assert ours.dtype == (np.int64 if wide.dtype == np.int64 else np.float32)
        assert_close(ours, wide, 1e-5, parts)


def check_call_gradient(
    forward: Callable[..., Any], arrays: tuple[Any, ...], gradients: Answer, dy: Array, step: float
) -> None:
    """The gradients agree with central differences of sum(forward * dy) at each array."""
    rng = np.random.default_rng(0)
    for i, gradient in enumerate(gradients):

        def cost(value: Array, i: int = i) -> float:
            y = forward(*arrays[:i], value, *arrays[i + 1 :])
            return float((y * dy).sum())

        with threads(1):  # thousands of small calls
            error = check_gradient(cost, arrays[i], gradient, rng, step=step)
        assert error < 1e-6, f"argument {i}"


def assert_same_bytes(actual: Answer, expected: Answer) -> None:
    """Equal to the last bit, NaN and the sign of zero included."""
    for a, b in zip(actual, expected, strict=True):
        assert np.result_type(a) == np.result_type(b)
        assert_array_equal(np.shape(a), np.shape(b))
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
