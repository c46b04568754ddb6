"""Layers and networks, with PyTorch's names, argument order, defaults and parameter names."""

from .activation import Dropout, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .conv import Conv2d
from .layer import Buffer, Layer, Parameter
from .linear import Flatten, Linear
from .normalize import Normalize
from .pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .sequential import Sequential

__all__ = [
    "AvgPool2d",
    "Buffer",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Normalize",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
]
