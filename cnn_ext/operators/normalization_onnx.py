"""Normalisations of ONNX models, that over the batch as in inference."""

from __future__ import annotations

import math

import numpy as np

from ..onnx.building import Builder, Operand, Value, said
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary
from .pool_onnx import over_axes
from .softmax_onnx import along


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
    C = build.image(step.value(0))[0]
    return _grouped(build, step, C, C)


@reads("GroupNormalization")
def group_normalization(build: Builder, step: Step) -> Operand:
    C, groups = build.image(step.value(0))[0], step.attribute("num_groups", "i", 1)
    if groups < 1 or C % groups:
        raise ValueError(f"num_groups: expected a divisor of {C}, got {groups}")
    return _grouped(build, step, groups, groups if step.opset < 21 else C)


def _grouped(build: Builder, step: Step, groups: int, scales: int) -> Value:
    # with one scale and one bias for each of `scales` parts of the channels
    x = step.value(0)
    C, *rest = build.image(x)
    form = build.graph.shapes[x.name]  # it may have more channels, of which the model has made one
    if x.table is not None or len(form) != 3 or form[0] % C:
        form = C, 1, math.prod(rest)
    build.need(2 * form[0])
    weights = {
        key: np.broadcast_to(step.weight(i).reshape(-1, 1), (scales, form[0] // scales)).reshape(-1)
        for i, key in enumerate(("weight", "bias"), 1)
    }
    name = build.graph.add(
        "group_norm", build.form(x, form), weights=weights, groups=groups,
        eps=step.number("epsilon", 1e-5),
    )  # fmt: skip
    return Value(name, x.shape)


@reads("LayerNormalization")
def layer_normalization(build: Builder, step: Step) -> tuple[Operand, ...]:
    x, axis, eps = step.value(0), step.attribute("axis", "i", -1), step.number("epsilon", 1e-5)
    axis += len(x.shape) if axis < 0 else 0
    build.axes(x, (axis,))
    axes = build.axes(x, range(axis, len(x.shape)))
    shape, first = build.inner(x), axes[0]
    count = math.prod(shape[first:])
    build.need(2 * count)
    weights = {
        key: np.broadcast_to(step.weight(i), shape[first:]).reshape(-1)
        for i, key in enumerate(("weight", "bias"), 1)
        if step.given(i)
    }
    y = build.reshape(x, build.outer((*shape[:first], count)))
    y = along(build, y, first, "group_norm", weights=weights, groups=1, eps=eps, across=True)
    y = build.reshape(y, x.shape)
    if step.outputs == 1:
        return (y,)
    mean = over_axes(build, x, axes)
    variance = over_axes(build, build.each(binary(build, "sub", x, mean), "square"), axes)
    variance = binary(build, "add", variance, np.array(eps))
    return y, mean, build.each(variance, "power", exponent=-0.5)


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
