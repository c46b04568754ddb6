"""`simplify`: the same numbers from fewer nodes, on drawn graphs and case by case."""

from __future__ import annotations

import math
from typing import Any

import graph_reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnn_ext import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from cnn_ext.graph import Graph
from cnn_ext.graph.rewrite import simplify
from cnn_ext.layers import graph_of

EXAMPLES = settings(max_examples=80, deadline=None)


def random(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def images(graph: Graph, count: int = 2) -> np.ndarray:
    return random(np.random.default_rng(5), count, *graph.input_shape)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def every_layer(dtype: Any = np.float32) -> Sequential:
    """A network of all layers, one network within it, for (2, 9, 9)."""
    rng = np.random.default_rng(0)
    net = Sequential(
        Conv2d(2, 6, 3, padding="same", rng=rng), Tanh(), MaxPool2d(3, 2, padding=1),
        Conv2d(6, 4, 2, stride=2, groups=2, bias=False, rng=rng), LeakyReLU(0.2), Dropout(0.5),
        Sequential(Conv2d(4, 4, 3, dilation=2, padding=2, rng=rng), ReLU(), AvgPool2d(2, 1)),
        Sigmoid(), GlobalAvgPool2d(), Flatten(), Linear(4, 3, rng=rng), Softmax(),
    )  # fmt: skip
    return net.astype(dtype).eval()


# ----------------------------------------------------------------------------- drawn graphs


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs of up to ten nodes of all operators, some of which nothing uses."""
    sizes = draw(st.tuples(st.integers(1, 4), st.integers(3, 8), st.integers(3, 8)))
    graph = Graph(draw(st.sampled_from([sizes, sizes[:1], (12,)])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(1, 10))):
        # mostly one value after the other, so that neighbours can be merged
        names = list(graph.shapes)
        x = names[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(names))
        image = len(graph.shapes[x]) == 3
        op = draw(st.sampled_from([*ANYWHERE, *(ON_IMAGES if image else ON_VECTORS)]))
        DRAW[op](draw, graph, op, x, rng)
    return graph


def _plain(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    graph.add(op, x)


def _clip(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    low = draw(st.sampled_from([-math.inf, -1.0, 0.0, 0.5]))
    graph.add("clip", x, low=low, high=draw(st.sampled_from([0.0, 0.5, 1.0, math.inf])))


def _leaky_relu(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    graph.add("leaky_relu", x, negative_slope=draw(st.sampled_from([0.01, 0.25, -1.0])))


def _constant(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    shape = graph.shapes[x]
    kept = draw(st.sampled_from([(), (0,), tuple(range(len(shape))), (len(shape) - 1,)]))
    part = tuple(size if axis in kept else 1 for axis, size in enumerate(shape))
    skip = draw(st.integers(0, next((i for i, size in enumerate(part) if size > 1), len(part))))
    graph.add(op[:3], x, weights={"constant": random(rng, *part[skip:])})


def _two(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    shape = graph.shapes[x]
    fitting = []
    for name, other in graph.shapes.items():
        pairs = zip(reversed(shape), reversed(other), strict=False)
        if all(a == b or 1 in (a, b) for a, b in pairs):
            fitting.append(name)
    pair = [x, draw(st.sampled_from(fitting))]
    graph.add(op, *draw(st.permutations(pair)))


def _gather(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    inputs = [x, *draw(st.lists(st.sampled_from(list(graph.shapes)), max_size=2))]
    size = sum(math.prod(graph.shapes[name]) for name in inputs)
    shape = draw(st.sampled_from([(7,), (3, 4, 5), (2, 1, 6)]))
    index = rng.integers(draw(st.sampled_from([-1, 0])), size, shape)
    graph.add("gather", *inputs, index=index, fill=draw(st.sampled_from([0.0, 2.0])))


def _reshape(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    shape = graph.shapes[x]
    size = math.prod(shape)
    shapes: list[tuple[int, ...]] = [shape, (size,), (size, 1, 1), (1, 1, size)]
    graph.add("reshape", x, shape=draw(st.sampled_from(shapes)))


def _linear(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    (F,) = graph.shapes[x]
    K = draw(st.integers(1, 9))
    weights = {"weight": random(rng, K, F) / math.sqrt(F)}
    if draw(st.booleans()):
        weights["bias"] = random(rng, K)
    graph.add("linear", x, weights=weights)


def _conv2d(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    C, H, W = graph.shapes[x]
    groups = draw(st.sampled_from([g for g in (1, 2, C) if C % g == 0]))
    R, S = draw(st.integers(1, min(H, 4))), draw(st.integers(1, min(W, 4)))
    gaps = draw(st.tuples(*(st.integers(1, 2) for _ in "HW")))
    padding = draw(st.tuples(*(st.integers(0, 2) for _ in range(4))))
    if (R - 1) * gaps[0] >= H + sum(padding[:2]) or (S - 1) * gaps[1] >= W + sum(padding[2:]):
        gaps = (1, 1)
    K = groups * draw(st.integers(1, 3))
    weights = {"weight": random(rng, K, C // groups, R, S) / math.sqrt(C // groups * R * S)}
    if draw(st.booleans()):
        weights["bias"] = random(rng, K)
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    graph.add("conv2d", x, weights=weights, stride=stride, padding=padding, dilation=gaps,
              groups=groups)  # fmt: skip


def _pool(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    _, H, W = graph.shapes[x]
    kernel = draw(st.sampled_from([(H, W), (min(H, 2), min(W, 2)), (min(H, 3), 1)]))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    ceil_mode = draw(st.booleans())
    if ceil_mode:  # the only window may hang over
        kernel = tuple(size + draw(st.integers(0, step - 1))
                       for size, step in zip(kernel, stride, strict=True))  # fmt: skip
    more: dict[str, Any] = {"dilation": (1, 1)}
    if op == "avg_pool":
        more = {"count_include_pad": draw(st.booleans())}
    elif (kernel[0] - 1) * 2 < H and (kernel[1] - 1) * 2 < W:
        more["dilation"] = draw(st.sampled_from([(1, 1), (2, 2)]))
    spans = [size - 1 for size in kernel for _ in range(2)]
    padding = tuple(draw(st.integers(0, min(span, 2))) for span in spans)
    graph.add(op, x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, **more)


DRAW: dict[str, Any] = {
    "sigmoid": _plain, "tanh": _plain, "softmax": _plain, "log_softmax": _plain, "clip": _clip,
    "leaky_relu": _leaky_relu, "add constant": _constant, "mul constant": _constant,
    "add": _two, "mul": _two, "gather": _gather, "reshape": _reshape, "linear": _linear,
    "conv2d": _conv2d, "max_pool": _pool, "avg_pool": _pool,
}  # fmt: skip
ON_IMAGES = ["conv2d", "conv2d", "max_pool", "avg_pool"]
ON_VECTORS = ["linear", "linear"]
ANYWHERE = [op for op in DRAW if op not in ON_IMAGES + ON_VECTORS]


@EXAMPLES
@given(graph=graphs())
def test_the_numbers_stay_and_the_graph_is_left_alone(graph: Graph) -> None:
    nodes, x = list(graph.nodes), images(graph)
    small = simplify(graph)
    assert graph.nodes == nodes
    assert len(small.nodes) <= len(nodes)
    assert small.input_shape == graph.input_shape and small.byte_scale == graph.byte_scale
    assert_close(graph_reference.run(small, x), graph_reference.run(graph, x))
    assert len(simplify(small).nodes) == len(small.nodes)
    assert all(small.uses().values())


def test_a_network_stays_as_it_is() -> None:
    graph = graph_of(every_layer(), (2, 9, 9))
    assert [node.op for node in simplify(graph).nodes] == [node.op for node in graph.nodes]


# ------------------------------------------------------------------------- constants in weights


def conv(graph: Graph, x: str, K: int = 3, bias: bool = True) -> str:
    rng = np.random.default_rng(K)
    weights = {"weight": random(rng, K, graph.shapes[x][0], 3, 3)}
    if bias:
        weights["bias"] = random(rng, K)
    return graph.add(
        "conv2d", x, weights=weights, stride=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1
    )


SCALE = np.array([2.0, -0.5, 4.0], np.float32).reshape(3, 1, 1)  # exact, so are the products


@pytest.mark.parametrize("bias", [True, False])
def test_batch_normalisation_goes_into_the_convolution(bias: bool) -> None:
    graph = Graph((2, 5, 5))
    name = conv(graph, graph.input, bias=bias)
    name = graph.add("mul", name, weights={"constant": SCALE})
    graph.add("add", name, weights={"constant": SCALE})
    old = graph.nodes[0].weights
    (node,) = simplify(graph).nodes
    assert_array_equal(node.weights["weight"], old["weight"] * SCALE[..., None])
    expected = old.get("bias", np.zeros(3, np.float32)) * SCALE.ravel() + SCALE.ravel()
    assert_array_equal(node.weights["bias"], expected)


@pytest.mark.parametrize("op", ["conv_transpose2d", "conv_transpose2d, groups", "group_norm"])
def test_constants_go_into_other_weights(op: str) -> None:
    rng, graph = np.random.default_rng(2), Graph((4, 5, 5))
    op, _, groups = op.partition(", ")
    shape, options = {
        "conv_transpose2d": ((4, 3 if groups else 6, 3, 2), {"groups": 2 if groups else 1}),
        "group_norm": ((4,), {"groups": 2}),
    }[op]
    name = graph.add(op, graph.input, weights={"weight": random(rng, *shape)}, **options)
    constants = [random(rng, graph.shapes[name][0], 1, 1) for _ in range(3)]
    name = graph.add("add", name, weights={"constant": constants[0]})
    name = graph.add("mul", name, weights={"constant": constants[1]})
    name = graph.add("add", name, weights={"constant": constants[2]})
    new = simplify(graph)
    assert [node.op for node in new.nodes] == [op]
    assert_close(graph_reference.run(new, images(graph)), graph_reference.run(graph, images(graph)))


def test_a_factor_alone_makes_no_bias() -> None:
    graph = Graph((6,))
    name = graph.add(
        "linear", graph.input, weights={"weight": random(np.random.default_rng(0), 3, 6)}
    )
    graph.add("mul", name, weights={"constant": SCALE.ravel()})
    (node,) = simplify(graph).nodes
    assert list(node.weights) == ["weight"]
    assert_array_equal(node.weights["weight"], graph.nodes[0].weights["weight"] * SCALE[:, 0])


def test_many_constants_go_into_the_weights_at_once() -> None:
    graph = Graph((6,))
    rng = np.random.default_rng(1)
    weight = random(rng, 3, 6)
    name = graph.add("linear", graph.input, weights={"weight": weight})
    factor, bias = np.ones(3), np.zeros(3)
    for _ in range(40):
        scale, more = rng.uniform(0.7, 1.4, 3).astype(np.float32), random(rng, 3)
        name = graph.add("mul", name, weights={"constant": scale})
        name = graph.add("add", name, weights={"constant": more})
        factor, bias = factor * scale, bias * scale + more
    (node,) = simplify(graph).nodes
    # rounded once, not forty times
    assert_array_equal(node.weights["weight"], (weight * factor[:, None]).astype(np.float32))
    assert_array_equal(node.weights["bias"], bias.astype(np.float32))


@pytest.mark.parametrize("where", ["sum", "output", "both"])
def test_what_others_take_is_not_changed(where: str) -> None:
    graph = Graph((2, 5, 5))
    name = conv(graph, graph.input)
    scaled = graph.add("mul", name, weights={"constant": SCALE})
    if where == "output":
        graph.output = name
    else:
        graph.add("add", scaled, name if where == "sum" else scaled)
    small = simplify(graph)
    expected = {"sum": ["conv2d", "mul", "add"], "output": ["conv2d"], "both": ["conv2d", "add"]}
    assert [node.op for node in small.nodes] == expected[where]
    x = images(graph)
    assert_close(graph_reference.run(small, x), graph_reference.run(graph, x))


@pytest.mark.parametrize("between", [[(3, 5, 5)], [(75,), (3, 5, 5)]])
def test_what_others_take_under_another_name_is_not_changed(between: list) -> None:
    graph = Graph((2, 5, 5))
    names = [conv(graph, graph.input)]
    for shape in between:
        names.append(graph.add("reshape", names[-1], shape=shape))
    other = graph.add("reshape", graph.add("tanh", names[1]), shape=(3, 5, 5))
    graph.add("add", graph.add("mul", names[-1], weights={"constant": SCALE}), other)
    small = simplify(graph)
    assert {"conv2d", "mul", "tanh", "add"} <= {node.op for node in small.nodes}
    x = images(graph)
    assert_close(graph_reference.run(small, x), graph_reference.run(graph, x))


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 5, 1), (5, 5, 5), (5, 1, 5)])
def test_constants_that_differ_between_pixels_stay(shape: tuple[int, ...]) -> None:
    graph = Graph((2, 5, 5))  # as many channels as rows and columns
    name = conv(graph, graph.input, K=5)
    graph.add("add", name, weights={"constant": random(np.random.default_rng(1), *shape)})
    assert [node.op for node in simplify(graph).nodes] == ["conv2d", "add"]


# -------------------------------------------------------------------------- merged and removed


def test_reshapes_become_one_and_those_that_change_nothing_none() -> None:
    graph = Graph((2, 3, 4))
    name = graph.add("reshape", graph.input, shape=(24,))
    name = graph.add("reshape", name, shape=(4, 3, 2))
    graph.add("tanh", name)
    assert [node.op for node in simplify(graph).nodes] == ["reshape", "tanh"]
    graph = Graph((2, 3, 4))
    name = graph.add("reshape", graph.input, shape=(24,))
    name = graph.add("reshape", name, shape=(2, 3, 4))
    small = simplify(graph)
    assert not small.nodes and small.output == small.input


@pytest.mark.parametrize(
    ("first", "then", "both"),
    [
        ((0.0, math.inf), (-math.inf, 6.0), (0.0, 6.0)),
        ((-1.0, 1.0), (0.0, 3.0), (0.0, 1.0)),
        ((-2.0, -1.0), (0.0, 3.0), (0.0, 0.0)),
        ((-math.inf, math.inf), (0.0, math.inf), (0.0, math.inf)),
        ((5.0, 2.0), (0.0, 3.0), (3.0, 2.0)),
    ],
)
def test_clips_become_one(first: tuple, then: tuple, both: tuple) -> None:
    graph = Graph((50,))
    for low, high in (first, then):
        graph.add("clip", graph.output, low=low, high=high)
    small = simplify(graph)
    (node,) = small.nodes
    assert (node.attributes["low"], node.attributes["high"]) == both
    x = np.linspace(-9, 9, 50, dtype=np.float32)[None]
    assert_array_equal(graph_reference.run(small, x), graph_reference.run(graph, x))


@pytest.mark.parametrize(("fill", "nodes"), [(1.0, 1), (2.0, 2)])
def test_gathers_become_one_if_they_fill_alike(fill: float, nodes: int) -> None:
    graph = Graph((4,))
    name = graph.add("gather", graph.input, index=np.array([-1, 3, 2, 1]), fill=1.0)
    graph.add("gather", name, index=np.array([[[0, 3, -1]]]), fill=fill)
    small = simplify(graph)
    assert len(small.nodes) == nodes
    x = images(graph)
    assert_array_equal(graph_reference.run(small, x), graph_reference.run(graph, x))


def test_unused_nodes_go_and_the_scale_of_bytes_stays() -> None:
    graph = Graph((2, 5, 5), byte_scale=0.25)
    kept = graph.add("tanh", graph.input)
    graph.add("sigmoid", conv(graph, kept))
    graph.output = kept
    small = simplify(graph)
    assert [node.op for node in small.nodes] == ["tanh"]
    assert small.byte_scale == 0.25
