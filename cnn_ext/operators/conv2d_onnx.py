"""Convolutions of ONNX models, also transposed ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph.node import Shape
from ..onnx.building import Builder, Operand, Value, said
from ..onnx.step import Step, reads

Pair = tuple[int, int]


class Window(NamedTuple):
    """How windows lie over images of (C, H, W); padding is top, bottom, left, right."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[int, int, int, int]


def window_of(step: Step, image: Shape, kernel: tuple[int, ...]) -> Window:
    """The attributes of a node with windows; a sequence (C, L) is an image of one row."""
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


def rows(image: Shape) -> Shape:
    """A sequence (C, L) as an image of one row."""
    return (image[0], 1, image[1]) if len(image) == 2 else image


def result(build: Builder, name: str, x: Value, image: Shape) -> Value:
    """The value of a node that took `rows(image)`."""
    C, P, Q = build.graph.shapes[name]
    return Value(name, (x.shape[0], C, Q) if len(image) == 2 else (x.shape[0], C, P, Q))


@reads("Conv")
def conv(build: Builder, step: Step) -> Operand:
    x, weight = step.value(0), step.weight(1)
    image = build.image(x)
    build.need(weight.size)
    if step.attribute("kernel_shape", "ints", weight.shape[2:]) != weight.shape[2:]:
        raise ValueError(f"kernel_shape is not that of the weight, {weight.shape}")
    window = window_of(step, image, weight.shape[2:])
    weights = {"weight": weight.reshape(*weight.shape[:2], *window.kernel)}
    if step.given(2):
        weights["bias"] = step.weight(2)
    name = build.graph.add(
        "conv2d", build.form(x, rows(image)), weights=weights, stride=window.stride,
        padding=window.padding, dilation=window.dilation, groups=step.attribute("group", "i", 1),
    )  # fmt: skip
    return result(build, name, x, image)


@reads("ConvTranspose")
def conv_transpose(build: Builder, step: Step) -> Operand:
    # the convolution with turned kernels of the image with zeros between its pixels
    x, weight = step.value(0), step.weight(1)
    image, groups = build.image(x), step.attribute("group", "i", 1)
    sizes, kernel = image[1:], weight.shape[2:]
    if len(sizes) not in (1, 2) or len(kernel) != len(sizes) or weight.shape[0] != image[0]:
        raise ValueError(f"a weight of {weight.shape} over {said(image)} is not supported")
    if step.attribute("kernel_shape", "ints", kernel) != kernel:
        raise ValueError(f"kernel_shape is not that of the weight, {weight.shape}")
    if groups < 1 or image[0] % groups:
        raise ValueError(f"group: expected a divisor of {image[0]}, got {groups}")
    ones = (1,) * len(sizes)
    gaps, strides = step.sizes("dilations", ones), step.sizes("strides", ones)
    if min(kernel + gaps + strides) < 1:
        raise ValueError(f"expected sizes of at least 1, got {kernel}, {gaps}, {strides}")
    places = []
    for size, taps, gap, stride, (before, count) in zip(
        sizes, kernel, gaps, strides, _transposed(step, sizes, kernel, strides, gaps), strict=True
    ):
        reach = gap * (taps - 1)
        if count < 1:
            raise ValueError(f"a kernel of {kernel} with such padding leaves nothing")
        build.need(count + reach)
        place = np.arange(count + reach) - (reach - before)
        inside = (place >= 0) & (place % stride == 0) & (place // stride < size)
        places.append(np.where(inside, place // stride, -1))
    if len(sizes) == 1:
        places, kernel, gaps = [np.zeros(1, np.intp), *places], (1, *kernel), (1, *gaps)
    C, (H, W) = image[0], rows(image)[1:]
    build.need(2 * C * len(places[0]) * len(places[1]) + 2 * weight.size)
    h, w = places[0][:, None], places[1]
    plane = np.where((h < 0) | (w < 0), -1, h * W + w)
    index = np.where(plane < 0, -1, plane + (np.arange(C) * H * W)[:, None, None])
    spread = build.graph.add("gather", build.form(x, (C, H, W)), index=index, fill=0.0)
    turned = weight.reshape(groups, C // groups, -1, *kernel)[..., ::-1, ::-1].swapaxes(1, 2)
    weights = {"weight": turned.reshape(-1, C // groups, *kernel)}
    if step.given(2):
        weights["bias"] = step.weight(2)
    name = build.graph.add("conv2d", spread, weights=weights, dilation=gaps, groups=groups)
    return result(build, name, x, image)


def _transposed(
    step: Step, sizes: Shape, kernel: Shape, strides: Shape, gaps: Shape
) -> list[tuple[int, int]]:
    # for each axis the padding in front, and the size of the output
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    more, how = step.sizes("output_padding", zeros), step.attribute("auto_pad", "s", "NOTSET")
    pads, asked = step.sizes("pads", zeros + zeros), step.attribute("output_shape", "ints", None)
    axes = zip(sizes, kernel, strides, gaps, more, strict=True)
    whole = [(n - 1) * s + (k - 1) * d + 1 + m for n, k, s, d, m in axes]
    if how in ("SAME_UPPER", "SAME_LOWER") and asked is None:
        asked = tuple(n * s for n, s in zip(sizes, strides, strict=True))
    elif how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad: {how!r} is not known")
    if asked is None:
        around = zip(whole, pads, pads[len(sizes) :], strict=False)
        return [(before, size - before - after) for size, before, after in around]
    if len(asked) != len(ones):
        raise ValueError(f"output_shape: expected {len(ones)} sizes, got {asked}")
    found = []
    for size, count in zip(whole, asked, strict=True):
        over = max(size - count, 0)
        found.append((over // 2 if how == "SAME_UPPER" else over - over // 2, count))
    return found
