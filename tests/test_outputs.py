"""What the outputs of a network mean: the same for all who ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from task_cases import (
    BINARY,
    NUMBERS,
    X,
    net,
    trained,
)

import cnn_ext
from cnn_ext import (
    SGD,
    Flatten,
    Linear,
    Sequential,
    Sigmoid,
    Softmax,
    Trainer,
    datasets,
)
from cnn_ext.c.source import write_c
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of
from cnn_ext.run.plan import Plan
from cnn_ext.task import meaning_of

ENDS = [
    ("cross_entropy", (), NUMBERS), ("binary_cross_entropy", (), NUMBERS),
    ("binary_cross_entropy", (), BINARY), ("quadratic", (Sigmoid(),), NUMBERS),
    ("quadratic", (Softmax(),), NUMBERS), ("quadratic", (Sigmoid(),), BINARY),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "last", "y"), ENDS)
def test_all_who_answer_agree(loss: str, last: Any, y: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the package onnx is missing")
    outputs = 1 if y is BINARY else 3
    trainer = trained(loss, net(outputs, *last), y)
    z = trainer.outputs(X).astype(np.float64)
    if last:
        p = z
    elif loss == "cross_entropy":
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    else:
        p = 1 / (1 + np.exp(-z))
    assert_allclose(trainer.predict_proba(X), p, rtol=1e-5)
    classes = (p[:, 0] > 0.5).astype(int) if outputs == 1 else p.argmax(1)
    sure = np.where(classes == 1, p[:, 0], 1 - p[:, 0]) if outputs == 1 else p.max(1)
    assert_array_equal(trainer.predict(X), classes)
    cnn_ext.save(trainer.net, tmp_path / "net")
    cnn_ext.onnx.export(trainer.net, tmp_path / "net.onnx")
    for plan in (
        trainer.net.compile(),
        cnn_ext.load(tmp_path / "net").compile(),
        Plan(cnn_ext.onnx.load(tmp_path / "net.onnx")),
    ):
        predicted, certain = plan.classify(X)
        assert_array_equal(predicted, classes)
        assert_allclose(certain, sure, rtol=1e-4)
        assert plan.classify(X[0]) == (classes[0], pytest.approx(sure[0], rel=1e-4))
        assert plan.task == trainer.task
    write_c(graph_of(trainer.net, (4,)), tmp_path / "net.c")
    assert "net_classify" in (tmp_path / "net.h").read_text()


def plan_of(*ops_: tuple[str, dict[str, Any]], features: int = 3) -> Any:
    graph = Graph((features,))
    for op, attributes in ops_:
        graph.add(op, graph.output, **attributes)
    return graph


Z = np.array([[-9.0, 9.0, -9.0], [1, 2, 3]], np.float32)
CLIP = ("clip", {"low": 1e-7, "high": 1.0})
SHAPE = ("reshape", {"shape": (3, 1, 1)})


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ([("sigmoid", {})], "probabilities"),
        ([("softmax", {}), CLIP], "probabilities"),
        ([("sigmoid", {}), CLIP, CLIP], "probabilities"),
        ([SHAPE, ("softmax", {}), ("reshape", {"shape": (3,)})], "probabilities"),
        ([("log_softmax", {})], "log_probabilities"),
    ],
)
def test_the_last_operators_say_what_outputs_are(nodes: Any, outputs: str) -> None:
    graph = plan_of(*nodes)
    assert meaning_of(graph).outputs == outputs
    raw = Plan(graph)(Z)
    p = np.exp(raw) if outputs == "log_probabilities" else raw
    classes, certain = Plan(graph).classify(Z)
    assert_array_equal(classes, [1, 2])
    assert_allclose(certain, p.max(1), rtol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        [], [("tanh", {})], [("softmax", {}), ("clip", {"low": 0.1, "high": 1.0})],
        [("softmax", {}), ("tanh", {})],
        [("log_softmax", {}), ("clip", {"low": -5.0, "high": 1.0})],
        [("reshape", {"shape": (1, 1, 3)}), ("softmax", {}), ("reshape", {"shape": (3,)})],
    ],
)  # fmt: skip
def test_where_it_cannot_be_known_it_is_asked(nodes: Any, tmp_path: Path) -> None:
    graph = plan_of(*nodes)
    raw = Plan(graph)(Z).astype(np.float64)
    with pytest.raises(
        ValueError, match="outputs: the network gives no probabilities, or does not"
    ):
        Plan(graph).classify(Z)
    write_c(graph, tmp_path / "net.c")
    assert "classify" not in (tmp_path / "net.h").read_text()
    softmax = np.exp(raw - raw.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    for outputs, p in (
        ("logits", softmax), ("sigmoid", 1 / (1 + np.exp(-raw))), ("probabilities", raw),
        ("log_probabilities", np.exp(raw)),
    ):  # fmt: skip
        classes, certain = Plan(graph, outputs=outputs).classify(Z)
        assert_array_equal(classes, raw.argmax(1))
        assert_allclose(certain, p.max(1), rtol=1e-5)
    with pytest.raises(ValueError, match="outputs: the network gives no probabilities"):
        Plan(graph, outputs="numbers").classify(Z)
    with pytest.raises(ValueError, match="outputs: expected one of logits, sigmoid"):
        Plan(graph, outputs="softmax")


def test_the_sigmoid_network_of_the_quadratic_cost_is_sure() -> None:
    digits = datasets.digits()
    rng = np.random.default_rng(0)
    network = Sequential(
        Flatten(), Linear(64, 30, rng=rng), Sigmoid(), Linear(30, 10, rng=rng), Sigmoid()
    )
    trainer = Trainer(network, "quadratic", SGD(network.parameters(), 3.0))
    trainer.fit(digits.x_train, digits.y_train, 15, 10, progress=False)
    classes, p = network.compile().classify(digits.x_test)
    assert (classes == digits.y_test).mean() > 0.9
    assert np.median(p) > 0.9  # a softmax over sigmoids never exceeds e / (e + 9) = 0.232
