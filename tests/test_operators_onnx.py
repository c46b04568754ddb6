"""Every operator of the graph in an ONNX file: another program computes the same, and so do we."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_cases import by_lanes
from onnx_models import model
from operator_cases import ROUNDING
from test_graph_simplify import assert_close, random
from test_onnx_export import checked, run, session

from cnn_ext import onnx as cnn_onnx
from cnn_ext.graph import OPERATORS, Graph
from cnn_ext.operators.elementwise import Elementwise

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(11)
SHAPE = (4, 5, 6)
IMAGE = {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 0, 1, 1)}

# operator: ways to use it, each (shape of the input, shapes of more inputs by reshape or slice of
# the first, weights, attributes)
CASES: dict[str, list[dict[str, Any]]] = {
    "conv2d": [
        {"weights": {"weight": random(RNG, 6, 2, 3, 2), "bias": random(RNG, 6)},
         "groups": 2, "stride": (2, 1), "padding": (1, 0, 2, 1), "dilation": (1, 2)},
        {"weights": {"weight": random(RNG, 3, 4, 1, 1)}, "clip": (0.0, math.inf)},
    ],
    "conv_transpose2d": [
        {"weights": {"weight": random(RNG, 4, 3, 3, 2), "bias": random(RNG, 6)}, "groups": 2,
         "stride": (2, 3), "padding": (1, 0, 2, 1), "output_padding": (1, 2), "dilation": (1, 2)},
        {"weights": {"weight": random(RNG, 4, 2, 1, 1)}},
    ],
    "batch_norm": [
        {"weights": {key: random(RNG, 4) for key in ("weight", "bias", "mean")}
                    | {"var": random(RNG, 4) ** 2}, "eps": 0.01, "clip": (0.0, math.inf)},
        {"weights": {"mean": random(RNG, 4), "var": random(RNG, 4) ** 2}},
    ],
    "group_norm": [
        {"weights": {key: random(RNG, 4) for key in ("weight", "bias")}, "groups": 2},
        {"groups": 1, "across": True, "eps": 0.1},
    ],
    "linear": [
        {"shape": (7,), "weights": {"weight": random(RNG, 3, 7), "bias": random(RNG, 3)}},
        {"shape": (7,), "weights": {"weight": random(RNG, 3, 7)}, "clip": (-0.5, 0.5)},
    ],
    "max_pool": [IMAGE, {"kernel": (5, 6)}, {"kernel": 2, "stride": 3, "ceil_mode": True}],
    "avg_pool": [IMAGE, {**IMAGE, "count_include_pad": False}, {"kernel": (5, 6)}],
    "clip": [{"low": 0.0}, {"low": -0.5, "high": 0.25}, {"high": 1.0}],
    "leaky_relu": [{}, {"negative_slope": 0.3}],
    "elu": [{}, {"alpha": 0.5}],
    "hardsigmoid": [{}, {"alpha": 0.3, "beta": 0.4}],
    "softplus": [{}, {"beta": 2.0}, {"threshold": 1.0, "only_out": True}],
    "power": [{"exponent": 2.5, "positive": True}, {"exponent": 3.0}],
    "log": [{"positive": True}],
    "sqrt": [{"positive": True}],
    "reciprocal": [{"positive": True}],
    "prelu": [
        {"weights": {"slope": random(RNG, 4)}},
        {"weights": {"slope": random(RNG, 1)}},
        {"shape": (7,), "weights": {"slope": random(RNG, 7)}},
    ],
    "softmax": [{}, {"shape": (7,)}],
    "log_softmax": [{}, {"shape": (7,)}],
    "gather": [
        {"index": RNG.integers(-1, 120, (2, 3, 4)), "fill": 0.5},
        {"index": RNG.integers(0, 120, (7,))},
    ],
    "reshape": [{"shape": SHAPE, "to": (6, 5, 4)}],
    **{
        op: [
            {"weights": {"constant": random(RNG, *shape)}} for shape in ((), (4, 1, 1), SHAPE)
        ] + [{"others": [(1, 5, 6)]}, {"others": [(5, 1)]}]
        for op in ("add", "mul")
    },
    **{op: [{"others": [(1, 5, 6)]}, {"others": [SHAPE]}]
       for op in ("sub", "div", "minimum", "maximum")},
    "pow": [{"others": [SHAPE], "positive": True}],
}  # fmt: skip
CASES["add"] += [
    {"others": [(1, 5, 6)], "clip": (0.0, math.inf)},
    {"weights": {"constant": random(RNG, 4, 1, 1)}, "clip": (-0.5, 0.25)},
]
# of training, and layers on plain arrays, of which no graph for files consists
NOT_WRITTEN = {"dropout", "opaque"} | ROUNDING  # the last: test_quantize.py, test_bfloat16.py


def cases() -> list[Any]:
    found = []
    for op in OPERATORS:
        if op not in NOT_WRITTEN:
            plain: list[dict[str, Any]] = [{}] if isinstance(OPERATORS[op], Elementwise) else []
            for i, case in enumerate(CASES.get(op, plain)):
                found.append(pytest.param(op, case, id=f"{op}-{i}"))
    return found


def test_every_operator_has_a_case() -> None:
    assert {case.values[0] for case in cases()} == OPERATORS.keys() - NOT_WRITTEN


@pytest.mark.parametrize(("op", "case"), cases())
def test_round_trip_of_every_operator(tmp_path: Path, op: str, case: dict[str, Any]) -> None:
    case = dict(case)
    shape, positive = case.pop("shape", SHAPE), case.pop("positive", False)
    only_out = case.pop("only_out", False)
    graph = Graph(shape)
    inputs = [graph.input]
    size = math.prod(shape)
    for other in case.pop("others", []):
        index = (np.arange(math.prod(other)) * 7 % size).reshape(other)
        inputs.append(graph.add("gather", graph.input, index=index))
    if "to" in case:
        case["shape"] = case.pop("to")
    graph.add(op, *inputs, **case)
    path = tmp_path / "graph.onnx"
    cnn_onnx.export(graph, path)
    checked(path)
    x = random(RNG, 3, *shape)
    x = np.abs(x) + 0.1 if positive else x
    expected = by_lanes(graph, x)
    assert_close(run(path, x), expected)
    if only_out:
        with pytest.raises(ValueError, match="Greater"):
            cnn_onnx.load(path)
    else:
        back = cnn_onnx.load(path)
        assert (back.input_shape, back.output_shape) == (graph.input_shape, graph.output_shape)
        assert_close(by_lanes(back, x), expected)
        # what takes more than one node in the file is found again
        apart = op in ("softplus", "batch_norm")
        assert len(back.nodes) <= len(graph.nodes) or apart or "clip" in case


SPELLED = {
    "silu": "s = Sigmoid (x)  y = Mul (s, x)",
    "hardswish": "a = Add (x, three)  b = Clip (a, zero, six)  c = Mul (x, b)  y = Div (c, six)",
    "hardsigmoid": "a = Add (x, three)  b = Clip (a, zero, six)  y = Mul (b, sixth)",
    "hardswish of hardsigmoid": """a = Add (x, three)  b = Clip (a, zero, six)
    c = Mul (b, sixth)  y = Mul (c, x)""",
    "gelu": """a = Div (x, root)  b = Erf (a)  c = Add (b, one)  d = Mul (x, c)
    y = Mul (d, half)""",
    "gelu in another order": """h = Mul (half, x)  a = Mul (x, inverse)  b = Erf (a)
    c = Add (one, b)  y = Mul (c, h)""",
    "gelu_tanh": """a = Pow (x, three)  b = Mul (a, small)  c = Add (x, b)  d = Mul (c, factor)
    e = Tanh (d)  f = Add (e, one)  g = Mul (x, f)  y = Mul (g, half)""",
    "mul, of another value": "a = Tanh (x)  s = Sigmoid (a)  y = Mul (s, x)",
    "mul, of another number": "a = Add (x, one)  b = Clip (a, zero, six)  y = Mul (b, sixth)",
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_functions_that_are_spelled_out(name: str) -> None:
    numbers = {
        "zero": 0.0, "one": 1.0, "three": 3.0, "six": 6.0, "half": 0.5, "sixth": 1 / 6,
        "root": math.sqrt(2), "inverse": math.sqrt(0.5), "small": 0.044715,
        "factor": math.sqrt(2 / math.pi),
    }  # fmt: skip
    text = f"(float[N, 4] x) => (float[N, 4] y) {{ {SPELLED[name]} }}"
    proto = model(text, 17, **{key: np.float32(number) for key, number in numbers.items()})
    graph = cnn_onnx.from_model(proto)
    assert graph.nodes[-1].op == name.split(",")[0].split()[0]
    assert ("," in name) == (len(graph.nodes) > 1)
    x = 3 * random(RNG, 5, 4)
    assert_close(by_lanes(graph, x), session(proto.SerializeToString()).run(None, {"x": x})[0])


def test_what_has_no_form_is_refused_by_name(tmp_path: Path) -> None:
    graph = Graph((3,))
    graph.add("opaque", graph.input, layer=None, shape=(3,))
    with pytest.raises(ValueError, match="opaque has no form in ONNX"):
        cnn_onnx.export(graph, tmp_path / "net.onnx")
