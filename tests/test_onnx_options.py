"""What `cnn_ext.onnx.load` is told beside the file: sizes, which output; and half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_cases import by_lanes
from onnx_models import model
from test_graph_simplify import assert_close, random
from test_onnx_export import session

from cnn_ext import Plan, Trainer
from cnn_ext import onnx as cnn_onnx

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(17)
FREE = """(float[N, 3, H, W] x) => (float[N, 2, P, Q] y, float[N, 2] z) {
a = Conv (x, w)  y = Relu (a)  b = GlobalAveragePool (y)  z = Flatten (b) }"""
W = {"w": random(RNG, 2, 3, 3, 3)}


def test_sizes_that_the_file_leaves_free(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(model(FREE, **W), path)
    with pytest.raises(ValueError, match="input_shape= says which"):
        cnn_onnx.load(path, output=0)
    graph = cnn_onnx.load(path, input_shape=(3, 9, 7), output=0)
    assert (graph.input_shape, graph.output_shape) == ((3, 9, 7), (2, 7, 5))
    for wrong in ((4, 9, 7), (3, 9), (3, 0, 7)):
        with pytest.raises(ValueError, match="input_shape"):
            cnn_onnx.load(path, input_shape=wrong, output=0)


@pytest.mark.parametrize(
    ("output", "shape"),
    [(0, (2, 7, 5)), ("y", (2, 7, 5)), (1, (2,)), ("z", (2,)), ("b", (2, 1, 1))],
)
def test_one_of_several_outputs(output: Any, shape: tuple[int, ...]) -> None:
    proto = model(FREE, **W)
    graph = cnn_onnx.from_model(proto, input_shape=(3, 9, 7), output=output)
    assert graph.output_shape == shape


@pytest.mark.parametrize(
    ("output", "fault"),
    [(None, r"expected one output, got 2 \('y', 'z'\): output= says which"),
     (2, "output: expected one of 2, got 2"), ("q", "output: there is no value 'q'"),
     (-1, "output: expected"), ("w", "does not depend on the input")],
)  # fmt: skip
def test_outputs_that_are_none(output: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        cnn_onnx.from_model(model(FREE, **W), input_shape=(3, 9, 7), output=output)


# shapes of input and output, what makes the scores s, and the attributes of ArgMax
CLASSES = {
    "rows": ("N, 3", "N", "s = MatMul (x, w)", "axis = 1, keepdims = 0"),
    "rows with an axis": ("N, 3", "N, 1", "s = Gemm (x, w)", "axis = -1"),
    "one row": ("1, 3", "1", "s = MatMul (x, w)", "axis = 1, keepdims = 0"),
    "probabilities": ("N, 3", "N", "a = MatMul (x, w)  s = Softmax (a)", "axis = -1, keepdims = 0"),
    "maps": ("N, 4, 5, 6", "N, 5, 6", "s = Exp (x)", "axis = 1, keepdims = 0"),
    "maps, classes last": ("N, 4, 5, 3", "N, 4, 5, 1", "s = MatMul (x, w)", "axis = 3"),
    "sequences": ("N, 4, 5", "N, 5", "s = Tanh (x)", "axis = -2, keepdims = 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_that_ends_in_class_numbers(name: str) -> None:
    x, y, scores, attributes = CLASSES[name]
    text = f"(float[{x}] x) => (int64[{y}] y) {{ {scores}  y = ArgMax <{attributes}> (s) }}"
    proto = model(text, w=random(RNG, 3, 4))
    graph, plan = cnn_onnx.from_model(proto), Plan(cnn_onnx.from_model(proto))
    images = random(RNG, 1 if name == "one row" else 7, *graph.input_shape)
    (expected,) = session(proto.SerializeToString()).run(None, {"x": images})
    found = plan.predict(images)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    np.testing.assert_array_equal(plan.predict(images[0]), found[0])
    np.testing.assert_array_equal(Trainer(graph.module(), loss="quadratic").predict(images), found)
    assert plan.task.kind == ("classes" if found.ndim == 1 else "pictures")
    assert plan.task.outputs == ("probabilities" if name == "probabilities" else None)
    assert cnn_onnx.from_model(proto, output="s").task is None


@pytest.mark.parametrize(
    ("end", "fault"),
    [("ArgMax <axis = 0> (x)", "axis 0 counts images"),
     ("ArgMax <axis = 1, select_last_index = 1> (x)", "the last of several"),
     ("ArgMax <axis = 1> (x)  z = Cast <to = 1> (y)", "output= can take the value before it")],
)  # fmt: skip
def test_class_numbers_that_are_refused(end: str, fault: str) -> None:
    out = "z" if "z =" in end else "y"
    proto = model(f"(float[N, 3] x) => (int64[N, 1] {out}) {{ y = {end} }}")
    with pytest.raises(ValueError, match=fault):
        cnn_onnx.from_model(proto)
    one = model("(float[N, 1] x) => (int64[N, 1] y) { y = ArgMax <axis = 1> (x) }")
    with pytest.raises(ValueError, match="classes need two outputs or more"):
        cnn_onnx.from_model(one)


@pytest.mark.parametrize("kind", ["float16", "double", "bfloat16"])
def test_numbers_of_other_sizes_are_computed_in_float32(kind: str) -> None:
    code = getattr(onnx.TensorProto, {"double": "DOUBLE"}.get(kind, kind.upper()))
    text = f"""({kind}[N, 3] x) => ({kind}[N, 4] y) {{
    a = MatMul (x, w)  b = Cast <to = {code}> (a)  y = Add (b, v) }}"""
    proto = model(text)
    numbers = {"w": RNG.integers(-4, 4, (3, 4)) / 4, "v": RNG.integers(-4, 4, 4) / 4}
    for name, array in numbers.items():
        proto.graph.initializer.append(
            onnx.helper.make_tensor(name, code, array.shape, array.ravel().tolist())
        )
    graph = cnn_onnx.from_model(proto)
    x = random(RNG, 5, 3)
    assert_close(by_lanes(graph, x), x @ numbers["w"] + numbers["v"])
    assert {array.dtype for node in graph.nodes for array in node.weights.values()} == {
        np.dtype(np.float32)
    }


def test_images_without_an_axis_of_channels() -> None:
    text = """(float[N, 28, 28] x) => (float[N, 5] y) {
    a = Unsqueeze (x, one)  b = Conv <strides = [2, 2]> (a, c)  d = Flatten (b)
    y = MatMul (d, w) }"""
    proto = model(text, one=np.array([1]), c=random(RNG, 2, 1, 4, 4), w=random(RNG, 2 * 13 * 13, 5))
    graph = cnn_onnx.from_model(proto)
    assert graph.input_shape == (28, 28)
    assert [node.op for node in graph.nodes] == ["reshape", "conv2d", "reshape", "linear"]
    x = random(RNG, 2, 28, 28)
    assert_close(graph.module()(x), by_lanes(graph, x))
