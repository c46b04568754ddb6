"""Which operators of ONNX are known, and what reads them."""

from __future__ import annotations

import math
from collections.abc import Callable

from . import arithmetic, layout, windows
from .building import Builder, Operand
from .step import Step

OPERATORS: dict[str, Callable[[Builder, Step], Operand]] = {
    "Conv": windows.conv,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "GlobalMaxPool": windows.global_pool("max_pool"),
    "GlobalAveragePool": windows.global_pool("avg_pool"),
    "Relu": arithmetic.activation("clip", low=0.0, high=math.inf),
    "LeakyRelu": arithmetic.leaky_relu,
    "Sigmoid": arithmetic.activation("sigmoid"),
    "Tanh": arithmetic.activation("tanh"),
    "Clip": arithmetic.clip,
    "Softmax": arithmetic.softmax("softmax"),
    "LogSoftmax": arithmetic.softmax("log_softmax"),
    "Add": arithmetic.arithmetic("Add"),
    "Sub": arithmetic.arithmetic("Sub"),
    "Mul": arithmetic.arithmetic("Mul"),
    "Div": arithmetic.arithmetic("Div"),
    "BatchNormalization": arithmetic.batch_normalization,
    "Gemm": arithmetic.gemm,
    "MatMul": arithmetic.mat_mul,
    "ReduceMean": arithmetic.reduce_mean,
    "Identity": layout.identity,
    "Dropout": layout.dropout,
    "Cast": layout.cast,
    "Shape": layout.shape_of,
    "Reshape": layout.reshape,
    "Flatten": layout.flatten,
    "Squeeze": layout.squeeze,
    "Unsqueeze": layout.unsqueeze,
    "Transpose": layout.transpose,
    "Gather": layout.gather,
    "Slice": layout.slices,
    "Concat": layout.concat,
    "Tile": layout.tile,
    "Expand": layout.expand,
    "Pad": layout.pad,
}
