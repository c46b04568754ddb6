"""Maxima and means of ONNX models: over axes, and of windows of images and sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph.node import Shape
from ..onnx.building import Builder, Operand, Value, said
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary
from .conv2d_onnx import Window, result, rows, window_of


@reads("MaxPool")
def max_pool(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image = build.image(x)
    window = window_of(step, image, step.attribute("kernel_shape", "ints", ()))
    name = build.graph.add(
        "max_pool", build.form(x, rows(image)), ceil_mode=step.flag("ceil_mode"),
        **window._asdict(),
    )  # fmt: skip
    return result(build, name, x, image)


@reads("AveragePool")
def average_pool(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image, kernel = build.image(x), step.attribute("kernel_shape", "ints", ())
    if len(image) == 4 and kernel[1:] == (1, 1):
        return _first_of_three(build, step, x, kernel[0])
    window = window_of(step, image, kernel)
    ceil_mode, count_include_pad = step.flag("ceil_mode"), step.flag("count_include_pad")
    if window.dilation != (1, 1):
        return _dilated_average(build, x, image, window, ceil_mode, count_include_pad)
    name = build.graph.add(
        "avg_pool", build.form(x, rows(image)), kernel=window.kernel, stride=window.stride,
        padding=window.padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
    )  # fmt: skip
    return result(build, name, x, image)


def _first_of_three(build: Builder, step: Step, x: Value, kernel: int) -> Operand:
    # windows along the first of three axes, as PyTorch writes what neighbouring channels do
    C, D, H, W = build.image(x)
    pads, (stride, *others) = step.sizes("pads", (0,) * 6), step.sizes("strides", (1, 1, 1))
    if step.attribute("auto_pad", "s", "NOTSET") != "NOTSET" or others != [1, 1]:
        raise ValueError("windows of three axes are not supported")
    if any(pads[1:3] + pads[4:]) or step.sizes("dilations", (1, 1, 1)) != (1, 1, 1):
        raise ValueError("windows of three axes are not supported")
    name = build.graph.add(
        "avg_pool", build.form(x, (C, D, H * W)), kernel=(kernel, 1), stride=(stride, 1),
        padding=(pads[0], pads[3], 0, 0), ceil_mode=step.flag("ceil_mode"),
        count_include_pad=step.flag("count_include_pad"),
    )  # fmt: skip
    return Value(name, (x.shape[0], C, build.graph.shapes[name][1], H, W))


def _dilated_average(
    build: Builder, x: Value, image: Shape, window: Window, ceil_mode: bool, count_include_pad: bool
) -> Operand:
    # sums by a convolution of ones, divided by how many pixels each window sees
    C, H, W = rows(image)
    kernel, stride, gaps, (top, bottom, left, right) = window
    more = [0, 0]  # padding that is never counted, for the last windows if they hang over
    seen = []
    for axis, (size, before, after) in enumerate(((H, top, bottom), (W, left, right))):
        span = (kernel[axis] - 1) * gaps[axis] + 1
        spare = size + before + after - span
        count = (-(-spare // stride[axis]) if ceil_mode else spare // stride[axis]) + 1
        if count < 1:
            raise ValueError(f"a window of {kernel} with dilation {gaps} does not fit")
        if ceil_mode and (count - 1) * stride[axis] >= size + before:
            count -= 1
        more[axis] = max((count - 1) * stride[axis] - spare, 0)
        build.need(count * kernel[axis])
        at = np.arange(count)[:, None] * stride[axis] + np.arange(kernel[axis]) * gaps[axis]
        first, end = (0, size + before + after) if count_include_pad else (before, before + size)
        seen.append(((at >= first) & (at < end)).sum(axis=1))
    build.need(seen[0].size * seen[1].size + C * kernel[0] * kernel[1])
    counts = seen[0][:, None] * seen[1]
    if not counts.all():
        raise ValueError("a window that sees no pixel has no mean")
    padding = top, bottom + more[0], left, right + more[1]
    name = build.graph.add(
        "conv2d", build.form(x, (C, H, W)), weights={"weight": np.ones((C, 1, *kernel))},
        stride=stride, padding=padding, dilation=gaps, groups=C,
    )  # fmt: skip
    shares = 1 / (counts[0] if len(image) == 2 else counts)
    return binary(build, "mul", result(build, name, x, image), shares)


@reads("GlobalMaxPool", "GlobalAveragePool")
def global_pool(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image = build.image(x)
    if len(image) < 2:
        raise ValueError(f"expected images, got {said(x.shape)}")
    C, H, W = image if len(image) == 3 else (image[0], 1, math.prod(image[1:]))
    op = "max_pool" if step.op == "GlobalMaxPool" else "avg_pool"
    name = build.graph.add(op, build.form(x, (C, H, W)), kernel=(H, W))
    return Value(name, (x.shape[0], C, *(1 for _ in image[1:])))


@reads("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
       "ReduceSumSquare", "ReduceLogSumExp")  # fmt: skip
def reduce(build: Builder, step: Step) -> Operand:
    x, op = step.value(0), step.op
    asked = step.integers(1, "axes", since=13 if op == "ReduceSum" else 18)
    if not asked and step.flag("noop_with_empty_axes"):
        if op not in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"):
            raise ValueError("functions of single numbers by this operator are not supported")
        return x
    axes = tuple(sorted(build.axes(x, asked or range(len(x.shape)))))
    largest = None
    if op == "ReduceLogSumExp":  # no exponential above 1
        largest = over_axes(build, x, axes, "max_pool")
        x = build.each(binary(build, "sub", x, largest), "exp")
    if op in ("ReduceL2", "ReduceSumSquare"):
        x = build.each(x, "square")
    elif op == "ReduceL1":
        x = build.each(x, "abs")
    elif op == "ReduceMin":
        x = build.each(x, "neg")
    y = over_axes(build, x, axes, "max_pool" if op in ("ReduceMax", "ReduceMin") else "avg_pool")
    if op == "ReduceMin":
        y = build.each(y, "neg")
    elif op not in ("ReduceMean", "ReduceMax"):
        count = math.prod(build.inner(x)[axis] for axis in axes)
        y = binary(build, "mul", y, np.array(float(count)))
    if op == "ReduceL2":
        y = build.each(y, "sqrt")
    if largest is not None:
        y = binary(build, "add", build.each(y, "log"), largest)
    if step.flag("keepdims", 1):
        return y
    shape = build.inner(y)
    return build.reshape(y, build.outer([n for i, n in enumerate(shape) if i not in axes]))


def over_axes(build: Builder, x: Value, axes: Sequence[int], op: str = "avg_pool") -> Value:
    """The mean or the maximum over axes of each image, which stay with a size of 1."""
    shape = build.inner(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*kept, *axes]
    if order != sorted(order):
        x = build.moved(x, lambda table: table.transpose(order))
    rest = math.prod(shape[axis] for axis in kept)
    kernel = tuple(shape[axis] for axis in axes)
    H, W = kernel if len(kernel) == 2 else (1, math.prod(kernel))
    name = build.graph.add(op, build.form(x, (rest, H, W)), kernel=(H, W))
    return Value(name, build.outer([1 if i in axes else size for i, size in enumerate(shape)]))
