"""ONNX models in the text form of the package `onnx`, with all that `cnn_ext.onnx` reads."""

from __future__ import annotations

from typing import Any

import numpy as np
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


X = "(float[N, 4, 5, 6] x) => (float[N, C, H, W] y)"  # the last ones are not looked at
for name, body, opset, tensors in (
    ("sums of several", "y = Sum (x, w, x)", 13, {"w": random(RNG, 6)}),
    ("mean of several", "a = Abs (x)  b = Neg (x)  y = Mean (a, b, x)", 13, {}),
    ("greatest of several", "a = Abs (x)  y = Max (a, w, h)", 13,
     {"w": random(RNG, 5, 1), "h": np.float32(0.5)}),
    ("least of several", "a = Neg (x)  y = Min (a, x, h)", 13, {"h": np.float32(0.25)}),
    ("quotients", "a = Exp (x)  b = Div (x, a)  c = Div (w, a)  y = Sub (b, c)", 13,
     {"w": random(RNG, 4, 1, 1)}),
    ("powers", """a = Abs (x)  b = Pow (a, h)  c = Pow (x, two)  d = Pow (w, x)  e = Sum (b, c, d)
     f = Pow (a, n)  y = Add (e, f)""", 13,
     {"h": np.float32(0.7), "two": np.int64(2), "w": np.abs(random(RNG, 6)) + 0.5,
      "n": np.float32(1.5)}),
    ("functions", """e = Exp (x)  p = Add (e, half)  a = Sqrt (p)  b = Log (p)
     c = Reciprocal (p)  d = Sum (a, b, c)
     g = Erf (d)  f = Softsign (d)  y = Sub (g, f)""", 13, {"half": np.float32(0.5)}),
    ("activations", """a = Elu <alpha = 0.7> (x)  b = Selu (x)  c = Softplus (x)  d = HardSwish (x)
     e = HardSigmoid (x)  f = HardSigmoid <alpha = 0.3, beta = 0.2> (x)  g = Celu <alpha = 0.6> (x)
     h = Selu <alpha = 1.5, gamma = 1.1> (x)  y = Sum (a, b, c, d, e, f, g, h)""", 14, {}),
    ("newer activations", """a = Gelu (x)  b = Gelu <approximate = "tanh"> (x)  c = Mish (x)
     y = Sum (a, b, c)""", 20, {}),
    ("slopes", """a = PRelu (x, s)  b = PRelu (x, t)  c = PRelu (x, u)
     y = Sum (a, b, c)""", 13,
     {"s": random(RNG, 4, 1, 1), "t": random(RNG, 1), "u": random(RNG, 5, 6)}),
    ("parts", """a, b = Split <axis = 1> (x)  c, d, e = Split <axis = -1> (x, n)
     f = Concat <axis = 1> (b, a)  g = Concat <axis = 3> (e, c, d)  y = Add (f, g)""", 13,
     {"n": np.array([1, 2, 3])}),
    ("parts of an old opset", """a, b, c = Split <axis = 2, split = [1, 2, 2]> (x)
     y = Concat <axis = 2> (c, a, b)""", 11, {}),
    ("sums over axes", """a = ReduceSum <keepdims = 1> (x, last)
     b = ReduceMax <axes = [1]> (x)  c = ReduceMin <axes = [-2]> (x)
     d = ReduceL2 <axes = [1, 3]> (x)  e = ReduceL1 <axes = [2]> (x)
     f = ReduceSumSquare <axes = [3]> (x)  g = ReduceLogSumExp <axes = [1]> (x)
     h = Sum (a, b, c, d, e, f, g)  y = ReduceSum <keepdims = 0> (h, first)""", 13,
     {"last": np.array([2, 3]), "first": np.array([1])}),
    ("normalised images", """a = InstanceNormalization <epsilon = 0.01> (x, s, t)
     y = LayerNormalization <axis = -2> (a, w, v)""", 17,
     {"s": random(RNG, 4), "t": random(RNG, 4), "w": random(RNG, 5, 6), "v": random(RNG, 6)}),
    ("normalised groups", "y = GroupNormalization <num_groups = 2> (x, s, t)", 21,
     {"s": random(RNG, 4), "t": random(RNG, 4)}),
    ("normalised by neighbours", """a = LRN <size = 3, alpha = 0.5, beta = 0.6, bias = 2.0> (x)
     y = LRN <size = 5, alpha = 0.5> (a)""", 13, {}),
    ("depth and space", """a = DepthToSpace <blocksize = 2> (x)
     b = DepthToSpace <blocksize = 2, mode = "CRD"> (x)  c = Add (a, b)
     y = SpaceToDepth <blocksize = 2> (c)""", 13, {}),
    ("nearest", """a = Resize <coordinate_transformation_mode = "asymmetric",
     nearest_mode = "floor"> (x, , s)  b = Resize <axes = [2, 3]> (a, , , z)
     y = Resize <nearest_mode = "ceil",
     coordinate_transformation_mode = "align_corners"> (b, , t)""", 18,
     {"s": np.float32([1, 1, 2, 3]), "z": np.array([7, 8]), "t": np.float32([1, 1, 2, 2])}),
    ("linear and cubic", """a = Resize <mode = "linear"> (x, , s)
     b = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (a, , t)
     y = Resize <mode = "cubic", coordinate_transformation_mode = "pytorch_half_pixel"> (b, , t)""",
     13, {"s": np.float32([1, 1, 2.5, 1.5]), "t": np.float32([1, 1, 2, 1])}),
    ("upsampled", "y = Upsample (x, s)", 9, {"s": np.float32([1, 1, 2, 3])}),
    ("transposed convolutions", """a = ConvTranspose <strides = [2, 3], pads = [1, 0, 0, 2],
     output_padding = [1, 0], dilations = [1, 2]> (x, w, v)
     b = ConvTranspose <group = 2, pads = [1, 1, 1, 1]> (a, u)
     y = ConvTranspose <auto_pad = "SAME_UPPER", strides = [2, 2]> (b, t)""", 13,
     {"w": random(RNG, 4, 2, 3, 3), "v": random(RNG, 2), "u": random(RNG, 2, 2, 3, 3),
      "t": random(RNG, 4, 1, 3, 3)}),
    ("shapes that are computed", """s = Shape (x)  c = ConstantOfShape <value = int64[1] {2}> (four)
     e = Equal (m, minus)  w = Where (e, c, s)  t = Expand (h, w1)  a = Mul (x, t)
     n = ReduceProd <keepdims = 1, axes = [0]> (tail)  b = Concat <axis = 0> (n0, n)
     y = Reshape (a, b)""", 13,
     {"four": np.array([4]), "m": np.array([-1, -1, 0, 0]), "minus": np.array([-1] * 4),
      "h": np.float32([[0.5]]), "w1": np.array([5, 6]), "tail": np.array([4, 5, 6]),
      "n0": np.array([0])}),
):  # fmt: skip
    MODELS[name] = f"{X} {{ {body} }}", opset, tensors

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
