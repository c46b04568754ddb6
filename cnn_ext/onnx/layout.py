"""Operators of ONNX models that compute nothing: shapes, and numbers that change their places.

What moves numbers of a value is done by NumPy on the table of their positions, and the same
functions work on constants.  Shapes that a model computes while it runs are such constants.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arithmetic import binary
from .building import BATCH, Builder, Operand, Value, image_shape, said
from .step import Step, free, real
from .tensors import FLOAT, STORED


def identity(build: Builder, step: Step) -> Operand:
    return step.operand(0)


def dropout(build: Builder, step: Step) -> Operand:
    if step.given(2) and step.constant(2).any():
        raise ValueError("dropout of training is not supported")
    return step.operand(0)


def cast(build: Builder, step: Step) -> Operand:
    x, to = step.operand(0), step.attribute("to", "i", FLOAT)
    if isinstance(x, Value):
        if to != FLOAT:
            raise ValueError("values other than constants stay float32")
        return x
    if to not in STORED or to == 16:
        raise ValueError(f"constants cannot become type {to}")
    if x.dtype.kind in "iu" and (x[x != 0] % BATCH == 0).any() and to not in (6, 7):
        raise ValueError("the number of images cannot be used as a number")
    build.need(x.size)
    return x.astype(np.dtype(STORED[to][0]).newbyteorder("="))


def shape_of(build: Builder, step: Step) -> Operand:
    shape = step.operand(0).shape
    start = step.attribute("start", "i", 0)
    return np.array(shape[start : step.attribute("end", "i", len(shape))], np.int64)


# ----------------------------------------------------------------------------------- reshaping


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


def flatten(build: Builder, step: Step) -> Operand:
    x, axis = step.operand(0), step.attribute("axis", "i", 1)
    axis += len(x.shape) if axis < 0 else 0
    return build.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def squeeze(build: Builder, step: Step) -> Operand:
    x, axes = step.operand(0), step.integers(1, "axes", since=13)
    if axes is None:
        axes = tuple(i for i, size in enumerate(x.shape) if size == 1)
    gone = {axis + len(x.shape) if axis < 0 else axis for axis in axes}
    if not all(axis < len(x.shape) and x.shape[axis] == 1 for axis in gone):
        raise ValueError(f"axes {axes} of {said(x.shape)} are not all of size 1")
    return build.reshape(x, [size for i, size in enumerate(x.shape) if i not in gone])


def unsqueeze(build: Builder, step: Step) -> Operand:
    x, axes = step.operand(0), step.integers(1, "axes", since=13) or ()
    rank = len(x.shape) + len(axes)
    new = {axis + rank if axis < 0 else axis for axis in axes}
    if len(new) < len(axes) or not all(0 <= axis < rank for axis in new):
        raise ValueError(f"axes {axes} do not fit {said(x.shape)}")
    sizes = iter(x.shape)
    return build.reshape(x, [1 if i in new else next(sizes) for i in range(rank)])


# --------------------------------------------------------------------------------------- moving


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


def gather(build: Builder, step: Step) -> Operand:
    x, index, axis = step.operand(0), step.constant(1), step.attribute("axis", "i", 0)
    if index.dtype.kind != "i":
        raise ValueError(f"indices: expected whole numbers, got {index.dtype}")
    if build.counts(x, axis) and np.array_equal(index, np.arange(build.fixed or 0)) and index.size:
        return x  # every image in its place
    (axis,) = build.axes(x, (axis,))
    inner = x.shape if isinstance(x, np.ndarray) else build.inner(x)
    build.need(math.prod(inner) // max(inner[axis], 1) * index.size)
    return build.layout(x, lambda table: np.take(table, index, axis))


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
