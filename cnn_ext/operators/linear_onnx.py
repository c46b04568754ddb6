"""Matrix products of ONNX models, of a value and a constant."""

from __future__ import annotations

import math

import numpy as np

from ..graph.node import Shape
from ..onnx.building import Builder, Operand, Value, said
from ..onnx.step import Step, reads, real
from .arithmetic_onnx import binary


@reads("MatMul")
def mat_mul(build: Builder, step: Step) -> Operand:
    a = step.operand(0)
    if isinstance(a, Value):
        return times(build, a, step.weight(1))
    b, weight = _swap(build, step.value(1)), _swap(build, step.weight(0))
    return _swap(build, times(build, b, weight))


@reads("Gemm")
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
    return binary(build, "add", y, bias)


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
        moved = build.moved(x, lambda table: np.swapaxes(rows, 1, 2))
        name = build.graph.add(
            "conv2d", build.form(moved, (B * F, 1, M)),
            weights={"weight": kernels[..., None, None]},
            stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=B,
        )  # fmt: skip
        y = Value(name, build.outer((B, K, M)))
        y = build.moved(y, lambda table: np.swapaxes(table, 1, 2))
    result = (*lead, *([] if row else [shape[-2]]), *([] if column else [K]))
    return build.reshape(y, build.outer(result))
