"""Any array goes in, and `out=` takes the answer: layouts, byte orders, dtypes, read-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import ACTIVATIONS, CALLS, DTYPES, LOSSES, Answer, Call, assert_same_bytes, by_id
from cases import normal
from numpy.testing import assert_array_equal

from cnn_ext import ops


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def spread(a: np.ndarray) -> np.ndarray:
    """Every second number of a larger array, backwards."""
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 1] = a[..., ::-1]
    return wide[..., ::-1, 1]


def unaligned(a: np.ndarray) -> np.ndarray:
    """Numbers that begin at an odd byte."""
    raw = np.zeros(a.nbytes + 16, np.uint8)
    start = 1 + raw.ctypes.data % 2
    view = raw[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert a.size == 0 or not view.flags.aligned
    return view


def swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


LAYOUTS: list[Callable[[np.ndarray], np.ndarray]] = [
    read_only,
    spread,
    unaligned,
    swapped,
    np.asfortranarray,
]


@pytest.mark.parametrize("call", CALLS, ids=by_id)
def test_layout_does_not_matter(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.arrays(dtype)
        expected = call.run(*arrays)
        for layout in LAYOUTS:
            given = tuple(a if a is None else layout(a) for a in arrays)
            assert_same_bytes(call.run(*given), expected)
            for a, original in zip(given, arrays, strict=True):
                assert a is None or np.array_equal(a, original)


@pytest.mark.parametrize("call", CALLS, ids=by_id)
def test_one_image_broadcast_over_the_batch(call: Call) -> None:
    arrays = call.arrays(np.float32)
    ones = [np.broadcast_to(a[:1], a.shape) if len(a) else a for a in arrays[: call.batched]]
    assert all(len(a) < 2 or a.strides[0] == 0 for a in ones)
    rest = arrays[call.batched :]
    assert_same_bytes(call.run(*ones, *rest), call.run(*(a.copy() for a in ones), *rest))


# ------------------------------------------------------------------------------------ out=

WITH_OUT = [call for call in CALLS if call.op not in LOSSES]


def outputs(call: Call, answer: Answer, make: Callable[[np.ndarray], Any]) -> tuple[Any, Answer]:
    """The value of `out` and the arrays in it, each made from an array of the answer."""
    if call.op in ("conv2d_backward", "linear_backward"):
        out = tuple(make(a) for a in answer)
        return out, out
    made = make(answer[0])
    return made, (made,)


def strided(a: np.ndarray) -> np.ndarray:
    return np.full((*a.shape, 2), 7, a.dtype)[..., 0]


@pytest.mark.parametrize("call", WITH_OUT, ids=by_id)
def test_the_answer_is_written_to_out(call: Call) -> None:
    for dtype in DTYPES:
        arrays = call.arrays(dtype)
        expected = call.run(*arrays)
        for make in (lambda a: np.full_like(a, 7), strided):
            out, targets = outputs(call, expected, make)
            answer = call.run(*arrays, out=out)
            assert all(a is target for a, target in zip(answer, targets, strict=False))
            assert_same_bytes(answer, expected)


@pytest.mark.parametrize("call", WITH_OUT, ids=by_id)
def test_out_of_the_wrong_kind_is_refused(call: Call) -> None:
    arrays = call.arrays(np.float32)
    answer = call.run(*arrays)
    wrong: list[tuple[type[Exception], Callable[[np.ndarray], Any]]] = [
        (ValueError, lambda a: np.zeros((*a.shape, 1), a.dtype)),
        (TypeError, lambda a: a.astype(np.float64)),
        (TypeError, lambda a: swapped(a)),
        (TypeError, lambda a: a.tolist()),
        (ValueError, read_only),
    ]
    for error, make in wrong:
        out, _ = outputs(call, answer, make)
        with pytest.raises(error, match="out: expected"):
            call.run(*arrays, out=out)


def test_each_output_of_a_backward_pass_is_checked_and_may_be_none() -> None:
    x, weight, dy = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))
    dweight = np.zeros((4, 3))
    answer = ops.linear_backward(dy, x, weight, out=(None, dweight, None))
    assert answer[1] is dweight
    assert_array_equal(dweight, np.full((4, 3), 2))
    with pytest.raises(ValueError, match=r"out\[1\]: expected shape \(4, 3\), got \(3, 4\)"):
        ops.linear_backward(dy, x, weight, out=(None, np.zeros((3, 4)), None))
    with pytest.raises(TypeError, match=r"out\[2\]: expected an array of float64, got list"):
        ops.linear_backward(dy, x, weight, out=(None, None, [0.0] * 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("op", ACTIVATIONS)
def test_out_may_be_the_input(op: str) -> None:
    x = normal("x", (19, 7), np.float32)
    expected = getattr(ops, op)(x)
    assert getattr(ops, op)(x, out=x) is x
    assert_array_equal(x, expected)


def test_out_may_overlap_the_input() -> None:
    x = normal("x", (3, 2, 6, 6), np.float64)
    weight = normal("w", (2, 2, 3, 3), np.float64)
    expected = ops.conv2d(x, weight, padding=1)
    whole = np.zeros((4, 2, 6, 6))
    whole[:3] = x
    ops.conv2d(whole[:3], weight, padding=1, out=whole[1:])
    assert_array_equal(whole[1:], expected)


# ---------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "uint64", "float16"])
def test_other_real_numbers_are_taken_as_float32(dtype: str) -> None:
    x = normal("x", (3, 2, 5, 5), np.float64).clip(0, 1).round(1) * 10
    x = x.astype(dtype)
    weight = np.ones((2, 2, 3, 3), np.float32)
    for answer, expected in (
        (ops.conv2d(x, weight), ops.conv2d(x.astype(np.float32), weight)),
        (ops.max_pool2d(x, 2), ops.max_pool2d(x.astype(np.float32), 2)),
        (ops.sigmoid(x), ops.sigmoid(x.astype(np.float32))),
        (ops.softmax(x), ops.softmax(x.astype(np.float32))),
    ):
        assert answer.dtype == np.float32
        assert_array_equal(answer, expected)


def test_float64_wins() -> None:
    x, weight, bias = np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), np.ones(1)
    narrow: list[Any] = [a.astype(np.float32) for a in (x, weight, bias)]
    for wide in range(3):
        arrays = list(narrow)
        arrays[wide] = arrays[wide].astype(np.float64)
        assert ops.conv2d(*arrays).dtype == np.float64
    assert ops.conv2d(*narrow).dtype == np.float32
    assert ops.relu(np.ones(3, np.longdouble)).dtype == np.float64
    assert ops.relu([1, 2]).dtype == np.float32
    assert ops.relu([1.0, 2.0]).dtype == np.float64


@pytest.mark.parametrize("dtype", ["complex64", "object", "U3", "S3", "datetime64[s]", "V8"])
@pytest.mark.parametrize("call", {call.op: call for call in CALLS}.values(), ids=by_id)
def test_arrays_of_anything_else_are_refused_by_name(call: Call, dtype: str) -> None:
    arrays = list(call.arrays())
    for i, array in enumerate(arrays):
        if array is None:
            continue
        wrong = [*arrays[:i], np.zeros(array.shape, dtype), *arrays[i + 1 :]]
        with pytest.raises(TypeError, match=r"^(x|y|z|a|dy|factor|weight|bias|target|indices): "):
            call.run(*wrong)


def test_ragged_rows_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="x: expected an array of numbers"):
        ops.relu([[1.0, 2.0], [3.0]])
    with pytest.raises(ValueError, match="weight: expected an array of numbers"):
        ops.linear([[1.0, 2.0]], [[1.0, 2.0], [3.0]])
