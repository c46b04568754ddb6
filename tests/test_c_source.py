"""Networks as C: compiled by the machine's compiler, against the naive truth and hard inputs."""

from __future__ import annotations

import ctypes
import itertools
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graph_reference
import networks
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cnn_ext import Sequential, architectures, datasets
from cnn_ext._dispatch import ISA
from cnn_ext.c.source import write_c
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of

CC = shutil.which("cc")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
NUMBER = itertools.count()  # for file names: a library that is loaded once is never loaded again
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler")

Function = Callable[[np.ndarray], np.ndarray]


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


# ----------------------------------------------------------------------------- right


@needs_compiler
@settings(
    deadline=None, max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_any_graph(graph: Graph, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert_right(compiled(graph, tmp_path_factory.mktemp("c")), graph, seed)


@needs_compiler
@pytest.mark.parametrize("flags", [("-O0",), ("-O3",), ("-O2", "-U__SSE2__"), ("-O3", "-mavx")])
def test_every_operator(flags: tuple[str, ...], tmp_path: Path) -> None:
    if "-mavx" in flags and ISA not in ("avx2", "avx512"):
        pytest.skip("no AVX")
    graph = every_operator()
    assert_right(compiled(graph, tmp_path, *flags), graph)


@needs_compiler
@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_architectures(name: str, tmp_path: Path) -> None:
    shape = {"tiny": (1, 8, 8), "vgg6": (3, 16, 16)}.get(name, (1, 28, 28))
    graph = graph_of(architectures.build(name, shape, 10, rng=np.random.default_rng(0)), shape)
    assert_right(compiled(graph, tmp_path), graph)


@needs_compiler
@pytest.mark.parametrize("net", [networks.pooled(), networks.small(dropout=0.5)])
def test_networks(net: Sequential, tmp_path: Path) -> None:
    net.eval()
    graph = graph_of(net, (net[0].in_channels, 6, 6))
    library = compiled(graph, tmp_path)
    assert_right(library, graph)
    image = np.random.default_rng(0).random((1, *graph.input_shape), np.float32)
    np.testing.assert_allclose(predict(library, graph, image[0]), net(image)[0], atol=1e-5)


@needs_compiler
def test_the_bundled_digits(tmp_path: Path) -> None:
    data = datasets.digits()
    net = architectures.build("tiny", (1, 8, 8), 10, rng=np.random.default_rng(0)).eval()
    library = compiled(graph_of(net, (1, 8, 8)), tmp_path, outputs="logits")
    images = np.ascontiguousarray(data.x_test, np.float32)
    classes = [library.net_classify(pointer(image), None) for image in images]
    assert classes == net(images).argmax(1).tolist()


def reshaped_input() -> Graph:
    graph = Graph((2, 3, 4))
    graph.add("reshape", "x", shape=(24,))
    return graph


def early_output() -> Graph:
    graph = Graph((2, 3, 4))
    kept = graph.add("reshape", graph.add("tanh", "x"), shape=(4, 3, 2))
    graph.add("softmax", kept)
    graph.output = kept
    return graph


def shared_value() -> Graph:
    # an activation may not be worked into a value that others need too
    graph = Graph((6,))
    doubled = graph.add("add", "x", "x")
    graph.add("add", graph.add("sigmoid", doubled), doubled)
    return graph


def groups_of_one_window() -> Graph:
    graph = Graph((6, 3, 4))
    convolution(graph, np.random.default_rng(0), 16, (3, 4), groups=2)
    return graph


@needs_compiler
@pytest.mark.parametrize(
    "make",
    [lambda: Graph((5,)), reshaped_input, early_output, shared_value, groups_of_one_window],
)
def test_unusual_graphs(make: Callable[[], Graph], tmp_path: Path) -> None:
    assert_right(compiled(make(), tmp_path), make())


@needs_compiler
def test_weights_are_exact(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 5000, np.uint32).view(np.float32)
    limits = np.finfo(np.float32)
    edges = [0.0, -0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal]
    numbers = np.array([*bits[np.isfinite(bits)], *edges], np.float32)
    graph = Graph((len(numbers),))
    graph.add("mul", "x", weights={"constant": numbers})
    output = predict(compiled(graph, tmp_path), graph, np.ones(len(numbers)))
    assert output.tobytes() == numbers.tobytes()


@needs_compiler
@pytest.mark.parametrize("op", ["softmax", "log_softmax", "sigmoid", "tanh"])
def test_large_numbers(op: str, tmp_path: Path) -> None:
    graph = Graph((3, 2))
    graph.add(op, "x")
    image = np.array([[-90, 300], [1000, 299], [999, -1000]], np.float32)
    with np.errstate(over="ignore"):
        expected = graph_reference.run(graph, image[None])[0]
    output = predict(compiled(graph, tmp_path), graph, image)
    np.testing.assert_allclose(output, expected, rtol=1e-6, atol=1e-6)


@needs_compiler
def test_not_a_number_stays(tmp_path: Path) -> None:
    graph = Graph((1, 2, 4))
    graph.add("clip", "x", low=0.0, high=6.0)
    graph.add("max_pool", graph.output, dilation=(1, 1), **windows())
    for place in np.ndindex(2, 2):
        image = np.ones((1, 2, 4), np.float32)
        image[0][place] = np.nan
        output = predict(compiled(graph, tmp_path), graph, image)
        assert np.isnan(output[0, 0, 0]) and output[0, 0, 1] == 1


# ----------------------------------------------------------------------------- classes


@needs_compiler
@pytest.mark.parametrize("last", [None, "softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("outputs", [1, 4])
def test_classify(last: str | None, outputs: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = Graph((6,))
    graph.add("linear", "x", weights={"weight": rng.normal(0, 1, (outputs, 6))})
    if last is not None:
        graph.add(last, graph.output)
    library = compiled(graph, tmp_path, outputs=None if last else "logits")
    for image in rng.normal(0, 1, (10, 6)).astype(np.float32):
        (y,) = graph_reference.run(graph, image[None])
        if last is None:
            y = 1 / (1 + np.exp(-y)) if outputs == 1 else np.exp(y) / np.exp(y).sum()
        elif last == "log_softmax":
            y = np.exp(y)
        expected = np.array([1 - y[0], y[0]]) if outputs == 1 else y
        probability = np.zeros(1, np.float32)
        answer = library.net_classify(pointer(image), pointer(probability))
        assert answer == library.net_classify(pointer(image), None) == expected.argmax()
        assert probability[0] == pytest.approx(expected.max(), abs=1e-6)


@needs_compiler
def test_an_image_as_output_is_no_class(tmp_path: Path) -> None:
    graph = Graph((2, 3, 3))
    graph.add("softmax", "x")
    assert not hasattr(compiled(graph, tmp_path), "net_classify")


# ----------------------------------------------------------------------------- files


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_c(every_operator(), tmp_path / name / "net.c")
    for name in ("net.c", "net.h"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["net.c", "net.h"]


def test_the_header_tells_sizes(tmp_path: Path) -> None:
    write_c(
        graph_of(architectures.build("lenet5", (1, 28, 28), 10), (1, 28, 28)), tmp_path / "le5.c"
    )
    text = (tmp_path / "le5.h").read_text()
    defines = dict(re.findall(r"#define LE5_(\w+) (\d+)", text))
    assert defines == {
        "INPUTS": "784", "OUTPUTS": "10", "CHANNELS": "1", "HEIGHT": "28", "WIDTH": "28"
    }  # fmt: skip
    assert "416520 multiply-adds" in text
    (constants,) = re.findall(r"(\d+) bytes of constants", text)
    assert 4 * 61706 <= int(constants) <= 1.05 * 4 * 61706


def test_memory_is_used_again(tmp_path: Path) -> None:
    graph = Graph((1000,))
    for _ in range(7):
        graph.add("softmax", graph.output)
    write_c(graph, tmp_path / "net.c")
    (size,) = re.findall(r"static float memory\[(\d+)\]", (tmp_path / "net.c").read_text())
    assert 2000 <= int(size) <= 2016


@needs_compiler
def test_a_program_under_sanitizers(tmp_path: Path) -> None:
    flags = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    main = tmp_path / "main.c"
    main.write_text("int main(void) { return 0; }\n")
    for command in ([CC or "cc", *flags, main, "-o", tmp_path / "a"], [tmp_path / "a"]):
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no sanitizers")
    graph = every_operator()
    write_c(graph, tmp_path / "net.c")
    main.write_text("""\
#include <stdio.h>
#include <stdlib.h>

#include "net.h"

int main(void)
{
    float *input = malloc(NET_INPUTS * sizeof(float));
    float *output = malloc(NET_OUTPUTS * sizeof(float));
    if (!input || !output || fread(input, sizeof(float), NET_INPUTS, stdin) != NET_INPUTS)
        return 1;
    net_predict(input, output);
    float probability;
    if (net_classify(input, &probability) < 0 || !(probability > 0.0f))
        return 2;
    fwrite(output, sizeof(float), NET_OUTPUTS, stdout);
    free(input);
    free(output);
    return 0;
}
""")
    build(tmp_path / "program", *flags, str(main), str(tmp_path / "net.c"))
    images = np.random.default_rng(0).normal(0, 1, (1, *graph.input_shape)).astype(np.float32)
    done = subprocess.run([tmp_path / "program"], input=images.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    output = np.frombuffer(done.stdout, np.float32)
    np.testing.assert_allclose(output, graph_reference.run(graph, images)[0], atol=1e-5)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_file_is_also_cpp(tmp_path: Path) -> None:
    write_c(every_operator(), tmp_path / "net.c")
    flags = ("-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c")
    done = subprocess.run(
        ["c++", *flags, "net.c", "-o", "net.o"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("net.txt", None, "path: expected the name of a file that ends in .c"),
        ("net", None, "path: .*"),
        ('"net".c', "net", "path: .*"),
        ("my-net.c", None, "name: expected a letter.* 'my-net'"),
        ("net.c", "", "name: .* ''"),
        ("net.c", "9", "name: .*"),
        ("net.c", "_net", "name: .*"),
        ("net.c", "é", "name: .*"),
        ("net.c", "net\n", "name: .*"),
    ],
)
def test_bad_names(path: str, name: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        write_c(Graph((1,)), tmp_path / path, name)
    assert not list(tmp_path.iterdir())


def test_bad_graphs(tmp_path: Path) -> None:
    for value in (math.nan, math.inf, -math.inf):
        graph = Graph((1,))
        graph.add("linear", "x", weights={"weight": [[1.0], [value]]})
        with pytest.raises(ValueError, match="graph: v0: weight: NaN or infinity among weights"):
            write_c(graph, tmp_path / "net.c")
    graph = Graph((1,))
    graph.add("clip", "x", low=math.nan, high=1.0)
    with pytest.raises(ValueError, match=r"node 0 \(clip, .*\): NaN among the attributes"):
        write_c(graph, tmp_path / "net.c")
    with pytest.raises(TypeError, match="graph: expected a Graph, got Sequential"):
        write_c(architectures.build("tiny", (1, 8, 8), 10), tmp_path / "net.c")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "net.h").mkdir()
    with pytest.raises(ValueError, match="regular file"):
        write_c(Graph((1,)), tmp_path / "net.c")
    assert [path.name for path in tmp_path.iterdir()] == ["net.h"]
