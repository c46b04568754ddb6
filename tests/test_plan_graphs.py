"""Plans of drawn graphs: the numbers of the naive truth, and the same bits in every batch."""

from __future__ import annotations

import math
from typing import Any

import graph_reference
import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from test_graph_simplify import DRAW, random

from cnn_ext import _core
from cnn_ext.graph import Graph
from cnn_ext.operators.conv2d import winograd_pays
from cnn_ext.run.plan import Plan

BATCHES = (1, 2, 10, 11, 16, 17, 40)
LANES = _core.lanes(4)
EXAMPLES = settings(max_examples=150, deadline=None)


def assert_right(graph: Graph, images: np.ndarray, plan: Plan | None = None) -> Plan:
    """The plan gives the truth, and every image the same bits in every batch."""
    plan = Plan(graph) if plan is None else plan
    alone = np.stack([plan(image) for image in images])
    values = [graph_reference.run_one(graph, image) for image in images]
    expected = np.stack([value[graph.output] for value in values])
    largest = max(1.0, *(np.abs(array).max() for value in values for array in value.values()))
    tolerance = 2e-5 if any(goes_winograds_way(graph, node) for node in graph.nodes) else 1e-5
    assert alone.dtype == np.float32 and alone.shape == expected.shape
    assert np.abs(alone - expected).max() <= tolerance * largest
    order = np.arange(max(BATCHES)) % len(images)
    for count in BATCHES:
        assert_same_bits(plan(images[order[:count]]), alone[order[:count]])
    return plan


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape and actual.dtype == expected.dtype == np.float32
    assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def goes_winograds_way(graph: Graph, node: Any) -> bool:
    return node.op == "conv2d" and winograd_pays(graph, node)


def draw_images(graph: Graph, bytes_: bool, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(count)
    if bytes_:
        return rng.integers(0, 256, (count, *graph.input_shape), np.uint8)
    return random(rng, count, *graph.input_shape)


# ------------------------------------------------------------------------------ what is drawn


def add_conv(
    graph: Graph, x: str, weight: np.ndarray, rng: np.random.Generator, **attributes: Any
) -> str:
    weights = {"weight": weight / math.sqrt(weight[0].size)}
    if rng.integers(2):
        weights["bias"] = random(rng, len(weight))
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    return graph.add("conv2d", x, weights=weights, **{**options, **attributes})


def _wide(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    # more output channels than lanes, and sizes at which Winograd's way pays
    R = draw(st.sampled_from([1, 3, 3, 5]))
    C = graph.shapes[x][0]
    K = draw(st.sampled_from([1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3]))
    same = (R // 2,) * 4
    name = add_conv(graph, x, random(rng, K, C, R, R), rng, padding=same)
    if draw(st.booleans()):
        graph.add("clip", name, low=draw(st.sampled_from([-1.0, 0.0, 0.5])), high=math.inf)


def _depthwise(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    C = graph.shapes[x][0]
    padding = draw(st.tuples(*(st.integers(1, 3) for _ in range(4))))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    add_conv(graph, x, random(rng, C, 1, 3, 3), rng, padding=padding, stride=stride, groups=C)


def _residual(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    C = graph.shapes[x][0]
    y = add_conv(graph, x, random(rng, C, C, 3, 3), rng, padding=(1, 1, 1, 1))
    if draw(st.booleans()):
        y = graph.add("clip", y, low=0.0, high=math.inf)
        y = add_conv(graph, y, random(rng, C, C, 3, 3), rng, padding=(1, 1, 1, 1))
    y = graph.add("add", *draw(st.permutations([x, y])))
    if draw(st.booleans()):
        graph.add("clip", y, low=0.0, high=6.0)


def _attention(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    # an image times one factor for each of its channels
    C, H, W = graph.shapes[x]
    y = graph.add("avg_pool", x, kernel=(H, W), stride=(H, W), padding=(0, 0, 0, 0),
                  ceil_mode=False, count_include_pad=True)  # fmt: skip
    y = graph.add("sigmoid", add_conv(graph, y, random(rng, C, C, 1, 1), rng))
    graph.add("mul", *draw(st.permutations([x, y])))


def _joined(draw: st.DrawFn, graph: Graph, op: str, x: str, rng: np.random.Generator) -> None:
    _, H, W = graph.shapes[x]
    others = [name for name, shape in graph.shapes.items() if shape[1:] == (H, W)]
    names = [x, draw(st.sampled_from(others))]
    channels = sum(graph.shapes[name][0] for name in names)
    index = np.arange(channels * H * W).reshape(channels, H, W)
    graph.add("gather", *names, index=index, fill=0.0)


MAKE: dict[str, Any] = {
    **DRAW, "wide": _wide, "depthwise": _depthwise, "residual": _residual, "attention": _attention,
    "joined": _joined, **dict.fromkeys(("gelu", "softplus"), DRAW["tanh"]),
    **dict.fromkeys(("sub", "maximum"), DRAW["add"]),
}  # fmt: skip
WINDOWS = ["conv2d", "max_pool", "avg_pool"]
ON_IMAGES = [
    *WINDOWS,
    *WINDOWS,
    "wide",
    "wide",
    "wide",
    "depthwise",
    "residual",
    "attention",
    "joined",
]
ANYWHERE = [*sorted(set(DRAW) - {*WINDOWS, "linear"}), "gelu", "softplus", "sub", "maximum"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs of some nodes and blocks, with branches, whose output may be any value."""
    C = draw(st.sampled_from([1, 2, 3, 4, LANES, LANES + 1, 2 * LANES + 2]))
    image = (C, draw(st.integers(3, 12)), draw(st.integers(3, 12)))
    graph = Graph(draw(st.sampled_from([image, image, image, image[:1], (12,)])), byte_scale=1 / 64)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 8))):
        names = list(graph.shapes)
        x = names[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(names))
        axes = len(graph.shapes[x])
        ops = ANYWHERE + (ON_IMAGES if axes == 3 else ["linear"] * 4 if axes == 1 else [])
        op = draw(st.sampled_from(ops))
        MAKE[op](draw, graph, op, x, rng)
    if not draw(st.integers(0, 4)):
        graph.output = draw(st.sampled_from(list(graph.shapes)))
    return graph


# ------------------------------------------------------------------------------------- tests


@EXAMPLES
@given(graph=graphs(), bytes_=st.booleans())
def test_drawn_graphs(graph: Graph, bytes_: bool) -> None:
    note(f"{graph.shapes} {graph.nodes} {graph.output}")
    assert_right(graph, draw_images(graph, bytes_))


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), wrong=st.sampled_from([np.nan, np.inf, -np.inf]), where=st.integers(0, 39))
def test_what_is_not_finite_stays_in_its_image(graph: Graph, wrong: float, where: int) -> None:
    plan = Plan(graph)
    images = draw_images(graph, False, 40)
    alone = np.stack([plan(image) for image in images])
    images[where].flat[:: 1 + images[where].size // 3] = wrong
    bad = plan(images[where])
    # alone, a grouped convolution is one with zeros between the groups: NaN times zero is NaN
    grouped = any(node.attributes.get("groups", 1) > 1 for node in graph.nodes)
    others = np.arange(40) != where
    for count in BATCHES:
        answers = plan(images[:count])
        assert_same_bits(answers[others[:count]], alone[:count][others[:count]])
        if count > where and not grouped:
            assert_array_equal(answers[where], bad)  # NaN has many bit patterns
