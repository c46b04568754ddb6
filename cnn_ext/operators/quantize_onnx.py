"""Numbers on grids of bytes in ONNX models: pairs of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import numpy as np

from ..onnx.building import Builder, OnGrid, Operand, Value
from ..onnx.step import Step, reads, real


def _grid(step: Step, dtypes: str) -> tuple[np.ndarray, np.ndarray]:
    # scale and zero point, which has the number type of what is quantised
    scale = real(step.constant(1)).astype(np.float32)
    zero = step.constant(2) if step.given(2) else np.zeros(scale.shape, np.uint8)
    if zero.dtype.kind not in dtypes or zero.size != scale.size or scale.ndim > 1:
        raise ValueError(f"zero point: {zero.dtype} {zero.shape} for a scale of {scale.shape}")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError("scale: expected numbers above 0")
    return scale, zero.reshape(scale.shape)


@reads("QuantizeLinear")
def quantize_linear(build: Builder, step: Step) -> Operand:
    x = step.value(0)
    scale, zero = _grid(step, "iu")
    if scale.size != 1 or zero.dtype.itemsize != 1:
        raise ValueError("activations have one scale, and a zero point of 8 bits")
    step_size, first = float(scale.reshape(())), int(zero.reshape(()))
    unsigned = first + 128 * (zero.dtype.kind == "i")  # signed bytes stand for the same numbers
    y = build.each(x, "fake_quantize", scale=step_size, zero_point=float(unsigned))
    return OnGrid(y.name, y.shape, y.table, (step_size, first))


@reads("DequantizeLinear")
def dequantize_linear(build: Builder, step: Step) -> Operand:
    x = step.inputs[0] if step.given(0) else step.operand(0)
    scale, zero = _grid(step, "iu")
    if isinstance(x, OnGrid):
        known = float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0])
        if scale.size != 1 or known != x.grid:
            raise ValueError(f"scale and zero point are not those of QuantizeLinear, {x.grid}")
        return Value(x.name, x.shape, x.table)
    array = step.constant(0)
    if array.dtype.kind not in "iu" or array.dtype.itemsize not in (1, 4):
        raise ValueError(f"expected whole numbers of 8 or 32 bits, got {array.dtype}")
    each = (1,)
    if scale.size > 1:
        axis = step.attribute("axis", "i", 1)
        axis += array.ndim if axis < 0 else 0
        if not 0 <= axis < array.ndim or scale.shape != (array.shape[axis],):
            raise ValueError(f"scale: {scale.shape} does not fit axis {axis} of {array.shape}")
        each = (-1, *(1,) * (array.ndim - axis - 1))
    build.need(array.size)
    numbers = array.astype(np.float64) - zero.astype(np.float64).reshape(each)
    made: np.ndarray = (numbers * scale.astype(np.float64).reshape(each)).astype(np.float32)
    if array.dtype == np.int8 and not zero.any():
        build.grids.append((made, scale.reshape(-1)))
    return made
