"""The kernels as functions on plain NumPy arrays, in the manner of `torch.nn.functional`.

Images are (N, C, H, W).  Every function checks its arguments, allocates, and calls the kernels;
none keeps any state.  Functions that layers use also take and return `Lanes`, the layout of the
kernels.
"""

from .activation import (
    leaky_relu,
    leaky_relu_backward,
    multiply,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from .conv import conv2d, conv2d_backward, linear, linear_backward
from .loss import binary_cross_entropy, cross_entropy, mse, quadratic
from .picture import conv2d_matrix, convolve2d, correlate2d
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from .shapes import concat

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "binary_cross_entropy",
    "concat",
    "conv2d",
    "conv2d_backward",
    "conv2d_matrix",
    "convolve2d",
    "correlate2d",
    "cross_entropy",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "multiply",
    "quadratic",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
