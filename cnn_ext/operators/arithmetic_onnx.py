"""Arithmetic of values and constants of ONNX models."""

from __future__ import annotations

import math

import numpy as np

from ..graph.node import Shape
from ..onnx.building import Builder, Operand, Value, image_shape, said
from ..onnx.step import Step, reads, real

WITH_CONSTANT = ("add", "mul")  # operators that take a constant, too


def binary(build: Builder, op: str, a: Operand, b: Operand) -> Value:
    """Add a node of two operands, which broadcast as in NumPy; one of them must be a value."""
    if isinstance(a, np.ndarray):
        if op in WITH_CONSTANT:
            a, b = b, a
        else:
            a = build.constant(real(_beside_images(build, b, a)), like=b)
    if isinstance(b, np.ndarray) and op not in WITH_CONSTANT:
        b = build.constant(real(_beside_images(build, a, b)), like=a)
    a = value_of(a)
    if not isinstance(b, Value):
        b = _beside_images(build, a, real(np.asarray(b)))
        build.need(b.size)
        b_shape = b.shape
    else:
        if build.batched and len(b.shape) != len(a.shape):
            raise ValueError(f"{said(a.shape)} and {said(b.shape)} would mix images")
        b_shape = build.inner(b)
    a_shape, shapes = build.inner(a), build.graph.shapes
    out = tuple(int(size) for size in np.broadcast_shapes(a_shape, b_shape))
    if a.table is not None and a_shape == out and build.moves_all(a):  # move what comes of it
        if isinstance(b, np.ndarray):
            name = build.graph.add(op, a.name, weights={"constant": build.before(a, b)})
            return Value(name, a.shape, a.table)
        alike = b_shape == out and b.table is not None and np.array_equal(a.table, b.table)
        if alike and shapes[a.name] == shapes[b.name]:
            return Value(build.graph.add(op, a.name, b.name), a.shape, a.table)
    shape = image_shape(out)
    if a_shape != out and (isinstance(b, np.ndarray) or len(out) > 3):
        a = build.expand(a, out)
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


def value_of(operand: Operand) -> Value:
    """The operand, where it must not be a constant."""
    if not isinstance(operand, Value):
        raise ValueError("expected a value that depends on the input")
    return operand


def _beside_images(build: Builder, value: Operand, constant: np.ndarray) -> np.ndarray:
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


@reads("Add", "Sub", "Mul", "Div")
def arithmetic(build: Builder, step: Step) -> Operand:
    a, b = step.operand(0), step.operand(1)
    if step.op in ("Add", "Mul"):
        return binary(build, step.op.lower(), a, b)
    if isinstance(b, np.ndarray):
        if step.op == "Sub":
            return binary(build, "add", a, -real(b))
        return binary(build, "mul", a, 1 / real(b).astype(np.float64))
    if isinstance(a, np.ndarray):
        if step.op == "Sub":
            return binary(build, "add", binary(build, "mul", b, np.array(-1.0)), a)
        return binary(build, "mul", build.each(b, "reciprocal"), a)
    return binary(build, step.op.lower(), a, b)


@reads("Sum", "Mean", "Max", "Min")
def of_several(build: Builder, step: Step) -> Operand:
    op = {"Max": "maximum", "Min": "minimum"}.get(step.op, "add")
    first, *others = sorted(step.operands(), key=lambda part: isinstance(part, np.ndarray))
    whole = value_of(first)
    for part in others:
        if op != "add" and isinstance(part, np.ndarray) and part.ndim == 0:
            if np.isnan(real(part)):
                raise ValueError("a bound is not a number")
            low, high = (float(part), math.inf) if op == "maximum" else (-math.inf, float(part))
            whole = build.each(whole, "clip", low=low, high=high)
        else:
            whole = binary(build, op, whole, part)
    if step.op == "Mean":
        return binary(build, "mul", whole, np.array(1 / (1 + len(others))))
    return whole


@reads("Pow")
def power(build: Builder, step: Step) -> Operand:
    x, exponent = step.operand(0), step.operand(1)
    if isinstance(exponent, Value) or isinstance(x, np.ndarray) or exponent.size != 1:
        if isinstance(exponent, np.ndarray):
            exponent = exponent.astype(np.float32)
        return binary(build, "pow", x, exponent)
    number = float(exponent.reshape(()))
    if exponent.ndim > len(x.shape):
        raise ValueError(f"an exponent of {exponent.shape} would enlarge {said(x.shape)}")
    if math.isnan(number):
        raise ValueError("the exponent is not a number")
    known = {2.0: "square", -1.0: "reciprocal"}.get(number)
    return build.each(x, known) if known else build.each(x, "power", exponent=number)
