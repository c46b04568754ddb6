"""Naive float64 NumPy versions of every function of `cnn_ext.ops`: the truth of the tests.

Each function follows its definition: a Python loop over output pixels and kernel taps, whole arrays
only over the images (and the channels that one tap sums). Nothing here is fast or checks its input.
Letters: N images, C input channels, H x W input, K output channels, R x S kernel, P x Q output;
`d` before a name is the gradient of the cost with respect to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Size = int | tuple[int, int]
Padding = int | str | tuple[int, int] | tuple[int, int, int, int]
Sides = tuple[int, int, int, int]


def float64(a: ArrayLike) -> Array:
    return np.asarray(a, dtype=np.float64)


def pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def sides(padding: Padding, kernel: tuple[int, int], dilation: tuple[int, int]) -> Sides:
    """(top, bottom, left, right) of any form of padding that a convolution takes."""
    if isinstance(padding, str):
        height, width = (d * (size - 1) for d, size in zip(dilation, kernel, strict=True))
        return {
            "valid": (0, 0, 0, 0),
            "same": (height // 2, height - height // 2, width // 2, width - width // 2),
            "full": (height, height, width, width),
        }[padding]
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    if len(padding) == 2:
        return (padding[0], padding[0], padding[1], padding[1])
    return padding


def pad(x: Array, around: Sides, value: float = 0.0) -> Array:
    top, bottom, left, right = around
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


# ----------------------------------------------------------------------------- convolution


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """y[n,k,p,q] = b[k] + sum over c,r,s of x[n, c, p*stride + r*dilation, ...] * w[k,c,r,s]."""
    x, weight = float64(x), float64(weight)
    K, C, R, S = weight.shape
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    x = pad(x, sides(padding, (R, S), (dh, dw)))
    P = (x.shape[2] - dh * (R - 1) - 1) // sh + 1
    Q = (x.shape[3] - dw * (S - 1) - 1) // sw + 1
    y = np.zeros((x.shape[0], K, P, Q))
    for k in range(K):
        c = k // (K // groups) * C
        for p, q, r, s in np.ndindex(P, Q, R, S):
            y[:, k, p, q] += x[:, c : c + C, p * sh + r * dh, q * sw + s * dw] @ weight[k, :, r, s]
    return y if bias is None else float64(y + float64(bias)[:, None, None])


def conv2d_backward(
    dy: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias): every product of the forward pass sends its gradient both ways."""
    dy, x, weight = float64(dy), float64(x), float64(weight)
    K, C, R, S = weight.shape
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    around = sides(padding, (R, S), (dh, dw))
    H, W = x.shape[2:]
    x = pad(x, around)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for k in range(K):
        c = k // (K // groups) * C
        for p, q, r, s in np.ndindex(*dy.shape[2:], R, S):
            i, j = p * sh + r * dh, q * sw + s * dw
            dweight[k, :, r, s] += dy[:, k, p, q] @ x[:, c : c + C, i, j]
            dx[:, c : c + C, i, j] += np.outer(dy[:, k, p, q], weight[k, :, r, s])
    top, _, left, _ = around
    return dx[:, :, top : top + H, left : left + W], dweight, dy.sum(axis=(0, 2, 3))


def correlate2d(image: ArrayLike, kernel: ArrayLike, mode: str = "full") -> Array:
    """Cross-correlation of one (H, W) plane; "same" pads the smaller half first, as `conv2d`."""
    y = conv2d(float64(image)[None, None], float64(kernel)[None, None], padding=mode)
    return float64(y[0, 0])


def convolve2d(image: ArrayLike, kernel: ArrayLike, mode: str = "full") -> Array:
    """Convolution proper of one (H, W) plane; "same" is the centre of "full", as in NumPy."""
    image, kernel = float64(image), float64(kernel)
    (H, W), (R, S) = image.shape, kernel.shape
    full = np.zeros((H + R - 1, W + S - 1))
    for i, j, r, s in np.ndindex(H, W, R, S):
        full[i + r, j + s] += image[i, j] * kernel[r, s]
    if mode == "full":
        return full
    if mode == "same":
        top, left = (R - 1) // 2, (S - 1) // 2
        return full[top : top + H, left : left + W]
    return full[R - 1 : H, S - 1 : W]


def conv2d_matrix(
    weight: ArrayLike,
    input_shape: tuple[int, int, int],
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """The (K*P*Q, C*H*W) matrix of `conv2d`: a column is what it makes of one pixel alone."""
    pixels = int(np.prod(input_shape))
    units = np.eye(pixels).reshape(pixels, *input_shape)
    y = conv2d(units, weight, None, stride, padding, dilation, groups)
    return float64(y.reshape(pixels, -1).T)


# --------------------------------------------------------------------------------- pooling


def pool_output(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Number of windows along one axis; each must begin on the first padding or the input."""
    last = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return last // stride + 1
    count = -(-last // stride) + 1
    return count if (count - 1) * stride < size + padding else count - 1


def max_pool2d_with_indices(
    x: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Indices]:
    """Greatest pixel of each window and its place h * W + w.

    The first of equals, the last NaN if there is one; -inf and -1 for a window that holds no pixel.
    """
    x = float64(x)
    N, C, H, W = x.shape
    (R, S), (ph, pw), (dh, dw) = pair(kernel_size), pair(padding), pair(dilation)
    sh, sw = (R, S) if stride is None else pair(stride)
    P = pool_output(H, R, sh, ph, dh, ceil_mode)
    Q = pool_output(W, S, sw, pw, dw, ceil_mode)
    y = np.full((N, C, P, Q), -np.inf)
    indices = np.full((N, C, P, Q), -1, dtype=np.int64)
    for p, q, r, s in np.ndindex(P, Q, R, S):
        i, j = p * sh - ph + r * dh, q * sw - pw + s * dw
        if 0 <= i < H and 0 <= j < W:
            pixel, best, place = x[:, :, i, j], y[:, :, p, q], indices[:, :, p, q]
            wins = (pixel > best) | np.isnan(pixel) | (place < 0)
            y[:, :, p, q] = np.where(wins, pixel, best)
            indices[:, :, p, q] = np.where(wins, i * W + j, place)
    return y, indices


def max_pool2d(
    x: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Array:
    return max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)[0]


def max_pool2d_backward(
    dy: ArrayLike, indices: ArrayLike, input_shape: tuple[int, int, int, int]
) -> Array:
    """Each gradient goes to the place of its maximum; an index of -1 sends it nowhere."""
    dy, indices = float64(dy), np.asarray(indices)
    dx = np.zeros(input_shape)
    W = input_shape[3]
    for n, c, p, q in np.ndindex(*dy.shape):
        index = indices[n, c, p, q]
        if index >= 0:
            dx[n, c, index // W, index % W] += dy[n, c, p, q]
    return dx


def average_windows(
    input_shape: tuple[int, ...],
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
) -> tuple[int, int, list[tuple[int, int, slice, slice, int]]]:
    """(P, Q, windows): every window's p, q, rows and columns inside the input, and its divisor.

    The divisor counts the pixels of the window in the input, or, with `count_include_pad`, in the
    padded input; what hangs over the edge in ceil mode is never counted.
    """
    H, W = input_shape[2:]
    (R, S), (ph, pw) = pair(kernel_size), pair(padding)
    sh, sw = (R, S) if stride is None else pair(stride)
    P = pool_output(H, R, sh, ph, 1, ceil_mode)
    Q = pool_output(W, S, sw, pw, 1, ceil_mode)
    windows = []
    for p, q in np.ndindex(P, Q):
        top, left = p * sh - ph, q * sw - pw
        bottom, right = min(top + R, H + ph), min(left + S, W + pw)
        padded_area = (bottom - top) * (right - left)
        top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, H), min(right, W)
        divisor = padded_area if count_include_pad else (bottom - top) * (right - left)
        windows.append((p, q, slice(top, bottom), slice(left, right), divisor))
    return P, Q, windows


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    x = float64(x)
    P, Q, windows = average_windows(
        x.shape, kernel_size, stride, padding, ceil_mode, count_include_pad
    )
    y = np.empty((*x.shape[:2], P, Q))
    for p, q, rows, columns, divisor in windows:
        y[:, :, p, q] = x[:, :, rows, columns].sum(axis=(2, 3)) / divisor
    return y


def avg_pool2d_backward(
    dy: ArrayLike,
    input_shape: tuple[int, int, int, int],
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    dy, dx = float64(dy), np.zeros(input_shape)
    _, _, windows = average_windows(
        input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad
    )
    for p, q, rows, columns, divisor in windows:
        dx[:, :, rows, columns] += dy[:, :, p, q, None, None] / divisor
    return dx


# ------------------------------------------------------------------------- full connection


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """y[n,k] = b[k] + sum over c of w[k,c] * x[n,c]."""
    x, weight = float64(x), float64(weight)
    y = np.zeros((len(x), len(weight)))
    for k, c in np.ndindex(*weight.shape):
        y[:, k] += x[:, c] * weight[k, c]
    return y if bias is None else y + float64(bias)


def linear_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike) -> tuple[Array, Array, Array]:
    dy, x, weight = float64(dy), float64(x), float64(weight)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for k, c in np.ndindex(*weight.shape):
        dx[:, c] += dy[:, k] * weight[k, c]
        dweight[k, c] = (dy[:, k] * x[:, c]).sum()
    return dx, dweight, dy.sum(axis=0)


# ----------------------------------------------------------------------------- activations


def relu(x: ArrayLike) -> Array:
    return np.maximum(float64(x), 0.0)


def relu_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    return np.where(float64(y) > 0, float64(dy), 0.0)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    x = float64(x)
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_backward(dy: ArrayLike, y: ArrayLike, negative_slope: float = 0.01) -> Array:
    dy = float64(dy)
    return np.where(float64(y) > 0, dy, negative_slope * dy)


def sigmoid(x: ArrayLike) -> Array:
    x = float64(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def sigmoid_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    y = float64(y)
    return float64(dy) * y * (1.0 - y)


def tanh(x: ArrayLike) -> Array:
    return np.tanh(float64(x))


def tanh_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    return float64(dy) * (1.0 - float64(y) ** 2)


def log_softmax(x: ArrayLike) -> Array:
    x = float64(x)
    x = x - x.max(axis=1, keepdims=True)
    return float64(x - np.log(np.exp(x).sum(axis=1, keepdims=True)))


def softmax(x: ArrayLike) -> Array:
    """e^x / sum of e^x over axis 1."""
    return np.exp(log_softmax(x))


def softmax_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """dx_i = sum over j of dy_j * dy_j/dx_i, where dy_j/dx_i is y_j * ((i == j) - y_i)."""
    dy, y = float64(dy), float64(y)
    dx = np.zeros_like(y)
    K = y.shape[1]
    for i, j in np.ndindex(K, K):
        dx[:, i] += dy[:, j] * y[:, j] * ((i == j) - y[:, i])
    return dx


# ---------------------------------------------------------------------------------- losses


def cross_entropy(z: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """Mean over the images of -ln softmax(z)[n, target[n]], and its gradient at z."""
    z, target = float64(z), np.asarray(target)
    images = np.arange(len(z))
    dz = softmax(z)
    dz[images, target] -= 1.0
    return float(-log_softmax(z)[images, target].mean()), dz / len(z)


def focal(z: ArrayLike, target: ArrayLike, gamma: float = 2.0) -> tuple[float, Array]:
    """Mean over the images of -(1 - p)^gamma ln p, p = softmax(z)[n, target[n]]; gradient at z."""
    z, target = float64(z), np.asarray(target)
    images, p = np.arange(len(z)), softmax(z)
    right, logarithm = p[images, target], log_softmax(z)[images, target]
    others = p.copy()
    others[images, target] = 0.0
    rest = others.sum(axis=1)  # 1 - right without cancelling
    slope = rest**gamma - (gamma * rest ** (gamma - 1) * right * logarithm if gamma else 0.0)
    dz = slope[:, None] * p
    dz[images, target] = -slope * rest
    return float(-(rest**gamma * logarithm).mean()), dz / len(z)


def hinge(z: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """Mean over the images of 1/K sum over k != y of max(0, 1 + z_k - z_y), and its gradient."""
    z, target = float64(z), np.asarray(target)
    images = np.arange(len(z))
    over = np.maximum(0.0, 1.0 + z - z[images, target][:, None])
    over[images, target] = 0.0
    dz = (over > 0).astype(float)
    dz[images, target] = -dz.sum(axis=1)
    return float(over.sum() / z.size), dz / z.size


def huber(a: ArrayLike, target: ArrayLike, delta: float = 1.0) -> tuple[float, Array]:
    """Mean over all entries of e^2 / 2 up to delta, delta (|e| - delta / 2) beyond; gradient."""
    error = float64(a) - float64(target)
    far = np.abs(error) > delta
    cost = np.where(far, delta * (np.abs(error) - delta / 2), error**2 / 2)
    return float(cost.mean()), np.where(far, delta * np.sign(error), error) / error.size


def binary_cross_entropy(z: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """-1/N sum of y ln a + (1 - y) ln(1 - a) with a = sigmoid(z), and its gradient at z."""
    z, target = float64(z), float64(target)
    cost = target * np.logaddexp(0.0, -z) + (1.0 - target) * np.logaddexp(0.0, z)
    return float(cost.sum() / len(z)), (sigmoid(z) - target) / len(z)


def mse(a: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """Mean over all entries of (a - y)^2, and its gradient at a."""
    error = float64(a) - float64(target)
    return float((error**2).mean()), 2.0 * error / error.size


def quadratic(a: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
    """1/(2N) sum of (a - y)^2, and its gradient at a."""
    error = float64(a) - float64(target)
    return float((error**2).sum() / (2 * len(error))), error / len(error)


# ----------------------------------------------------------------------------------- descent


def sgd_step(
    parameter: ArrayLike,
    gradient: ArrayLike,
    velocity: ArrayLike | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """(parameter, velocity) after a step; the first, of velocity None, is not dampened."""
    parameter = float64(parameter)
    step = float64(gradient) + weight_decay * parameter
    if momentum == 0.0:
        return parameter - lr * step, None
    kept = step if velocity is None else momentum * float64(velocity) + (1.0 - dampening) * step
    step = step + momentum * kept if nesterov else kept
    return parameter - lr * step, kept
