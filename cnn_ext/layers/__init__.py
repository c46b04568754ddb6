"""Layers and networks, with PyTorch's names, argument order, defaults and parameter names."""

from ..parameter import Buffer, Parameter
from .activation import Dropout, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .as_graph import graph_of
from .container import Add, Concat, Residual
from .conv import Conv2d
from .from_graph import GraphModule
from .linear import Flatten, Linear
from .module import Layer, Module
from .normalize import Normalize
from .pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .sequential import Sequential

__all__ = [
    "Add",
    "AvgPool2d",
    "Buffer",
    "Concat",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GraphModule",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Normalize",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "graph_of",
]
