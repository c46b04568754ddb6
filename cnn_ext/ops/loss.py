"""Costs and their gradients as functions; each returns (cost, gradient at the first argument)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _check as check
from .. import _core
from ..lanes import Lanes, empty

Shape = tuple[int, ...]  # of outputs, (N, K, ...)


def one_hot(target: Any, shape: Shape, dtype: np.dtype) -> Lanes:
    """Class numbers (N, ...) or rows of targets (N, K, ...) as lanes of targets.

    Raises TypeError or ValueError if class numbers are not whole or outside 0..K-1, a row has
    negative numbers or such as are not finite, or the shape does not fit.
    """
    if isinstance(target, Lanes):
        check.same_shape(target, "target", shape)
        return target
    numbers = check.real_array(target, "target")
    images, classes, *rest = shape
    if numbers.shape == shape:
        return _within(numbers, 0.0, np.inf, dtype)
    if numbers.shape != (images, *rest):
        raise ValueError(
            f"target: expected shape {(images, *rest)} or {shape}, got {numbers.shape}"
        )
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"target: expected whole class numbers, got {numbers.dtype}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= classes):
        raise ValueError(
            f"target: expected classes 0 to {classes - 1}, got {numbers.min()} to {numbers.max()}"
        )
    lanes = Lanes.empty(shape, dtype)
    lanes.data[...] = 0
    image, *pixel = np.ogrid[tuple(map(slice, numbers.shape))] if rest else (np.arange(images),)
    width = lanes.data.shape[-1]
    lanes.data[(image // width, numbers, *pixel, image % width)] = 1
    return lanes


def fractions(target: Any, shape: Shape, dtype: np.dtype) -> Lanes:
    """Rows of targets (N, K, ...) from 0 to 1 as lanes.

    Raises TypeError or ValueError if a number is outside, or the shape does not fit.
    """
    if isinstance(target, Lanes):
        check.same_shape(target, "target", shape)
        return target
    return _within(check.plain(target, "target", shape, dtype), 0.0, 1.0, dtype)


def dense(target: Any, shape: Shape, dtype: np.dtype) -> Lanes:
    """Rows of targets (N, K, ...) as lanes."""
    if isinstance(target, Lanes):
        check.same_shape(target, "target", shape)
        return target
    return Lanes.pack(check.plain(target, "target", shape, dtype))


def _within(target: np.ndarray, low: float, high: float, dtype: np.dtype) -> Lanes:
    if target.size:
        least, most = target.min(), target.max()
        if not (low <= least and most <= high and most < np.inf):  # nor NaN
            wanted = f"{low:g} to {high:g}" if high < np.inf else f"finite numbers from {low:g} on"
            raise ValueError(f"target: expected {wanted}, got {least} to {most}")
    return Lanes.pack(np.ascontiguousarray(target, dtype))


class Kernel(NamedTuple):
    """What computes a cost: its kernel, how targets become lanes, the factor of its gradient."""

    op: str
    to_lanes: Callable[[Any, Shape, np.dtype], Lanes]
    scale: Callable[[Shape], float]

    def costs(self, z: Lanes, target: Lanes, weight: float = 1.0) -> tuple[np.ndarray, Lanes]:
        """The unscaled cost of each image, (blocks, LANES), and `weight` times the gradient."""
        dz = Lanes.empty(z.shape, target.dtype)
        cost = empty((z.blocks, target.data.shape[-1]), target.dtype)
        images, K, *rest = z.shape
        pixels = math.prod(rest)
        if self.op != "cross_entropy":  # every output by itself
            K, pixels = K * pixels, 1
        _core.loss(
            self.op, z.data, target.data, cost, dz.data, dz.dtype.itemsize, images, K,
            weight * self.scale(z.shape), pixels,
        )  # fmt: skip
        return cost, dz


def total(cost: np.ndarray, images: int) -> float:
    """The sum of the costs of the images."""
    return float(cost.reshape(-1)[:images].sum(dtype=np.float64))


def _loss(kernel: Kernel, z: Any, target: Any, name: str) -> tuple[float, Any]:
    # every cost is the sum over the images times the factor of its gradient
    z = check.batch(z, name)
    if len(z.shape) < 2:
        raise ValueError(f"{name}: expected 2 axes (N, K) or more, got shape {z.shape}")
    if z.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, got shape {z.shape}")
    lanes = kernel.to_lanes(target, z.shape, check.common_dtype(z))
    cost, dz = kernel.costs(check.packed(z, lanes.dtype), lanes)
    return total(cost, z.shape[0]) * kernel.scale(z.shape), check.result(dz, z)


def cross_entropy(z: Any, target: Any) -> tuple[float, Any]:
    """Log-likelihood of softmax outputs, ``-sum_k target_k ln softmax(z)_k``, mean over images.

    Of class maps it is the mean over images and pixels.

    Parameters
    ----------
    z : array_like, shape (N, K, ...), or Lanes
        Logits, the inputs of the softmax over K; (N, K, P, Q) for class maps.
    target : array_like of int, shape (N, ...), or of numbers, shape (N, K, ...)
        Class numbers, or the wanted probability of each class, 0 or more.

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K, ...)
        ``(softmax(z) - target) / N``, for class maps also by the number of pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return _loss(KERNELS[cross_entropy], z, target, "z")


def binary_cross_entropy(z: Any, target: Any) -> tuple[float, Any]:
    """Cross-entropy of sigmoid outputs a, ``-sum_j [t ln a + (1-t) ln(1-a)]``, mean over images.

    Of outputs that are pictures it is the mean over images and pixels.

    Parameters
    ----------
    z : array_like, shape (N, K, ...), or Lanes
        Logits, the inputs of the sigmoid.
    target : array_like, shape (N, K, ...)
        Wanted outputs, anywhere in [0, 1].

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K, ...)
        ``(sigmoid(z) - target) / N``; the factor a (1 - a), which makes saturated neurons learn
        slowly, is gone.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return _loss(KERNELS[binary_cross_entropy], z, target, "z")


def mse(a: Any, target: Any) -> tuple[float, Any]:
    """Mean squared error over all outputs of all images.

    Parameters
    ----------
    a : array_like, shape (N, K, ...), or Lanes
    target : array_like, shape (N, K, ...)

    Returns
    -------
    cost : float
    da : ndarray or Lanes, shape (N, K, ...)
        ``2 (a - target)`` by the number of all outputs.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return _loss(KERNELS[mse], a, target, "a")


def quadratic(a: Any, target: Any) -> tuple[float, Any]:
    """Quadratic cost ``1/(2N) sum ||target - a||^2``, its gradient ``(a - target) / N``.

    Arguments and result as for `mse`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return _loss(KERNELS[quadratic], a, target, "a")


def _by_pixels(shape: Shape) -> float:
    return 1 / (shape[0] * math.prod(shape[2:]))


#: for each cost what computes it
KERNELS: dict[Any, Kernel] = {
    cross_entropy: Kernel("cross_entropy", one_hot, _by_pixels),
    binary_cross_entropy: Kernel("binary_cross_entropy", fractions, _by_pixels),
    mse: Kernel("squared_error", dense, lambda shape: 2 / math.prod(shape)),
    quadratic: Kernel("squared_error", dense, lambda shape: 1 / shape[0]),
}
