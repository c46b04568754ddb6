"""Parametric ReLU of ONNX models."""

from __future__ import annotations

import numpy as np

from ..onnx.building import Builder, Operand, image_shape
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary


@reads("PRelu")
def prelu(build: Builder, step: Step) -> Operand:
    x, slope = step.value(0), step.operand(1)
    if isinstance(slope, np.ndarray) and slope.ndim <= len(x.shape):
        slope = step.weight(1)
        if slope.size == 1:
            return build.each(x, "prelu", {"slope": slope.reshape(1)})
        whole = (1,) * (len(x.shape) - slope.ndim) + slope.shape
        shape = image_shape(build.inner(x))
        channels = len(x.shape) > 1 and slope.size == whole[1] == x.shape[1]
        if channels and shape[0] == x.shape[1]:
            return build.each(x, "prelu", {"slope": slope.reshape(-1)})
    below = binary(build, "mul", build.each(x, "clip", high=0.0), slope)
    return binary(build, "add", build.each(x, "clip", low=0.0), below)
