"""Functions of single numbers of ONNX models."""

from __future__ import annotations

import math

import numpy as np

from ..graph.operator import OPERATORS
from ..onnx.building import Builder, Operand
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary
from .elementwise import Elementwise

# those that are the same in both
SAME = {
    operator.written: name
    for name, operator in OPERATORS.items()
    if isinstance(operator, Elementwise)
    and isinstance(operator.written, str)
    and not operator.attributes
} | {"Mish": "mish"}  # which files of older operators spell out


@reads(*SAME)
def same(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), SAME[step.op])


@reads("Relu")
def relu(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), "clip", low=0.0)


@reads("Clip")
def clip(build: Builder, step: Step) -> Operand:
    bounds = []
    for i, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        if step.opset < 11:
            bounds.append(step.number(name, default))
        else:
            bounds.append(float(step.weight(i).reshape(())) if step.given(i) else default)
    if any(map(math.isnan, bounds)):
        raise ValueError("min and max should be numbers")
    return build.each(step.value(0), "clip", low=bounds[0], high=bounds[1])


@reads("LeakyRelu")
def leaky_relu(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), "leaky_relu", negative_slope=step.number("alpha", 0.01))


@reads("Elu")
def elu(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), "elu", alpha=step.number("alpha", 1.0))


@reads("Celu")
def celu(build: Builder, step: Step) -> Operand:
    x, alpha = step.value(0), step.number("alpha", 1.0)
    if not alpha:
        raise ValueError("alpha is 0")
    if alpha == 1:
        return build.each(x, "elu", alpha=1.0)
    y = build.each(binary(build, "mul", x, np.array(1 / alpha)), "elu", alpha=1.0)
    return binary(build, "mul", y, np.array(alpha))


@reads("Selu")
def selu(build: Builder, step: Step) -> Operand:
    alpha, gamma = step.number("alpha", 1.67326319), step.number("gamma", 1.05070102)
    if abs(alpha - 1.67326319) < 1e-4 and abs(gamma - 1.05070102) < 1e-4:
        return build.each(step.value(0), "selu")
    y = build.each(step.value(0), "elu", alpha=alpha)
    return binary(build, "mul", y, np.array(gamma))


@reads("HardSigmoid")
def hard_sigmoid(build: Builder, step: Step) -> Operand:
    alpha, beta = step.number("alpha", 0.2), step.number("beta", 0.5)
    return build.each(step.value(0), "hardsigmoid", alpha=alpha, beta=beta)


@reads("Softplus")
def softplus(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), "softplus")


@reads("Gelu")
def gelu(build: Builder, step: Step) -> Operand:
    how = step.attribute("approximate", "s", "none")
    if how not in ("none", "tanh"):
        raise ValueError(f"approximate: {how!r} is not known")
    return build.each(step.value(0), "gelu" if how == "none" else "gelu_tanh")


@reads("Swish")
def swish(build: Builder, step: Step) -> Operand:
    x, alpha = step.value(0), step.number("alpha", 1.0)
    if alpha == 1:
        return build.each(x, "silu")
    return binary(build, "mul", x, build.each(binary(build, "mul", x, np.array(alpha)), "sigmoid"))
