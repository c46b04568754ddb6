"""ONNX models in the text form of the package `onnx`, with all that `cnn_ext.onnx` reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_operators
from test_graph_simplify import random


def model(text: str, opset: int = 17, **tensors: Any) -> Any:
    """A model in the text form of the package `onnx`, with these tensors as initialisers."""
    import onnx

    graph = onnx.parser.parse_graph(f"g {text}")
    for name, array in tensors.items():
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    opsets = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


RNG = np.random.default_rng(7)


def norm(name: str, channels: int) -> dict[str, np.ndarray]:
    """Scale, bias, mean and variance of a batch normalisation."""
    scale, bias, mean = random(RNG, 3, channels)
    variance = RNG.uniform(0.5, 2, channels)
    return dict(zip((name + part for part in "sbmv"), (scale, bias, mean, variance), strict=True))


# name: the model, opset, initialisers; x comes as a batch of 2, or of the size that is given
MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "residual": (
        """(float[N, 3, 9, 9] x) => (float[N, 5] y) {
        a0 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, aw)
        a1 = BatchNormalization <epsilon = 0.01> (a0, as, ab, am, av)
        a = Relu (a1)
        b0 = Conv <pads = [1, 1, 1, 1]> (a, bw)
        b = BatchNormalization (b0, bs, bb, bm, bv)
        c0 = Conv <strides = [2, 2]> (x, cw)
        c = BatchNormalization (c0, cs, cb, cm, cv)
        s = Add (b, c)
        r = Relu (s)
        g = GlobalAveragePool (r)
        f = Flatten (g)
        y = Gemm <transB = 1> (f, w, v) }""",
        17,
        {
            "aw": random(RNG, 4, 3, 3, 3),
            "bw": random(RNG, 4, 4, 3, 3),
            "cw": random(RNG, 4, 3, 1, 1),
            "w": random(RNG, 5, 4),
            "v": random(RNG, 5),
            **norm("a", 4),
            **norm("b", 4),
            **norm("c", 4),
        },
    ),
    "mobile": (
        """(float[N, 4, 8, 8] x) => (float[N, 6] y) {
        low = Constant <value_float = 0.0> ()
        high = Constant <value_float = 6.0> ()
        a = Conv <group = 4, pads = [1, 1, 1, 1], dilations = [1, 1]> (x, aw, ab)
        b = BatchNormalization (a, s, t, m, v)
        c = Clip (b, low, high)
        d = Conv <kernel_shape = [1, 1]> (c, dw)
        e = Clip (d, , high)
        axes = Constant <value_ints = [-1, -2]> ()
        y = ReduceMean <keepdims = 0> (e, axes) }""",
        18,
        {
            "aw": random(RNG, 4, 1, 3, 3),
            "ab": random(RNG, 4),
            "dw": random(RNG, 6, 4, 1, 1),
            **dict(zip("stmv", norm("", 4).values(), strict=True)),
        },
    ),
    "view by shape arithmetic": (
        """(float[N, 3, 4, 4] x) => (float[N, 48] y) {
        shape = Shape (x)
        n = Gather <axis = 0> (shape, zero)
        n1 = Unsqueeze (n, axes)
        rest = Slice (shape, one, four)
        c = Gather (rest, index)
        last = Mul (c, hw)
        target = Concat <axis = 0> (n1, last)
        target32 = Cast <to = 6> (target)
        target64 = Cast <to = 7> (target32)
        y = Reshape (x, target64) }""",
        13,
        {
            "zero": np.int64(0),
            "axes": np.array([0]),
            "one": np.array([1]),
            "four": np.array([4]),
            "index": np.array([0]),
            "hw": np.array([16]),
        },
    ),
    "squeeze and excitation": (
        """(float[N, 4, 5, 6] x) => (float[N, 4, 5, 6] y) {
        g = ReduceMean <axes = [2, 3], keepdims = 1> (x)
        a = Conv (g, aw)
        s = Sigmoid (a)
        y = Mul (s, x) }""",
        13,
        {"aw": random(RNG, 4, 4, 1, 1)},
    ),
    "shuffled channels": (
        """(float[N, 6, 4, 5] x) => (float[N, 6, 4, 5] y) {
        a = Reshape (x, apart)
        b = Transpose <perm = [0, 2, 1, 3, 4]> (a)
        c = Reshape (b, together)
        y = Tanh (c) }""",
        13,
        {"apart": np.array([0, 2, 3, 4, 5]), "together": np.array([0, -1, 4, 5])},
    ),
    "channels last": (
        """(float[N, 6, 5, 3] x) => (float[N, 3, 2, 4] y) {
        a = Transpose <perm = [0, 3, 1, 2]> (x)
        b = Conv <strides = [2, 2], auto_pad = "SAME_UPPER"> (a, w)
        c = MaxPool <kernel_shape = [2, 2], auto_pad = "VALID"> (b)
        y = Transpose <perm = [0, 2, 3, 1]> (b) }""",
        13,
        {"w": random(RNG, 4, 3, 3, 2)},
    ),
    "shortcuts of even images": (
        """(float[N, 2, 6, 7] x) => (float[N, 3, 3, 4] y) {
        y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w) }""",
        13,
        {"w": random(RNG, 3, 2, 1, 1)},
    ),
    "dense": (
        """(float[N, 2, 5, 5] x) => (float[N, 4, 5, 5] y) {
        a = Conv <auto_pad = "SAME_LOWER"> (x, w)
        b = Concat <axis = 1> (x, a, x)
        c = Slice (b, from, to, axes, steps)
        y = Concat <axis = -3> (c, a) }""",
        13,
        {
            "w": random(RNG, 1, 2, 2, 2),
            "from": np.array([-1]),
            "to": np.array([-(2**60)]),
            "axes": np.array([1]),
            "steps": np.array([-2]),
        },
    ),
    "sequence": (
        """(float[N, 3, 11] x) => (float[N, 8, 2] y) {
        a = Conv <group = 1, pads = [2, 1], strides = [2], dilations = [2]> (x, w, v)
        b = MaxPool <kernel_shape = [2]> (a)
        y = AveragePool <kernel_shape = [2], strides = [1], pads = [1, 0]> (b) }""",
        11,
        {"w": random(RNG, 8, 3, 2), "v": random(RNG, 8)},
    ),
    "padding by places": (
        """(float[N, 2, 4, 5] x) => (float[N, 4, 8, 9] y) {
        a = Pad <mode = "reflect"> (x, p)
        b = Pad <mode = "edge"> (a, q)
        c = Pad (b, r, half)
        y = Pad <mode = "constant"> (c, q) }""",
        13,
        {
            "p": np.array([0, 0, 2, 1, 0, 0, 1, 0]),
            "q": np.array([0, 1, 0, 0, 0, 0, 0, 1]),
            "r": np.array([0, 0, 1, 1, 0, 0, -1, 0]),
            "half": np.float32(0.5),
        },
    ),
    "wrapped": (
        """(float[N, 2, 4, 5] x) => (float[N, 2, 7, 5] y) {
        y = Pad <mode = "wrap"> (x, p, , axes) }""",
        19,
        {"p": np.array([2, 1]), "axes": np.array([-2])},
    ),
    "attributes of old opsets": (
        """(float[N, 3, 4, 5] x) => (float[N, 3, 5, 6] y) {
        a = Clip <min = -0.5, max = 1.0> (x)
        b = Pad <pads = [0, 0, 1, 0, 0, 0, 0, 2], value = 0.25> (a)
        c = Slice <starts = [0, 0], ends = [9, 6], axes = [2, 3]> (b)
        d = Unsqueeze <axes = [1]> (c)
        e = Squeeze <axes = [1]> (d)
        y = Dropout <ratio = 0.25> (e) }""",
        9,
        {},
    ),
    "softmax of old opsets": (
        """(float[N, 3, 2, 4] x) => (float[N, 3, 2, 4] y) {
        a = Softmax (x)
        b = LogSoftmax <axis = 2> (a)
        y = Softmax <axis = -1> (b) }""",
        11,
        {},
    ),
    "softmax along any axis": (
        """(float[N, 3, 2, 4] x) => (float[N, 3, 2, 4] y) {
        a = Softmax <axis = 1> (x)
        b = LogSoftmax <axis = -2> (a)
        y = Softmax (b) }""",
        13,
        {},
    ),
    "arithmetic with constants": (
        """(float[N, 3, 4] x) => (float[N, 3, 4] y) {
        a = Sub (one, x)
        b = Div (a, row)
        c = Sub (b, all)
        d = Mul (column, c)
        e = Sub (d, x)
        f = Mul (one, column)
        y = Add (e, f) }""",
        14,
        {
            "one": np.float32(1),
            "row": random(RNG, 4) + 3,
            "all": random(RNG, 1, 3, 4),
            "column": random(RNG, 3, 1),
        },
    ),
    "constants that enlarge": (
        """(float[N, 3, 1, 1, 2] x) => (float[N, 3, 4, 5, 2] y) {
        a = Mul (x, c)
        b = Add (a, x)
        y = Mul (x, b) }""",
        14,
        {"c": random(RNG, 4, 5, 1)},
    ),
    "matrices": (
        """(float[N, 3, 4] x) => (float[N, 2, 6] y) {
        a = MatMul (x, w)
        b = MatMul (v, a)
        y = MatMul (b, u) }""",
        13,
        {"w": random(RNG, 4, 5), "v": random(RNG, 2, 3), "u": random(RNG, 5, 6)},
    ),
    "a matrix for each of several": (
        """(float[N, 2, 3, 4] x) => (float[N, 2, 3] y) {
        a = MatMul (x, w)
        y = MatMul (a, v) }""",
        13,
        {"w": random(RNG, 2, 4, 5), "v": random(RNG, 5)},
    ),
    "linear layers": (
        """(float[N, 4] x) => (float[N, 2] y) {
        a = Gemm <alpha = 0.5, beta = 2.0> (x, w, v)
        w1 = Transpose (u)
        b = MatMul (a, w1)
        c = Add (b, t)
        y = Gemm (c, s) }""",
        11,
        {
            "w": random(RNG, 4, 3),
            "v": np.float32(0.5),
            "u": random(RNG, 3, 3),
            "t": random(RNG, 1, 3),
            "s": random(RNG, 3, 2),
        },
    ),
    "means": (
        """(float[N, 3, 4, 5] x) => (float[N, 4] y) {
        a = ReduceMean <axes = [1]> (x)
        b = ReduceMean <axes = [-1], keepdims = 0> (a)
        y = Flatten (b) }""",
        13,
        {},
    ),
    "windows": (
        """(float[N, 2, 8, 9] x) => (float[N, 2, 1, 1] y) {
        a = MaxPool <kernel_shape = [3, 2], dilations = [2, 1], ceil_mode = 1, strides = [2, 2]> (x)
        b = LeakyRelu <alpha = 0.1> (a)
        c = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 1], count_include_pad = 1> (b)
        d = AveragePool <kernel_shape = [2, 2], dilations = [1, 2]> (c)
        y = GlobalMaxPool (d) }""",
        19,
        {},
    ),
    "a window behind the image": (
        """(float[N, 1, 8, 9] x) => (float[N, 1, 2, 2] y) {
        y = AveragePool <kernel_shape = [3, 3], dilations = [2, 2], strides = [4, 4],
        pads = [0, 0, 2, 0], ceil_mode = 1, count_include_pad = 1> (x) }""",
        19,
        {},
    ),
    "the only window hangs over": (
        """(float[N, 2, 1, 2] x) => (float[N, 2, 1, 1] y) {
        a = MaxPool <kernel_shape = [2, 4], strides = [2, 3], ceil_mode = 1> (x)
        b = AveragePool <kernel_shape = [2, 3], strides = [2, 3], ceil_mode = 1> (x)
        y = Add (a, b) }""",
        19,
        {},
    ),
    "slices that leave the images alone": (
        """(float[N, 3, 4] x) => (float[N, 1, 3] y) {
        a = Slice (x, from, to)
        n = Shape <start = 0, end = 1> (a)
        b = Slice (a, zero, n, zero)
        c = Slice (b, zero, last, zero)
        d = Slice (c, least, last, first)
        y = Tanh (d) }""",
        17,
        {
            "from": np.array([0, 1, 0]),
            "to": np.array([2**31 - 1, 3, -1]),
            "zero": np.array([0]),
            "last": np.array([2**63 - 1]),
            "least": np.array([-(2**63)]),
            "first": np.array([-3]),
        },
    ),
    "slices of an old opset": (
        """(float[N, 3, 4] x) => (float[N, 3, 2] y) {
        a = Slice <starts = [0, 2], ends = [2147483647, 9], axes = [0, 2]> (x)
        y = Relu (a) }""",
        9,
        {},
    ),
    "tiles and expansions": (
        """(float[N, 2, 1] x) => (float[N, 4, 9] y) {
        a = Tile (x, r)
        n = Shape <start = 0, end = 1> (x)
        s = Concat <axis = 0> (n, rest)
        b = Expand (a, s)
        c = Expand (b, ones)
        d = Expand (c, narrow)
        e = Tile (t, q)
        f = Expand (e, wide)
        g = Add (d, f)
        h = Concat <axis = 0> (g)
        y = Sigmoid (h) }""",
        17,
        {
            "r": np.array([1, 2, 3]),
            "rest": np.array([4, 3]),
            "ones": np.array([1, 1, 1]),
            "narrow": np.array([4, 3]),
            "t": random(RNG, 2, 1),
            "q": np.array([2, 1]),
            "wide": np.array([1, 1, 3]),
        },
    ),
    "the images of a batch of three": (
        """(float[3, 4] x) => (float[3, 4] y) {
        a = Slice (x, zero, three)
        b = Slice (a, back, three)
        c = Gather <axis = 0> (b, all)
        d = Expand (c, s)
        y = Tanh (d) }""",
        17,
        {
            "zero": np.array([0]),
            "three": np.array([3]),
            "back": np.array([-3]),
            "all": np.array([0, 1, 2]),
            "s": np.array([3, 4]),
        },
    ),
    "batch of one": (
        """(float[1, 2, 3, 4] x) => (float[1, 24] y) {
        a = Squeeze (x, zero)
        b = Relu (a)
        c = Unsqueeze (b, zero)
        d = Reshape (c, flat)
        e = Reshape (d, back)
        y = Add (e, more) }""",
        13,
        {
            "zero": np.array([0]),
            "flat": np.array([24]),
            "back": np.array([1, -1]),
            "more": random(RNG, 1, 24),
        },
    ),
    "batch of three": (
        """(float[3, 2, 3, 4] x) => (float[3, 24] y) {
        a = Relu (x)
        y = Reshape (a, shape) }""",
        13,
        {"shape": np.array([3, -1])},
    ),
    "what the output does not need": (
        """(float[N, 4] x) => (float[N, 4] y) {
        a = Erf (x)
        mask, b = Dropout (x)
        y = Tanh (x) }""",
        13,
        {},
    ),
}


MODELS |= onnx_operators.MODELS
for ceil in (0, 1):
    for count in (0, 1):
        options = f"ceil_mode = {ceil}, count_include_pad = {count}, pads = [1, 0, 2, 1]"
        MODELS[f"means of spread windows, {options}"] = (
            f"""(float[N, 2, 7, 8] x) => (float[N, 2, 3, 3] y) {{
            y = AveragePool <kernel_shape = [3, 2], dilations = [2, 3], strides = [3, 3],
            {options}> (x) }}""",
            19,
            {},
        )
