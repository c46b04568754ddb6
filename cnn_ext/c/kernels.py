"""The operators of a graph as C functions, written for one geometry each.

Every function here returns the text of a C function whose name is still ``NAME``; all sizes stand
in it as numbers, so that any compiler can unroll and vectorise it.  `after` is an expression of
``{v}``: the activations that are worked out on the way to memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph.node import Shape

Pair = tuple[int, int]
Image = tuple[int, int, int]
LONGEST = 2**21  # rows of a table, or numbers of a constant that is no layer's weight
Part = tuple[int, int, int]  # of outputs: the first, their number, how many are in a block

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

RESTRICT = """\
#ifdef __cplusplus
#define restrict __restrict
#endif
"""

HELPERS = {
    "at_least": "float v, float low) { return v < low ? low : v; }",  # NaN stays NaN
    "at_most": "float v, float high) { return v > high ? high : v; }",
    "leaky_relu": "float v, float slope) { return v > 0.0f ? v : v * slope; }",
    "sigmoid": "float v) { return 1.0f / (1.0f + expf(-v)); }",
}

GATHER = """\
static void gather(const float *const *from, const int (*run)[4], int runs, float *restrict y)
{
    /* a run: which source, where it begins there, step, length */
    for (int i = 0; i < runs; i++) {
        const float *x = from[run[i][0]] + run[i][1];
        for (int j = 0; j < run[i][3]; j++)
            *y++ = x[j * run[i][2]];
    }
}
"""


def function(parameters: Sequence[str], body: str) -> str:
    """A C function; all parameters but the last, ``y``, point to constants."""
    inputs = [f"const float *restrict {name}" for name in parameters]
    heading = f"static void NAME({', '.join([*inputs, 'float *restrict y'])})"
    return f"{heading}\n{{\n{body}}}\n"


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


def conv2d(
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


def conv2d_rows(
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


def linear(features: int, outputs: int, block: int, after: str) -> str:
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


def pool(
    x: Image, outputs: Image, kernel: Pair, stride: Pair,
    dilation: Pair, counts: tuple[list[int], list[int]] | None, after: str,
) -> str:  # fmt: skip
    """Maximum, or average by `counts` of rows and columns, in windows that lie within `x`."""
    (_, H, W), (C, P, Q), (R, S) = x, outputs, kernel
    tables, start, result = "", "0.0f", "m"
    take = "m += v;"
    if counts is None:
        start, take = "-INFINITY", "m = v > m || v != v ? v : m;"  # NaN stays
    elif len(set(counts[0])) == len(set(counts[1])) == 1:
        result = f"m / {counts[0][0] * counts[1][0]}.0f"
    else:
        for name, numbers in zip(("rows", "columns"), counts, strict=True):
            text = ", ".join(f"{number}.0f" for number in numbers)
            tables += f"    static const float {name}[] = {{{text}}};\n"
        result = "m / (rows[p] * columns[q])"
    return function(
        "x",
        f"""\
{tables}\
    for (int c = 0; c < {C}; c++, x += {H * W})
        for (int p = 0; p < {P}; p++, y += {Q})
            for (int q = 0; q < {Q}; q++) {{
                const float *u = x + p * {stride[0] * W} + q * {stride[1]};
                float m = {start};
                for (int r = 0; r < {R}; r++)
                    for (int s = 0; s < {S}; s++) {{
                        const float v = u[r * {dilation[0] * W} + s * {dilation[1]}];
                        {take}
                    }}
                y[q] = {after.format(v=result if result == "m" else f"({result})")};
            }}
""",
    )


def unary(count: int, after: str) -> str:
    """Activations alone."""
    return function(
        "x", f"    for (int i = 0; i < {count}; i++)\n        y[i] = {after.format(v='x[i]')};\n"
    )


def _merged(shape: Shape, operands: Sequence[Shape]) -> tuple[list[int], list[list[int]]]:
    """Axes of a broadcast, as few as will do, and the steps of each operand along them."""
    steps = []
    for operand in operands:
        wide = (1,) * (len(shape) - len(operand)) + tuple(operand)
        steps.append([math.prod(wide[i + 1 :]) if n > 1 else 0 for i, n in enumerate(wide)])
    sizes: list[int] = []
    columns: list[list[int]] = []
    for size, column in zip(shape, zip(*steps, strict=True), strict=True):
        if sizes and columns[-1] == [step * size for step in column]:
            sizes[-1] *= size
            columns[-1] = list(column)
        elif size > 1:
            sizes.append(size)
            columns.append(list(column))
    return sizes, [list(row) for row in zip(*columns, strict=True)] or [[], []]


def binary(sign: str, shape: Shape, operands: Sequence[Shape], after: str) -> str:
    """``a + b`` or ``a * b`` of operands that broadcast to `shape`."""
    sizes, steps = _merged(shape, operands)
    body = ""
    for axis, size in enumerate(sizes):
        body += f"{'    ' * (axis + 1)}for (int i{axis} = 0; i{axis} < {size}; i{axis}++)\n"
    places = [
        " + ".join(f"i{axis} * {step}" for axis, step in enumerate(row) if step) or "0"
        for row in (*steps, [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))])
    ]
    value = after.format(v=f"(a[{places[0]}] {sign} b[{places[1]}])")
    return function("ab", f"{body}{'    ' * (len(sizes) + 1)}y[{places[2]}] = {value};\n")


def softmax(classes: int, pixels: int, logarithm: bool) -> str:
    """Softmax over the first axis, or its logarithm."""
    at = f"[k * {pixels} + i]"
    whole, result = "sum", f"y{at} / whole"
    if logarithm:
        whole, result = "logf(sum)", f"x{at} - most - whole"
    return function(
        "x",
        f"""\
    for (int i = 0; i < {pixels}; i++) {{
        float most = x[i], sum = 0.0f;
        for (int k = 1; k < {classes}; k++)
            most = x{at} > most ? x{at} : most;
        for (int k = 0; k < {classes}; k++) {{
            y{at} = expf(x{at} - most);
            sum += y{at};
        }}
        const float whole = {whole};
        for (int k = 0; k < {classes}; k++)
            y{at} = {result};
    }}
""",
    )


def check_rows(count: int) -> None:
    """Raise ValueError if a table that no weight stands for would be too long."""
    if count > LONGEST:
        raise ValueError(f"a table in a C file may have {LONGEST} rows, this needs up to {count}")


def runs(index: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """An index as runs (source, start, step, length); the last source is what fills."""
    flat = index.ravel().astype(np.int64)
    starts = np.cumsum([0, *sizes])
    source = np.where(flat < 0, len(sizes), np.searchsorted(starts, flat, "right") - 1)
    place = np.where(flat < 0, 0, flat - starts[source])
    step = np.diff(place)
    same = np.diff(source) == 0
    changes = np.flatnonzero((step[1:] != step[:-1]) | ~same[1:] | ~same[:-1]) + 1
    check_rows(len(changes) + 1)
    ends = iter([*changes.tolist(), len(step)])
    found, first, end = [], 0, next(ends)
    while first < len(flat):
        while end <= first < len(step):
            end = next(ends)
        if first < len(step) and same[first]:
            found.append((source[first], place[first], step[first], end - first + 1))
            first = end + 1
        else:
            found.append((source[first], place[first], 0, 1))
            first += 1
    return np.array(found, np.int64)


def classify(name: str, outputs: int, meaning: str) -> str:
    """The function that gives the class; `meaning` says what the outputs are, see `Task`."""
    sigmoid = "1.0f / (1.0f + expf(-y[best]))"
    probability = {
        "sigmoid": sigmoid, "probabilities": "y[best]", "log_probabilities": "expf(y[best])"
    }.get(meaning)  # fmt: skip
    if outputs == 1:
        one = probability or sigmoid
        work = f"""\
    const float one = {one.replace("best", "0")};
    const int best = one > 0.5f;
    if (probability)
        *probability = best ? one : 1.0f - one;
"""
    else:
        work = f"""\
    int best = 0;
    for (int k = 1; k < {outputs}; k++)
        if (y[k] > y[best])
            best = k;
    if (probability) {{
"""
        if probability is None:
            work += f"""\
        float sum = 0.0f;
        for (int k = 0; k < {outputs}; k++)
            sum += expf(y[k] - y[best]);
"""
        work += f"        *probability = {probability or '1.0f / sum'};\n    }}\n"
    return f"""\
int {name}_classify(const float *input, float *probability)
{{
    static float y[{outputs}];
    {name}_predict(input, y);
{work}\
    return best;
}}
"""


def by(shape: Shape) -> str:
    """A shape in words."""
    return " x ".join(map(str, shape)) or "1"


def is_vector(shape: Shape) -> bool:
    """Whether an output is one number for each class."""
    return shape[0] == math.prod(shape)


def header(name: str, shape: Shape, outputs: Shape, about: str, classes: bool) -> str:
    """The header file; `classes` says whether there is a function that gives the class."""
    upper = name.upper()
    sizes = {"INPUTS": math.prod(shape), "OUTPUTS": math.prod(outputs)}
    if len(shape) == 3:
        sizes |= dict(zip(("CHANNELS", "HEIGHT", "WIDTH"), shape, strict=True))
    defines = "".join(f"#define {upper}_{key} {size}\n" for key, size in sizes.items())
    classify = f"""
/* The class of one image, and its probability unless that pointer is null. */
int {name}_classify(const float *input, float *probability);
"""
    return f"""\
{about}\
#ifndef {upper}_H
#define {upper}_H

{defines}
#ifdef __cplusplus
extern "C" {{
#endif

/* Outputs of one image, whose numbers come channel by channel and row by row.  The two arrays may
   not overlap.  Work is kept in static memory: one call at a time. */
void {name}_predict(const float *input, float *output);
{classify if classes else ""}
#ifdef __cplusplus
}}
#endif
#endif
"""
