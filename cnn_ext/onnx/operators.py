"""All that reads operators of ONNX; it stands beside the operators of the graph."""

from ..operators import (
    arithmetic_onnx,
    conv2d_onnx,
    dropout_onnx,
    elementwise_onnx,
    linear_onnx,
    movement_onnx,
    normalization_onnx,
    pool_onnx,
    prelu_onnx,
    quantize_onnx,
    resize_onnx,
    softmax_onnx,
)
from . import constants
from .step import READERS

__all__ = [
    "READERS",
    "arithmetic_onnx",
    "constants",
    "conv2d_onnx",
    "dropout_onnx",
    "elementwise_onnx",
    "linear_onnx",
    "movement_onnx",
    "normalization_onnx",
    "pool_onnx",
    "prelu_onnx",
    "quantize_onnx",
    "resize_onnx",
    "softmax_onnx",
]
