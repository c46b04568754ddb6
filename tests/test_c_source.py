"""Networks as C: compiled by the machine's compiler, against the naive truth and hard inputs."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import graph_reference
import networks
import numpy as np
import pytest
from c_files import (
    CC,
    assert_right,
    build,
    compiled,
    convolution,
    every_operator,
    graphs,
    needs_compiler,
    pointer,
    predict,
    windows,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cnn_ext import Sequential, architectures, datasets
from cnn_ext._dispatch import ISA
from cnn_ext.c.source import write_c
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of

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


@needs_compiler  # which takes long over the last one, the same layers as in airbench
@pytest.mark.parametrize("name", sorted(architectures.ARCHITECTURES.keys() - {"airbench_wide"}))
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
