"""The page's interpreter gives what plans give, for every operator, layer and architecture."""

from __future__ import annotations

import math
import re
from typing import Any

import graph_reference
import numpy as np
import pytest
from c_files import every_operator, graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modern_layers import MODERN, Modern
from networks import normalised, pooled
from numpy.testing import assert_allclose
from operator_cases import CASES, NEVER_INFERRED, OperatorCase

from cnn_ext import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    Module,
    Plan,
    PReLU,
    Sequential,
    Task,
    Upsample,
    ZeroPad2d,
    architectures,
)
from cnn_ext.graph import OPERATORS, Graph
from cnn_ext.report.network import UNKNOWN, CannotShow, Memory, described, steps, traced

pytest.importorskip("py_mini_racer", reason="no JavaScript engine (mini-racer)")
from report_engine import FOLDER, Engine

ENGINE = Engine()
slowly = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_as_planned(net: Module, shape: tuple[int, ...], seed: int = 0) -> None:
    graph, x = traced(net.eval(), shape), image(shape, seed)
    planned = net.compile(shape)(x)
    found = ENGINE.values(graph, x)[graph.output].reshape(planned.shape)
    assert_allclose(found, planned, rtol=1e-5, atol=1e-5 * max(1, abs(planned).max()))


def test_the_page_knows_every_operator_but_those_of_training() -> None:
    known = set(ENGINE.ask("Object.keys(OPERATORS)"))
    assert known == OPERATORS.keys() - UNKNOWN
    assert UNKNOWN == NEVER_INFERRED


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_operator_is_its_formula(case: OperatorCase) -> None:
    for shape in case.shapes:
        graph = Graph(shape)
        names = [graph.input]
        if case.inputs == 2:
            whole = np.arange(math.prod(shape)).reshape(shape)
            part = whole[tuple(slice(size) for size in case.second_shape(shape))]
            names.append(graph.add("gather", graph.input, index=part))
        output = case.add(graph, *names)
        x = case.draw(shape, 0).astype(np.float32)
        true = graph_reference.run_one(graph, x)[output]
        assert_allclose(ENGINE.values(graph, x)[output], true, rtol=1e-6, atol=1e-6)


def test_a_graph_of_every_operator() -> None:
    graph = every_operator()
    x = image(graph.input_shape)
    found = ENGINE.values(graph, x)
    for name, true in graph_reference.run_one(graph, x).items():
        assert_allclose(found[name], true, rtol=1e-5, atol=1e-5, err_msg=name)


@slowly
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_any_graph(graph: Graph, seed: int) -> None:
    x = image(graph.input_shape, seed)
    with np.errstate(invalid="ignore"):  # a window of gaps may see no pixel: minus infinity
        true = graph_reference.run_one(graph, x)[graph.output]
    scale = max(1.0, abs(true[np.isfinite(true)]).max(initial=0.0))
    assert_allclose(ENGINE.values(graph, x)[graph.output], true, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("modern", MODERN, ids=lambda modern: modern.name)
def test_every_layer_is_as_planned(modern: Modern) -> None:
    net = modern.build()
    if "track_running_stats=False" in repr(net):  # takes the statistics of a batch
        with pytest.raises(CannotShow, match=r"node 0 \(batch_norm"):
            traced(net.eval(), modern.shape)
    else:
        assert_as_planned(net, modern.shape)


@slowly
@given(data=st.data())
def test_any_options_of_layers(data: Any) -> None:
    def draw(*values: Any) -> Any:
        return data.draw(st.sampled_from(values))

    groups, rng = draw(1, 2), np.random.default_rng(data.draw(st.integers(0, 99)))
    kernel = draw(1, 2, 3), draw(1, 2, 3)
    first: list[Module] = [
        Conv2d(
            4, 6, kernel, 1, draw("same", "full", "valid"), draw(1, 2), groups, draw(True, False)
        ),
        Conv2d(4, 6, kernel, draw(1, 2, (2, 1)), (1, 0, 2, 1), draw(1, (1, 2)), groups),
        ConvTranspose2d(4, 6, kernel, draw(1, 2, 3), draw(0, 1), 0, groups, draw(True, False), 2),
    ]
    second: list[Module] = [
        GroupNorm(draw(1, 2, 3, 6), 6, affine=draw(True, False)), LayerNorm(6),
        PReLU(draw(1, 6)), ZeroPad2d(draw(1, (0, 1, 2, 3))),
        Upsample(draw((5, 7), 9), mode="nearest"),
        Upsample(scale_factor=draw(2, 1.5), mode="bilinear", align_corners=draw(True, False)),
    ]  # fmt: skip
    net = Sequential(data.draw(st.sampled_from(first)), data.draw(st.sampled_from(second)))
    for parameter in net.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    assert_as_planned(net, (4, 7, 6), data.draw(st.integers(0, 99)))


# airbench_slim with more channels, which this engine needs seconds to read
WIDE = ("airbench", "airbench_wide")


@pytest.mark.parametrize("name", sorted({*architectures.ARCHITECTURES} - {*WIDE}))
def test_every_architecture(name: str) -> None:
    shape = {"tiny": (1, 8, 8), "mobilenet_025": (3, 64, 64), "dscnn": (1, 49, 10)}.get(
        name, (1, 28, 28) if name in ("lenet5", "nielsen", "quick") else (3, 32, 32)
    )
    rng = np.random.default_rng(0)
    net = architectures.build(name, shape, 10, rng=rng)
    assert_as_planned(net, shape)


def test_all_values_of_a_network() -> None:
    for net, shape in ((normalised().eval(), (3, 8, 8)), (pooled(), (2, 6, 6))):
        graph, x = traced(net, shape), image(shape)
        outputs = Sequential(*net.walk()).activations(x[None].astype(np.float64))
        found = ENGINE.values(graph, x)
        by_name = {step.place: step.value for step in steps(graph)}
        for i, (layer, y) in enumerate(zip(net.walk(), outputs, strict=True)):
            if str(i) in by_name:
                assert_allclose(found[by_name[str(i)]], y[0], rtol=1e-4, atol=1e-5)
            else:  # a layer of several operators is shown by these
                assert isinstance(layer, Flatten) or list(layer.named_children())


def test_steps_are_layers_and_the_operators_of_composed_ones() -> None:
    found = steps(traced(normalised().eval(), (3, 8, 8)))
    assert [(step.place, step.name) for step in found] == [
        ("0", "Conv2d"), ("1", "BatchNorm2d"), ("2", "ReLU"), ("3", "MaxPool2d"),
        *(("4 Residual", name) for name in ("conv2d", "batch_norm", "add")),
        ("5", "ReLU"), ("7", "Linear"),
    ]  # fmt: skip


def test_clips_that_plans_fuse_and_outer_shapes() -> None:
    net = Sequential(Conv2d(2, 3, 3), Flatten(), Linear(48, 4))
    plan = Plan(traced(net.eval(), (2, 6, 6)))
    graph = Graph((2, 6, 6))
    for node in plan.graph.nodes:
        attributes = {**node.attributes, "clip": (0.0, 0.25)} if node.op == "conv2d" else (
            node.attributes
        )  # fmt: skip
        graph.add(node.op, *node.inputs, weights=node.weights, **attributes)
    x = image((2, 6, 6))
    true = Plan(graph)(x)
    assert_allclose(ENGINE.values(graph, x)[graph.output], true, rtol=1e-5, atol=1e-6)


def test_probabilities_are_those_of_tasks() -> None:
    y = np.array([[1.5, -0.5, 3.0]], np.float32)
    for kind in ("logits", "sigmoid", "log_probabilities", "probabilities"):
        found = ENGINE.ask("probabilities(y, kind)", y=y[0].tolist(), kind=kind)
        assert_allclose(found, Task("classes", kind).probabilities(y)[0], rtol=1e-6)
    for kind in ("logits", "sigmoid"):
        p = 1 / (1 + math.exp(-1.5))
        assert_allclose(ENGINE.ask("probabilities([1.5], kind)", kind=kind), [1 - p, p])
    for none in (None, "numbers"):
        assert ENGINE.ask("probabilities([1, 2], kind)", kind=none) is None


def test_an_unknown_operator_is_named_in_the_page() -> None:
    graph = Graph((2, 3, 3))
    graph.add("tanh", graph.input)
    network = described(graph, Memory())
    network["nodes"][0]["op"] = "toString"
    error = ENGINE.ask(
        "(() => { try { return assemble(network, new ArrayBuffer(8)); }"
        " catch (e) { return e.message; } })()",
        network=network,
    )
    assert error == "this page does not know the operator toString"


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_ext.report.network.LARGEST", 1000)
    graph = traced(Sequential(Flatten(), Linear(100, 3)).eval(), (1, 10, 10))
    with pytest.raises(CannotShow, match="more than 1,000 bytes"):
        described(graph, Memory())


def test_the_programs_fetch_nothing() -> None:
    for path in FOLDER.glob("*.[jc]s*"):
        text = path.read_text("utf-8")
        assert not re.search(r"https?:|fetch\(|XMLHttp|import |url\(|@import|eval\(", text), path
