"""`Plan`: every operator and option against the naive truth, on every instruction set."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_graph_simplify import every_layer, random
from test_plan_graphs import (
    LANES,
    add_conv,
    assert_right,
    assert_same_bits,
    draw_images,
    goes_winograds_way,
)

import cnn_ext
from cnn_ext import Linear, Sequential, Sigmoid, _dispatch, architectures
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of
from cnn_ext.run.plan import Plan
from cnn_ext.scale import BYTE_SCALE

TESTS = Path(__file__).parent
NO = (0, 0, 0, 0)
CONV = {"stride": (1, 1), "padding": NO, "dilation": (1, 1), "groups": 1}
POOL: dict[str, Any] = {"kernel": (2, 2), "stride": (2, 2), "padding": NO, "ceil_mode": False}


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def lenet() -> Sequential:
    return architectures.build("lenet5", (1, 28, 28), 10, rng=rng()).eval()


# ------------------------------------------------------------- every operator, every option


def conv(C: int, K: int, kernel: tuple[int, int], **options: Any) -> tuple[str, dict[str, Any]]:
    groups = options.get("groups", 1)
    weights = {"weight": random(rng(), K, C // groups, *kernel) / math.sqrt(C * math.prod(kernel))}
    if options.pop("bias", True):
        weights["bias"] = random(rng(), K)
    return "conv2d", {"weights": weights, **CONV, **options}


def linear(F: int, K: int, bias: bool = True) -> tuple[str, dict[str, Any]]:
    weights = {"weight": random(rng(), K, F) / math.sqrt(F)}
    return "linear", {"weights": {**weights, "bias": random(rng(), K)} if bias else weights}


def constant(op: str, *shape: int) -> tuple[str, dict[str, Any]]:
    return op, {"weights": {"constant": random(rng(), *shape)}}


def max_pool(**options: Any) -> tuple[str, dict[str, Any]]:
    return "max_pool", {**POOL, "dilation": (1, 1), **options}


def avg_pool(**options: Any) -> tuple[str, dict[str, Any]]:
    return "avg_pool", {**POOL, "count_include_pad": True, **options}


def clip(low: float = 0.0, high: float = math.inf) -> tuple[str, dict[str, Any]]:
    return "clip", {"low": low, "high": high}


def gather(index: np.ndarray, fill: float = 0.0) -> tuple[str, dict[str, Any]]:
    return "gather", {"index": index, "fill": fill}


def reshape(*shape: int) -> tuple[str, dict[str, Any]]:
    return "reshape", {"shape": shape}


def pad(C: int, H: int, W: int) -> np.ndarray:
    return np.pad(
        np.arange(C * H * W).reshape(C, H, W), ((0, 0), (1, 2), (2, 0)), constant_values=-1
    )


SAME = {"padding": (1, 1, 1, 1)}
UNEVEN = {"padding": (0, 2, 1, 3)}
SMALL, WIDE = (3, 9, 11), (LANES + 3, 7, 6)
C = WIDE[0]
CHAINS: dict[str, tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]]]] = {
    "nothing": (SMALL, []),
    "nothing to a vector": ((7,), []),
    "conv": (SMALL, [conv(3, 5, (3, 2))]),
    "conv, no bias": (SMALL, [conv(3, LANES + 1, (3, 3), bias=False)]),
    "conv, few channels": (
        SMALL, [conv(3, 1, (3, 3), **SAME), clip(), conv(1, 2, (2, 3), **UNEVEN)]
    ),
    "conv 1 x 1": (WIDE, [conv(C, 2 * LANES + 1, (1, 1))]),
    "conv, padding": (SMALL, [conv(3, 6, (3, 4), **UNEVEN)]),
    "conv, stride": (WIDE, [conv(C, 6, (3, 3), stride=(2, 3), **UNEVEN)]),
    "conv, dilation": (WIDE, [conv(C, 6, (3, 2), dilation=(2, 3), **UNEVEN)]),
    "conv, groups": ((6, 7, 6), [conv(6, 9, (3, 3), groups=3, stride=(1, 2), **SAME)]),
    "conv, wide groups": ((2 * C, 5, 6), [conv(2 * C, 2 * C, (3, 3), groups=2, **SAME)]),
    "conv, every channel twice": (WIDE, [conv(C, 2 * C, (3, 3), groups=C, **SAME)]),
    "depthwise": (WIDE, [conv(C, C, (3, 3), groups=C, **SAME)]),
    "depthwise, all": (
        WIDE, [conv(C, C, (3, 2), groups=C, stride=(2, 1), dilation=(1, 2), **UNEVEN)]
    ),
    "depthwise of few": (SMALL, [conv(3, 3, (3, 3), groups=3, bias=False, stride=(2, 2), **SAME)]),
    "Winograd": ((32, 12, 13), [conv(32, 33, (3, 3), **SAME), clip()]),
    "Winograd, uneven": ((33, 12, 10), [conv(33, 32, (3, 3), **UNEVEN)]),
    "Winograd 5 x 5": ((32, 14, 12), [conv(32, 32, (5, 5), padding=(2, 2, 2, 2))]),
    "Winograd twice": (
        (32, 12, 12), [conv(32, 32, (3, 3), **SAME), clip(), conv(32, 32, (3, 3), **SAME)]
    ),
    "Winograd between": (
        (8, 13, 12),
        [conv(8, 32, (3, 3), stride=(1, 1), **UNEVEN), conv(32, 33, (3, 3), **SAME), clip(0.1, 0.4),
         conv(33, 5, (3, 2), stride=(2, 1), **UNEVEN)],
    ),
    "clip before padding": (WIDE, [clip(0.5, 0.9), conv(C, 6, (3, 3), **SAME)]),
    "conv and clip before padding": (
        SMALL, [conv(3, 6, (1, 1)), clip(0.5, 9.0), conv(6, 6, (3, 3), **SAME)]
    ),
    "sigmoid before padding": (SMALL, [("sigmoid", {}), conv(3, 6, (3, 3), **SAME)]),
    "softmax before padding": (WIDE, [("softmax", {}), conv(C, 6, (3, 3), **SAME)]),
    "tanh before padding": (WIDE, [("tanh", {}), conv(C, 6, (3, 3), **SAME)]),
    "constant before padding": (WIDE, [constant("add", C, 1, 1), conv(C, 6, (3, 3), **SAME)]),
    "pool before padding": (WIDE, [max_pool(), conv(C, 6, (3, 3), **SAME)]),
    "linear": ((37,), [linear(37, LANES + 5)]),
    "linear, no bias": ((5,), [linear(5, 1, bias=False)]),
    "image to linear": (
        SMALL, [conv(3, 5, (2, 2)), reshape(400), linear(400, 11), clip(-0.2, 0.3)]
    ),
    "linear to image": ((12,), [linear(12, 60), reshape(4, 5, 3), conv(4, 5, (3, 3), **SAME)]),
    "vector to image": ((60,), [reshape(4, 5, 3), conv(4, 5, (3, 3), **SAME)]),
    "image to image": (WIDE, [conv(C, 4, (1, 1)), reshape(6, 4, 7), conv(6, 3, (3, 3), **SAME)]),
    "max pool": (WIDE, [max_pool()]),
    "max pool after conv": (SMALL, [conv(3, 5, (2, 2)), clip(), max_pool()]),
    "max pool after few": ((1, 12, 12), [conv(1, 1, (3, 3)), max_pool(), conv(1, 2, (3, 3))]),
    "max pool, all": (
        WIDE, [max_pool(kernel=(3, 2), stride=(2, 3), padding=(1, 2, 0, 1), ceil_mode=True)]
    ),
    "max pool, dilation": (SMALL, [max_pool(kernel=(3, 2), dilation=(2, 3), padding=(1, 3, 2, 0))]),
    "max pool of negatives": (
        SMALL, [clip(-9, -0.1), max_pool(kernel=(3, 3), padding=(1, 1, 2, 2))]
    ),
    "max pool, ceil": ((2, 6, 8), [max_pool(kernel=(3, 3), ceil_mode=True)]),
    "avg pool": (WIDE, [avg_pool()]),
    "avg pool, counted": (SMALL, [avg_pool(kernel=(3, 2), padding=(1, 2, 0, 1))]),
    "avg pool, not counted": (
        SMALL, [avg_pool(kernel=(3, 2), padding=(1, 2, 0, 1), count_include_pad=False)]
    ),
    "avg pool, ceil": (WIDE, [avg_pool(kernel=(3, 3), padding=(1, 0, 0, 2), ceil_mode=True)]),
    "avg pool, ceil, not counted": (
        WIDE,
        [avg_pool(kernel=(3, 3), padding=(1, 0, 0, 2), ceil_mode=True, count_include_pad=False)],
    ),
    "global pool": (WIDE, [avg_pool(kernel=(7, 6)), reshape(C), linear(C, 3)]),
    "clip": (SMALL, [clip(-0.5, 0.7)]),
    "clip of a clip": (SMALL, [conv(3, 4, (1, 1)), clip(), ("tanh", {}), clip(0.1, 0.5)]),
    "leaky relu": (SMALL, [("leaky_relu", {"negative_slope": 0.1})]),
    "leaky relu, negative": (
        WIDE, [("leaky_relu", {"negative_slope": -1.0}), conv(C, 3, (3, 3), **SAME)]
    ),
    "sigmoid": (SMALL, [("sigmoid", {})]),
    "tanh": ((C,), [("tanh", {})]),
    "softmax": ((C,), [("softmax", {})]),
    "softmax of images": (SMALL, [("softmax", {})]),
    "log softmax": ((10,), [("log_softmax", {})]),
    "log softmax of images": (WIDE, [conv(C, C, (1, 1)), ("log_softmax", {})]),
    "add": (WIDE, [constant("add", *WIDE)]),
    "add to a row": (SMALL, [constant("add", 11)]),
    "add to a column": (SMALL, [constant("add", 9, 1)]),
    "mul": (SMALL, [constant("mul", 3, 1, 1), ("tanh", {})]),
    "mul by one": ((C,), [constant("mul", 1)]),
    "pad": (WIDE, [gather(pad(*WIDE), 0.25), conv(C, 3, (3, 3))]),
    "transpose": (WIDE, [gather(np.arange(math.prod(WIDE)).reshape(WIDE).transpose(2, 0, 1))]),
    "slice": (WIDE, [gather(np.arange(math.prod(WIDE)).reshape(WIDE)[1::2, ::-1, 2:])]),
    "nothing but fill": ((4,), [gather(np.full((2, 3), -1), 1.5)]),
    "one and two axes": (
        SMALL, [reshape(33, 9), ("softmax", {}), constant("mul", 33, 1), reshape(297)]
    ),
}  # fmt: skip


def chain(name: str) -> Graph:
    shape, nodes = CHAINS[name]
    graph = Graph(shape, byte_scale=1 / 128)
    for op, options in nodes:
        graph.add(op, graph.output, **options)
    return graph


@pytest.mark.parametrize("bytes_", [False, True], ids=["float32", "uint8"])
@pytest.mark.parametrize("name", CHAINS)
def test_operators(name: str, bytes_: bool) -> None:
    graph = chain(name)
    assert_right(graph, draw_images(graph, bytes_))
    if name.startswith("Winograd"):
        assert any(goes_winograds_way(graph, node) for node in graph.nodes)


def residual() -> Graph:
    graph = Graph((C, 7, 6), BYTE_SCALE)
    x = add_conv(graph, graph.input, random(rng(), C, C, 3, 3), rng(), padding=(1, 1, 1, 1))
    x = graph.add("clip", x, low=0.0, high=math.inf)
    y = add_conv(graph, x, random(rng(), C, C, 1, 1), rng())
    return_ = graph.add("add", y, x)  # x has a border that y has not
    return_ = graph.add("clip", return_, low=0.0, high=1.5)
    add_conv(graph, return_, random(rng(), 3, C, 3, 3), rng(), padding=(2, 1, 0, 1))
    return graph


def joined() -> Graph:
    graph = Graph(WIDE, BYTE_SCALE)
    parts = [add_conv(graph, graph.input, random(rng(), K, C, 1, 1), rng()) for K in (5, LANES, 1)]
    size = sum(math.prod(graph.shapes[name]) for name in parts)
    graph.add("gather", *parts, index=np.arange(size).reshape(-1, 7, 6), fill=0.0)
    return graph


def attention() -> Graph:
    graph = Graph(WIDE, BYTE_SCALE)
    y = graph.add(
        "avg_pool",
        graph.input,
        **{**POOL, "kernel": (7, 6), "stride": (1, 1)},
        count_include_pad=True,
    )
    x = graph.add("tanh", graph.input)
    graph.add("mul", graph.add("sigmoid", y), x)
    return graph


def twice() -> Graph:
    graph = Graph(SMALL, BYTE_SCALE)
    x = graph.add("tanh", graph.input)
    graph.add("add", graph.add("mul", x, x), x)
    return graph


def used_output() -> Graph:
    # the output is also what others take, which change their copies of it
    graph = Graph(SMALL, BYTE_SCALE)
    x = add_conv(graph, graph.input, random(rng(), 5, 3, 3, 3), rng(), padding=(1, 1, 1, 1))
    graph.add("clip", x, low=0.0, high=1.0)
    graph.output = x
    return graph


def clipped_and_not() -> Graph:
    graph = Graph(SMALL, BYTE_SCALE)
    x = add_conv(graph, graph.input, random(rng(), 5, 3, 3, 3), rng())
    graph.add("add", graph.add("clip", x, low=0.0, high=1.0), x)
    return graph


def outer() -> Graph:
    # both inputs become larger
    graph = Graph((3, 4, 1), BYTE_SCALE)
    row = graph.add("reshape", graph.input, shape=(3, 1, 4))
    graph.add("mul", graph.input, graph.add("sigmoid", row))
    return graph


def rows_above() -> Graph:
    # the input has a border for the convolution, that a pooling has to leave out
    graph = Graph(SMALL, BYTE_SCALE)
    x = add_conv(graph, graph.input, random(rng(), 1, 3, 3, 3), rng(), padding=(2, 1, 0, 0))
    x = graph.add("avg_pool", x, **{**POOL, "kernel": (10, 9)}, count_include_pad=True)
    y = graph.add("avg_pool", graph.input, **{**POOL, "kernel": (9, 11)}, count_include_pad=True)
    graph.add("mul", x, y)
    return graph


def pixels_after_clip() -> Graph:
    # no convolution reads the input itself: bytes and numbers still go the same way
    graph = Graph(SMALL, BYTE_SCALE)
    x = graph.add("clip", graph.input, low=-math.inf, high=0.5)
    x = add_conv(graph, x, random(rng(), 3, 3, 1, 1), rng())
    add_conv(graph, x, random(rng(), 1, 3, 1, 1), rng())
    return graph


MAKE = [
    residual, joined, attention, twice, used_output, clipped_and_not, outer, rows_above,
    pixels_after_clip,
]  # fmt: skip


@pytest.mark.parametrize("bytes_", [False, True], ids=["float32", "uint8"])
@pytest.mark.parametrize("make", MAKE)
def test_operators_with_branches(make: Any, bytes_: bool) -> None:
    graph = make()
    assert_right(graph, draw_images(graph, bytes_))


@pytest.mark.parametrize("isa", [isa for isa in _dispatch.supported_isas() if isa != _dispatch.ISA])
def test_every_other_instruction_set_passes(isa: str) -> None:
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    files = [
        "tests/test_plan.py",
        "tests/test_plan_graphs.py",
        "tests/test_operators.py::test_plans",
    ]
    arguments = ["-p", "no:cacheprovider", "-k", "operators or drawn or finite", *files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        env={**os.environ, "CNN_EXT_CPU": isa, "PYTHONPATH": path},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "[100%]" in done.stdout


# -------------------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (1, 28, 28)), ("nielsen", (1, 28, 28)), ("vgg6", (3, 16, 16)), ("tiny", (1, 8, 8))],
)
def test_a_network_gives_what_it_gave(name: str, shape: tuple[int, int, int]) -> None:
    net = architectures.build(name, shape, 10, rng=rng()).eval()
    plan = net.compile(shape)
    for images in (
        rng().random((17, *shape), np.float32),
        rng().integers(0, 256, (17, *shape), "B"),
    ):
        assert_allclose(plan(images), net(images), atol=2e-5)
    assert_right(graph_of(net, shape), rng().random((2, *shape), np.float32), plan)


def test_all_layers() -> None:
    net = every_layer()
    images = random(rng(), 20, 2, 9, 9)
    assert_allclose(net.compile((2, 9, 9))(images), net(images), atol=1e-5)
    # a plan computes in float32 whatever the network does
    assert_array_equal(every_layer(np.float64).compile((2, 9, 9))(images).dtype, np.float32)


def test_digits_are_recognised() -> None:
    data = cnn_ext.datasets.digits()
    net = architectures.build("tiny", (1, 8, 8), 10, rng=rng())
    trainer = cnn_ext.Trainer(net)
    trainer.fit(data.x_train, data.y_train, epochs=2, progress=False)
    plan = net.compile((1, 8, 8), len(data.x_test))
    classes, probabilities = plan.classify(data.x_test)
    assert_array_equal(classes, trainer.predict(data.x_test))
    expected = trainer.predict_proba(data.x_test).max(axis=1)
    assert probabilities.dtype == np.float32
    assert_allclose(probabilities, expected, atol=1e-5)
    assert plan.classify(data.x_test[0]) == (classes[0], pytest.approx(probabilities[0]))
    assert [type(answer) for answer in plan.classify(data.x_test[0])] == [int, float]


# -------------------------------------------------------------------------- extreme numbers


def test_numbers_that_are_very_large_or_small() -> None:
    for scale in (1e-40, 1e-20, 1e18):
        graph = chain("conv, padding")
        images = draw_images(graph, False, 16) * np.float32(scale)
        plan = Plan(graph)
        answers = plan(images)
        assert_same_bits(np.stack([plan(image) for image in images]), answers)
        expected = graph_reference.run(graph, images)
        assert np.abs(answers - expected).max() <= 1e-5 * np.abs(expected).max()


def test_sigmoid_at_the_end_saturates() -> None:
    net = Sequential(Linear(2, 1, bias=False), Sigmoid())
    net.layers[0].weight.data[...] = 1  # type: ignore[attr-defined]
    plan = net.compile((2,))
    rows = np.array([[-1e38, 0], [1e38, 0], [0, 0], [np.inf, 0], [-np.inf, 0]], np.float32)
    assert_array_equal(plan(rows)[:, 0], [0, 1, 0.5, 1, 0])
    assert np.isnan(plan(np.array([np.nan, 0]))[0])
