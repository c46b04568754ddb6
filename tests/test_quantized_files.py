"""Networks of bytes as files: ONNX, theirs and ours, and C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from byte_networks import NETS, network
from c_files import compiled, needs_compiler, predict
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import quantize
from cnn_ext.layers import graph_of


@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_agrees_within_a_step_of_the_last_grid(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net, x = network(name)
    small = quantize(net, x)
    cnn_ext.onnx.export(small, tmp_path / "small.onnx")
    session = runtime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"input": x})[0]
    plan = small.compile()
    last = [node.weights for node in plan.graph.nodes if "weight_scale" in node.weights][-1]
    step = 255 * last["weight_scale"].max() * np.abs(theirs).max()  # of a weight, at the most
    assert np.abs(plan(x) - theirs).max() < step
    again = cnn_ext.onnx.load(tmp_path / "small.onnx")
    assert cnn_ext.Plan(again).precision == "int8"
    assert_array_equal(cnn_ext.Plan(again)(x), plan(x))


@pytest.mark.parametrize("name", ["plain", "groups", "residual", "features"])
@pytest.mark.parametrize("signed", [False, True])
def test_files_that_onnx_runtime_quantized(name: str, signed: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    tools = pytest.importorskip("onnxruntime.quantization")
    net, x = network(name)
    cnn_ext.onnx.export(net, tmp_path / "net.onnx")

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.parts = iter([{"input": x[i : i + 1]} for i in range(len(x))])

        def get_next(self) -> object:
            return next(self.parts, None)

    kind = tools.QuantType.QInt8 if signed else tools.QuantType.QUInt8
    tools.quantize_static(
        tmp_path / "net.onnx", tmp_path / "small.onnx", Reader(),
        quant_format=tools.QuantFormat.QDQ, per_channel=not signed, activation_type=kind,
        weight_type=tools.QuantType.QInt8,
    )  # fmt: skip
    session = runtime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"input": x})[0]
    plan = cnn_ext.Plan(cnn_ext.onnx.load(tmp_path / "small.onnx"))
    assert plan.precision == "int8"
    last = [n for n in plan.graph.nodes if n.op == "fake_quantize" or n.attributes.get("quantize")]
    scale = last[-1].attributes.get("scale") or last[-1].attributes["quantize"][0]
    # sums of means are rounded once there and twice here: a step, rarely more
    assert np.abs(plan(x) - theirs).max() < 8 * scale
    assert np.median(np.abs(plan(x) - theirs)) < 1.01 * scale


@needs_compiler
@pytest.mark.parametrize("name", NETS)
def test_the_c_file_computes_with_bytes(name: str, tmp_path: Path) -> None:
    net, x = network(name)
    small = quantize(net, x)
    graph = graph_of(small)
    library = compiled(graph, tmp_path)
    answers = np.stack([predict(library, graph, image) for image in x])
    assert_allclose(answers, small.compile()(x), atol=1e-3 * np.abs(answers).max())
    assert "signed char" in next(tmp_path.glob("*.c")).read_text()
