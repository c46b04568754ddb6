"""`cnn_ext.onnx.load`: round trips, and what models of other programs compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from onnx_cases import by_lanes
from onnx_models import MODELS, model
from test_graph_simplify import assert_close, every_layer, graphs, images, random
from test_onnx_export import session

from cnn_ext import architectures
from cnn_ext import onnx as cnn_onnx
from cnn_ext.graph import Graph
from cnn_ext.graph.rewrite import frozen, simplify
from cnn_ext.layers import graph_of
from cnn_ext.onnx.tensors import STORED, array_of

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("name", ["normalised groups", "normalised channels", "normalised parts"])
def test_normalisations_are_one_operator_that_is_trained(name: str) -> None:
    text, opset, tensors = MODELS[name]
    net = cnn_onnx.from_model(model(text, opset, **tensors)).module()
    assert [op for op, *_ in net.nodes] == ["group_norm"]
    assert [p.shape for p in net.parameters()] == [(4,), (4,)]


# ------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_round_trip_of_architectures(tmp_path: Path, name: str) -> None:
    shape = (3, 32, 32) if name == "vgg6" else (1, 28, 28)
    net = architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
    cnn_onnx.export(net, tmp_path / "net.onnx", shape)
    graph, old = cnn_onnx.load(tmp_path / "net.onnx"), simplify(frozen(graph_of(net, shape)))
    assert [node.op for node in graph.nodes] == [node.op for node in old.nodes]
    for node, same in zip(graph.nodes, old.nodes, strict=True):
        assert node.attributes.keys() == same.attributes.keys()
        for key, array in same.weights.items():
            np.testing.assert_array_equal(node.weights[key], array)
    x = images(old)
    assert_close(graph_reference.run(graph, x), graph_reference.run(old, x))


def test_round_trip_of_every_layer(tmp_path: Path) -> None:
    net = every_layer()
    cnn_onnx.export(net, tmp_path / "net.onnx", (2, 9, 9))
    x = random(np.random.default_rng(0), 3, 2, 9, 9)
    assert_close(graph_reference.run(cnn_onnx.load(tmp_path / "net.onnx"), x), net(x))


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(graph=graphs())
def test_round_trip_of_drawn_graphs(tmp_path: Path, graph: Graph) -> None:
    cnn_onnx.export(graph, tmp_path / "graph.onnx")
    back = cnn_onnx.load(tmp_path / "graph.onnx")
    assert back.input_shape == graph.input_shape and back.output_shape == graph.output_shape
    x = images(graph)
    assert_close(by_lanes(back, x), graph_reference.run(graph, x))


# ------------------------------------------------------------------------- models of others


def reference(proto: Any, x: np.ndarray) -> np.ndarray:
    """What another program computes."""
    name = proto.graph.input[0].name
    return session(proto.SerializeToString()).run(None, {name: x})[0]


@pytest.mark.parametrize("name", MODELS)
def test_models_of_others(name: str) -> None:
    text, opset, tensors = MODELS[name]
    proto = model(text, opset, **tensors)
    first, *sizes = (size.dim_value for size in proto.graph.input[0].type.tensor_type.shape.dim)
    x = random(np.random.default_rng(3), first or 2, *sizes)
    graph = cnn_onnx.from_model(proto)
    y = by_lanes(graph, x)
    expected = reference(proto, x)
    assert y.size == expected.size
    assert_close(y.reshape(expected.shape), expected)


def test_what_a_model_becomes() -> None:
    def nodes(name: str) -> list[str]:
        text, opset, tensors = MODELS[name]
        return [node.op for node in cnn_onnx.from_model(model(text, opset, **tensors)).nodes]

    first = ["conv2d", "clip", "conv2d", "conv2d", "add", "clip", "avg_pool", "reshape", "linear"]
    assert nodes("residual") == first
    assert nodes("mobile") == ["conv2d", "clip", "conv2d", "clip", "avg_pool", "reshape"]
    assert nodes("view by shape arithmetic") == ["reshape"]
    assert nodes("shuffled channels") == ["tanh", "gather"]
    block = ["group_norm", "reshape", "conv2d", "tanh", "add", "mul", "reshape", "add"]
    assert nodes("channels at the end") == block
    assert nodes("linear layers") == ["linear"] * 3


def test_weights_may_be_inputs_with_initialisers() -> None:
    text = "(float[N, 4] x, float[4, 3] w) => (float[N, 3] y) { y = MatMul (x, w) }"
    graph = cnn_onnx.from_model(model(text, w=np.ones((4, 3))))
    assert [node.op for node in graph.nodes] == ["linear"]


@pytest.mark.parametrize("code", STORED)
def test_all_ways_to_store_a_tensor(code: int) -> None:
    numbers = np.array([[0, 1, 1], [1, 0, 1]])
    for raw in (True, False):
        data = numbers.ravel().tolist()
        if raw:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(code)
            data = numbers.astype(dtype).tobytes()
        tensor = onnx.helper.make_tensor("t", code, (2, 3), data, raw)
        array = array_of(tensor, None)
        np.testing.assert_array_equal(array, numbers)
        assert array.flags.writeable and array.dtype.isnative
