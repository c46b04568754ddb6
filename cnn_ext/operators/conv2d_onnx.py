"""Convolutions of ONNX models over images and sequences (N, C, L), with constant weights."""

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


def _weights(build: Builder, step: Step) -> dict[str, np.ndarray]:
    # weight and bias, the kernel of a sequence as one row
    weight = step.weight(1)
    build.need(weight.size)
    if step.attribute("kernel_shape", "ints", weight.shape[2:]) != weight.shape[2:]:
        raise ValueError(f"kernel_shape is not that of the weight, {weight.shape}")
    weights = {"weight": weight[:, :, None] if weight.ndim == 3 else weight}
    return weights | {"bias": step.weight(2)} if step.given(2) else weights


@reads("Conv")
def conv(build: Builder, step: Step) -> Operand:
    x, weights = step.value(0), _weights(build, step)
    image = build.image(x)
    window = window_of(step, image, step.weight(1).shape[2:])
    name = build.graph.add(
        "conv2d", build.form(x, rows(image)), weights=weights, stride=window.stride,
        padding=window.padding, dilation=window.dilation, groups=step.attribute("group", "i", 1),
    )  # fmt: skip
    return result(build, name, x, image)


@reads("ConvTranspose")
def conv_transpose(build: Builder, step: Step) -> Operand:
    x, weights = step.value(0), _weights(build, step)
    image, kernel = build.image(x), step.weight(1).shape[2:]
    sizes = image[1:]
    if len(sizes) not in (1, 2) or len(kernel) != len(sizes):
        raise ValueError(f"a weight of {step.weight(1).shape} over {said(image)} is not supported")
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    stride, gaps = step.sizes("strides", ones), step.sizes("dilations", ones)
    more, pads = step.sizes("output_padding", zeros), step.sizes("pads", zeros + zeros)
    how, asked = (
        step.attribute("auto_pad", "s", "NOTSET"),
        step.attribute("output_shape", "ints", None),
    )
    if how not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad: {how!r} is not known")
    if how.startswith("SAME") and asked is None:
        asked = tuple(n * s for n, s in zip(sizes, stride, strict=True))
    if asked is not None:  # the padding that leaves so much
        axes = zip(sizes, kernel, stride, gaps, more, asked, strict=True)
        over = [(n - 1) * s + (k - 1) * d + 1 + m - out for n, k, s, d, m, out in axes]
        more = tuple(m + max(-n, 0) for m, n in zip(more, over, strict=True))
        less = tuple(max(n, 0) // 2 for n in over)
        rest = tuple(max(n, 0) - half for n, half in zip(over, less, strict=True))
        pads = less + rest if how == "SAME_UPPER" else rest + less
    if len(sizes) == 1:
        stride, gaps, more, pads = (1, *stride), (1, *gaps), (0, *more), (0, pads[0], 0, pads[1])
    top, left, bottom, right = pads
    name = build.graph.add(
        "conv_transpose2d", build.form(x, rows(image)), weights=weights, stride=stride,
        padding=(top, bottom, left, right), output_padding=more, dilation=gaps,
        groups=step.attribute("group", "i", 1),
    )  # fmt: skip
    return result(build, name, x, image)
