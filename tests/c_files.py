"""C files compiled and called, and graphs of every operator to write as such."""

from __future__ import annotations

import ctypes
import itertools
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from hypothesis import strategies as st

from cnn_ext.c.source import write_c
from cnn_ext.graph import Graph

CC = shutil.which("cc")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
NUMBER = itertools.count()  # for file names: a library that is loaded once is never loaded again
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler")


def compiled(graph: Graph, folder: Path, *flags: str, outputs: str | None = None) -> ctypes.CDLL:
    """The library of a graph whose functions are net_predict and net_classify."""
    path = folder / f"net{next(NUMBER)}.c"
    write_c(graph, path, "net", outputs)
    build(path.with_suffix(".so"), "-shared", "-fPIC", *(flags or ("-O1",)), str(path))
    library = ctypes.CDLL(str(path.with_suffix(".so")))
    if hasattr(library, "net_classify"):
        library.net_classify.restype = ctypes.c_int
    return library


def build(target: Path, *arguments: str) -> None:
    done = subprocess.run(
        [CC or "cc", *STRICT, *arguments, "-o", str(target), "-lm"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def predict(library: ctypes.CDLL, graph: Graph, image: np.ndarray) -> np.ndarray:
    """The output of one image; what stands around it must stay."""
    image = np.ascontiguousarray(image, np.float32)
    around = np.full(math.prod(graph.output_shape) + 64, 7.5, np.float32)
    output = around[32:-32]
    library.net_predict(pointer(image), pointer(output))
    assert (around[:32] == 7.5).all() and (around[-32:] == 7.5).all()
    return output.reshape(graph.output_shape)


def assert_right(library: ctypes.CDLL, graph: Graph, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 1, (2, *graph.input_shape)).astype(np.float32)
    with np.errstate(invalid="ignore"):  # a window of gaps may see no pixel: minus infinity
        expected = graph_reference.run(graph, images)
    scale = max(1.0, abs(expected[np.isfinite(expected)]).max(initial=0.0))
    for image, y in zip(images, expected, strict=True):
        np.testing.assert_allclose(predict(library, graph, image), y, rtol=0, atol=1e-5 * scale)


# ----------------------------------------------------------------------------- graphs


def windows(**changes: Any) -> dict[str, Any]:
    return {
        "kernel": (2, 2),
        "stride": (2, 2),
        "padding": (0, 0, 0, 0),
        "ceil_mode": False,
    } | changes


def convolution(graph: Graph, rng: Any, K: int, kernel: Any, *inputs: str, **changes: Any) -> str:
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    options |= changes
    name = inputs[0] if inputs else graph.output
    C = graph.shapes[name][0] // max(options["groups"], 1)
    scale = 1 / math.sqrt(C * math.prod(kernel))
    weights = {"weight": rng.normal(0, scale, (K, C, *kernel)), "bias": rng.normal(0, 1, K)}
    return graph.add("conv2d", name, weights=weights, **options)


def every_operator() -> Graph:
    """Every kind of operator, with all kinds of windows, broadcasts and joins."""
    rng = np.random.default_rng(0)
    graph = Graph((4, 11, 9))
    stem = convolution(graph, rng, 12, (3, 2), stride=(2, 1), padding=(2, 0, 1, 3), dilation=(1, 2))
    graph.add("leaky_relu", stem, negative_slope=0.1)
    depthwise = convolution(graph, rng, 12, (3, 3), padding=(1, 1, 1, 1), groups=12)
    grouped = convolution(graph, rng, 12, (1, 3), depthwise, padding=(0, 0, 1, 1), groups=2)
    joined = graph.add("add", depthwise, grouped)
    graph.add("clip", joined, low=-2.0, high=2.0)
    graph.add("mul", graph.output, weights={"constant": rng.normal(0, 1, (12, 1, 1))})
    graph.add("max_pool", graph.output, dilation=(2, 1),
              **windows(padding=(1, 1, 0, 1), stride=(1, 2), ceil_mode=True))  # fmt: skip
    pooled = graph.add("tanh", graph.output)
    C, H, W = graph.output_shape
    for inside in (False, True):
        graph.add("avg_pool", graph.output, count_include_pad=inside,
                  **windows(kernel=(3, 2), padding=(1, 1, 1, 0), stride=(1, 1)))  # fmt: skip
    averaged = graph.add("sigmoid", graph.output)
    index = rng.permutation(2 * C * H * W)[: 3 * H * W].reshape(3, H, W)
    index[0] = np.arange(H * W).reshape(H, W)
    index[1, :, 1] = -1
    graph.add("gather", averaged, pooled, index=index % (C * H * W), fill=0.5)
    graph.add(
        "gather", graph.output, index=np.where(index % 7, index % (3 * H * W), -1), fill=-0.25
    )
    graph.add("softmax", graph.output)
    few = convolution(graph, rng, 2, (2, 2))
    whole = convolution(
        graph, rng, 9, graph.output_shape[1:], few
    )  # a window as large as the image
    graph.add("reshape", whole, shape=(9,))
    wide = rng.normal(0, 0.1, (43, 9))
    graph.add("linear", graph.output, weights={"weight": wide})
    graph.add("mul", graph.output, whole)  # (43,) and (9, 1, 1) to (9, 1, 43)
    graph.add("reshape", graph.output, shape=(9 * 43,))
    final = {"weight": rng.normal(0, 0.1, (5, 9 * 43)), "bias": np.ones(5)}
    graph.add("linear", graph.output, weights=final)
    graph.add("log_softmax", graph.output)
    return graph


@st.composite
def graphs(draw: Any) -> Graph:
    """A few nodes one after the other, each on one or two of the values before it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    graph = Graph(draw(st.tuples(*[st.integers(1, n) for n in (6, 9, 9)])))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    padding = st.tuples(*[st.integers(0, 2)] * 4)
    kinds = ("conv2d", "conv2d", "max_pool", "avg_pool", "unary", "softmax", "add", "mul", "gather")
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        image = graph.output
        C, *_ = shape = graph.output_shape
        try:
            if kind == "conv2d":
                groups = draw(st.sampled_from([n for n in range(1, C + 1) if C % n == 0]))
                K = groups * draw(st.sampled_from([1, 2, 4, 7, 8, 13, 16, 21]))
                convolution(graph, rng, K, draw(pair), stride=draw(pair), padding=draw(padding),
                            dilation=draw(pair), groups=groups)  # fmt: skip
            elif kind in ("max_pool", "avg_pool"):
                kernel = draw(pair)
                sides = zip(draw(padding), (kernel[0],) * 2 + (kernel[1],) * 2, strict=True)
                options = {"padding": tuple(min(before, side - 1) for before, side in sides)}
                if kind == "max_pool":
                    options["dilation"] = draw(pair)
                else:
                    options["count_include_pad"] = draw(st.booleans())
                graph.add(kind, image, kernel=kernel, stride=draw(pair),
                          ceil_mode=draw(st.booleans()), **options)  # fmt: skip
            elif kind == "unary":
                unary(draw, graph)
            elif kind == "softmax":
                graph.add(draw(st.sampled_from(["softmax", "log_softmax"])), image)
            elif kind == "gather":
                others = [draw(st.sampled_from(list(graph.shapes))), image]
                size = sum(math.prod(graph.shapes[name]) for name in others)
                index = rng.integers(-1, size, draw(st.tuples(*[st.integers(1, 5)] * 3)))
                ordered = (
                    np.arange(index.size).reshape(index.shape) * draw(st.integers(-1, 3)) % size
                )
                index = np.where(rng.random(index.shape) < draw(st.floats(0, 1)), index, ordered)
                graph.add("gather", *others, index=index, fill=2.0)
            else:
                lengths = [draw(st.sampled_from([1, size])) for size in shape]
                constant = rng.normal(0, 1, lengths[draw(st.integers(0, 2)) :])
                other = draw(st.sampled_from([None, *graph.shapes]))
                if other is None:
                    graph.add(kind, image, weights={"constant": constant})
                else:
                    graph.add(kind, image, other)
        except ValueError:
            continue  # windows that do not fit, values that do not broadcast
    if draw(st.integers(0, 5)) == 0:
        graph.output = draw(st.sampled_from(list(graph.shapes)))
    return graph


def unary(draw: Any, graph: Graph) -> None:
    op = draw(st.sampled_from(["clip", "leaky_relu", "sigmoid", "tanh"]))
    if op == "clip":
        low, high = draw(st.sampled_from([(0.0, math.inf), (-0.5, 0.5), (-math.inf, 0.25)]))
        graph.add(op, graph.output, low=low, high=high)
    elif op == "leaky_relu":
        graph.add(op, graph.output, negative_slope=draw(st.sampled_from([0.0, 0.3, 1.5])))
    else:
        graph.add(op, graph.output)
