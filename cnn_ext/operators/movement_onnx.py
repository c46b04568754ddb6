"""What only moves numbers in ONNX models, to places that are known when the file is read.

It is done by NumPy on the table of their positions, and the same functions work on constants.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..onnx.building import BATCH, Builder, Operand, Value, image_shape, said
from ..onnx.step import Step, free, reads, real
from .arithmetic_onnx import binary

# ----------------------------------------------------------------------------------- reshaping


@reads("Reshape")
def reshape(build: Builder, step: Step) -> Operand:
    x, asked = step.operand(0), step.constant(1)
    if asked.dtype != np.int64 or asked.ndim != 1 or asked.size > 32:
        raise ValueError(f"shape: expected up to 32 sizes, got {asked.dtype} of {asked.shape}")
    shape = [int(size) for size in asked]
    if not step.flag("allowzero"):
        if 0 in shape[len(x.shape) :]:
            raise ValueError(f"{said(shape)} copies a size that {said(x.shape)} has not")
        shape = [size or x.shape[i] for i, size in enumerate(shape)]
    batched = isinstance(x, Value) and build.batched
    if batched and shape and shape[0] == build.fixed:
        shape[0] = BATCH  # the model was made for one size of the batch, and says it here
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        shape[shape.index(-1)] = math.prod(x.shape) // rest if rest > 0 else 0
    if min(shape, default=1) < 0:
        raise ValueError(f"{said(x.shape)} cannot become {said(shape)}")
    return build.reshape(x, shape)


@reads("Flatten")
def flatten(build: Builder, step: Step) -> Operand:
    x, axis = step.operand(0), step.attribute("axis", "i", 1)
    axis += len(x.shape) if axis < 0 else 0
    return build.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze")
def squeeze(build: Builder, step: Step) -> Operand:
    x, axes = step.operand(0), step.integers(1, "axes", since=13)
    if axes is None:
        axes = tuple(i for i, size in enumerate(x.shape) if size == 1)
    gone = {axis + len(x.shape) if axis < 0 else axis for axis in axes}
    if not all(axis < len(x.shape) and x.shape[axis] == 1 for axis in gone):
        raise ValueError(f"axes {axes} of {said(x.shape)} are not all of size 1")
    return build.reshape(x, [size for i, size in enumerate(x.shape) if i not in gone])


@reads("Unsqueeze")
def unsqueeze(build: Builder, step: Step) -> Operand:
    x, axes = step.operand(0), step.integers(1, "axes", since=13) or ()
    rank = len(x.shape) + len(axes)
    new = {axis + rank if axis < 0 else axis for axis in axes}
    if len(new) < len(axes) or not all(0 <= axis < rank for axis in new):
        raise ValueError(f"axes {axes} do not fit {said(x.shape)}")
    sizes = iter(x.shape)
    return build.reshape(x, [1 if i in new else next(sizes) for i in range(rank)])


# --------------------------------------------------------------------------------------- moving


@reads("Transpose")
def transpose(build: Builder, step: Step) -> Operand:
    x = step.operand(0)
    order = step.attribute("perm", "ints", tuple(reversed(range(len(x.shape)))))
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError(f"perm: {order} is no order of the axes of {said(x.shape)}")
    if isinstance(x, Value) and build.batched:
        if order[0] != 0:
            raise ValueError("axis 0 counts images and stays in front")
        order = tuple(axis - 1 for axis in order[1:])
    return build.layout(x, lambda table: table.transpose(order))


@reads("Gather")
def gather(build: Builder, step: Step) -> Operand:
    x, index, axis = step.operand(0), step.constant(1), step.attribute("axis", "i", 0)
    if index.dtype.kind != "i":
        raise ValueError(f"indices: expected whole numbers, got {index.dtype}")
    all_images = build.counts(x, axis) and index.ndim == 1 and 0 < index.size == build.fixed
    if all_images and np.array_equal(index, np.arange(index.size)):
        return x  # every image in its place
    (axis,) = build.axes(x, (axis,))
    inner = x.shape if isinstance(x, np.ndarray) else build.inner(x)
    build.need(math.prod(inner) // max(inner[axis], 1) * index.size)
    return build.layout(x, lambda table: np.take(table, index, axis))


@reads("Slice")
def slices(build: Builder, step: Step) -> Operand:
    x = step.operand(0)
    starts, ends = step.integers(1, "starts", 10), step.integers(2, "ends", 10, counting=True)
    axes, steps = step.integers(3, "axes", since=10), step.integers(4, "steps", since=10)
    if starts is None or ends is None:
        raise ValueError("starts and ends are needed")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    parts = [
        (axis, start, end, by)
        for axis, start, end, by in zip(axes, starts, ends, steps, strict=True)
        if not (
            build.counts(x, axis) and by == 1 and build.all_images(end)
            and (start == 0 or build.all_images(-start))
        )
    ]  # fmt: skip  # that may leave something out
    free(tuple(end for _, _, end, _ in parts), "ends")
    cut = [slice(None)] * len(x.shape)
    for axis, (_, *which) in zip(build.axes(x, [part[0] for part in parts]), parts, strict=True):
        cut[axis] = slice(*which)
    skip = len(x.shape) - len(build.inner(x)) if isinstance(x, Value) else 0
    return build.layout(x, lambda table: table[tuple(cut[: len(cut) - skip])])


@reads("Tile")
def tile(build: Builder, step: Step) -> Operand:
    x, repeats = step.operand(0), step.integers(1, "repeats", since=0) or ()
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 0:
        raise ValueError(f"repeats: {repeats} do not fit {said(x.shape)}")
    if isinstance(x, Value) and build.batched:
        if repeats[0] != 1:
            raise ValueError("axis 0 counts images, which are not repeated")
        repeats = repeats[1:]
    build.need(math.prod(x.shape if isinstance(x, np.ndarray) else build.inner(x))
               * math.prod(repeats))  # fmt: skip
    return build.layout(x, lambda table: np.tile(table, repeats))


@reads("Expand")
def expand(build: Builder, step: Step) -> Operand:
    x, shape = step.operand(0), step.integers(1, "shape", since=0, counting=True) or ()
    inner = x.shape
    if isinstance(x, Value) and build.batched:
        if len(shape) == len(x.shape) and shape[0] in (1, BATCH, build.fixed):
            shape = shape[1:]  # of each image
        elif len(shape) >= len(x.shape):
            raise ValueError(f"images of {said(x.shape)} cannot become {said(shape)}")
        inner = build.inner(x)
    free(shape, "shape")
    return build.expand(x, np.broadcast_shapes(inner, shape))


@reads("Concat")
def concat(build: Builder, step: Step) -> Operand:
    parts = [step.operand(i) for i in range(len(step.inputs))]
    axis = step.attribute("axis", "i", 1)
    if len(parts) == 1 and -len(parts[0].shape) <= axis < len(parts[0].shape):
        return parts[0]
    constants = [part for part in parts if isinstance(part, np.ndarray)]
    values = [part for part in parts if isinstance(part, Value)]
    build.need(2 * sum(part.size for part in constants))
    build.need(sum(math.prod(build.inner(part)) for part in values))
    if not values:
        return np.concatenate(constants, axis)
    if build.batched and constants:
        raise ValueError("a constant cannot be joined to images")
    (axis,) = build.axes(values[0], (axis,))
    offsets: dict[str, int] = {}
    end = 0
    for part in values:
        if part.name not in offsets:
            offsets[part.name] = end
            end += math.prod(build.graph.shapes[part.name])
    # constants are added where nothing (-1) is gathered
    tables = [
        build.table(part) + offsets[part.name]
        if isinstance(part, Value)
        else np.full(part.shape, -1, np.int32)
        for part in parts
    ]
    index = np.concatenate(tables, axis)
    name = build.graph.add(
        "gather", *offsets, index=index.reshape(image_shape(index.shape)), fill=0.0
    )
    whole = Value(name, build.outer(index.shape))
    if not constants:
        return whole
    zeros = [real(part) if isinstance(part, np.ndarray) else np.zeros(table.shape)
             for part, table in zip(parts, tables, strict=True)]  # fmt: skip
    return binary(build, "add", whole, np.concatenate(zeros, axis))


@reads("Pad")
def pad(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    pads = step.integers(1, "pads", since=11) or ()
    axes = step.integers(3, "axes", since=18) if step.opset >= 18 else None
    axes = tuple(range(len(x.shape))) if axes is None else axes
    mode = step.attribute("mode", "s", "constant")
    if len(pads) != 2 * len(axes) or mode not in ("constant", "edge", "reflect", "wrap"):
        raise ValueError(f"{len(pads)} pads of mode {mode!r} for {len(axes)} axes are not known")
    ends = list(zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True))
    moved = [(axis, before, after) for axis, before, after in ends if before or after]
    inner = build.axes(x, [axis for axis, _, _ in moved])
    shape = list(build.inner(x))
    around, cut = [(0, 0)] * len(shape), [slice(None)] * len(shape)
    for axis, (_, before, after) in zip(inner, moved, strict=True):
        around[axis] = max(before, 0), max(after, 0)
        cut[axis] = slice(max(-before, 0), shape[axis] - max(-after, 0))
        shape[axis] += before + after
    build.need(4 * math.prod(max(size, 0) + sum(n) for size, n in zip(shape, around, strict=True)))
    fill = step.number("value", 0.0)
    if step.opset >= 11 and step.given(2):
        fill = float(step.weight(2).reshape(()))
    if mode != "constant":
        how: Any = mode
        return build.layout(x, lambda table: np.pad(table[tuple(cut)], around, how))
    index = np.pad(build.table(x)[tuple(cut)], around, constant_values=-1)
    name = build.graph.add(
        "gather", x.name, index=index.reshape(image_shape(index.shape)), fill=fill
    )
    return Value(name, build.outer(index.shape))


@reads("Split")
def split(build: Builder, step: Step) -> tuple[Operand, ...]:
    x, sizes = step.operand(0), step.integers(1, "split", since=13)
    count = step.attribute("num_outputs", "i", step.outputs)
    (axis,) = build.axes(x, (step.attribute("axis", "i", 0),))
    whole = (x.shape if isinstance(x, np.ndarray) else build.inner(x))[axis]
    if sizes is None:  # the last part may be smaller
        each = -(-whole // max(count, 1))
        sizes = tuple(min(each, whole - i * each) for i in range(step.outputs))
    if len(sizes) != step.outputs or sum(sizes) != whole or min(sizes) < 1:
        raise ValueError(f"parts of {sizes} do not make up {whole}")
    starts = np.cumsum((0, *sizes)).tolist()
    return tuple(
        build.layout(x, partial(np.take, indices=np.arange(start, start + size), axis=axis))
        for start, size in zip(starts, sizes, strict=False)
    )


@reads("DepthToSpace")
def depth_to_space(build: Builder, step: Step) -> Operand:
    x, b = step.value(0), step.attribute("blocksize", "i", 1)
    C, H, W = _image(build, x)
    if b < 1 or C % (b * b):
        raise ValueError(f"blocksize: {b} squared is no divisor of {C}")
    if _by_columns(step):
        form, order = (-1, b, b, H, W), (0, 3, 1, 4, 2)
    else:
        form, order = (b, b, -1, H, W), (2, 3, 0, 4, 1)
    return _turned(build, x, form, order, (C // (b * b), H * b, W * b))


@reads("SpaceToDepth")
def space_to_depth(build: Builder, step: Step) -> Operand:
    x, b = step.value(0), step.attribute("blocksize", "i", 1)
    C, H, W = _image(build, x)
    if b < 1 or H % b or W % b:
        raise ValueError(f"blocksize: {b} is no divisor of {H} and {W}")
    order = (0, 2, 4, 1, 3) if _by_columns(step) else (2, 4, 0, 1, 3)
    form = C, H // b, b, W // b, b
    return _turned(build, x, form, order, (C * b * b, H // b, W // b))


def _by_columns(step: Step) -> bool:
    # whether the channels of a block lie side by side
    mode = step.attribute("mode", "s", "DCR")
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode: {mode!r} is not known")
    return bool(mode == "CRD")


def _turned(
    build: Builder, x: Value, form: tuple[int, ...], order: tuple[int, ...], to: tuple[int, ...]
) -> Operand:
    whole = (*build.inner(x)[:-3], *to)
    return build.layout(x, lambda table: table.reshape(form).transpose(order).reshape(whole))


def _image(build: Builder, x: Value) -> tuple[int, int, int]:
    if len(build.image(x)) != 3:
        raise ValueError(f"expected images (N, C, H, W), got {said(x.shape)}")
    C, H, W = build.image(x)
    return C, H, W
