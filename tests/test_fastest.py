"""`compile(precision="auto")` and `fastest`: which precision they choose, and what they need."""

from __future__ import annotations

import time

import numpy as np
import pytest
from byte_networks import network

from cnn_ext import Conv2d, Linear, Plan, ReLU, Sequential, quantize
from cnn_ext.quantization import fastest
from cnn_ext.run.plan import PRECISIONS

SAMPLE = np.random.default_rng(0).random((4, 1, 6, 6), np.float32)


def test_the_fastest_within_an_error() -> None:
    net, x = network("plain")
    assert fastest(net, x, tolerance=0.0).precision == "float32"
    assert fastest(net, x, tolerance=10.0, images=8).precision in PRECISIONS
    with pytest.raises(ValueError, match="tolerance"):
        fastest(net, x, tolerance=-1)


def test_of_infinite_answers_float32_has_the_plan() -> None:
    rng = np.random.default_rng(0)
    net = Sequential(Linear(4, 8, rng=rng), ReLU(), Linear(8, 3, rng=rng))
    net.layers[0].weight.data[...], net.layers[2].weight.data[...] = 30, 1e38
    plan = fastest(net, rng.random((20, 4), np.float32), tolerance=0.5)
    assert plan.precision == "float32"


def test_auto_is_the_fastest_within_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network("plain")
    assert net.compile(precision="auto", sample=x, tolerance=0).precision == "float32"
    # as if time passed where numbers are as exact as here
    costs = {"float32": 3.0, "bfloat16": 2.0, "int8": 1.0}
    now = [0.0]
    called = Plan.__call__

    def call(plan: Plan, *given: object, **options: object) -> np.ndarray:
        now[0] += costs[plan.precision]
        return called(plan, *given, **options)

    monkeypatch.setattr(Plan, "__call__", call)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    truth = net.compile()(x)
    size = np.sqrt(np.square(truth).mean())
    plans = [net.compile(precision="bfloat16"), quantize(net, x).compile()]
    short, bytes_ = (np.sqrt(np.square(plan(x) - truth).mean()) / size for plan in plans)
    assert 0 < short < bytes_
    for tolerance, precision in [
        (0.99 * short, "float32"), (0.99 * bytes_, "bfloat16"), (1.01 * bytes_, "int8"),
    ]:  # fmt: skip
        plan = net.compile((1, 9, 8), 64, "logits", "auto", sample=x, tolerance=tolerance)
        assert (plan.precision, plan.max_batch, plan.task.outputs) == (precision, 64, "logits")
    costs["float32"] = 0.5
    assert fastest(net, x, 1.0).precision == "float32"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sample": SAMPLE}, ValueError, "tolerance: precision='auto' needs it"),
        ({"tolerance": 0.1}, ValueError, "sample: precision='auto' needs it"),
        ({"sample": SAMPLE, "tolerance": "x"}, TypeError, "tolerance: expected a number"),
        ({"sample": SAMPLE, "tolerance": -1}, ValueError, "tolerance: "),
        (
            {"sample": SAMPLE, "tolerance": 0.1, "input_shape": [1, 5, 6]},
            ValueError,
            r"sample: expected inputs of \(1, 5, 6\), got \(1, 6, 6\)",
        ),
        (
            {"sample": SAMPLE, "precision": "int8"},
            ValueError,
            "sample: precision='auto' alone takes it",
        ),
        ({"tolerance": 0.1, "precision": None}, ValueError, "tolerance: precision='auto' alone"),
    ],
)
def test_what_auto_needs(given: dict, error: type, message: str) -> None:
    net = Sequential(Conv2d(1, 3, 3), ReLU(), Conv2d(3, 2, 1)).eval()
    with pytest.raises(error, match=message):
        net.compile(**{"precision": "auto", **given})
