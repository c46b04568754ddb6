"""Arithmetic and activations of ONNX models."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph.node import Shape
from .building import Builder, Operand, Value, image_shape, said
from .step import Step, real

# ------------------------------------------------------------------------------ two operands


def binary(build: Builder, op: str, a: Value, b: Operand) -> Value:
    """Add the node "add" or "mul"; the operands broadcast as in NumPy."""
    if not isinstance(b, Value):
        b = _beside_images(build, a, real(np.asarray(b)))
        build.need(b.size)
        b_shape = b.shape
    else:
        if build.batched and len(b.shape) != len(a.shape):
            raise ValueError(f"{said(a.shape)} and {said(b.shape)} would mix images")
        b_shape = build.inner(b)
    a_shape = build.inner(a)
    out = tuple(int(size) for size in np.broadcast_shapes(a_shape, b_shape))
    shape = image_shape(out)
    if a_shape != out and (isinstance(b, np.ndarray) or len(out) > 3):
        a = _value(build.expand(a, out))
        a_shape = out
    if b_shape != out and (len(out) > 3 and len(shape) == 1):
        b = build.expand(b, out)
        b_shape = out
    name = build.form(a, _broadcastable(a_shape, out, shape))
    fitting = _broadcastable(b_shape, out, shape)
    if isinstance(b, np.ndarray):
        name = build.graph.add(op, name, weights={"constant": b.reshape(fitting)})
    else:
        name = build.graph.add(op, name, build.form(b, fitting))
    return Value(name, build.outer(out))


def _value(operand: Operand) -> Value:
    assert isinstance(operand, Value)
    return operand


def _beside_images(build: Builder, value: Value, constant: np.ndarray) -> np.ndarray:
    # the same for every image
    if not build.batched or constant.ndim < len(value.shape):
        return constant
    if constant.shape[0] != 1 or constant.ndim > len(value.shape):
        raise ValueError(f"a constant of {constant.shape} for {said(value.shape)} mixes images")
    return constant[0]


def _broadcastable(shape: Shape, out: Shape, target: Shape) -> Shape:
    # `shape`, which broadcasts to `out`, changed as `out` was changed to `target`
    if shape == out:
        return target
    shape = (1,) * (len(out) - len(shape)) + shape
    if len(target) == 1:
        return (math.prod(shape),)
    return (shape[-2], 1, shape[-1]) if len(out) == 2 else shape[-3:]


def arithmetic(op: str) -> Callable[[Builder, Step], Operand]:
    def add(build: Builder, step: Step) -> Operand:
        a, b = step.operand(0), step.operand(1)
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            build.need(math.prod(np.broadcast_shapes(a.shape, b.shape)))
            return np.asarray(_constants(op, a, b))
        if op == "Div" and isinstance(b, np.ndarray):
            return binary(build, "mul", _value(a), 1 / real(b).astype(np.float64))
        if op == "Div":
            raise ValueError("only a division by a constant is supported")
        if op == "Sub":
            if isinstance(b, np.ndarray):
                return binary(build, "add", _value(a), -real(b))
            b = binary(build, "mul", b, np.array([-1.0]))
        if isinstance(a, np.ndarray):
            a, b = b, a
        return binary(build, "mul" if op == "Mul" else "add", _value(a), b)

    return add


def _constants(op: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if op != "Div":
        return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op](a, b)
    if a.dtype.kind == "f":
        return a / b
    if not b.all() or min(a.min(initial=0), b.min(initial=0)) < 0:
        raise ValueError("expected whole numbers above 0")
    return a // b


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


# --------------------------------------------------------------------------------- matrices


def mat_mul(build: Builder, step: Step) -> Operand:
    a = step.operand(0)
    if isinstance(a, Value):
        return times(build, a, step.weight(1))
    b, weight = _swap(build, step.value(1)), _swap(build, step.weight(0))
    return _swap(build, times(build, b, weight))


def gemm(build: Builder, step: Step) -> Operand:
    a, b = (_swap(build, step.operand(i)) if step.flag(flag) else step.operand(i)
            for i, flag in enumerate(("transA", "transB")))  # fmt: skip
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ValueError(f"expected two matrices, got {said(a.shape)} and {said(b.shape)}")
    alpha, beta = step.number("alpha", 1.0), step.number("beta", 1.0)
    if isinstance(a, Value):
        y: Operand = times(build, a, b, alpha)
    else:
        y = _swap(build, times(build, _swap(build, b), a.T, alpha))
    if not step.given(2):
        return y
    bias = step.operand(2)
    if isinstance(bias, np.ndarray):
        bias = beta * real(bias)
    elif beta != 1:
        bias = binary(build, "mul", bias, np.array([beta]))
    return binary(build, "add", _value(y), bias)


def _swap(build: Builder, operand: Operand) -> Operand:
    # the last two axes
    if len(operand.shape) < 2:
        return operand
    first, second = build.axes(operand, (-2, -1))
    return build.layout(operand, lambda table: np.swapaxes(table, first, second))


def times(build: Builder, x: Operand, constant: Operand, scale: float = 1.0) -> Value:
    """x @ (scale * constant), as np.matmul does it."""
    if not isinstance(x, Value) or isinstance(constant, Value):
        raise ValueError("one matrix should be a constant, the other should not")
    weight = real(constant) if scale == 1 else scale * real(constant)
    shape = build.inner(x)
    if not shape or not weight.ndim:
        raise ValueError("a single number is no matrix")
    if build.batched and weight.ndim > max(len(shape), 2):
        raise ValueError(f"a matrix of {weight.shape} for {said(x.shape)} would mix images")
    build.need(weight.size)
    column = weight.ndim == 1
    if column:
        weight = weight[:, None]
    row = len(shape) == 1  # one row for each image; without a batch, one altogether
    shape = (1, *shape) if row else shape
    if weight.shape[-2] != shape[-1]:
        raise ValueError(f"{said(x.shape)} does not fit a matrix of {weight.shape}")
    lead = np.broadcast_shapes(shape[:-2], weight.shape[:-2])
    (F, K), M = weight.shape[-2:], shape[-2]
    if math.prod(weight.shape[:-2]) == 1:  # one matrix for all: more rows
        groups: Shape = ()
        M *= math.prod(lead)
    else:
        groups = lead
        build.need(math.prod(lead) * F * K)
    B = math.prod(groups)
    kernels = np.broadcast_to(weight.reshape(F, K) if not groups else weight, (*groups, F, K))
    kernels = np.swapaxes(kernels.reshape(B, F, K), 1, 2).reshape(B * K, F)
    if M == B == 1:
        name = build.graph.add("linear", build.form(x, (F,)), weights={"weight": kernels})
        y = Value(name, build.outer((1, 1, K)))
    else:  # a convolution of 1 x 1: the axis F becomes the channels
        whole = (*lead, *shape[-2:])
        build.need(math.prod(whole))
        rows = np.broadcast_to(build.table(x).reshape(shape), whole).reshape(B, M, F)
        moved = _value(build.layout(x, lambda table: np.swapaxes(rows, 1, 2)))
        name = build.graph.add(
            "conv2d", build.form(moved, (B * F, 1, M)),
            weights={"weight": kernels[..., None, None]},
            stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=B,
        )  # fmt: skip
        y = Value(name, build.outer((B, K, M)))
        y = _value(build.layout(y, lambda table: np.swapaxes(table, 1, 2)))
    result = (*lead, *([] if row else [shape[-2]]), *([] if column else [K]))
    return _value(build.reshape(y, build.outer(result)))


# ------------------------------------------------------------------------------- activations


def clip(build: Builder, step: Step) -> Operand:
    bounds = []
    for i, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        if step.opset < 11:
            bounds.append(step.number(name, default))
        else:
            bounds.append(float(step.weight(i).reshape(())) if step.given(i) else default)
    if any(map(math.isnan, bounds)):
        raise ValueError("min and max should be numbers")
    return build.each(step.value(0), "clip", low=bounds[0], high=bounds[1])


def activation(op: str, **attributes: float) -> Callable[[Builder, Step], Operand]:
    return lambda build, step: build.each(step.value(0), op, **attributes)


def leaky_relu(build: Builder, step: Step) -> Operand:
    return build.each(step.value(0), "leaky_relu", negative_slope=step.number("alpha", 0.01))


def softmax(op: str) -> Callable[[Builder, Step], Operand]:
    def add(build: Builder, step: Step) -> Operand:
        x = step.value(0)
        if step.opset >= 13:
            (axis,) = build.axes(x, (step.attribute("axis", "i", -1),))
            return _along(build, x, axis, op)
        # over all axes from one on
        axis = step.attribute("axis", "i", 1)
        axis += len(x.shape) if axis < 0 else 0
        build.axes(x, (axis,))
        skip = int(build.batched)
        rows = _value(build.reshape(x, (*x.shape[:axis], math.prod(x.shape[axis:]))))
        return build.reshape(_along(build, rows, axis - skip, op), x.shape)

    return add


def _along(build: Builder, x: Value, axis: int, op: str) -> Value:
    # the graph's operator works over axis 0
    shape = build.inner(x)
    moved = _value(build.layout(x, lambda table: np.moveaxis(table, axis, 0))) if axis else x
    shape = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    rest = math.prod(shape[1:])
    form = shape if len(shape) == 3 else (shape[0], 1, rest) if rest > 1 else shape[:1]
    y = Value(build.graph.add(op, build.form(moved, form)), build.outer(shape))
    return _value(build.layout(y, lambda table: np.moveaxis(table, 0, axis))) if axis else y


def reduce_mean(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    asked = step.integers(1, "axes", since=18)
    if not asked and step.flag("noop_with_empty_axes"):
        return x
    axes = tuple(sorted(build.axes(x, asked or range(len(x.shape)))))
    shape = build.inner(x)
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*kept, *axes]
    if order != sorted(order):
        x = _value(build.layout(x, lambda table: table.transpose(order)))
    rest = math.prod(shape[axis] for axis in kept)
    kernel = tuple(shape[axis] for axis in axes)
    H, W = kernel if len(kernel) == 2 else (1, math.prod(kernel))
    name = build.graph.add(
        "avg_pool", build.form(x, (rest, H, W)), kernel=(H, W), stride=(H, W),
        padding=(0, 0, 0, 0), ceil_mode=False, count_include_pad=True,
    )  # fmt: skip
    if step.flag("keepdims", 1):
        return Value(name, build.outer([1 if i in axes else size for i, size in enumerate(shape)]))
    return Value(name, build.outer([shape[axis] for axis in kept]))
