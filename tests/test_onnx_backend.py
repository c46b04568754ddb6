"""The backend for the package `onnx`, by that package's own tests of single operators."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from onnx_cases import by_lanes

from cnn_ext.graph import Graph
from cnn_ext.onnx.operators import READERS
from cnn_ext.run.plan import Plan

onnx = pytest.importorskip("onnx")

# What no graph can do: what the message says, and the reason as docs/onnx.md has it.
NOT_POSSIBLE = {
    r"expected an array of float32|outputs stay float32|other than constants stay float32"
    r"|tensors of type \d+ are not": "values of other types than float32",
    r"window of 3 axes|a weight of \(\d+(, \d+){4}\)": "windows of three axes",
    r"training|form for inference|only its first output": "training, or a second output",
    r"its inputs should be constants|input 0 is not a constant|a constant cannot be joined":
        "comparisons, roundings and joins of values that are known only when the model runs",
    r"nothing is left|cannot become|of one known size|do not make up": "an empty array",
    r"axis 0 counts images": "images are mixed",
    r"Resize \(": "a way to resize that is not supported",
}  # fmt: skip


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    """All tests of models that have no other operators than those that are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they compute NaN on purpose
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    chosen = []
    for case in found:
        operators = {node.op_type for node in case.model.graph.node}
        if operators & set(READERS) and operators <= {*READERS, "Constant"}:
            chosen.append(case)
    return chosen


def planned(graph: Graph, images: np.ndarray) -> np.ndarray:
    return Plan(graph, max(len(images), 1))(images)


@pytest.fixture(params=["plan", "lanes"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from cnn_ext.onnx.backend import Backend

    executor = planned if request.param == "plan" else by_lanes
    monkeypatch.setattr(Backend, "executor", staticmethod(executor))
    return Backend


def run(backend: Any, case: Any) -> None:
    for inputs, outputs in case.data_sets:
        arrays = [
            onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in inputs
        ]
        results = backend.run_model(case.model, arrays)
        for y, expected in zip(results, outputs, strict=True):
            assert y.dtype == expected.dtype and y.shape == expected.shape
            np.testing.assert_allclose(y, expected, rtol=case.rtol, atol=case.atol)


def test_node_tests_pass_or_are_refused_for_a_reason(backend: Any, cases: list[Any]) -> None:
    failed, passed = {}, 0
    seen = dict.fromkeys(NOT_POSSIBLE, 0)
    for case in cases:
        try:
            run(backend, case)
            passed += 1
        except (TypeError, ValueError) as error:
            reason = next((p for p in NOT_POSSIBLE if re.search(p, str(error))), None)
            if reason is None:
                failed[case.name] = error
            else:
                seen[reason] += 1
    assert not failed
    assert passed >= 498 and all(seen.values()), (passed, seen)


def test_weights_as_inputs_and_initialisers(backend: Any) -> None:
    text = "g (float[N, 3] x, float[3, 2] w) => (float[N, 2] y) { y = MatMul (x, w) }"
    model = onnx.helper.make_model(onnx.parser.parse_graph(text))
    x, w = np.ones((4, 3), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    prepared = backend.prepare(model)
    np.testing.assert_allclose(prepared.run([x, w])[0], x @ w)
    np.testing.assert_allclose(prepared.run([x, 2 * w])[0], 2 * x @ w)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    np.testing.assert_allclose(backend.run_model(model, x)[0], x @ w)


def test_wrong_arguments(backend: Any) -> None:
    text = "g (float[N, 3] x) => (float[N, 3] y) { y = Tanh (x) }"
    model = onnx.helper.make_model(onnx.parser.parse_graph(text))
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:0")
    with pytest.raises(ValueError, match="device: expected CPU, got 'CUDA'"):
        backend.prepare(model, "CUDA")
    prepared = backend.prepare(model)
    x = np.ones((2, 3), np.float32)
    with pytest.raises(TypeError, match="inputs: expected an array of float32 first, got float64"):
        prepared.run([x.astype(np.float64)])
    with pytest.raises(ValueError, match="inputs: expected 1, got 2"):
        prepared.run([x, x])
    with pytest.raises(ValueError, match=r"inputs: expected 2 axes, got \(3,\)"):
        prepared.run([x[0]])
