"""The operators of networks, a file for each family; together they are `OPERATORS`."""

from ..graph.operator import OPERATORS, Operator
from . import (
    arithmetic,
    batch_norm,
    conv2d,
    conv_transpose2d,
    dropout,
    elementwise,
    group_norm,
    linear,
    movement,
    opaque,
    pool,
    prelu,
    softmax,
)

__all__ = [
    "OPERATORS",
    "Operator",
    "arithmetic",
    "batch_norm",
    "conv2d",
    "conv_transpose2d",
    "dropout",
    "elementwise",
    "group_norm",
    "linear",
    "movement",
    "opaque",
    "pool",
    "prelu",
    "softmax",
]
