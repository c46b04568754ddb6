"""The kernels as functions on plain NumPy arrays, in the manner of `torch.nn.functional`.

Images are (N, C, H, W).  Every function checks its arguments, allocates, and calls the kernels;
none keeps any state.  An argument of a wrong type, shape or value raises TypeError or ValueError,
whose message names it, and so does a cost of no images.  Functions that layers use also take and
return `Lanes`, the layout of the kernels.
"""

from .activation import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    hardsigmoid,
    hardsigmoid_backward,
    hardswish,
    hardswish_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    multiply,
    prelu,
    prelu_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    selu,
    selu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    softsign,
    softsign_backward,
    tanh,
    tanh_backward,
)
from .conv import conv1d, conv2d, conv2d_backward, conv_transpose2d, linear, linear_backward
from .loss import binary_cross_entropy, cross_entropy, focal, hinge, huber, mse, quadratic
from .picture import conv2d_matrix, convolve2d, correlate2d
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from .shapes import concat

__all__ = [
    "avg_pool2d", "avg_pool2d_backward", "binary_cross_entropy", "concat", "conv1d", "conv2d",
    "conv2d_backward", "conv2d_matrix", "conv_transpose2d", "convolve2d", "correlate2d",
    "cross_entropy", "elu", "elu_backward", "focal", "gelu", "gelu_backward", "hardsigmoid",
    "hardsigmoid_backward", "hardswish", "hardswish_backward", "hinge", "huber", "leaky_relu",
    "leaky_relu_backward", "linear", "linear_backward", "log_softmax", "log_softmax_backward",
    "max_pool2d", "max_pool2d_backward", "mse", "multiply", "prelu", "prelu_backward", "quadratic",
    "relu", "relu6", "relu6_backward", "relu_backward", "selu", "selu_backward", "sigmoid",
    "sigmoid_backward", "silu", "silu_backward", "softmax", "softmax_backward", "softplus",
    "softplus_backward", "softsign", "softsign_backward", "tanh", "tanh_backward",
]  # fmt: skip
