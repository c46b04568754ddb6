"""The naive truth of `cnn_ext.graph.Graph`: every operator in float64 NumPy, image by image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cnn_ext.graph import Graph, Node


def run(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Outputs (N, ...) of images (N, ...); bytes are multiplied by the scale of the graph."""
    outputs = np.stack([run_one(graph, image)[graph.output] for image in images])
    return outputs.reshape(len(images), *graph.output_shape)


def run_one(graph: Graph, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of one image, by name."""
    scale = graph.byte_scale if image.dtype == np.uint8 else 1.0
    image = np.reshape(image, graph.shapes[graph.input])
    values = {graph.input: image.astype(np.float64) * scale}
    for node in graph.nodes:
        weights = {name: array.astype(np.float64) for name, array in node.weights.items()}
        inputs = [values[name] for name in node.inputs]
        y = OPERATORS[node.op](node, weights, *inputs)
        assert y.shape == graph.shapes[node.output], (node.op, y.shape, graph.shapes[node.output])
        values[node.output] = y
    return values


def windows(x: np.ndarray, kernel: Any, stride: Any, dilation: Any, output: Any) -> np.ndarray:
    # (C, P, Q, R, S): the pixels that each window sees of an input that is large enough
    (R, S), (P, Q) = kernel, output
    h = np.arange(P)[:, None] * stride[0] + np.arange(R) * dilation[0]
    w = np.arange(Q)[:, None] * stride[1] + np.arange(S) * dilation[1]
    return x[:, h[:, None, :, None], w[None, :, None, :]]


def padded(x: np.ndarray, padding: Any, value: float, more: int = 0) -> np.ndarray:
    top, bottom, left, right = padding
    around = ((0, 0), (top, bottom + more), (left, right + more))
    return np.pad(x, around, constant_values=value)


def extent(
    size: int, before: int, after: int, kernel: int, stride: int, gap: int, ceil: bool
) -> int:
    # counted one by one: the windows that begin on the padding before or on the input
    count = 0
    while True:
        start, end = count * stride, count * stride + gap * (kernel - 1)
        fits = end < size + before + after
        hangs = (
            ceil
            and start < size + before
            and start - stride + gap * (kernel - 1) < (size + before + after - 1)
        )
        if not fits and not hangs:
            return count
        count += 1


def conv2d(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    a, weight = node.attributes, weights["weight"]
    K, C, R, S = weight.shape
    x = padded(x, a["padding"], 0.0)
    P = (x.shape[1] - a["dilation"][0] * (R - 1) - 1) // a["stride"][0] + 1
    Q = (x.shape[2] - a["dilation"][1] * (S - 1) - 1) // a["stride"][1] + 1
    seen = windows(x, (R, S), a["stride"], a["dilation"], (P, Q))
    G = a["groups"]
    seen = seen.reshape(G, C, P, Q, R, S)
    y = np.einsum("gkcrs,gcpqrs->gkpq", weight.reshape(G, K // G, C, R, S), seen).reshape(K, P, Q)
    return y + weights.get("bias", np.zeros(K))[:, None, None]


def conv1d(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    rows = {**weights, "weight": weights["weight"][:, :, None]}
    return conv2d(node, rows, x[:, None])[:, 0]


def conv_transpose2d(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    a, w = node.attributes, weights["weight"]
    (C, H, W), (_, K, R, S), G = x.shape, w.shape, a["groups"]
    (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
    more, (top, bottom, left, right) = a["output_padding"], a["padding"]
    size = [(n - 1) * step + gap * (kernel - 1) + 1 + extra
            for n, step, gap, kernel, extra in zip((H, W), a["stride"], a["dilation"], (R, S), more,
                                                   strict=True)]  # fmt: skip
    y = np.zeros((G * K, *size))
    for c, h, v in np.ndindex(C, H, W):
        group = slice(c // (C // G) * K, (c // (C // G) + 1) * K)
        for r, s in np.ndindex(R, S):
            y[group, h * step_h + r * gap_h, v * step_w + s * gap_w] += w[c, :, r, s] * x[c, h, v]
    y = y[:, top : size[0] - bottom, left : size[1] - right]
    return y + weights.get("bias", np.zeros(G * K))[:, None, None]


def batch_norm(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    w = {key: array.reshape(-1, *(1,) * (x.ndim - 1)) for key, array in weights.items()}
    y = (x - w["mean"]) / np.sqrt(w["var"] + node.attributes["eps"])
    return y * w.get("weight", 1.0) + w.get("bias", 0.0)


def group_norm(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    a = node.attributes
    rows = x.reshape(a["groups"], -1) if not a["across"] else x.reshape(len(x), -1).T
    mean, var = rows.mean(1, keepdims=True), rows.var(1, keepdims=True)
    rows = (rows - mean) / np.sqrt(var + a["eps"])
    y = (rows.T if a["across"] else rows).reshape(x.shape)
    w = {key: array.reshape(-1, *(1,) * (x.ndim - 1)) for key, array in weights.items()}
    return y * w.get("weight", 1.0) + w.get("bias", 0.0)


def linear(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return weights["weight"] @ x + weights.get("bias", 0.0)


def pool(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    a = node.attributes
    kernel, stride = a["kernel"], a["stride"]
    gaps = a.get("dilation", (1, 1))
    top, bottom, left, right = a["padding"]
    P = extent(x.shape[1], top, bottom, kernel[0], stride[0], gaps[0], a["ceil_mode"])
    Q = extent(x.shape[2], left, right, kernel[1], stride[1], gaps[1], a["ceil_mode"])
    more = max(kernel[0] * gaps[0] + stride[0], kernel[1] * gaps[1] + stride[1])

    def seen(plane: np.ndarray, inner: float, outer: float) -> np.ndarray:
        whole = padded(padded(plane, a["padding"], inner), (0, 0, 0, 0), outer, more)
        return windows(whole, kernel, stride, gaps, (P, Q))

    if node.op == "max_pool":
        return seen(x, -math.inf, -math.inf).max(axis=(3, 4))
    counted = seen(np.ones_like(x), float(a["count_include_pad"]), 0.0).sum(axis=(3, 4))
    return seen(x, 0.0, 0.0).sum(axis=(3, 4)) / counted


def clip(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, node.attributes["low"]), node.attributes["high"])


def elu(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, node.attributes["alpha"] * np.expm1(np.minimum(x, 0)))


def selu(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    alpha, scale = 1.6732632423543772848, 1.0507009873554804934
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu_tanh(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def hardsigmoid(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.clip(node.attributes["alpha"] * x + node.attributes["beta"], 0, 1)


def softplus(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    z = node.attributes["beta"] * x
    return np.where(
        z > node.attributes["threshold"], x, np.logaddexp(0, z) / node.attributes["beta"]
    )


def prelu(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    slope = weights["slope"].reshape(-1, *(1,) * (x.ndim - 1))
    return np.where(x < 0, x * slope, x)


def leaky_relu(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * node.attributes["negative_slope"])


def log_softmax(node: Node, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    x = x - x.max(axis=0)
    return x - np.log(np.exp(x).sum(axis=0))


def gather(node: Node, weights: dict[str, np.ndarray], *inputs: np.ndarray) -> np.ndarray:
    index = node.attributes["index"]
    joined = np.concatenate([x.ravel() for x in inputs])
    return np.where(index < 0, node.attributes["fill"], joined[np.maximum(index, 0)])


erf = np.vectorize(math.erf, otypes=[float])
ELEMENTWISE: dict[str, Any] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "abs": np.abs,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "square": np.square,
    "erf": erf,
}
ARITHMETIC: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "minimum": np.minimum, "maximum": np.maximum, "pow": np.power,
}  # fmt: skip


def of_one(function: Any) -> Any:
    return lambda node, weights, x: function(x)


def of_two(function: Any) -> Any:
    return lambda node, weights, x, *y: function(x, y[0] if y else weights["constant"])


OPERATORS: dict[str, Any] = {
    "conv2d": lambda node, weights, x: (conv2d if x.ndim == 3 else conv1d)(node, weights, x),
    "conv_transpose2d": conv_transpose2d,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "linear": linear,
    "max_pool": pool,
    "avg_pool": pool,
    "clip": clip,
    "leaky_relu": leaky_relu,
    **{op: of_one(function) for op, function in ELEMENTWISE.items()},
    "elu": elu,
    "selu": selu,
    "gelu_tanh": gelu_tanh,
    "hardsigmoid": hardsigmoid,
    "softplus": softplus,
    "power": lambda node, weights, x: x ** node.attributes["exponent"],
    "prelu": prelu,
    "softmax": lambda node, weights, x: np.exp(log_softmax(node, weights, x)),
    "log_softmax": log_softmax,
    **{op: of_two(function) for op, function in ARITHMETIC.items()},
    "gather": gather,
    "reshape": lambda node, weights, x: x.reshape(node.attributes["shape"]),
}
