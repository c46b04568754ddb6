"""Models keep their own shapes, of any number of axes, wherever their graph goes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from onnx_models import model
from test_graph_simplify import assert_close, random
from test_onnx_export import checked, run

from cnn_ext import onnx as cnn_onnx
from cnn_ext.c.source import write_c
from cnn_ext.graph import Graph
from cnn_ext.run.plan import Plan

onnx = pytest.importorskip("onnx")
Shape = tuple[int, ...]
SHAPES: list[Shape] = [(), (1,), (5,), (4, 4), (1, 6), (6, 1), (4, 4, 1), (1, 4, 4), (2, 3, 4),
                       (1, 1, 1), (2, 1, 3, 2), (1, 1, 2, 3), (2, 1, 2, 1, 3)]  # fmt: skip


def reshaping(shape: Shape, to: Shape) -> Any:
    """A model that takes images of one shape and gives them in another."""
    sizes, outputs = (", ".join(["N", *map(str, own)]) for own in (shape, to))
    text = f"""(float[{sizes}] x) => (float[{outputs}] y) {{
    a = LeakyRelu <alpha = 0.5> (x)  y = Reshape (a, s) }}"""
    return model(text, 17, s=np.array([0, *to]))


def pairs() -> list[tuple[Shape, Shape]]:
    same = [(shape, shape) for shape in SHAPES]
    return [*same, ((4, 4), (16,)), ((12,), (3, 4)), ((1,), ()), ((), (1, 1)), ((2, 3), (3, 2)),
            ((4, 3), (4, 1, 3)), ((4, 1, 3), (4, 3)), ((2, 3, 4), (2, 3, 2, 2))]  # fmt: skip


@pytest.mark.parametrize(("shape", "to"), pairs())
def test_own_shapes(tmp_path: Path, shape: Shape, to: Shape) -> None:
    proto = reshaping(shape, to)
    x = random(np.random.default_rng(1), 20, *shape)
    expected = np.where(x > 0, x, x / 2).reshape(20, *to)
    graph = cnn_onnx.from_model(proto)
    assert (graph.input_shape, graph.output_shape) == (shape, to)
    assert_close(graph_reference.run(graph, x), expected)
    plan = Plan(graph)
    for same in (plan, pickle.loads(pickle.dumps(plan))):
        assert (same.input_shape, same.output_shape) == (shape, to)
        assert_close(same(x), expected)
        assert_close(same(x[:1]), expected[:1])
        one = same(x[3])
        assert isinstance(one, np.ndarray) and one.shape == to
        assert_close(one, expected[3])
    out = np.empty((20, *to), np.float32)
    assert plan(x, out=out) is out
    assert_close(out, expected)
    # and out again
    cnn_onnx.export(graph, tmp_path / "graph.onnx")
    values = [*checked(tmp_path / "graph.onnx").graph.input]
    values += checked(tmp_path / "graph.onnx").graph.output
    for value, own in zip(values, (shape, to), strict=True):
        sizes = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        assert sizes == ["N", *own]
    assert_close(run(tmp_path / "graph.onnx", x), expected)
    back = cnn_onnx.load(tmp_path / "graph.onnx")
    assert (back.input_shape, back.output_shape) == (shape, to)
    assert_close(Plan(back)(x), expected)


def test_other_shapes_are_refused() -> None:
    plan = Plan(cnn_onnx.from_model(reshaping((4, 3), (12,))), 8)
    message = r"one image \(4, 3\) or images \(N, 4, 3\), got shape"
    for shape in [(4, 1, 3), (2, 4, 1, 3), (12,), (3, 4), (9, 3, 4)]:
        with pytest.raises(ValueError, match=message):
            plan(np.zeros(shape, np.float32))
    single = Plan(cnn_onnx.from_model(reshaping((), ())), 8)
    with pytest.raises(ValueError, match=r"one image \(\) or images \(N\), got shape \(2, 1\)"):
        single(np.zeros((2, 1), np.float32))
    assert single(2.0) == 2 and single([2.0, -2.0]).tolist() == [2, -1]


def test_convolutions_over_sequences() -> None:
    text = "(float[N, 2, 9] x) => (float[N, 3, 7] y) { y = Conv (x, w) }"
    proto = model(text, w=random(np.random.default_rng(2), 3, 2, 3))
    plan = Plan(cnn_onnx.from_model(proto))
    x = random(np.random.default_rng(3), 17, 2, 9)
    assert (plan.input_shape, plan.output_shape) == ((2, 9), (3, 7))
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=2)
    weight = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    assert_close(plan(x), np.einsum("ncpr,kcr->nkp", windows, weight).astype(np.float32))


def test_classes_of_outputs_with_more_axes() -> None:
    plan = Plan(cnn_onnx.from_model(reshaping((4,), (1, 4))), outputs="logits")
    classes, probabilities = plan.classify(np.eye(4, dtype=np.float32) * 50)
    assert classes.tolist() == [0, 1, 2, 3] and probabilities.tolist() == [1] * 4
    assert plan.classify([0.0, 0, 50, 0])[0] == 2


def test_a_new_output_has_a_shape_of_its_own() -> None:
    graph = cnn_onnx.from_model(reshaping((4, 4), (4, 4)))
    assert (graph.output_shape, graph.shapes[graph.output]) == ((4, 4), (4, 1, 4))
    graph.add("reshape", graph.output, shape=(16,))
    assert (graph.input_shape, graph.output_shape) == ((4, 4), (16,))
    graph.output = graph.input
    assert graph.output_shape == (4, 1, 4)
    with pytest.raises(ValueError, match=r"\(4, 5\) has not as many numbers as \(4, 1, 4\)"):
        graph.outer_shapes((4, 5), (4, 4))


def test_header_of_the_c_file(tmp_path: Path) -> None:
    for shape, said in {(4, 5): "from 4 x 5 to 20 numbers", (): "from 1 to 1 numbers"}.items():
        to = (20,) if shape else ()
        graph = cnn_onnx.from_model(reshaping(shape, to))
        write_c(graph, tmp_path / "net.c", outputs="logits")
        header = (tmp_path / "net.h").read_text()
        assert said in header and "net_classify" in header
    graph = Graph((2, 3, 4))
    graph.outer_shapes((24,), (2, 3, 4))
    write_c(graph, tmp_path / "net.c")
    assert "HEIGHT" not in (tmp_path / "net.h").read_text()


def test_the_backend_gives_own_shapes() -> None:
    from cnn_ext.onnx.backend import Backend

    x = random(np.random.default_rng(4), 3, 4, 4)
    (y,) = Backend.run_model(reshaping((4, 4), (2, 8)), [x])
    assert y.shape == (3, 2, 8)
