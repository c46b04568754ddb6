"""The backend for the package `onnx`, by that package's own tests of single operators."""

from __future__ import annotations

import re
import warnings
from typing import Any

import graph_reference
import numpy as np
import pytest

from cnn_ext.onnx.operators import OPERATORS

onnx = pytest.importorskip("onnx")

# What no graph can do, by the names of the tests: (pattern, reason, what the message says).
FLOAT32 = r"expected an array of float32|stay float32|tensors of type \d+ are not"
NOT_POSSIBLE = [
    (r"_cast(like)?_", "from or to another type than float32", FLOAT32),
    (r"_u?int(8|16|32|64)(_|$)", "whole numbers", FLOAT32),
    (r"_(edge|reflect|wrap)_pad$", "whole numbers", FLOAT32),
    (r"_identity_(sequence|opt)$", "no array", FLOAT32),
    (r"pool_3d_", "windows of three axes", r"window of 3 axes"),
    (r"_training_|_training_mode$", "training", r"training|one output, got"),
    (r"_mask(_ratio)?$|_with_argmax_|_with_state_", "two outputs", r"one output, got .* 2$"),
    (r"_test_shape(_|$)", "nothing is computed from the input", r"does not depend on the input"),
    (r"_slice_start_out_of_bounds$", "an empty array", r"nothing is left"),
    (r"_reshape_allowzero_reordered$", "an empty array", r"cannot become"),
]


def impossible(name: str) -> tuple[str, str] | None:
    """The pattern that says why a test cannot pass, and the message."""
    for pattern, _, message in NOT_POSSIBLE:
        if re.search(pattern, f"_{name}"):
            return pattern, message
    return None


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
        if operators & set(OPERATORS) and operators <= {*OPERATORS, "Constant"}:
            chosen.append(case)
    return chosen


@pytest.fixture(params=["plan", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from cnn_ext.onnx.backend import Backend

    if request.param == "reference":
        monkeypatch.setattr(Backend, "executor", staticmethod(graph_reference.run))
    return Backend


def run(backend: Any, case: Any) -> None:
    for inputs, outputs in case.data_sets:
        arrays = [
            onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in inputs
        ]
        (y,) = backend.run_model(case.model, arrays)
        (expected,) = outputs
        assert y.dtype == expected.dtype and y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=case.rtol, atol=case.atol)


def test_node_tests_pass(backend: Any, cases: list[Any]) -> None:
    failed = {}
    chosen = [case for case in cases if not impossible(case.name)]
    for case in chosen:
        try:
            run(backend, case)
        except Exception as error:
            failed[case.name] = error
    assert not failed
    assert len(chosen) >= 182


def test_node_tests_that_cannot_pass_are_refused(backend: Any, cases: list[Any]) -> None:
    seen = set()
    for case in cases:
        why = impossible(case.name)
        if why:
            seen.add(why[0])
            with pytest.raises((TypeError, ValueError), match=why[1]):
                run(backend, case)
    assert seen == {pattern for pattern, _, _ in NOT_POSSIBLE}


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
