"""What a `Plan` takes, what it says of anything else, where it writes, and which class it finds."""

from __future__ import annotations

import copy
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_graph_simplify import random
from test_plan import SMALL, chain, lenet, rng
from test_plan_graphs import assert_same_bits

from cnn_ext import Flatten, Linear, Sequential
from cnn_ext.graph import Graph
from cnn_ext.run.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return lenet().compile((1, 28, 28), max_batch=40, outputs="logits")


# ------------------------------------------------------------------------------- classify

ROWS = np.array([[1, 3, 2], [5, 5, -5], [100, -900, 99]], np.float32)


def ending(*ops: str, features: int = 3) -> Plan:
    graph = Graph((features,))
    for op in ops:
        graph.add(op, graph.output)
    return Plan(graph, outputs=None if ops else "logits")


@pytest.mark.parametrize("ops", [(), ("softmax",), ("log_softmax",)])
def test_classes_are_the_largest_outputs_and_their_softmax(ops: tuple[str, ...]) -> None:
    classes, probabilities = ending(*ops).classify(ROWS)
    parts = np.exp(ROWS.astype(np.float64) - ROWS.max(axis=1, keepdims=True))
    assert classes.dtype == np.int64
    assert_array_equal(classes, [1, 0, 0])
    assert_allclose(probabilities, (parts / parts.sum(axis=1, keepdims=True)).max(1), rtol=1e-5)


@pytest.mark.parametrize("ops", [(), ("sigmoid",)])
def test_a_single_output_is_that_of_class_one(ops: tuple[str, ...]) -> None:
    rows = np.array([[-200.0], [-1.0], [0.0], [2.0], [200.0]], np.float32)
    classes, probabilities = ending(*ops, features=1).classify(rows)
    assert_array_equal(classes, [0, 0, 0, 1, 1])
    expected = 1 / (1 + np.exp(-np.abs(rows[:, 0].astype(np.float64))))
    assert_allclose(probabilities, expected, rtol=1e-5)


def test_outputs_that_are_images_have_no_classes() -> None:
    with pytest.raises(ValueError, match=r"outputs of shape \(3, 9, 11\) are not those of classes"):
        Plan(chain("nothing")).classify(np.zeros(SMALL))


def test_classes_of_no_images(plan: Plan) -> None:
    classes, probabilities = plan.classify(np.zeros((0, 1, 28, 28)))
    assert classes.shape == probabilities.shape == (0,)


# ----------------------------------------------------------------------------- what it takes


def test_shapes_of_answers(plan: Plan) -> None:
    one = rng().random((1, 28, 28), np.float32)
    assert plan(one).shape == (10,)
    assert plan(one[None]).shape == (1, 10)
    assert plan(np.zeros((0, 1, 28, 28))).shape == (0, 10)
    assert plan(np.zeros((40, 1, 28, 28), np.uint8)).shape == (40, 10)
    assert (plan.input_shape, plan.output_shape, plan.max_batch) == ((1, 28, 28), (10,), 40)


def test_one_image_of_one_channel_is_no_batch() -> None:
    # (1, 1, 1) is an image; so (1, 1, 1, 1) is the batch of it
    graph = Graph((1, 1, 1))
    graph.add("tanh", graph.input)
    plan = Plan(graph)
    assert plan(np.zeros((1, 1, 1))).shape == (1, 1, 1)
    assert plan(np.zeros((1, 1, 1, 1))).shape == (1, 1, 1, 1)


WHAT = r"expected one image \(1, 28, 28\) or images \(N, 1, 28, 28\), got "


@pytest.mark.parametrize(
    "shape",
    [
        (28, 28), (), (0,), (2, 28, 28), (1, 28, 27), (1, 1, 1, 28, 28),
        (0, 28, 28), (0, 1, 28, 27), (784,), (1, 784), (28, 28, 1), (5, 28, 28, 1),
    ],
)  # fmt: skip
def test_wrong_shapes(plan: Plan, shape: tuple[int, ...]) -> None:
    text = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    with pytest.raises(ValueError, match=rf"^x: {WHAT}shape \({text}\)($|, whose)"):
        plan(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (np.zeros((1, 28, 28), complex), "complex128"), ("image", "<U5"), (None, "object"),
        (np.zeros((1, 28, 28), object), "object"), (np.zeros((1, 28, 28), "M8[s]"), "datetime64"),
        (b"\x00" * 784, "\\|S"), ({}, "object"), (np.zeros((1, 28, 28), "f4,f4"), r"\[\('f0"),
    ],
)  # fmt: skip
def test_wrong_types(plan: Plan, x: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^x: {WHAT}{name}"):
        plan(x)


def test_ragged_lists(plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        plan([[1, 2], [3]])


def test_an_array_larger_than_memory_is_refused_by_its_shape(plan: Plan) -> None:
    huge = np.broadcast_to(np.float32(0), (1 << 40, 1, 28, 27))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^x: {WHAT}shape"):
            plan(huge)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def variants(images: np.ndarray) -> dict[str, Any]:
    return {
        "Fortran order": np.asfortranarray(images),
        "every second": np.repeat(images, 2, axis=0)[::2],
        "backwards": images[::-1].copy()[::-1],
        "swapped bytes": images.astype(images.dtype.newbyteorder()),
        "float64": images.astype(np.float64),
        "a type of its own": images.view(np.dtype(np.float32, metadata={"unit": "m"})),
        "read-only": np.ndarray(images.shape, np.float32, images.tobytes()),
        "a list": images.tolist(),
        "a subclass": images.view(np.recarray),
    }


def test_however_the_numbers_lie(plan: Plan) -> None:
    images = rng().random((12, 1, 28, 28), np.float32)
    for x, expected in ((images, plan(images)), (images[0], plan(images[0]))):
        for name, variant in variants(x).items():
            answer = plan(variant)
            assert type(answer) is np.ndarray, name
            assert_same_bits(answer, expected)


def test_numbers_at_odd_addresses(plan: Plan) -> None:
    images = rng().random((12, 1, 28, 28), np.float32)
    room = np.zeros(images.nbytes + 1, np.uint8)
    odd = room[1:].view(np.float32).reshape(images.shape)
    odd[...] = images
    assert not odd.flags.aligned
    assert_same_bits(plan(odd), plan(images))


@pytest.mark.parametrize("dtype", ["f2", "f8", "g", ">f4", "?"])
def test_other_numbers_are_taken_as_they_are(plan: Plan, dtype: str) -> None:
    numbers = rng().integers(0, 2, (12, 1, 28, 28)).astype(dtype)
    assert_same_bits(plan(numbers), plan(numbers.astype(np.float32)))


def test_bytes_are_scaled_in_any_order_of_memory(plan: Plan) -> None:
    numbers = rng().integers(0, 256, (12, 1, 28, 28), np.uint8)
    expected = plan(numbers)
    assert_allclose(expected, plan(numbers / 255), atol=1e-5)
    assert_same_bits(plan(np.asfortranarray(numbers)), expected)
    assert_same_bits(plan(numbers[::-1].copy()[::-1]), expected)


# --------------------------------------------------------------------------------------- out


@pytest.mark.parametrize("count", [None, 0, 1, 5, 11, 16, 17, 30, 40])
def test_out_is_written_and_returned(plan: Plan, count: int | None) -> None:
    images = rng().random((40, 1, 28, 28), np.float32)
    x = images[0] if count is None else images[:count]
    room = np.full((count or 1, 14), 7, np.float32)
    whole = np.full((42, 10), 7, np.float32)  # with rows before and behind
    out = whole[1] if count is None else whole[1 : 1 + count]
    assert plan(x, out=out) is out
    assert_same_bits(out, plan(x))
    assert (whole[0] == 7).all() and (whole[(1 if count is None else count) + 1 :] == 7).all()
    assert (room == 7).all()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 10)), TypeError, "out: expected an array of float32, got float64"),
        (np.zeros((3, 10), ">f4"), TypeError, "out: expected an array of float32, got >f4"),
        (np.zeros((3, 10), "u1"), TypeError, "out: expected an array of float32, got uint8"),
        ([[0.0] * 10] * 3, TypeError, "out: expected an array of float32, got list"),
        (7, TypeError, "out: expected an array of float32, got int"),
        (np.zeros((2, 10), "f4"), ValueError, r"out: expected shape \(3, 10\), .* got \(2, 10\)"),
        (np.zeros(30, "f4"), ValueError, r"out: expected shape \(3, 10\), .* got \(30,\)"),
        (np.zeros((10, 3), "f4").T, ValueError, r"out: expected shape \(3, 10\), in C order"),
        (np.zeros((3, 20), "f4")[:, ::2], ValueError, r"out: expected shape \(3, 10\), in C order"),
        (np.broadcast_to(np.float32(0), (3, 10)), ValueError, "out: .* and writable"),
    ],
)  # fmt: skip
def test_wrong_out(plan: Plan, out: Any, error: type, message: str) -> None:
    before = copy.deepcopy(out)
    with pytest.raises(error, match=f"^{message}"):
        plan(np.zeros((3, 1, 28, 28)), out=out)
    assert_array_equal(out, before)


def test_out_that_is_read_only(plan: Plan) -> None:
    out = np.zeros((3, 10), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        plan(np.zeros((3, 1, 28, 28)), out=out)
    with pytest.raises(ValueError, match="writable"):
        plan(np.zeros((0, 1, 28, 28)), out=out[:0])
    assert not out.any()


@pytest.mark.parametrize("count", [1, 3, 16, 20, 27, 40])
@pytest.mark.parametrize("shift", [-5, 0, 7])
def test_out_that_lies_over_the_images(count: int, shift: int) -> None:
    for graph in (chain("conv"), chain("nothing"), chain("softmax of images"), chain("avg pool")):
        size = math.prod(graph.input_shape)
        outputs = math.prod(graph.output_shape)
        plan = Plan(graph)
        memory = random(rng(), 10 + max(size, outputs) * count)
        x = memory[5 : 5 + size * count].reshape(count, *graph.input_shape)
        start = 5 + shift if shift < 0 else shift
        out = memory[start : start + outputs * count].reshape(count, *graph.output_shape)
        expected = plan(x.copy())
        assert_same_bits(plan(x, out=out), expected)


def test_out_is_by_name_alone(plan: Plan) -> None:
    with pytest.raises(TypeError):
        plan(np.zeros((1, 28, 28)), np.zeros(10, np.float32))  # type: ignore[call-arg]


@pytest.mark.parametrize("shape", [6, "ab", b"abc", {1, 6}])
def test_the_shape_of_an_input_is_a_list_of_numbers(shape: Any) -> None:
    with pytest.raises(TypeError, match=r"input_shape: expected \(C, H, W\) or \(F,\), got"):
        Sequential(Flatten(), Linear(36, 2)).compile(shape)
