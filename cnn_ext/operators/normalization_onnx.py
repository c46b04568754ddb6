"""Normalisations of ONNX models, put together from means and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..onnx.building import Builder, Operand, Value, said
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary
from .pool_onnx import over_axes


@reads("BatchNormalization")
def batch_normalization(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    scale, bias, mean, variance = (step.weight(i).astype(np.float64) for i in range(1, 5))
    if step.flag("training_mode") or not step.flag("spatial", 1):
        raise ValueError(
            "only the form for inference, with one scale for each channel, is supported"
        )
    if len(x.shape) < 2 or not (x.shape[1],) == scale.shape == bias.shape == mean.shape:
        raise ValueError(f"scale, bias, mean and variance do not fit {said(x.shape)}")
    factor = scale / np.sqrt(variance + step.number("epsilon", 1e-5))
    channels = (x.shape[1], *(1 for _ in x.shape[2:]))
    x = binary(build, "mul", x, factor.reshape(channels))
    return binary(build, "add", x, (bias - mean * factor).reshape(channels))


@reads("InstanceNormalization")
def instance_normalization(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image = build.image(x)
    y = normalized(build, x, _behind(build, x, 2), step.number("epsilon", 1e-5))
    return _scaled(build, y, step, (image[0], *(1 for _ in image[1:])))


@reads("GroupNormalization")
def group_normalization(build: Builder, step: Step) -> Operand:
    x, groups = step.value(0), step.attribute("num_groups", "i", 1)
    C, *rest = build.image(x)
    if groups < 1 or C % groups:
        raise ValueError(f"num_groups: expected a divisor of {C}, got {groups}")
    parts = build.reshape(x, (x.shape[0], groups, C // groups * math.prod(rest)))
    y = normalized(build, parts, _behind(build, parts, 2), step.number("epsilon", 1e-5))
    if step.opset < 21:  # a number for each group
        y = _scaled(build, y, step, (groups, 1))
        return build.reshape(y, x.shape)
    return _scaled(build, build.reshape(y, x.shape), step, (C, *(1 for _ in rest)))


@reads("LayerNormalization")
def layer_normalization(build: Builder, step: Step) -> tuple[Operand, ...]:
    x, axis = step.value(0), step.attribute("axis", "i", -1)
    axis += len(x.shape) if axis < 0 else 0
    y, *others = _parts(build, x, _behind(build, x, axis), step.number("epsilon", 1e-5))
    return _scaled(build, y, step, None), *others


@reads("LRN")
def local_response_normalization(build: Builder, step: Step) -> Operand:
    # x / (bias + alpha / size sum of squares of neighbouring channels)^beta
    x, size = step.value(0), step.attribute("size", "i", 1)
    C, *rest = build.image(x)
    if size < 1:
        raise ValueError(f"size: expected at least 1, got {size}")
    name = build.form(build.each(x, "square"), (1, C, math.prod(rest)))
    name = build.graph.add(
        "avg_pool", name, kernel=(size, 1), stride=1,
        padding=((size - 1) // 2, size // 2, 0, 0),
    )  # fmt: skip
    mean = Value(name, x.shape)
    mean = binary(build, "mul", mean, np.array(step.number("alpha", 1e-4)))
    mean = binary(build, "add", mean, np.array(step.number("bias", 1.0)))
    return binary(build, "mul", x, build.each(mean, "power", exponent=-step.number("beta", 0.75)))


def _behind(build: Builder, x: Value, axis: int) -> tuple[int, ...]:
    # this axis of the model and all behind it
    build.axes(x, (axis,))
    return build.axes(x, range(axis, len(x.shape)))


def normalized(build: Builder, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x - mean) / sqrt(variance + epsilon) over axes of each image."""
    return _parts(build, x, axes, epsilon)[0]


def _parts(
    build: Builder, x: Value, axes: Sequence[int], epsilon: float
) -> tuple[Value, Value, Value]:
    # what is normalised, the mean, and by what the difference from that is multiplied
    mean = over_axes(build, x, axes)
    centred = binary(build, "sub", x, mean)
    variance = over_axes(build, build.each(centred, "square"), axes)
    variance = binary(build, "add", variance, np.array(epsilon))
    factor = build.each(variance, "power", exponent=-0.5)
    return binary(build, "mul", centred, factor), mean, factor


def _scaled(build: Builder, y: Value, step: Step, shape: tuple[int, ...] | None) -> Value:
    # times input 1 plus input 2, as far as they are given
    for i, op in ((1, "mul"), (2, "add")):
        if step.given(i):
            weight = step.weight(i)
            y = binary(build, op, y, weight if shape is None else weight.reshape(shape))
    return y
