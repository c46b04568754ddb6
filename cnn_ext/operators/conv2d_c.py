"""Convolutions and linear layers as C."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..graph import windows
from ..graph.node import Node
from .c_text import Image, at, clip, function

Pair = tuple[int, int]
Part = tuple[int, int, int]  # of outputs: the first, their number, how many are in a block
FEW = 4  # fewer outputs of a group are not worth a block

# Convolutions and linear layers keep `lanes` of output channels in registers.
LANES = """\
#if defined __GNUC__ && defined __AVX__
#define LANES 8
#elif defined __GNUC__ && (defined __SSE2__ || defined __ARM_NEON)
#define LANES 4
#else
#define LANES 1
#endif
#if LANES > 1
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#else
typedef float lanes;
#endif
#if LANES > 1 && !defined __clang__
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif
"""


def conv2d(writer: Any, node: Node, x: str, y: str, after: str) -> None:
    """Write a convolution from buffer `x` to buffer `y`."""
    a, weight = node.attributes, node.weights["weight"]
    shapes = writer.graph.shapes
    shape, (_, P, Q), G = shapes[node.inputs[0]], shapes[node.output], a["groups"]
    K, C, R, S = weight.shape
    stride, dilation = a["stride"], a["dilation"]
    used = windows.used(P, R, stride[0], dilation[0]), windows.used(Q, S, stride[1], dilation[1])
    top, _, left, _ = a["padding"]
    x, (_, H, W) = writer.padded(x, shape, (top, left), used, "0.0f")
    after = clipped(writer, node, after)
    bias = node.weights.get("bias")
    if G == 1 and (H, W) == (R, S):
        dense(writer, weight.reshape(K, -1), bias, after, x, y)
        return
    bias = np.zeros(K, np.float32) if bias is None else bias
    taps = ((R, S), stride, dilation)
    if K // G < FEW:
        text = row_text((C, H, W), (K // G, P, Q), G, *taps, after)
        w, b = writer.constant("w", weight), writer.constant("b", bias)
        writer.call("conv2d", text, [x, y], x, w, b, y)
        return
    if (R, S) == (1, 1) and stride == (1, 1):
        H, W, P, Q = 1, H * W, 1, P * Q  # one long row has fewer ends
    groups = (weight.reshape(G, K // G, C, R, S), bias.reshape(G, K // G))
    for (first, count, block), w, b in _in_blocks(writer, *groups, 16):
        text = block_text((C, H, W), (count, P, Q), K // G, G, *taps, block, after)
        writer.define_text(LANES)
        writer.call("conv2d", text, [x, y], x, w, b, at(y, first * P * Q))


def dense(
    writer: Any, weight: np.ndarray, bias: np.ndarray | None, after: str, x: str, y: str
) -> None:
    """Write a full connection, weights (K, features)."""
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    for (first, count, block), w, b in _in_blocks(writer, weight[None], bias[None], 32):
        text = dense_text(weight.shape[1], count, block, after)
        writer.define_text(LANES)
        writer.call("linear", text, [x, y], x, w, b, at(y, first))


def clipped(writer: Any, node: Node, after: str) -> str:
    """What follows, with the clip of the node itself before it."""
    bounds = node.attributes["clip"]
    return after if bounds is None else after.format(v=clip(writer, "{v}", *bounds))


def _in_blocks(
    writer: Any, weight: np.ndarray, bias: np.ndarray, width: int
) -> Iterator[tuple[Part, str, str]]:
    # weights (groups, outputs, ...) in blocks: each part of the outputs with its constants
    parts = split(weight.shape[1], width)
    pieces = [[blocks(array, part) for part in parts] for array in (weight, bias)]
    w, b = (writer.constant(name, np.concatenate(pieces[i])) for i, name in enumerate("wb"))
    first = bias_first = 0
    for part, piece, bias_piece in zip(parts, *pieces, strict=True):
        yield part, at(w, first), at(b, bias_first)
        first += piece.size
        bias_first += bias_piece.size


def split(count: int, width: int) -> list[Part]:
    """Outputs as whole blocks and one narrower.

    Less than eight numbers are spent on filling up.
    """
    whole = count // width * width
    rest = count - whole
    parts = [(0, whole, width), (whole, rest, -(-rest // 8) * 8)]
    return [part for part in parts if part[1]]


def blocks(array: np.ndarray, part: Part) -> np.ndarray:
    """Weights (groups, outputs, ...) of a part, (groups, blocks, ..., block), as one row."""
    first, count, block = part
    filling = [(0, 0), (0, -count % block), *[(0, 0)] * (array.ndim - 2)]
    filled = np.pad(array[:, first : first + count], filling)
    filled = filled.reshape(len(array), -1, block, *array.shape[2:])
    return np.moveaxis(filled, 2, -1).ravel()


def block_text(
    x: Image, outputs: Image, all_outputs: int, groups: int,
    kernel: Pair, stride: Pair, dilation: Pair, block: int, after: str,
) -> str:  # fmt: skip
    """Convolution without padding, in blocks of `block` channels and up to four pixels of a row.

    `x` and `outputs` are (C, H, W) of one group, `outputs` of one run of blocks; the weights lie as
    (groups, blocks, C, R, S, block), the biases as (groups, blocks, block).
    """
    (C, H, W), (K, P, Q), (R, S) = x, outputs, kernel
    size = C * R * S
    pixels = min(range(min(Q, 4), 0, -1), key=lambda count: -(-Q // count) * (count + 1))
    filled = -(-K // block) * block
    body = ""
    if groups > 1:
        body = f"""\
    for (int g = 0; g < {groups}; g++, x += {C * H * W}, w += {filled * size}, b += {filled}, \
y += {all_outputs * P * Q})
"""
    body += f"""\
    for (int k = 0; k < {K}; k += {block})
    for (int p = 0; p < {P}; p++)
    for (int part = 0; part < {Q}; part += {pixels}) {{
"""
    body += _Q_OF[Q % pixels > 0].format(last=Q - pixels)
    body += f"""\
        const float *u = x + p * {stride[0] * W} + q * {stride[1]};
        const lanes *v = (const lanes *)(w + k * {size});
        lanes a[{pixels}][{block} / LANES];
        float t[{pixels}][{block}];
        UNROLL for (int j = 0; j < {pixels}; j++)
            UNROLL for (int i = 0; i < {block} / LANES; i++)
                a[j][i] = ((const lanes *)(b + k))[i];
        for (int c = 0; c < {C}; c++, u += {H * W})
            for (int r = 0; r < {R}; r++)
                for (int s = 0; s < {S}; s++, v += {block} / LANES)
                    UNROLL for (int j = 0; j < {pixels}; j++)
                        UNROLL for (int i = 0; i < {block} / LANES; i++)
                            a[j][i] += v[i] * u[r * {dilation[0] * W} + s * {dilation[1]}\
 + j * {stride[1]}];
        UNROLL for (int j = 0; j < {pixels}; j++)
            UNROLL for (int i = 0; i < {block} / LANES; i++)
                *(lanes *)(t[j] + i * LANES) = a[j][i];
        for (int i = 0; i < {min(K, block)}; i++)
            for (int j = 0; j < {pixels}; j++)
                y[(k + i) * {P * Q} + p * {Q} + q + j] = {after.format(v="t[j][i]")};
    }}
"""
    return function("xwb", body)


_Q_OF = (
    "        const int q = part;\n",
    "        const int q = part < {last} ? part : {last};\n",  # the last part overlaps another
)


def row_text(
    x: Image, outputs: Image, groups: int,
    kernel: Pair, stride: Pair, dilation: Pair, after: str,
) -> str:  # fmt: skip
    """Convolution without padding for few outputs in a group: row by row, the weights in order."""
    (C, H, W), (K, P, Q), (R, S) = x, outputs, kernel
    return function(
        "xwb",
        f"""\
    for (int k = 0; k < {K * groups}; k++, w += {C * R * S})
        for (int p = 0; p < {P}; p++, y += {Q}) {{
            for (int q = 0; q < {Q}; q++)
                y[q] = b[k];
            for (int c = 0; c < {C}; c++)
                for (int r = 0; r < {R}; r++)
                    for (int s = 0; s < {S}; s++) {{
                        const int h = p * {stride[0]} + r * {dilation[0]};
                        const int plane = k / {K} * {C} + c;
                        const float *u = x + (plane * {H} + h) * {W} + s * {dilation[1]};
                        const float v = w[(c * {R} + r) * {S} + s];
                        for (int q = 0; q < {Q}; q++)
                            y[q] += v * u[q * {stride[1]}];
                    }}
            for (int q = 0; q < {Q}; q++)
                y[q] = {after.format(v="y[q]")};
        }}
""",
    )


def dense_text(features: int, outputs: int, block: int, after: str) -> str:
    """Linear layer in blocks of outputs; the weights lie as (blocks, features, block)."""
    return function(
        "xwb",
        f"""\
    for (int k = 0; k < {outputs}; k += {block}) {{
        const lanes *v = (const lanes *)(w + k * {features});
        lanes a[{block} / LANES];
        float t[{block}];
        UNROLL for (int i = 0; i < {block} / LANES; i++)
            a[i] = ((const lanes *)(b + k))[i];
        for (int f = 0; f < {features}; f++, v += {block} / LANES)
            UNROLL for (int i = 0; i < {block} / LANES; i++)
                a[i] += v[i] * x[f];
        UNROLL for (int i = 0; i < {block} / LANES; i++)
            *(lanes *)(t + i * LANES) = a[i];
        for (int i = 0; i < {min(outputs, block)}; i++)
            y[k + i] = {after.format(v="t[i]")};
    }}
""",
    )
