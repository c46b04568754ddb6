"""The operators of networks, a file for each family; together they are `OPERATORS`.

`conv2d_c` is the C text of convolutions and linear layers, `packing` the order of their weights for
one image, `bytes` what one image whose activations are bytes goes through, `c_text` what C texts
have in common.
"""

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
    quantize,
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
    "quantize",
    "softmax",
]
