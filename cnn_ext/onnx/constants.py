"""What is known when an ONNX model is read: constants, shapes, and what is computed of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .building import BATCH, Builder, Operand, Value
from .step import Step, reads
from .tensors import FLOAT, STORED

FLOATS = (1, 10, 11, 16)  # float32, float16, float64, bfloat16: values are computed in float32


@reads("Constant")
def constant(build: Builder, step: Step) -> Operand:
    if step.has("value"):
        return step.tensor("value", np.zeros(()))
    for name, field, dtype in (
        ("value_float", "f", np.float32), ("value_floats", "floats", np.float32),
        ("value_int", "i", np.int64), ("value_ints", "ints", np.int64),
    ):  # fmt: skip
        if step.has(name):
            return np.array(step.attribute(name, field, None), dtype)
    raise ValueError("it has no value of a kind that is known")


@reads("Identity")
def identity(build: Builder, step: Step) -> Operand:
    return step.operand(0)


@reads("Cast")
def cast(build: Builder, step: Step) -> Operand:
    x, to = step.operand(0), step.attribute("to", "i", FLOAT)
    if isinstance(x, Value):
        if to not in FLOATS:
            raise ValueError("values other than constants stay float32")
        return x
    if to not in STORED or to == 16:
        raise ValueError(f"constants cannot become type {to}")
    if counts_images(x) and to not in (6, 7):
        raise ValueError(COUNTED)
    build.need(x.size)
    return x.astype(np.dtype(STORED[to][0]).newbyteorder("="))


@reads("Shape")
def shape_of(build: Builder, step: Step) -> Operand:
    shape = step.operand(0).shape
    start = step.attribute("start", "i", 0)
    return np.array(shape[start : step.attribute("end", "i", len(shape))], np.int64)


@reads("Size")
def size_of(build: Builder, step: Step) -> Operand:
    return np.array(math.prod(step.operand(0).shape), np.int64)


@reads("ConstantOfShape")
def constant_of_shape(build: Builder, step: Step) -> Operand:
    shape = step.integers(0, "shape", since=0) or ()
    if min(shape, default=0) < 0:
        raise ValueError(f"expected a shape, got {shape}")
    value = step.tensor("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise ValueError(f"value: expected one number, got {value.shape}")
    build.need(math.prod(shape))
    return np.full(shape, value.reshape(()))


@reads("Range")
def range_of(build: Builder, step: Step) -> Operand:
    kind = step.constant(0).dtype
    numbers: list[Any] = [step.constant(i).reshape(()).item() for i in range(3)]
    start, limit, delta = numbers
    if not delta or not np.isfinite([start, limit, delta]).all():
        raise ValueError(f"no numbers from {start} to {limit} by {delta}")
    build.need(max(0, math.ceil((limit - start) / delta)))
    return np.arange(start, limit, delta).astype(kind)


# ------------------------------------------------------------ functions of constants alone

COUNTED = "the number of images cannot be used as a number"


def counts_images(array: np.ndarray) -> bool:
    """Whether one of its numbers is that of the images, or a multiple."""
    return array.dtype.kind in "iu" and bool((array[array != 0] % BATCH == 0).any())


def _divided(a: np.ndarray, b: np.ndarray) -> Any:
    if a.dtype.kind == "f":
        return a / b
    if not b.all() or min(a.min(initial=0), b.min(initial=0)) < 0:
        raise ValueError("expected whole numbers above 0")
    return a // b


# the first ones are fine with the number of images
LINEAR: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divided, "Neg": np.negative,
    "Where": np.where,
}  # fmt: skip
COMPARED: dict[str, Callable[..., Any]] = {
    "Equal": np.equal, "Less": np.less, "Greater": np.greater,
    "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal,
}  # fmt: skip
FOLDED: dict[str, Callable[..., Any]] = {
    **LINEAR, **COMPARED,
    "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or, "Abs": np.abs,
    "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log, "Reciprocal": np.reciprocal, "Pow": np.power,
    "Floor": np.floor, "Ceil": np.ceil, "Max": lambda *a: reduce(np.maximum, a),
    "Min": lambda *a: reduce(np.minimum, a), "Sum": lambda *a: reduce(np.add, a),
    "Mean": lambda *a: reduce(np.add, a) / len(a),
}  # fmt: skip


def folded(build: Builder, step: Step, arrays: list[np.ndarray]) -> np.ndarray:
    """What an operator of `FOLDED` makes of constants."""
    build.need(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
    counting = [array for array in arrays if counts_images(array)]
    if counting and step.op in COMPARED:
        # all numbers of images are above 0
        others = [array for array in arrays if not counts_images(array)]
        if not others or max(array.max(initial=0) for array in others) > 0:
            raise ValueError(COUNTED)
    elif counting and step.op not in LINEAR:
        raise ValueError(COUNTED)
    result = np.asarray(FOLDED[step.op](*arrays))
    kind = arrays[-1].dtype if step.op == "Where" else arrays[0].dtype
    return result if result.dtype == bool else result.astype(kind)


@reads(*(op for op in FOLDED if op in {*COMPARED, "Not", "And", "Or", "Where", "Floor", "Ceil"}))
def of_values(build: Builder, step: Step) -> Operand:
    raise ValueError("its inputs should be constants, or computed from shapes")


@reads("ReduceProd")
def product(build: Builder, step: Step) -> Operand:
    x, axes = step.constant(0), step.integers(1, "axes", since=18)
    kept = step.flag("keepdims", 1)
    return np.asarray(x.prod(axis=axes if axes else None, keepdims=kept, dtype=x.dtype))
