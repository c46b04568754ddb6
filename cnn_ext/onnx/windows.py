"""Convolutions and pooling of ONNX models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..graph.node import Shape
from .arithmetic import binary
from .building import Builder, Operand, Value, said
from .step import Step

Pair = tuple[int, int]


class Window(NamedTuple):
    """How windows lie over images of (C, H, W); padding is top, bottom, left, right."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[int, int, int, int]


def _window(step: Step, image: Shape, kernel: tuple[int, ...]) -> Window:
    # a sequence (C, L) is an image of one row
    sizes = image[1:]
    if len(sizes) not in (1, 2) or len(kernel) != len(sizes):
        raise ValueError(f"a window of {len(kernel)} axes over {said(image)} is not supported")
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    stride, dilation = step.sizes("strides", ones), step.sizes("dilations", ones)
    if min(kernel + stride + dilation) < 1:
        raise ValueError(f"expected sizes of at least 1, got {kernel}, {stride}, {dilation}")
    before = after = zeros
    how = step.attribute("auto_pad", "s", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        windows = zip(sizes, kernel, stride, dilation, strict=True)
        whole = [(-(-n // s) - 1) * s + (k - 1) * d + 1 - n for n, k, s, d in windows]
        if min(whole) < -1:
            raise ValueError(f"auto_pad: programs disagree about windows of {kernel} at {stride}")
        whole = [max(n, 0) for n in whole]
        before, after = tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)
        if how == "SAME_LOWER":
            before, after = after, before
    elif how == "NOTSET":
        pads = step.sizes("pads", zeros + zeros)
        before, after = pads[: len(sizes)], pads[len(sizes) :]
    elif how != "VALID":
        raise ValueError(f"auto_pad: {how!r} is not known")
    if len(sizes) == 1:
        kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
        before, after = (0, *before), (0, *after)
    return Window(
        (kernel[0], kernel[1]), (stride[0], stride[1]), (dilation[0], dilation[1]),
        (before[0], after[0], before[1], after[1]),
    )  # fmt: skip


def _rows(image: Shape) -> Shape:
    return (image[0], 1, image[1]) if len(image) == 2 else image


def _result(build: Builder, name: str, x: Value, image: Shape) -> Value:
    C, P, Q = build.graph.shapes[name]
    return Value(name, (x.shape[0], C, Q) if len(image) == 2 else (x.shape[0], C, P, Q))


def conv(build: Builder, step: Step) -> Operand:
    x, weight = step.value(0), step.weight(1)
    image = build.image(x)
    build.need(weight.size)
    if step.attribute("kernel_shape", "ints", weight.shape[2:]) != weight.shape[2:]:
        raise ValueError(f"kernel_shape is not that of the weight, {weight.shape}")
    window = _window(step, image, weight.shape[2:])
    weights = {"weight": weight.reshape(*weight.shape[:2], *window.kernel)}
    if step.given(2):
        weights["bias"] = step.weight(2)
    name = build.graph.add(
        "conv2d", build.form(x, _rows(image)), weights=weights, stride=window.stride,
        padding=window.padding, dilation=window.dilation, groups=step.attribute("group", "i", 1),
    )  # fmt: skip
    return _result(build, name, x, image)


def max_pool(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image = build.image(x)
    window = _window(step, image, step.attribute("kernel_shape", "ints", ()))
    name = build.graph.add(
        "max_pool", build.form(x, _rows(image)), ceil_mode=step.flag("ceil_mode"),
        **window._asdict(),
    )  # fmt: skip
    return _result(build, name, x, image)


def average_pool(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    image = build.image(x)
    window = _window(step, image, step.attribute("kernel_shape", "ints", ()))
    ceil_mode, count_include_pad = step.flag("ceil_mode"), step.flag("count_include_pad")
    if window.dilation != (1, 1):
        return _dilated_average(build, x, image, window, ceil_mode, count_include_pad)
    name = build.graph.add(
        "avg_pool", build.form(x, _rows(image)), kernel=window.kernel, stride=window.stride,
        padding=window.padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
    )  # fmt: skip
    return _result(build, name, x, image)


def _dilated_average(
    build: Builder, x: Value, image: Shape, window: Window, ceil_mode: bool, count_include_pad: bool
) -> Operand:
    # sums by a convolution of ones, divided by how many pixels each window sees
    C, H, W = _rows(image)
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
    return binary(build, "mul", _result(build, name, x, image), shares)


def global_pool(op: str) -> Callable[[Builder, Step], Operand]:
    def add(build: Builder, step: Step) -> Operand:
        x = step.value(0)
        image = build.image(x)
        if len(image) < 2:
            raise ValueError(f"expected images, got {said(x.shape)}")
        C, H, W = image if len(image) == 3 else (image[0], 1, math.prod(image[1:]))
        more: dict[str, Any] = (
            {"dilation": (1, 1)} if op == "max_pool" else {"count_include_pad": True}
        )
        name = build.graph.add(
            op, build.form(x, (C, H, W)), kernel=(H, W), stride=(H, W), padding=(0, 0, 0, 0),
            ceil_mode=False, **more,
        )  # fmt: skip
        return Value(name, (x.shape[0], C, *(1 for _ in image[1:])))

    return add
