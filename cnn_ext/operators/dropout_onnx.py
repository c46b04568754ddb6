"""Dropout of ONNX models, as in inference."""

from __future__ import annotations

from ..onnx.building import Builder, Operand
from ..onnx.step import Step, reads


@reads("Dropout")
def dropout(build: Builder, step: Step) -> Operand:
    if step.given(2) and step.constant(2).any():
        raise ValueError("dropout of training is not supported")
    return step.operand(0)
