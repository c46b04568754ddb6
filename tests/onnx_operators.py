"""Models of many operators of ONNX, each on images of 4 x 5 x 6."""

from __future__ import annotations

from typing import Any

import numpy as np
from test_graph_simplify import random

RNG = np.random.default_rng(8)
MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {}
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
    ("normalised channels", """a = Transpose <perm = [0, 2, 3, 1]> (x)
     b = LayerNormalization (a, s, t)  y = Transpose <perm = [0, 3, 1, 2]> (b)""", 17,
     {"s": random(RNG, 4), "t": random(RNG, 4)}),
    ("channels at the end", """a = Transpose <perm = [0, 2, 3, 1]> (x)
     b = LayerNormalization (a, s, t)  c = MatMul (b, w)  d = Add (c, t)  e = Tanh (d)
     f = Add (e, d)  g = Mul (f, v)  h = Transpose <perm = [0, 3, 1, 2]> (g)  y = Add (x, h)""", 17,
     {"s": random(RNG, 4), "t": random(RNG, 4), "w": random(RNG, 4, 4), "v": random(RNG, 5, 6, 4)}),
    ("normalised parts", """a = Reshape (x, parts)  b = InstanceNormalization (a, p, q)
     c = Reshape (b, whole)  d = Mul (c, s)  y = Add (d, t)""", 17,
     {"parts": np.array([0, 2, -1]), "p": random(RNG, 2), "q": random(RNG, 2),
      "whole": np.array([0, 4, 5, 6]), "s": random(RNG, 4, 1, 1), "t": random(RNG, 4, 1, 1)}),
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
    ("a branch", """s = Shape <start = 1, end = 2> (x)  c = Equal (s, four)  d = Not (c)
     a = Abs (x)
     b = If (c) <then_branch = g () => (float[N, 4, 5, 6] p) { p = Neg (a) },
     else_branch = h () => (float[N, 4, 5, 6] q) { q = Sin (a) }>
     y = If (d) <then_branch = i () => (float[N, 4, 5, 6] p1) { p1 = Sin (b) },
     else_branch = j () => (float[N, 4, 5, 6] q1) { e = Exp (b)  q1 = Sub (e, a) }>""", 15,
     {"four": np.array([4])}),
    ("shapes that are computed", """s = Shape (x)  c = ConstantOfShape <value = int64[1] {2}> (four)
     e = Equal (m, minus)  w = Where (e, c, s)  t = Expand (h, w1)  a = Mul (x, t)
     n = ReduceProd <keepdims = 1, axes = [0]> (tail)  b = Concat <axis = 0> (n0, n)
     y = Reshape (a, b)""", 13,
     {"four": np.array([4]), "m": np.array([-1, -1, 0, 0]), "minus": np.array([-1] * 4),
      "h": np.float32([[0.5]]), "w1": np.array([5, 6]), "tail": np.array([4, 5, 6]),
      "n0": np.array([0])}),
):  # fmt: skip
    MODELS[name] = f"{X} {{ {body} }}", opset, tensors
