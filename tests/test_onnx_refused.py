"""What `cnn_ext.onnx.load` refuses: other models, and files elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import model
from test_graph_simplify import random

from cnn_ext import onnx as cnn_onnx

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(7)
W = {"w": random(RNG, 4, 3)}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no batch": ("(float x) => (float y) { y = Relu (x) }", {}, "images of one known size"),
    "unknown sizes": (
        "(float[N, 3, H, W] x) => (float[N, 3, H, W] y) { y = Relu (x) }",
        {},
        "'x': expected images of one known size, got ['N', 3, 'H', 'W']",
    ),
    "other numbers": (
        "(int8[N, 3] x) => (int8[N, 3] y) { y = Identity (x) }", {}, "expected float32, got type 3",
    ),
    "two inputs": (
        "(float[N, 3] x, float[N, 3] z) => (float[N, 3] y) { y = Add (x, z) }",
        {},
        "expected one input, got 2 ('x', 'z')",
    ),
    "two outputs": (
        "(float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Relu (x)  z = Tanh (x) }",
        {},
        "expected one output, got 2 ('y', 'z'): output= says which",
    ),
    "mask": (
        "(float[N, 3] x) => (float[N, 3] y) { a, m = Dropout (x)  b = Cast (m)  y = Add (a, b) }",
        {},
        "Dropout (only its first output is supported, not 'm')",
    ),
    "constant": ("(float[N, 3] x) => (float[4, 3] y) { y = Identity (w) }", W, "does not depend"),
    "order": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Relu (a)  a = Tanh (x) }", {}, "no value 'a'",
    ),
    "twice": ("(float[N, 3] x) => (float[N, 3] x) { x = Relu (x) }", {}, "no value of its own"),
    "domain": (
        "(float[N, 3] x) => (float[N, 3] y) { y = com.other.Relu (x) }", {}, "of 'com.other'",
    ),
    "batch transposed": (
        "(float[N, 3] x) => (float[3, N] y) { y = Transpose (x) }", {}, "axis 0 counts images",
    ),
    "batch averaged": (
        "(float[N, 3] x) => (float[1, 3] y) { y = ReduceMean <axes = [0]> (x) }", {}, "axis 0",
    ),
    "batch joined": (
        "(float[N, 3] x) => (float[M, 3] y) { y = Concat <axis = 0> (x, x) }", {}, "axis 0",
    ),
    "images left out": (
        "(float[N, 3] x) => (float[M, 3] y) { y = Slice (x, i, e) }",
        {"i": np.array([0]), "e": np.array([1000])},
        "Slice (axis 0 counts images",
    ),
    "first image left out": (
        "(float[N, 3] x) => (float[M, 3] y) { y = Slice (x, i, e) }",
        {"i": np.array([1]), "e": np.array([2**31 - 1])},
        "Slice (axis 0 counts images",
    ),
    "images backwards": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Slice (x, i, e, z, b) }",
        {"i": np.array([-1]), "e": np.array([-(2**31)]), "z": np.array([0]), "b": np.array([-1])},
        "Slice (axis 0 counts images",
    ),
    "images in another order": (
        "(float[3, 3] x) => (float[3, 3] y) { y = Gather <axis = 0> (x, i) }",
        {"i": np.array([0, 2, 1])},
        "Gather (axis 0 counts images",
    ),
    "images repeated": (
        "(float[N, 3] x) => (float[M, 3] y) { y = Tile (x, i) }",
        {"i": np.array([2, 1])},
        "Tile (axis 0 counts images, which are not repeated)",
    ),
    "repeats that do not fit": (
        "(float[N, 3] x) => (float[M, 3] y) { y = Tile (x, i) }",
        {"i": np.array([2])},
        "Tile (repeats: (2,) do not fit (N, 3))",
    ),
    "images expanded": (
        "(float[N, 3] x) => (float[2, 3] y) { y = Expand (x, i) }",
        {"i": np.array([2, 3])},
        "Expand (images of (N, 3) cannot become (2, 3))",
    ),
    "an axis before the images": (
        "(float[N, 3] x) => (float[1, N, 3] y) { y = Expand (x, i) }",
        {"i": np.array([1, 1, 1])},
        "Expand (images of (N, 3) cannot become (1, 1, 1))",
    ),
    "a constant for each image": (
        """(float[N, 3] x) => (float[N, 3] y)
        { s = Shape (x)  a = Expand (c, s)  y = Add (x, a) }""",
        {"c": np.ones((1, 3))},
        "Expand (shape depends on the number of images)",
    ),
    "batch flattened": (
        "(float[N, 3] x) => (float[1, M] y) { y = Flatten <axis = 0> (x) }",
        {},
        "Flatten ((1, 3 N) would mix the images of (N, 3))",
    ),
    "batch as a number": (
        """(float[N, 3] x) => (float[N, 3] y)
        { s = Shape (x)  f = Cast <to = 1> (s)  n = Gather (f, i)  y = Add (x, n) }""",
        {"i": np.int64(0)},
        "Cast (the number of images cannot be used as a number)",
    ),
    "batch as a position": (
        """(float[N, 3] x) => (float[N, 3] y)
        { s = Shape (x)  n = Gather (s, z)  y = Slice (x, i, n, i) }""",
        {"i": np.array([1]), "z": np.array([0])},
        "ends depends on the number of images",
    ),
    "rows that meet images": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Add (x, w) }", W, "mixes images",
    ),
    "ranks that meet images": (
        """(float[N, 3, 4] x) => (float[N, 3, 4] y)
        { a = ReduceMean <axes = [1], keepdims = 0> (x)  y = Add (x, a) }""",
        {},
        "(N, 3, 4) and (N, 4) would mix images",
    ),
    "size that is not there": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Reshape (x, s) }",
        {"s": np.array([0, -1, 0])},
        "copies a size that (N, 3) has not",
    ),
    "matrix of its own": (
        "(float[N, 3, 3] x) => (float[N, 3, 3] y) { y = MatMul (x, x) }", {}, "MatMul (",
    ),
    "three dimensions": (
        "(float[N, 1, 3, 3, 3] x) => (float[N, 1, 3, 3, 3] y) { y = Conv (x, c) }",
        {"c": random(RNG, 1, 1, 1, 1, 1)},
        "a window of 3 axes over (1, 3, 3, 3) is not supported",
    ),
    "filters that do not fit": (
        "(float[N, 2, 3, 3] x) => (float[N, 1, 3, 3] y) { y = Conv (x, c) }",
        {"c": random(RNG, 1, 3, 1, 1)},
        "x: expected 3 channels, got 2 from (2, 3, 3)",
    ),
    "attribute of another type": (
        "(float[N, 3] x) => (float[N, 3] y) { y = LeakyRelu <alpha = 1> (x) }",
        {},
        "attribute alpha has another type",
    ),
    "weights that are no numbers": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Mul (x, n) }",
        {"n": np.float32(np.nan)},
        "a constant of mul is not finite",
    ),
    "neither yes nor no": (
        "(float[N, 2, 4, 4] x) => (float[N, 2, 2, 2] y) { y = MaxPool <kernel_shape = [3, 3],"
        " ceil_mode = 2> (x) }",
        {},
        "attribute ceil_mode: expected 0 or 1, got 2",
    ),
    "attribute that is not known": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Tanh <alpha = 1.0> (x) }",
        {},
        "Tanh (attribute alpha is not known)",
    ),
    "attribute of a newer opset": (
        "(float[N, 3] x) => (float[N, 3] y) { y = ReduceMean <noop_with_empty_axes = 1> (x) }",
        {},
        "attribute noop_with_empty_axes is not known",
    ),
    "too many inputs": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Add (x, x, x) }",
        {},
        "it does not take 3 inputs",
    ),
    "means of vectors": (
        "(float[N, 3] x) => (float[N, 3] y) { y = GlobalAveragePool (x) }",
        {},
        "expected images, got (N, 3)",
    ),
    "missing input": ("(float[N, 3] x) => (float[N, 3] y) { y = Gemm (x, ) }", {}, "take 1 inputs"),
    "missing attribute": (
        "(float[N, 3] x) => (float[N, 6] y) { y = Concat (x, x) }", {}, "axis is missing",
    ),
    "empty name": (
        "(float[N, 3] x, float[3, 3] w) => (float[N, 3] y) { y = Gemm (x, , w) }",
        {"w": np.eye(3)},
        "input 1 is missing",
    ),
    "a comparison of values": (
        """(float[N, 3] x) => (float[N, 3] y) { z = Less (x, w)  y = Where (z, x, x) }""", W,
        "Less (its inputs should be constants, or computed from shapes)",
    ),
    "the number of images as a condition": (
        """(float[N, 3] x) => (float[N, 3] y)
        { s = Shape (x)  a = Equal (s, o)  b = Where (a, s, o)  y = Reshape (x, b) }""",
        {"o": np.array([1, 3])},
        "Equal (the number of images cannot be used as a number)",
    ),
    "the greatest of the number of images": (
        """(float[N, 3] x) => (float[N, 3] y)
        { s = Shape (x)  a = Min (s, o)  y = Reshape (x, a) }""",
        {"o": np.array([1, 3])},
        "Min (the number of images cannot be used as a number)",
    ),
    "places of the greatest": (
        "(float[N, 3] x) => (int64[N, 1] y) { y = ArgMax (x) }", {}, "axis 0 counts images",
    ),
    "an unknown condition": (
        """(float[N, 3] x) => (float[N, 3] y) {
        c = Cast <to = 9> (x)
        y = If (c) <then_branch = g () => (float[N, 3] p) { p = Neg (x) },
        else_branch = h () => (float[N, 3] q) { q = Sin (x) }> }""",
        {},
        "values other than constants stay float32",
    ),
    "a branch that is not known": (
        """(float[N, 3] x) => (float[N, 3] y) {
        y = If (c) <then_branch = g () => (float[N, 3] p) { p = Neg (x) },
        else_branch = h () => (float[N, 3] q) { q = Sin (x) }> }""",
        {"c": np.array(False)},
        "If (Sin: this operator is not known)",
    ),
    "images split": (
        "(float[N, 3] x) => (float[N, 3] y) { y, z = Split (x) }", {}, "axis 0 counts images",
    ),
    "an operator of a later opset": (
        "(float[N, 3] x) => (float[N, 3] y) { y = Gelu (x) }", {}, "opset 13 has no such operator",
    ),
    "windows far apart": (
        """(float[N, 1, 9, 9] x) => (float[N, 1, 3, 3] y)
        { y = MaxPool <kernel_shape = [1, 1], strides = [3, 3], auto_pad = "SAME_UPPER"> (x) }""",
        {},
        "programs disagree about windows of (1, 1) at (3, 3)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_by_name(tmp_path: Path, kind: str) -> None:
    text, tensors, fault = REFUSED[kind]
    path = tmp_path / "bad.onnx"
    path.write_bytes(model(text, 13, **tensors).SerializeToString())
    with pytest.raises(ValueError) as caught:
        cnn_onnx.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)


def test_an_axis_far_away() -> None:
    text = """(float[N, 3] x) => (float[N, 3] y)
    { y = LayerNormalization <axis = -1000000000000> (x, w) }"""
    with pytest.raises(ValueError, match=r"expected axes of \(N, 3\)"):
        cnn_onnx.from_model(model(text, w=np.ones(3)))


def test_all_nodes_that_are_not_supported_are_listed(tmp_path: Path) -> None:
    text = """(float[N, 3, 4, 4] x) => (float[N, 3, 8, 8] y) {
    [first] a = Sin (x)
    [second] b = Det (a)
    [third] c = Transpose <perm = [1, 0, 2, 3]> (x)
    d = Relu (c)
    [fourth] y = Mod (b, d) }"""
    path = tmp_path / "bad.onnx"
    onnx.save(model(text), path)
    with pytest.raises(ValueError) as caught:
        cnn_onnx.load(path)
    unknown = "(this operator is not known)"
    assert str(caught.value) == (
        f"{path}: not supported: Sin 'first' {unknown}; Det 'second' {unknown};"
        f" Transpose 'third' (axis 0 counts images and stays in front); Mod 'fourth' {unknown}"
    )


def test_the_default_opset_twice() -> None:
    proto = model("(float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }", 17)
    proto.opset_import.add(domain="ai.onnx", version=17)
    assert cnn_onnx.from_model(proto).input_shape == (3,)
    proto.opset_import[0].version = 12
    with pytest.raises(
        ValueError, match=r"expected one version of the default opset, got \[12, 17"
    ):
        cnn_onnx.from_model(proto)


@pytest.mark.parametrize("opset", [6, 1000, None])
def test_opsets_that_are_not_known(opset: int | None) -> None:
    proto = model("(float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }")
    del proto.opset_import[:]
    if opset:
        proto.opset_import.add(version=opset)
    with pytest.raises(ValueError, match="model: expected an opset of 7 to"):
        cnn_onnx.from_model(proto)


# ------------------------------------------------------------------------ data beside the model


def beside(folder: Path, location: str, size: int = 48, **entries: str) -> Path:
    """A model of which the weight, 48 bytes, lies in another file."""
    proto = model("(float[N, 4] x) => (float[N, 3] y) { y = MatMul (x, w) }", w=np.zeros((4, 3)))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    (folder / "data").write_bytes(np.arange(size // 4, dtype="<f4").tobytes())
    return folder / "net.onnx"


def test_data_beside_the_model(tmp_path: Path) -> None:
    path = beside(tmp_path, "data", 64, offset="16", length="48")
    weight = cnn_onnx.load(path).nodes[0].weights["weight"]
    np.testing.assert_array_equal(weight.T.ravel(), np.arange(4, 16))
    with pytest.raises(ValueError, match="tensor 'w': its data lies in another file"):
        cnn_onnx.from_model(onnx.load(path, load_external_data=False))


@pytest.mark.parametrize(
    ("location", "entries", "fault"),
    [
        ("../data", {}, "beside the model only"),
        ("/etc/passwd", {}, "beside the model only"),
        ("..", {}, "beside the model only"),
        ("", {}, "beside the model only"),
        ("c:data", {}, "beside the model only"),
        ("a\0b", {}, "beside the model only"),
        ("folder", {}, "regular file"),
        ("link", {}, "regular file"),
        ("nothing", {}, "No such file"),
        ("data", {"offset": "4"}, "48 bytes were expected in 'data'"),
        ("data", {"offset": "-4"}, "48 bytes were expected in 'data'"),
        ("data", {"length": "47"}, "48 bytes were expected in 'data'"),
        ("data", {"offset": str(2**70)}, "48 bytes were expected in 'data'"),
        ("data", {"offset": "x"}, "invalid literal"),
    ],
)
def test_nothing_else_is_read(
    tmp_path: Path, location: str, entries: dict[str, str], fault: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("data")
    path = beside(tmp_path, location, **entries)
    with pytest.raises(ValueError) as caught:
        cnn_onnx.load(path)
    assert str(caught.value).startswith(f"{path}: tensor 'w': ")
    assert fault in str(caught.value)
