"""Softmax of ONNX models along any axis, and ArgMax at their end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..onnx.building import Builder, Classes, Operand, Value, said
from ..onnx.step import Step, reads


@reads("Softmax", "LogSoftmax")
def softmax(build: Builder, step: Step) -> Operand:
    x, op = step.value(0), "softmax" if step.op == "Softmax" else "log_softmax"
    if step.opset >= 13:
        (axis,) = build.axes(x, (step.attribute("axis", "i", -1),))
        return along(build, x, axis, op)
    # over all axes from one on
    axis = step.attribute("axis", "i", 1)
    axis += len(x.shape) if axis < 0 else 0
    build.axes(x, (axis,))
    skip = int(build.batched)
    rows = build.reshape(x, (*x.shape[:axis], math.prod(x.shape[axis:])))
    return build.reshape(along(build, rows, axis - skip, op), x.shape)


@reads("ArgMax")
def arg_max(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    (axis,) = build.axes(x, (step.attribute("axis", "i", 0),))
    if axis + build.batched == 0 or len(build.image(x)) > 3:
        raise ValueError(f"expected classes along an axis of each image, not of {said(x.shape)}")
    if step.flag("select_last_index"):
        raise ValueError("the last of several that are the greatest is not supported")
    first = 1 - build.batched
    scores = build.moved(x, lambda table: np.moveaxis(table, axis, first))
    return Classes(scores.name, scores.shape, scores.table)


def along(build: Builder, x: Value, axis: int, op: str, **options: Any) -> Value:
    """An operator that works over the channels, over this axis of each image."""
    shape = build.inner(x)
    moved = build.moved(x, lambda table: np.moveaxis(table, axis, 0)) if axis else x
    shape = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    rest = math.prod(shape[1:])
    form = shape if len(shape) == 3 else (shape[0], 1, rest) if rest > 1 else shape[:1]
    y = Value(build.graph.add(op, build.form(moved, form), **options), build.outer(shape))
    return build.moved(y, lambda table: np.moveaxis(table, 0, axis)) if axis else y
