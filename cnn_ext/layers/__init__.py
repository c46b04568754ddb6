"""Layers and networks, with PyTorch's names, argument order, defaults and parameter names.

An argument that does not fit raises TypeError or ValueError; the message names it.
"""

from ..parameter import Buffer, Parameter
from .activation import (
    ELU,
    GELU,
    SELU,
    Activation,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from .as_graph import graph_of as graph_of
from .container import Add, Concat, Residual
from .conv import Conv1d, Conv2d, ConvTranspose2d
from .dropout import Dropout, Dropout2d, DropPath
from .from_graph import GraphModule
from .layer import Layer
from .linear import Flatten, Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, LocalResponseNorm
from .normalize import Normalize
from .pool import (
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    MaxPool1d,
    MaxPool2d,
)
from .resize import Upsample, ZeroPad2d
from .sequential import Sequential

__all__ = [
    "ELU", "GELU", "SELU", "Activation", "AdaptiveAvgPool2d", "Add", "AvgPool1d", "AvgPool2d",
    "BatchNorm1d", "BatchNorm2d", "Buffer", "Concat", "Conv1d", "Conv2d", "ConvTranspose2d",
    "DropPath", "Dropout", "Dropout2d", "Flatten", "GlobalAvgPool2d", "GlobalMaxPool2d",
    "GraphModule", "GroupNorm", "Hardsigmoid", "Hardswish", "Layer", "LayerNorm", "LeakyReLU",
    "Linear", "LocalResponseNorm", "LogSoftmax", "MaxPool1d", "MaxPool2d", "Module", "Normalize",
    "PReLU", "Parameter", "ReLU", "ReLU6", "Residual", "Sequential", "SiLU", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Tanh", "Upsample", "ZeroPad2d",
]  # fmt: skip
