"""The operators of networks, a file for each family; together they are `OPERATORS`.

`conv2d_c` is the C text of convolutions and linear layers, `packing` the order of their weights for
one image, `c_text` what C texts have in common.
"""

from ..graph.operator import OPERATORS, Operator
from . import (
    arithmetic,
    conv2d,
    dropout,
    elementwise,
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
    "conv2d",
    "dropout",
    "elementwise",
    "linear",
    "movement",
    "opaque",
    "pool",
    "prelu",
    "softmax",
]
