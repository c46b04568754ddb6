"""Damaged and lying ONNX files: an error that names the file, or a graph, in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import model
from test_graph_simplify import random

from cnn_ext import onnx as cnn_onnx

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(7)
W = {"w": random(RNG, 4, 3)}


def sample() -> bytes:
    text = """(float[N, 1, 3, 3] x) => (float[N, 2] y) {
    a = Conv <pads = [1, 0, 0, 1]> (x, c)
    b = Relu (a)
    f = Reshape (b, s)
    y = Gemm (f, w) }"""
    tensors = {"c": random(RNG, 2, 1, 2, 2), "s": np.array([0, -1]), "w": random(RNG, 18, 2)}
    return model(text, **tensors).SerializeToString()


def test_the_sample_is_whole(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(sample())
    assert cnn_onnx.load(tmp_path / "whole").output_shape == (2,)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content, path = sample(), tmp_path / "cut"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"^{path}: "):
            cnn_onnx.load(path)


@settings(max_examples=400, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_corruption_gives_a_graph_or_a_value_error(tmp_path: Path, data: st.DataObject) -> None:
    content, path = bytearray(sample()), tmp_path / "corrupt"
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path.write_bytes(content)
    try:
        graph = cnn_onnx.load(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert sum(a.nbytes for node in graph.nodes for a in node.weights.values()) < 10_000


def lying(field: str) -> Any:
    proto = model("(float[N, 4] x) => (float[N, 3] y) { y = MatMul (x, w) }", w=np.zeros((4, 3)))
    tensor = proto.graph.initializer[0]
    if field == "huge":
        tensor.dims[:] = [2**20, 2**20]
    elif field == "negative":
        tensor.dims[:] = [-1, 3]
    elif field == "too many dimensions":
        tensor.dims[:] = [1] * 40
    elif field == "bytes of another type":
        tensor.data_type = onnx.TensorProto.DOUBLE
    elif field == "unknown type":
        tensor.data_type = 77
    elif field == "too few numbers":
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0, 2.0])
    return proto


@pytest.mark.parametrize(
    "field",
    ["huge", "negative", "too many dimensions", "bytes of another type", "unknown type",
     "too few numbers"],
)  # fmt: skip
def test_tensors_that_lie(field: str) -> None:
    with pytest.raises(ValueError, match="model: tensor 'w': "):
        cnn_onnx.from_model(lying(field))


DOUBLING = "".join(f"a{i + 1} = Concat <axis = 1> (a{i}, a{i}) " for i in range(40))
COUNTS = "".join(f"s{i + 1} = Concat <axis = 0> (s{i}, s{i}) " for i in range(40))
BOMBS = {
    "joined": f"(float[N, 4] x) => (float[N, 4] y) {{ a0 = Relu (x) {DOUBLING} y = Relu (a40) }}",
    "constants": f"""(float[N, 4] x) => (float[N, 4] y)
    {{ s0 = Shape (x) {COUNTS} y = Reshape (x, s40) }}""",
    "padded": """(float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y)
    { p = Constant <value_ints = [0, 0, 20000, 20000, 0, 0, 0, 0]> ()  y = Pad (x, p) }""",
    "reflected": """(float[N, 4, 4, 4] x) => (float[N, 4, 4, 4] y)
    { p = Constant <value_ints = [0, 0, 20000, 20000, 0, 0, 0, 0]> ()
      y = Pad <mode = "reflect"> (x, p) }""",
    "outer product": """(float[N, 4] x) => (float[N, 4] y) {
      a = Reshape (l, tall)  b = Mul (a, l)  c = Mul (b, b)  y = Add (x, c) }""",
    "picked": """(float[N, 20000] x) => (float[N, 4] y) {
      a = Unsqueeze (x, one)  b = Transpose <perm = [0, 2, 1]> (a)
      i = Cast <to = 7> (l)  y = Gather <axis = 2> (b, i) }""",
    "tiled": """(float[N, 4] x) => (float[N, 4] y)
    { r = Constant <value_ints = [1, 1000000000000]> ()  y = Tile (x, r) }""",
    "expanded": """(float[N, 4, 1] x) => (float[N, 4, 9] y)
    { r = Constant <value_ints = [4, 1000000000000]> ()  y = Expand (x, r) }""",
    "resized": """(float[N, 1, 4, 4] x) => (float[N, 1, 4, 4] y)
    { s = Constant <value_floats = [1.0, 1.0, 20000.0, 20000.0]> ()  y = Resize (x, , s) }""",
    "resized between": """(float[N, 1, 4, 4] x) => (float[N, 1, 4, 4] y)
    { s = Constant <value_floats = [1.0, 1.0, 20000.0, 20000.0]> ()
      y = Resize <mode = "linear"> (x, , s) }""",
    "transposed convolution": """(float[N, 1, 4, 4] x) => (float[N, 1, 4, 4] y)
    { w = Constant <value_floats = [1.0]> ()  f = Constant <value_ints = [1, 1, 1, 1]> ()
      v = Reshape (w, f)  y = ConvTranspose <strides = [50000, 50000]> (x, v) }""",
    "shape of many": """(float[N, 4] x) => (float[N, 4] y)
    { s = Constant <value_ints = [100000, 100000]> ()  a = ConstantOfShape (s)  y = Add (x, a) }""",
    "numbers in a row": """(float[N, 4] x) => (float[N, 4] y)
    { a = Constant <value_int = 0> ()  b = Constant <value_int = 1000000000000> ()
      c = Constant <value_int = 1> ()  d = Range (a, b, c)  y = Reshape (x, d) }""",
    "large input": """(float[N, 10000, 20000] x) => (float[N, 20000, 10000] y)
    { y = Transpose <perm = [0, 2, 1]> (x) }""",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_stay_small_in_memory(name: str) -> None:
    tensors = {"l": np.zeros(20000), "tall": np.array([-1, 1]), "one": np.array([1])}
    proto = model(BOMBS[name], 13, **tensors)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="too many for a file of this size|too large"):
            cnn_onnx.from_model(proto)
        assert tracemalloc.get_traced_memory()[1] < 2**29
    finally:
        tracemalloc.stop()
