"""How each operator stands in a network: its weights and attributes, and where its inputs lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_ext import _core
from cnn_ext.graph import Graph
from cnn_ext.parameter import Buffer, Parameter

Shape = tuple[int, ...]
Kept = dict[str, Any]
LANES = _core.lanes(4)
IMAGE, VECTOR = (LANES + 1, 5, 4), (LANES + 5,)
# operators of training and of layers of one's own, which no plan and no C file has
NEVER_INFERRED = {"dropout", "opaque"}
# steps, whose gradient is that of a line: test_quantize.py and test_bfloat16.py
ROUNDING = {"fake_quantize", "bfloat16"}


def nothing(shape: Shape, rng: np.random.Generator) -> Kept:
    return {}


@dataclass(frozen=True)
class OperatorCase:
    """One operator with all that it needs.

    The naive formula is that of `graph_reference.OPERATORS`.

    Attributes
    ----------
    op : str
    attributes, weights : functions of the input's shape and a generator
    inputs : int
        How many values it takes; all have the first one's shape unless `small`.
    low, high : float
        Its inputs are drawn from between them.
    kinks : tuple of float
        Where it has no derivative.
    shapes : tuple
        Of the input, with which it is tried.
    small : bool
        Whether the second value has a number for each channel alone.
    """

    op: str
    attributes: Callable[[Shape, np.random.Generator], Kept] = nothing
    weights: Callable[[Shape, np.random.Generator], Kept] = nothing
    inputs: int = 1
    low: float = -2.5
    high: float = 2.5
    kinks: tuple[float, ...] = ()
    shapes: tuple[Shape, ...] = (IMAGE, VECTOR)
    small: bool = False

    def __str__(self) -> str:
        return self.op

    def add(self, graph: Graph, *names: str, learned: bool = False) -> str:
        """Append the operator; returns the name of its value."""
        shape, rng = graph.shapes[names[0]], np.random.default_rng(1)
        weights = self.weights(shape, rng)
        if learned:
            kinds = {key: Buffer if key in ("mean", "var") else Parameter for key in weights}
            weights = {key: kinds[key](np.array(w, graph.dtype)) for key, w in weights.items()}
        return graph.add(self.op, *names, weights=weights, **self.attributes(shape, rng))

    def second_shape(self, shape: Shape) -> Shape:
        return (shape[0], *(1,) * (len(shape) - 1)) if self.small else shape

    def draw(self, shape: Shape, seed: int) -> np.ndarray:
        """Numbers that all differ, away from the kinks."""
        rng = np.random.default_rng(seed)
        size = int(np.prod(shape))
        steps = (rng.permutation(size) + 0.25 + 0.5 * (seed % 2)) / size
        x = self.low + (self.high - self.low) * steps
        for kink in self.kinks:
            x = np.where(np.abs(x - kink) < 1e-3, kink + 1e-3, x)
        return x.reshape(shape)


def at_the_input(case: OperatorCase, shape: Shape) -> Graph:
    """The operator alone."""
    graph = Graph(shape)
    case.add(graph, *operands(case, graph, graph.input))
    return graph


def operands(case: OperatorCase, graph: Graph, name: str) -> list[str]:
    """What it takes: a second value is made of the first one, out of order."""
    if case.inputs == 1:
        return [name]
    shape = graph.shapes[name]
    order = np.arange(math.prod(shape))[::-1].reshape(shape)
    if case.small:
        order = order[(slice(None), *(slice(1),) * (len(shape) - 1))]
    return [name, graph.add("gather", name, index=np.ascontiguousarray(order))]


def fixed(**attributes: Any) -> Callable[[Shape, np.random.Generator], Kept]:
    return lambda shape, rng: attributes


def convolution(groups: int, bias: bool) -> Callable[[Shape, np.random.Generator], Kept]:
    def weights(shape: Shape, rng: np.random.Generator) -> Kept:
        C = shape[0]
        K = C if groups == 0 else 3
        weight = rng.standard_normal((K, 1 if groups == 0 else C, 3, 2))
        return {"weight": weight / 4} | ({"bias": rng.standard_normal(K)} if bias else {})

    return weights


def full(shape: Shape, rng: np.random.Generator) -> Kept:
    return {"weight": rng.standard_normal((3, shape[0])) / 4, "bias": rng.standard_normal(3)}


def constant(*axes: int) -> Callable[[Shape, np.random.Generator], Kept]:
    # one that has those axes of an image, or as many of a vector
    return lambda shape, rng: {
        "constant": rng.standard_normal([n if i in axes else 1 for i, n in enumerate(shape)])
    }


def slopes(count: int) -> Callable[[Shape, np.random.Generator], Kept]:
    return lambda shape, rng: {"slope": rng.standard_normal(count or shape[0])}


def index(shape: Shape, rng: np.random.Generator) -> Kept:
    size = int(np.prod(shape))
    return {"index": rng.integers(-1, size, (3, 4, 2)), "fill": 0.5}


def two_indices(shape: Shape, rng: np.random.Generator) -> Kept:
    return {"index": rng.permutation(2 * int(np.prod(shape)))}


def flat(shape: Shape, rng: np.random.Generator) -> Kept:
    return {"shape": (int(np.prod(shape)),)}


def transposed(shape: Shape, rng: np.random.Generator) -> Kept:
    return {"weight": rng.standard_normal((shape[0], 2, 3, 2)) / 4, "bias": rng.standard_normal(2)}


def sequence(shape: Shape, rng: np.random.Generator) -> Kept:
    return {"weight": rng.standard_normal((3, shape[0], 3)) / 4, "bias": rng.standard_normal(3)}


def normalized(*keys: str) -> Callable[[Shape, np.random.Generator], Kept]:
    return lambda shape, rng: {key: 0.5 + rng.random(shape[0]) for key in keys}


ZERO, IMAGES, VECTORS = (0.0,), (IMAGE,), (VECTOR,)
WINDOWS = {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0, 1, 1)}
POSITIVE: Any = {"low": 0.5, "high": 3.0}

CASES = [
    OperatorCase("conv2d", fixed(stride=(2, 1), padding=(1, 0, 1, 1), dilation=(1, 2)),
                 convolution(1, True), shapes=IMAGES),
    OperatorCase("conv2d", lambda shape, rng: {"groups": shape[0], "padding": 1},
                 convolution(0, False), shapes=IMAGES),
    OperatorCase("conv2d", fixed(stride=(1, 2), padding=(0, 0, 1, 2)), sequence,
                 shapes=((LANES + 1, 9),)),
    OperatorCase("conv_transpose2d", fixed(stride=(2, 3), padding=1, output_padding=(1, 0)),
                 transposed, shapes=IMAGES),
    OperatorCase("batch_norm", fixed(eps=0.1), normalized("weight", "bias", "mean", "var")),
    OperatorCase("batch_norm", weights=normalized("mean", "var")),
    OperatorCase("group_norm", lambda shape, rng: {"groups": shape[0]},
                 normalized("weight", "bias"), shapes=IMAGES),
    OperatorCase("group_norm", fixed(groups=1), normalized("weight", "bias")),
    OperatorCase("group_norm", fixed(groups=1, across=True), normalized("weight", "bias")),
    OperatorCase("linear", weights=full, shapes=VECTORS),
    OperatorCase("max_pool", fixed(**WINDOWS, dilation=(1, 2)), shapes=IMAGES),
    OperatorCase("max_pool", fixed(kernel=2), shapes=IMAGES),
    OperatorCase("avg_pool", fixed(**WINDOWS), shapes=IMAGES),
    OperatorCase("avg_pool", fixed(**WINDOWS, ceil_mode=True, count_include_pad=False),
                 shapes=IMAGES),
    OperatorCase("clip", fixed(low=0.0), kinks=ZERO),
    OperatorCase("clip", fixed(low=0.5, high=1.5), kinks=(0.5, 1.5)),
    OperatorCase("leaky_relu", kinks=ZERO),
    OperatorCase("sigmoid"),
    OperatorCase("tanh"),
    OperatorCase("elu", fixed(alpha=0.7), kinks=ZERO),
    OperatorCase("selu", kinks=ZERO),
    OperatorCase("gelu"),
    OperatorCase("gelu_tanh"),
    OperatorCase("silu"),
    OperatorCase("hardsigmoid", low=-5, high=5, kinks=(-3.0, 3.0)),
    OperatorCase("hardswish", low=-5, high=5, kinks=(-3.0, 3.0)),
    OperatorCase("softplus", fixed(beta=2.0, threshold=3.0), kinks=(1.5,)),
    OperatorCase("mish"),
    OperatorCase("softsign"),
    OperatorCase("abs", kinks=ZERO),
    OperatorCase("neg"),
    OperatorCase("exp"),
    OperatorCase("log", **POSITIVE),
    OperatorCase("sqrt", **POSITIVE),
    OperatorCase("reciprocal", **POSITIVE),
    OperatorCase("square"),
    OperatorCase("erf"),
    OperatorCase("power", fixed(exponent=2.5), **POSITIVE),
    OperatorCase("prelu", weights=slopes(0), kinks=ZERO),
    OperatorCase("prelu", weights=slopes(1), kinks=ZERO),
    OperatorCase("softmax"),
    OperatorCase("log_softmax"),
    OperatorCase("add", weights=constant(0)),
    OperatorCase("add", weights=constant(2), shapes=IMAGES),
    OperatorCase("mul", weights=constant(0)),
    OperatorCase("mul", weights=constant(0, 1, 2)),
    *(OperatorCase(op, inputs=2, small=small, **options)
      for op, options in {"add": {}, "sub": {}, "mul": {}, "div": POSITIVE, "pow": POSITIVE,
                          "minimum": {}, "maximum": {}}.items()
      for small in (False, True)),
    OperatorCase("gather", index),
    OperatorCase("gather", two_indices, inputs=2),
    OperatorCase("reshape", flat),
]  # fmt: skip
