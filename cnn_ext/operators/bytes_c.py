"""Networks of bytes as C: pixels hold their channels side by side, sums are of type int."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.bytes import Grid
from ..graph.layout import image
from ..graph.node import Node, Shape
from . import conv2d, pool
from .bytes import has_byte_weights, whole_weights
from .c_text import clip, number

BYTE_OF = """\
static inline unsigned char byte_of(float v, float low, float high, int zero)
{
    v = v > high ? high : v > low ? v : low;
    return (unsigned char)((int)rintf(v) + zero);
}
"""


def takes_bytes(node: Node, grids: Sequence[Grid | None]) -> bool:
    """Whether there is a text for inputs on these grids, None where they are numbers."""
    if None in grids:
        return False
    if node.op in ("conv2d", "linear"):
        return has_byte_weights(node)
    wanted = node.attributes.get("quantize") is not None
    return node.op == "max_pool" or (wanted and node.op in ("add", "avg_pool"))


def made_of(node: Node, inputs: Sequence[tuple[str, Shape, Grid]]) -> Grid | None:
    """The grid of a node's results, None where they are numbers."""
    if node.op == "max_pool":
        return inputs[0][2]
    wanted = node.attributes.get("quantize")
    return None if wanted is None else Grid(*wanted)


def write(
    writer: Any,
    node: Node,
    inputs: Sequence[tuple[str, Shape, Grid]],
    y: str,
    made: Grid | None,
) -> None:
    """Write a node whose inputs are bytes, with their images; `made` is the grid of its output."""
    x, shape, grid = inputs[0]
    if made is not None:
        writer.define_text(BYTE_OF)
    if node.op == "add":
        _add(writer, node, inputs, y)
    elif node.op in ("max_pool", "avg_pool"):
        _window(writer, node, x, shape, y, grid, made)
    else:
        _sums(writer, node, x, shape, y, grid, made)


def to_bytes(writer: Any, x: str, shape: Shape, y: str, grid: Grid) -> None:
    """Numbers, channel by channel, to bytes; NaN, if there is any, goes on to the outputs."""
    writer.define_text(BYTE_OF)
    C, pixels = image(shape)[0], math.prod(image(shape)[1:])
    of = f"byte_of(v / {number(grid.scale)}, {_limits(grid.limits())})"
    text = _function(
        "float", "unsigned char", f"""\
    int any = 0;
    for (int i = 0; i < {pixels}; i++)
        for (int c = 0; c < {C}; c++) {{
            const float v = x[c * {pixels} + i];
            any |= v != v;
            y[i * {C} + c] = {of};
        }}
    if (any)
        *odd = NAN;
""",
        "float *restrict odd",
    )  # fmt: skip
    writer.odd = True
    writer.call("to_bytes", text, [x, y], x, "&odd", y)


def to_numbers(writer: Any, x: str, shape: Shape, y: str, grid: Grid) -> None:
    """And back."""
    C, pixels = image(shape)[0], math.prod(image(shape)[1:])
    of = f"(float)(x[i * {C} + c] - {grid.zero_point}) * {number(grid.scale)}"
    text = _function(
        "unsigned char", "float", f"""\
    for (int c = 0; c < {C}; c++)
        for (int i = 0; i < {pixels}; i++)
            y[c * {pixels} + i] = {of};
""",
    )  # fmt: skip
    writer.call("to_numbers", text, [x, y])


def _function(x: str, y: str, body: str, *others: str) -> str:
    inputs = [f"const {x} *restrict x", *others]
    heading = f"static void NAME({', '.join([*inputs, f'{y} *restrict y'])})"
    return f"{heading}\n{{\n{body}}}\n"


def _limits(limits: tuple[float, float, int]) -> str:
    low, high, zero = limits
    return f"{number(low)}, {number(high)}, {zero}"


def _sums(
    writer: Any, node: Node, x: str, shape: Shape, y: str, grid: Grid, made: Grid | None
) -> None:
    # a convolution; a linear layer is one over all pixels of its input
    weight, bias = whole_weights(node), node.weight("bias")
    a, (C, H, W) = node.attributes, image(shape)
    if node.op == "linear":
        weight = weight.reshape(len(weight), C, H, W)
        steps, gaps, top, left, groups, P, Q = (1, 1), (1, 1), 0, 0, 1, 1, 1
    else:
        s = conv2d.sizes_of(node, (C, H, W))
        steps, gaps, groups = a["stride"], a["dilation"], a["groups"]
        top, left, P, Q = s.top, s.left, s.P, s.Q
    K, each, R, S = weight.shape
    unit = 1.0 if made is None else made.scale
    scale = np.asarray(node.weight("weight_scale"), np.float64) * grid.scale / unit
    terms = np.stack([scale, np.zeros(K) if bias is None else bias / np.float64(unit)], axis=1)
    number_of = "(float)sum * t[2 * k] + t[2 * k + 1]"
    if made is None:
        result = number_of if a["clip"] is None else clip(writer, number_of, *a["clip"])
        place, kind = f"k * {P * Q} + p * {Q} + q", "float"
    else:
        result = f"byte_of({number_of}, {_limits(made.limits(a['clip']))})"
        place, kind = f"(p * {Q} + q) * {K} + k", "unsigned char"
    own = f" + k / {K // groups} * {each}" if groups > 1 else ""
    text = _function(
        "unsigned char", kind, f"""\
    for (int p = 0; p < {P}; p++)
    for (int q = 0; q < {Q}; q++)
    for (int k = 0; k < {K}; k++) {{
        int sum = 0;
        for (int r = 0; r < {R}; r++) {{
            const int h = p * {steps[0]} + r * {gaps[0]} - {top};
            if (h < 0 || h >= {H})
                continue;
            for (int s = 0; s < {S}; s++) {{
                const int v = q * {steps[1]} + s * {gaps[1]} - {left};
                if (v < 0 || v >= {W})
                    continue;
                const unsigned char *restrict u = x + (h * {W} + v) * {C}{own};
                const signed char *restrict m = w + ((k * {R} + r) * {S} + s) * {each};
                for (int c = 0; c < {each}; c++)
                    sum += (u[c] - {grid.zero_point}) * m[c];
            }}
        }}
        y[{place}] = {result};
    }}
""",
        "const signed char *restrict w", "const float *restrict t",
    )  # fmt: skip
    w = writer.constant("w", np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
    t = writer.constant("t", terms.astype(np.float32))
    writer.call(node.op, text, [x, y], x, w, t, y)


def _window(
    writer: Any, node: Node, x: str, shape: Shape, y: str, grid: Grid, made: Grid | None
) -> None:
    # maxima, or means if they get a grid of their own
    assert made is not None
    (C, H, W), s, a = image(shape), pool.sizes_of(node, shape), node.attributes
    if node.op == "max_pool":
        take, count, result = "if (u > sum) sum = u", "", "(unsigned char)sum"
    else:
        take = f"sum += u - {grid.zero_point}"
        whole = a["count_include_pad"]
        count = "" if whole else "count++;"
        by = f"{s.R * s.S}.0f" if whole else "(float)count"
        ratio = number(grid.scale / made.scale)
        result = f"byte_of((float)sum * {ratio} / {by}, {_limits(made.limits())})"
    counter = "        int count = 0;\n" if count else ""
    text = _function(
        "unsigned char", "unsigned char", f"""\
    for (int p = 0; p < {s.P}; p++)
    for (int q = 0; q < {s.Q}; q++)
    for (int c = 0; c < {C}; c++) {{
        int sum = 0;
{counter}        for (int r = 0; r < {s.R}; r++) {{
            const int h = p * {s.step_h} + r * {s.gap_h} - {s.top};
            if (h < 0 || h >= {H})
                continue;
            for (int t = 0; t < {s.S}; t++) {{
                const int v = q * {s.step_w} + t * {s.gap_w} - {s.left};
                if (v < 0 || v >= {W})
                    continue;
                const int u = x[(h * {W} + v) * {C} + c];
                {take};{count}
            }}
        }}
        y[(p * {s.Q} + q) * {C} + c] = {result};
    }}
""",
    )  # fmt: skip
    writer.call(node.op, text, [x, y])


def _add(writer: Any, node: Node, inputs: Sequence[tuple[str, Shape, Grid]], y: str) -> None:
    made = Grid(*node.attributes["quantize"])
    parts = [
        f"(float)({name}[i] - {grid.zero_point}) * {number(grid.scale / made.scale)}"
        for name, (_, _, grid) in zip(("x", "z"), inputs, strict=True)
    ]
    limits = _limits(made.limits(node.attributes["clip"]))
    text = _function(
        "unsigned char", "unsigned char", f"""\
    for (int i = 0; i < {math.prod(inputs[0][1])}; i++)
        y[i] = byte_of({' + '.join(parts)}, {limits});
""",
        "const unsigned char *restrict z",
    )  # fmt: skip
    names = [name for name, _, _ in inputs]
    writer.call("add", text, [*names, y], *names, y)
