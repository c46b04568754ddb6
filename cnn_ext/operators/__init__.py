"""The operators of networks, a file for each family; together they are `OPERATORS`.

`conv2d_c` is the C text of convolutions and linear layers, `packing` the order of their weights for
one image, `bytes` and `bytes_c` what activations that are bytes go through, `c_text` what C texts
have in common.
"""

from ..graph.operator import OPERATORS, Operator
from . import (
    arithmetic,
    batch_norm,
    bytes_c,
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
    "bytes_c",
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
