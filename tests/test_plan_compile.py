"""What plans are made of: the errors of compiling, that they never change, copies, and memory."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale
from numpy.testing import assert_allclose, assert_array_equal
from test_graph_simplify import random
from test_plan import WIDE, chain, lenet, linear, rng
from test_plan_graphs import LANES, assert_same_bits, draw_images

import cnn_ext
from cnn_ext import Conv2d, Flatten, Linear, ReLU, Sequential, ops
from cnn_ext.graph import Graph
from cnn_ext.run.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return lenet().compile((1, 28, 28), max_batch=40)


# ------------------------------------------------------------------------------- compiling


def test_a_shape_is_needed_unless_the_network_knows_it() -> None:
    net = lenet()
    with pytest.raises(
        ValueError, match=r"input_shape: expected the shape of one image, \(C, H, W"
    ):
        net.compile()
    net.input_shape = (1, 28, 28)
    assert net.compile().input_shape == (1, 28, 28)
    assert net.compile((1, 28, 28), 1).max_batch == 1


def test_layers_of_ones_own_are_refused() -> None:
    net = Sequential(Conv2d(1, 3, 3), Sequential(ChannelScale(3)))
    with pytest.raises(TypeError, match="ChannelScale has passes of its own"):
        net.compile((1, 8, 8))


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 28, 28), (784,), (1, 0, 28), (1, -28, 28)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="layer|input_shape|shape"):
        lenet().compile(shape)


@pytest.mark.parametrize("wrong", [0, -1])
def test_max_batch_out_of_range(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"max_batch: expected .*1.*, got {wrong}"):
        lenet().compile((1, 28, 28), wrong)


@pytest.mark.parametrize("wrong", [1.0, "2", None, True])
def test_max_batch_that_is_no_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match="max_batch: expected a whole number"):
        lenet().compile((1, 28, 28), wrong)


def test_a_plan_is_of_a_graph() -> None:
    with pytest.raises(TypeError, match="graph: expected a Graph, got Sequential"):
        Plan(lenet())  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 2, 3, LANES, LANES + 1, 100])
def test_max_batch_does_not_change_answers(most: int) -> None:
    graph = chain("conv, padding")
    images = draw_images(graph, False, most)
    expected = np.stack([Plan(graph)(image) for image in images])
    small = Plan(graph, most)
    assert_same_bits(small(images), expected)
    more = draw_images(graph, False, 3 * most + 1)  # which are done in parts
    assert_same_bits(small(more), Plan(graph)(more))


def test_blocks_that_no_cache_holds_are_done_image_by_image(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_ext.run.plan.CACHES", 0)
    other = lenet().compile((1, 28, 28), max_batch=40)
    assert other.arena_bytes < plan.arena_bytes / 2
    for bytes_ in (False, True):
        images = draw_images(plan.graph, bytes_, 40)
        assert_same_bits(other(images), plan(images))


def test_constants_for_which_blocks_have_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain("conv, padding")
    graph.add("add", graph.output, weights={"constant": random(rng(), *graph.output_shape[1:])})
    images = draw_images(graph, False, 40)
    plan = Plan(graph)
    monkeypatch.setattr("cnn_ext.run.plan.BATCH_ROOM", 100)
    other = Plan(graph)
    assert other.weights_bytes < plan.weights_bytes
    assert_same_bits(other(images), plan(images))
    monkeypatch.setattr("cnn_ext.run.plan.ROOM", 100)
    with pytest.raises(ValueError, match=r"node 0 \(conv2d, .* tables or constants; .* be 100"):
        Plan(graph)


# ------------------------------------------------------------------------------- immutable


def test_training_afterwards_changes_nothing() -> None:
    net = Sequential(Conv2d(1, 4, 3), ReLU(), Flatten(), Linear(144, 3))
    images, classes = random(rng(), 30, 1, 8, 8), np.arange(30) % 3
    plan = net.eval().compile((1, 8, 8))
    before = [plan(images), plan(images[0]), plan(images[:16])]
    assert_allclose(before[0], net(images), atol=1e-5)
    cnn_ext.Trainer(net).fit(images, classes, progress=False)
    for parameter in net.parameters():
        parameter.data[...] = 9
    for now, then in zip([plan(images), plan(images[0]), plan(images[:16])], before, strict=True):
        assert_same_bits(now, then)
    assert np.abs(net(images) - before[0]).max() > 1


def test_changing_the_graph_afterwards_changes_nothing() -> None:
    graph = chain("conv")
    plan = Plan(graph)
    images = draw_images(graph, False, 16)
    before = [plan(images), plan(images[0])]
    graph.add("tanh", graph.output)
    for node in graph.nodes:
        for array in node.weights.values():
            array[...] = 0
    assert_same_bits(plan(images), before[0])
    assert_same_bits(plan(images[0]), before[1])
    assert_same_bits(pickle.loads(pickle.dumps(plan))(images), before[0])


def test_answers_are_not_shared_between_calls(plan: Plan) -> None:
    first, second = random(rng(), 2, 12, 1, 28, 28)
    answer = plan(first)
    kept = answer.copy()
    plan(second)
    assert_array_equal(answer, kept)
    assert_array_equal(plan(first), kept)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy]
    + [lambda plan, n=n: pickle.loads(pickle.dumps(plan, n)) for n in range(2, 6)],
)
@pytest.mark.parametrize("name", ["nothing", "conv, groups", "Winograd", "pad"])
def test_copies_answer_alike(again: Any, name: str) -> None:
    plan = Plan(chain(name), max_batch=33)
    other = again(plan)
    assert (other.max_batch, other.input_shape, other.output_shape) == (
        33, plan.input_shape, plan.output_shape
    )  # fmt: skip
    for bytes_ in (False, True):
        images = draw_images(plan.graph, bytes_, 17)
        assert_same_bits(other(images), plan(images))
        assert_same_bits(other(images[3]), plan(images[3]))
    assert other.weights_bytes == plan.weights_bytes
    assert repr(other) == repr(plan)


# ---------------------------------------------------------------------------------- memory


def test_numbers_whose_byte_order_is_spelled_out(plan: Plan) -> None:
    x = np.random.default_rng(0).random((20, 1, 28, 28), np.float32)
    spelled = x.view(x.dtype.newbyteorder("<" if sys.byteorder == "little" else ">"))
    assert_array_equal(plan(spelled), plan(x))
    assert_array_equal(plan(spelled[0], out=np.empty(10, np.float32)), plan(x[0]))
    assert_array_equal(ops.relu(spelled), ops.relu(x))


def test_weights_bytes_are_those_of_all_arrays() -> None:
    graph = Graph((LANES + 1,))
    graph.add(*linear(LANES + 1, 3)[:1], graph.input, **linear(LANES + 1, 3)[1])
    own = 4 * (3 * (LANES + 1) + 3)
    blocks = 4 * (LANES * (LANES + 1) + LANES)  # for one image: 3 outputs fill a vector
    assert Plan(graph, max_batch=1).weights_bytes == own + blocks
    assert Plan(graph).weights_bytes == own + blocks  # blocks of images take the plain weights
    graph = chain("add")
    size = 4 * math.prod(WIDE)
    image = 4 * 2 * LANES * 42
    assert Plan(graph, 1).weights_bytes == size + image
    assert Plan(graph).weights_bytes == size + image  # here too


def test_weights_bytes_of_networks_are_near_their_weights(plan: Plan) -> None:
    net = lenet()
    parameters = sum(parameter.data.nbytes for parameter in net.parameters())
    assert 2 * parameters <= plan.weights_bytes < 2.2 * parameters
    used = {id(array) for node in plan.graph.nodes for array in node.weights.values()}
    travel = {id(array) for node in plan._saved.nodes for array in node.weights.values()}
    assert travel <= used  # no copy of its own
    assert repr(plan) == (
        f"Plan((1, 28, 28) -> (10,), max_batch=40, {plan.weights_bytes} bytes of weights, "
        f"{plan.arena_bytes} of scratch memory a thread)"
    )


@pytest.mark.parametrize("count", [None, 0, 1, 7, 11, 16, 40])
@pytest.mark.parametrize("bytes_", [False, True], ids=["float32", "uint8"])
def test_with_out_nothing_is_allocated_after_the_first_call(
    plan: Plan, count: int | None, bytes_: bool
) -> None:
    images = draw_images(plan.graph, bytes_, 40)
    x = images[0] if count is None else images[:count]
    out = np.empty((10,) if count is None else (count, 10), np.float32)
    with cnn_ext.threads(1):
        for _ in range(3):
            plan(x, out=out)
        taken = cnn_ext.memory_use()["allocations"]
        peaks = []
        for _ in range(3):  # the interpreter may have something of its own to do meanwhile
            tracemalloc.start()
            try:
                for _ in range(20):
                    plan(x, out=out)
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert cnn_ext.memory_use()["allocations"] == taken
    assert min(peaks) < 20_000  # Python's own objects


def test_a_call_takes_the_arena_of_its_threads() -> None:
    plan = lenet().compile((1, 28, 28))
    x, out = np.zeros((1, 28, 28), np.float32), np.empty(10, np.float32)
    cnn_ext.release_memory()
    before = cnn_ext.memory_use()
    plan(x, out=out)
    kept = cnn_ext.memory_use()["kept"] - before["kept"]
    assert 4 * 6 * 28 * 28 < kept <= plan.arena_bytes + 8192
    images, out = np.zeros((64, 1, 28, 28), np.float32), np.empty((64, 10), np.float32)
    with cnn_ext.threads(1):
        cnn_ext.release_memory()
        plan(images, out=out)
        kept = cnn_ext.memory_use()["kept"]
    assert LANES * 4 * 6 * 28 * 28 / 2 < kept <= plan.arena_bytes + 8192
