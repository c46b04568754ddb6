"""What stands around the operators in a C file, and its header."""

from __future__ import annotations

import math

from ..graph.node import Shape

RESTRICT = """\
#ifdef __cplusplus
#define restrict __restrict
#endif
"""


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
