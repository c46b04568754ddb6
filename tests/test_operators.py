"""Every operator of the table: the naive truth, gradients, plans bit for bit, C.

What else is to hold for every operator, such as the way to ONNX and back, is one more function over
`everywhere`, with the graphs of `two_graphs`.
"""

from __future__ import annotations

import importlib
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from c_files import compiled, needs_compiler, predict
from gradcheck import check_gradient
from numpy.testing import assert_allclose
from operator_cases import (
    CASES,
    IMAGE,
    LANES,
    NEVER_INFERRED,
    ROUNDING,
    OperatorCase,
    at_the_input,
    operands,
)
from test_plan_graphs import assert_same_bits

from cnn_ext.c import write_c
from cnn_ext.graph import OPERATORS, Graph
from cnn_ext.graph.rewrite import frozen, lowered, simplify
from cnn_ext.lanes import Lanes
from cnn_ext.operators.__main__ import table
from cnn_ext.parameter import Parameter
from cnn_ext.run.by_batch import ByBatch
from cnn_ext.run.plan import Plan

BATCHES = (1, 5, 16, 37)
FLOAT64 = np.dtype(np.float64)
WHERE = [(case, shape) for case in CASES for shape in case.shapes]
IDS = [f"{case}-{len(shape)}-{number}" for number, (case, shape) in enumerate(WHERE)]
everywhere = pytest.mark.parametrize(("case", "shape"), WHERE, ids=IDS)


def test_every_operator_has_a_case_and_a_truth() -> None:
    cases = {case.op for case in CASES}
    assert cases == set(OPERATORS) - NEVER_INFERRED - ROUNDING
    assert cases == set(graph_reference.OPERATORS)


def test_the_table_in_the_documentation_is_up_to_date() -> None:
    file = Path(__file__).parents[1] / "docs/operators.md"
    if not file.exists():
        pytest.skip("no documentation beside the tests")
    text = file.read_text(encoding="utf-8")
    assert text == table(), "python -m cnn_ext.operators > docs/operators.md"


def test_the_example_of_every_operator_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parents[1] / "benchmarks"
    if not folder.exists():
        pytest.skip("no benchmarks beside the tests")
    monkeypatch.syspath_prepend(folder)
    benchmark = importlib.import_module("operators")
    for name in OPERATORS.keys() - benchmark.OWN:
        (node,) = benchmark.graph_of(name).nodes
        assert node.op == name


# ------------------------------------------------------------------------------ forward, backward


def alone(case: OperatorCase, shape: Any) -> tuple[Graph, list[np.ndarray]]:
    """The operator by itself, in float64, and three images for each of its inputs."""
    graph = Graph(shape, dtype=FLOAT64)
    names, shapes = [graph.input], [shape]
    if case.inputs == 2:
        shapes.append(case.second_shape(shape))
        names.append(graph.add_input(shapes[1]))
    case.add(graph, *names, learned=True)
    return graph, [case.draw((3, *s), seed) for seed, s in enumerate(shapes)]


def forward(graph: Graph, inputs: list[np.ndarray], back: bool = False) -> tuple[ByBatch, Any]:
    run = ByBatch(graph, back)
    (y,) = run.forward([Lanes.pack(x, graph.dtype) for x in inputs])
    return run, np.array(y.unpack())


@everywhere
def test_the_truth(case: OperatorCase, shape: Any) -> None:
    graph, inputs = alone(case, shape)
    (node,) = graph.nodes
    weights: Any = {key: node.weight(key) for key in node.weights}
    formula = graph_reference.OPERATORS[case.op]
    expected = [formula(node, weights, *images) for images in zip(*inputs, strict=True)]
    assert_allclose(forward(graph, inputs)[1], expected, rtol=1e-12, atol=1e-12)


@everywhere
def test_gradients(case: OperatorCase, shape: Any) -> None:
    graph, inputs = alone(case, shape)
    (node,) = graph.nodes
    run, y = forward(graph, inputs, back=True)
    rng = np.random.default_rng(0)
    factors = rng.standard_normal(y.shape)
    gradients = run.backward([Lanes.pack(factors)], need_dx=True)

    def cost() -> float:
        return float((forward(graph, inputs)[1] * factors).sum())

    known = {id(parameter): gradient for parameter, gradient, _ in run.gradients.values()}
    kept = [weight for weight in node.weights.values() if isinstance(weight, Parameter)]
    parameters = [weight.data for weight in kept]
    learned = [known[id(weight)] for weight in kept]
    arrays = [*zip(inputs, (g.unpack() for g in gradients if g is not None), strict=True),
              *zip(parameters, learned, strict=True)]  # fmt: skip
    for array, gradient in arrays:
        here = array.copy()

        def cost_of(value: np.ndarray, array: np.ndarray = array) -> float:
            array[...] = value
            return cost()

        assert check_gradient(cost_of, here, gradient, rng, max_entries=30) < 1e-6
        array[...] = here


# --------------------------------------------------------------------------------- plans and C


def padded(case: OperatorCase, graph: Graph, name: str, seed: int) -> str:
    """A convolution that wants a border around its input; it leaves positive numbers positive."""
    C = graph.shapes[name][0]
    weight = np.random.default_rng(seed).standard_normal((LANES + 1, C, 3, 2))
    if case.low >= 0:
        weight = np.abs(weight)
    weight /= np.abs(weight).sum(axis=(1, 2, 3), keepdims=True)
    return graph.add("conv2d", name, weights={"weight": weight}, padding=(1, 1, 1, 0))


def between_convolutions(case: OperatorCase, shape: Any) -> Graph:
    """Values with borders: before the operator, and, if it makes an image, behind it."""
    graph = Graph((2, *shape[1:]) if len(shape) == 3 else (2, 3, 4))
    first = padded(case, graph, graph.input, 0)
    ends = [padded(case, graph, first, 1)]
    x = first
    if len(shape) == 1:
        x = graph.add("reshape", first, shape=(math.prod(graph.shapes[first]),))
    elif len(shape) == 2:
        C, *pixels = graph.shapes[first]
        x = graph.add("reshape", first, shape=(C, math.prod(pixels)))
    y = case.add(graph, *operands(case, graph, x))
    ends.append(padded(case, graph, y, 2) if len(graph.shapes[y]) == 3 else y)
    sizes = [math.prod(graph.shapes[name]) for name in ends]
    graph.add("gather", *ends, index=np.arange(sum(sizes)))
    return graph


def two_graphs(case: OperatorCase, shape: Any) -> list[tuple[Graph, np.ndarray]]:
    graphs = [at_the_input(case, shape), between_convolutions(case, shape)]
    return [(graph, case.draw((37, *graph.input_shape), 0).astype("f4")) for graph in graphs]


@everywhere
def test_plans(case: OperatorCase, shape: Any) -> None:
    for graph, images in two_graphs(case, shape):
        _, expected = forward(lowered(simplify(frozen(graph))), [images])
        net = forward(graph, [images])[1]
        assert np.abs(net - expected).max() <= 1e-5 * max(1.0, np.abs(net).max())
        truth = graph_reference.run(graph, images[:2])
        assert np.abs(expected[:2] - truth).max() <= 1e-5 * max(1.0, np.abs(truth).max())
        plan = Plan(graph)
        for count in BATCHES:
            assert_same_bits(plan(images[:count]), expected[:count])
        assert_same_bits(plan(images[0]), expected[0])


def test_what_is_never_inferred_is_refused_by_name(tmp_path: Path) -> None:
    attributes = {"dropout": {"p": 0.5, "draws": None}, "opaque": {"layer": None, "shape": (4,)}}
    assert attributes.keys() == NEVER_INFERRED
    for op in attributes:
        graph = Graph((4,))
        graph.add(op, "x", **attributes[op])
        with pytest.raises(ValueError, match=f"{op} has no kernels for one image"):
            Plan(graph)
        with pytest.raises(ValueError, match=f"{op} has no C text"):
            write_c(graph, tmp_path / "net.c")


@needs_compiler
@everywhere
def test_c(case: OperatorCase, shape: Any, tmp_path: Path) -> None:
    for graph, images in two_graphs(case, shape):
        library = compiled(graph, tmp_path)
        expected = Plan(graph, 1)(images[0])
        scale = max(1.0, np.abs(expected).max())
        actual = predict(library, graph, images[0])
        assert np.abs(actual - expected).max() <= 1e-5 * scale


MIXING = {"softmax", "log_softmax", "gather", "group_norm"}
NUMBER_BY_NUMBER = [
    case for case in CASES if len(case.shapes) == 2 and not case.small and case.op not in MIXING
]
EDGES = np.array([0, -0.0, 1, -1, 3, -3, 20, -20, 87, -87, 100, -100, 1e4, -1e4, 1e20, -1e20,
                  3e38, -3e38, np.inf, -np.inf, np.nan], np.float32)  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("case", NUMBER_BY_NUMBER, ids=str)
def test_c_of_large_numbers(case: OperatorCase, tmp_path: Path) -> None:
    graph = at_the_input(case, EDGES.shape)
    with np.errstate(all="ignore"):
        expected = Plan(graph, 1)(EDGES)
    actual = predict(compiled(graph, tmp_path), graph, EDGES)
    assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_c_is_also_cpp(tmp_path: Path) -> None:
    graph = Graph(IMAGE)
    ends = []
    for case in CASES:
        if IMAGE in case.shapes:
            ends.append(case.add(graph, *operands(case, graph, graph.input)))
    graph.add("gather", *ends, index=np.arange(len(ends)))
    write_c(graph, tmp_path / "net.c")
    flags = ("-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c")
    command = ["c++", *flags, "net.c", "-o", "net.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------ clips

CLIPPED: dict[str, dict[str, Any]] = {
    "conv2d": {"weights": {"weight": np.random.default_rng(5).normal(size=(3, 2, 3, 3))}},
    "linear": {"weights": {"weight": np.random.default_rng(5).normal(size=(3, 2))}},
    "add": {"weights": {"constant": np.random.default_rng(5).normal(size=(2, 1, 1))}},
    "add, of two": {},
    "batch_norm": {"weights": {"mean": np.ones(2) / 4, "var": np.ones(2)}},
}


def behind(graph: Graph, y: str, bounds: tuple[float, float], within: bool) -> None:
    """Add a sum with a constant, and what a clip makes of it."""
    constant = np.array([0.5, -0.25])[:, None, None]
    options: Any = {"clip": bounds} if within else {}
    y = graph.add("add", y, weights={"constant": constant}, **options)
    if not within:
        graph.add("clip", y, low=bounds[0], high=bounds[1])


@pytest.mark.parametrize("first", [False, True])
def test_constants_do_not_go_through_clips(first: bool) -> None:
    weight = np.random.default_rng(5).normal(size=(2, 2, 1, 1))
    graphs = [Graph((2, 5, 4)), Graph((2, 5, 4))]
    for within, graph in enumerate(graphs):
        options: Any = {"clip": (-0.5, 1.0)} if within and first else {}
        y = graph.add("conv2d", graph.input, weights={"weight": weight}, **options)
        if first and not within:
            y = graph.add("clip", y, low=-0.5, high=1.0)
        behind(graph, y, (-0.25, 1.25), bool(within))
    images = np.random.default_rng(6).normal(size=(19, 2, 5, 4)).astype("f4")
    plain, fused = (Plan(graph)(images) for graph in graphs)
    assert_allclose(fused, plain, atol=1e-6)
    (expected,) = ByBatch(graphs[0]).forward([Lanes.pack(images)])
    assert_allclose(plain, expected.unpack(), atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("name", CLIPPED)
def test_a_clip_within_is_the_clip_behind(name: str, tmp_path: Path) -> None:
    bounds = (-0.25, 0.5)
    op = name.partition(",")[0]

    def graph(within: bool) -> Graph:
        made = Graph((2,) if op == "linear" else (2, 5, 4))
        inputs = [made.input, made.add("sigmoid", made.input)] if "two" in name else [made.input]
        options: Any = {"clip": bounds} if within else {}
        y = made.add(op, *inputs, **CLIPPED[name], **options)
        if not within:
            made.add("clip", y, low=bounds[0], high=bounds[1])
        return made

    one, other = graph(True), graph(False)
    images = np.random.default_rng(6).normal(size=(19, *one.input_shape)).astype("f4")
    (expected,) = ByBatch(other).forward([Lanes.pack(images)])
    y = expected.unpack()
    assert (y == bounds[0]).any() and (y == bounds[1]).any()
    (found,) = ByBatch(one).forward([Lanes.pack(images)])
    assert_allclose(found.unpack(), y, atol=1e-6)
    assert_allclose(Plan(one)(images), y, atol=1e-6)
    assert_allclose([Plan(one)(image) for image in images], y, atol=1e-6)
    library = compiled(one, tmp_path)
    assert_allclose([predict(library, one, image) for image in images], y, atol=1e-6)
    if op != "batch_norm":  # whose gradient knows the clip
        with pytest.raises(ValueError, match="a clip in training"):
            ByBatch(one, back=True).forward([Lanes.pack(images)])
