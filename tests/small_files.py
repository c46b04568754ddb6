"""What small files may ask for: makes of each what a user may, in little memory and time.

Run as a process of its own.  Prints, as JSON, what became of every file: "ok", or the error.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_models import model

import cnn_ext.onnx
from cnn_ext import Conv2d, Linear, MaxPool2d, ReLU, Sequential, Tanh, set_num_threads
from cnn_ext.c.source import c_source
from cnn_ext.graph import Graph
from cnn_ext.layers import graph_of
from cnn_ext.run.plan import Plan
from cnn_ext.task import meaning_of

MEMORY, SECONDS = 3 << 30, 60  # of all of them together


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def file(body: str, shape: str, **tensors: Any) -> Callable[[], Graph]:
    """An ONNX model of an input of such a shape."""
    text = f"(float[N, {shape}] x) => (float[N, M] y) {{ {body} }}"
    return lambda: cnn_ext.onnx.from_model(model(text, 17, **tensors))


def net(shape: tuple[int, ...], *layers: Any) -> Callable[[], Graph]:
    return lambda: graph_of(Sequential(*layers), shape)


def chain(count: int, operator: str) -> str:
    """`operator`, with {} for its input, so many times."""
    names = ["x", *(f"a{i}" for i in range(1, count)), "y"]
    return " ".join(f"{names[i + 1]} = {operator.format(names[i])}" for i in range(count))


def kept(count: int) -> str:
    """So many values that are all needed to the end."""
    lines = [f"a{i} = LeakyRelu <alpha = {i}.5> (x)" for i in range(count)]
    lines += [f"s{i + 1} = Add (s{i}, a{i})" for i in range(1, count)]
    return " ".join(lines).replace("s1,", "a0,").replace(f"s{count} =", "y =")


PADS = "pads = [{0}, {0}, {0}, {0}]"
FILES: dict[str, Callable[[], Graph]] = {
    "large input": file("y = Relu (x)", "1, 15000, 15000"),
    "larger input": file("y = Relu (x)", "1, 40000, 40000"),
    "means of a large input": file("y = GlobalAveragePool (x)", "4, 8000, 8000"),
    "large vector": file("y = Relu (x)", "200000000"),
    "softmax of a large vector": file("y = Softmax (x)", "100000000"),
    "padding": file(f"y = Conv <{PADS.format(400000)}, strides = [400000, 400000]> (x, w)",
                    "1, 4, 4", w=zeros(4, 1, 3, 3)),
    "padding beyond all numbers": file(f"y = Conv <{PADS.format(2**62)}> (x, w)", "1, 4, 4",
                                       w=zeros(4, 1, 3, 3)),
    "dilation beyond all numbers": file(f"y = Conv <dilations = [{2**62}, 1]> (x, w)", "1, 4, 4",
                                        w=zeros(4, 1, 3, 3)),
    "window beyond all numbers": file(
        f"y = MaxPool <kernel_shape = [{2**62}, {2**62}], {PADS.format(2**62 - 1)}> (x)", "1, 4, 4"
    ),
    "constants": file(chain(2500, "Add ({}, w)"), "60000", w=zeros(1)),
    "values that are kept": file(kept(400), "6000000"),
    "small values that are kept": file(kept(1000), "3"),
    "tables of every layer": file(chain(100, "Conv ({}, w)"), "16, 1000, 1000",
                                  w=zeros(16, 16, 2, 2)),
    "groups": file("y = Conv <group = 4096> (x, w)", "4096, 4, 4", w=zeros(8192, 1, 1, 1)),
    "factors": file("m = MatMul (x, w) " + chain(2000, "Mul ({}, s)").replace("(x,", "(m,"),
                    "700", w=zeros(700, 700) + 1, s=zeros(1) + 1),
    "layers": file(chain(3000, "Tanh ({})"), "4"),
    "broadcast": file("a = Transpose <perm = [0, 1, 3, 2]> (x) y = Add (x, a)", "1, 1, 9000"),
    "runs": file("a = Reshape (x, s) b = Transpose <perm = [0, 3, 2, 1]> (a) y = Reshape (b, t)",
                 "8000000", s=np.array([0, 2000, 2, 2000]), t=np.array([0, -1])),
    "a network for a large input": net((1, 15000, 15000), Conv2d(1, 4, 3), ReLU()),
    "a network with padding": net((1, 4, 4), Conv2d(1, 1, 3, padding=40000, stride=40000)),
    "a network with much padding": net((1, 4, 4), Conv2d(1, 1, 3, padding=2**30)),
    "pooling a large input": net((1, 12000, 12000), MaxPool2d(1000)),
    "many layers": net((4,), *(layer for _ in range(1000) for layer in (Linear(4, 4), Tanh()))),
    "a large network": net((3, 224, 224), Conv2d(3, 64, 3, padding=1), ReLU(),
                           Conv2d(64, 64, 3, padding=1), ReLU(), MaxPool2d(2)),
}  # fmt: skip
USES: dict[str, Callable[[Graph], Any]] = {
    "plan": lambda graph: Plan(graph),
    "C": lambda graph: c_source(graph, "net", "net.h", meaning_of(graph)),
}


def attempt(function: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    try:
        return "ok", function(*args)
    except Exception as error:
        kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
        return f"{kind}: {error}", None


if __name__ == "__main__":
    set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    results: dict[str, dict[str, str]] = {}
    for name in sys.argv[1:] or FILES:
        said, graph = attempt(FILES[name])
        results[name] = {"graph": said}
        if graph is not None:
            for use, function in USES.items():
                results[name][use] = attempt(function, graph)[0]
    print(json.dumps(results))
