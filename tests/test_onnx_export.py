"""`cnn_ext.onnx.export`: valid files, of which another program computes the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from networks import ChannelScale
from test_graph_simplify import assert_close, every_layer, graphs, images, random

from cnn_ext import Conv2d, Flatten, Linear, Sequential, architectures
from cnn_ext import onnx as cnn_onnx
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of
from cnn_ext.run.plan import Plan

onnx = pytest.importorskip("onnx")


def session(path: Path | bytes) -> Any:
    """The file in another program, on one core."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return session(path).run(None, {"input": x})[0]


def checked(path: Path) -> Any:
    """The model, after a full check."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_architectures_in_another_program(tmp_path: Path, name: str) -> None:
    shape = (3, 32, 32) if name == "vgg6" else (1, 28, 28)
    net = architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
    path = tmp_path / "net.onnx"
    cnn_onnx.export(net, path, shape)
    checked(path)
    x = random(np.random.default_rng(1), 3, *shape)
    assert_close(run(path, x), graph_reference.run(graph_of(net, shape), x))


def test_every_layer_in_another_program(tmp_path: Path) -> None:
    net = every_layer()
    path = tmp_path / "net.onnx"
    cnn_onnx.export(net, path, (2, 9, 9))
    checked(path)
    x = random(np.random.default_rng(1), 4, 2, 9, 9)
    assert_close(run(path, x), net(x))


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(graph=graphs())
def test_drawn_graphs_in_another_program(tmp_path: Path, graph: Graph) -> None:
    path = tmp_path / "graph.onnx"
    cnn_onnx.export(graph, path)
    checked(path)
    x = images(graph, 3)
    assert_close(run(path, x), graph_reference.run(graph, x))


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_means_of_windows_that_hang_over(tmp_path: Path, count_include_pad: bool) -> None:
    graph = Graph((2, 6, 7))
    graph.add("avg_pool", graph.input, kernel=(3, 3), stride=(2, 3), padding=(1, 1, 1, 0),
              ceil_mode=True, count_include_pad=count_include_pad)  # fmt: skip
    assert graph.output_shape == (2, 4, 3)  # in rows and in columns the last window hangs over
    path = tmp_path / "graph.onnx"
    cnn_onnx.export(graph, path)
    checked(path)
    x = images(graph)
    assert_close(run(path, x), graph_reference.run(graph, x))


@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "avg_pool, counted"])
@pytest.mark.parametrize("kernel", [(2, 4), (3, 3)])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 0, 0, 1)])
def test_the_only_window_hangs_over(
    tmp_path: Path, op: str, kernel: tuple[int, int], padding: tuple[int, ...]
) -> None:
    graph = Graph((2, 1, 2))
    more = {"dilation": (1, 1)} if op == "max_pool" else {"count_include_pad": "," in op}
    graph.add(op[:8], graph.input, kernel=kernel, stride=(3, 3), padding=padding, ceil_mode=True,
              **more)  # fmt: skip
    path = tmp_path / "graph.onnx"
    cnn_onnx.export(graph, path)
    checked(path)
    x = images(graph)
    expected = graph_reference.run(graph, x)
    assert_close(run(path, x), expected)
    assert_close(graph_reference.run(cnn_onnx.load(path), x), expected)
    assert_close(Plan(graph)(x), expected)


@pytest.mark.parametrize("padding", [(1, 1, 0, 2), (2, 2, 2, 2), (0, 0, 0, 0)])
def test_padding_as_wide_as_windows(tmp_path: Path, padding: tuple[int, ...]) -> None:
    graph = Graph((2, 6, 5))
    graph.add("max_pool", graph.input, kernel=(2, 2), stride=(3, 2), padding=padding,
              dilation=(2, 2), ceil_mode=True)  # fmt: skip
    path = tmp_path / "graph.onnx"
    cnn_onnx.export(graph, path)
    checked(path)
    x = images(graph)
    expected = graph_reference.run(graph, x)
    assert_close(run(path, x), expected)
    assert_close(graph_reference.run(cnn_onnx.load(path), x), expected)


def test_form_of_the_file(tmp_path: Path) -> None:
    net = architectures.build("lenet5", (1, 28, 28), 10)
    path = tmp_path / "net.onnx"
    cnn_onnx.export(net, path, (1, 28, 28))
    model = checked(path)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    for values, name, shape in (
        (model.graph.input, "input", ["N", 1, 28, 28]),
        (model.graph.output, "output", ["N", 10]),
    ):
        (value,) = values
        sizes = value.type.tensor_type.shape.dim
        assert value.name == name and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert [size.dim_param or size.dim_value for size in sizes] == shape
    names = [name for name, _ in net.named_parameters()]
    tensors = [t for t in model.graph.initializer if not t.name.startswith("constant")]
    assert [tensor.name for tensor in tensors] == names
    for tensor, (_, parameter) in zip(tensors, net.named_parameters(), strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), parameter.data)


def test_the_batch_is_free(tmp_path: Path) -> None:
    net = architectures.build("tiny", (1, 8, 8), 10).eval()
    path = tmp_path / "net.onnx"
    cnn_onnx.export(net, path, (1, 8, 8))
    other, x = session(path), random(np.random.default_rng(1), 5, 1, 8, 8)
    for count in (1, 2, 5):
        assert_close(other.run(None, {"input": x[:count]})[0], net(x[:count]))


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    net = every_layer(np.float64)
    for name in ("one", "two"):
        cnn_onnx.export(net, tmp_path / name, (2, 9, 9))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_network_that_knows_its_input(tmp_path: Path) -> None:
    net = architectures.build("tiny", (1, 8, 8), 10)
    cnn_onnx.export(net, tmp_path / "one", (1, 8, 8))
    net.input_shape = (1, 8, 8)
    cnn_onnx.export(net, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_wrong_arguments(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    net = Sequential(Conv2d(1, 2, 3), Flatten(), Linear(8, 2))
    with pytest.raises(TypeError, match="input_shape: expected .* got None"):
        cnn_onnx.export(net, path)
    with pytest.raises(ValueError, match="layer 2"):
        cnn_onnx.export(net, path, (1, 5, 5))
    with pytest.raises(TypeError, match="net: expected a Module or a Graph, got int"):
        cnn_onnx.export(1, path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ChannelScale has passes of its own"):
        cnn_onnx.export(Sequential(ChannelScale(1)), path, (1, 4, 4))
    with pytest.raises(ValueError, match=r"takes \(1, 4, 4\), got \(1, 5, 5\)"):
        cnn_onnx.export(graph_of(net, (1, 4, 4)), path, (1, 5, 5))
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError):
        cnn_onnx.export(net, tmp_path / "nowhere" / "net.onnx", (1, 4, 4))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'cnn_ext\[onnx\]'"):
        cnn_onnx.export(Graph((4,)), tmp_path / "net.onnx")
    with pytest.raises(ImportError, match=r"pip install 'cnn_ext\[onnx\]'"):
        cnn_onnx.load(tmp_path / "net.onnx")
