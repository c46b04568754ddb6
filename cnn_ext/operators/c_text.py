"""Words of C for the texts of the operators.

The text of a function holds all sizes as numbers, so that any compiler can unroll and vectorise it.
`after` is everywhere an expression of ``{v}``: the elementwise functions that are worked out on the
way to memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Image = tuple[int, int, int]
LONGEST = 2**21  # rows of a table, or numbers of a constant that is no layer's weight


def function(parameters: Sequence[str], body: str) -> str:
    """A C function of the name ``NAME``; all parameters but the last, ``y``, point to constants."""
    inputs = [f"const float *restrict {name}" for name in parameters]
    heading = f"static void NAME({', '.join([*inputs, 'float *restrict y'])})"
    return f"{heading}\n{{\n{body}}}\n"


def pad(x: Image, top: int, left: int, H: int, W: int, fill: str) -> str:
    """A larger image (C, H, W) with `x` in it."""
    C, rows, columns = x
    return function(
        "x",
        f"""\
    for (int i = 0; i < {C * H * W}; i++)
        y[i] = {fill};
    for (int c = 0; c < {C}; c++)
        for (int h = 0; h < {rows}; h++)
            for (int w = 0; w < {columns}; w++)
                y[(c * {H} + h + {top}) * {W} + w + {left}] = x[(c * {rows} + h) * {columns} + w];
""",
    )


def unary(count: int, after: str) -> str:
    """Elementwise functions alone."""
    return function(
        "x", f"    for (int i = 0; i < {count}; i++)\n        y[i] = {after.format(v='x[i]')};\n"
    )


def check_rows(count: int) -> None:
    """Raise ValueError if a table that no weight stands for would be too long."""
    if count > LONGEST:
        raise ValueError(f"a table in a C file may have {LONGEST} rows, this needs up to {count}")


def clip(writer: Any, v: str, low: float, high: float) -> str:
    """An expression for the number of an expression within bounds; NaN stays NaN."""
    bounds = (("at_least", "<", low, -math.inf), ("at_most", ">", high, math.inf))
    for name, sign, bound, none in bounds:
        if bound != none:
            writer.define(f"{name}(float v, float bound)", f"v {sign} bound ? bound : v")
            v = f"{name}({v}, {number(bound)})"
    return v


def at(name: str, offset: int) -> str:
    """A place in an array."""
    return f"{name} + {offset}" if offset else name


def number(value: float) -> str:
    """A number as a constant of float32.

    Raises
    ------
    ValueError
        If it is NaN.
    """
    if math.isnan(value):
        raise ValueError("NaN among the attributes")
    with np.errstate(over="ignore"):
        rounded = np.float32(value)
    if np.isinf(rounded):
        return "INFINITY" if rounded > 0 else "-INFINITY"
    return f"{rounded!s}f"
