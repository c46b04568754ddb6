"""Costs and their gradients as functions; each returns (cost, gradient at the first argument)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from .. import _check as check
from .. import _core
from ..lanes import Lanes, contiguous, empty

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
    lanes = Lanes.empty(shape, dtype)
    whole = contiguous(numbers, np.dtype(np.int64))
    size, pixels = dtype.itemsize, math.prod(rest)
    if _core.one_hot(whole, lanes.data, size, images, classes, pixels) >= 0:
        raise ValueError(
            f"target: expected classes 0 to {classes - 1}, got {numbers.min()} to {numbers.max()}"
        )
    return lanes


def one_class(target: Any, shape: Shape, dtype: np.dtype) -> Lanes:
    """Class numbers (N, ...) or one-hot rows (N, K, ...) as lanes of targets.

    Raises TypeError or ValueError as `one_hot` does, or if a row is not that of one class.
    """
    if not isinstance(target, Lanes):
        rows = check.real_array(target, "target")
        if rows.shape == shape and not (
            np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()
        ):
            raise ValueError("target: expected class numbers or one-hot rows, got other rows")
    return one_hot(target, shape, dtype)


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
    """What computes a cost: its kernel, how targets become lanes, the factor of its gradient.

    A cost may have one option, by name, with its value and the extent of it.
    """

    op: str
    to_lanes: Callable[[Any, Shape, np.dtype], Lanes]
    scale: Callable[[Shape], float]
    option: str = ""
    value: float = 0.0
    least: float = 0.0
    most: float = sys.float_info.max

    def told(self, value: float) -> Kernel:
        """The same with another value of its option; TypeError or ValueError if it is none."""
        value = check.number(value, self.option, self.least, self.most)
        return self._replace(value=value)

    def costs(
        self, z: Lanes, target: Lanes, weights: np.ndarray, factor: float = 1.0
    ) -> tuple[np.ndarray, Lanes]:
        """The unscaled cost of each image, (blocks, LANES), and `factor` times the gradient.

        The `weights` of the images, (blocks, LANES), multiply both.
        """
        dz = Lanes.empty(z.shape, target.dtype)
        cost = empty((z.blocks, target.data.shape[-1]), target.dtype)
        images, K, *rest = z.shape
        pixels = math.prod(rest)
        if self.op not in ("cross_entropy", "focal", "hinge"):  # every output by itself
            K, pixels = K * pixels, 1
        _core.loss(
            self.op, z.data, target.data, weights, cost, dz.data, dz.dtype.itemsize, images, K,
            factor * self.scale(z.shape), pixels, self.value,
        )  # fmt: skip
        return cost, dz


def weight_lanes(weights: np.ndarray | None, images: int, dtype: np.dtype) -> np.ndarray:
    """Weights of images, (N,), by default 1 for each, as (blocks, LANES); 0 where no image is.

    Who gets them does not change them.
    """
    return _ones(images, dtype) if weights is None else _laid(weights, images, dtype)


@lru_cache(16)
def _ones(images: int, dtype: np.dtype) -> np.ndarray:
    return _laid(1, images, dtype)


def _laid(weights: Any, images: int, dtype: np.dtype) -> np.ndarray:
    lanes = _core.lanes(dtype.itemsize)
    laid = empty((-(-images // lanes), lanes), dtype)
    laid[...] = 0
    laid.reshape(-1)[:images] = weights
    return laid


def total(cost: np.ndarray, images: int) -> float:
    """The sum of the costs of the images."""
    return _core.total(cost.reshape(-1)[:images], cost.itemsize, images)


def loss(
    kernel: Kernel, z: Any, target: Any, name: str, weights: np.ndarray | None = None
) -> tuple[float, Any]:
    """Cost and gradient of outputs that messages call `name`; `weights` of images multiply both."""
    # every cost is the sum over the images times the factor of its gradient
    z = check.batch(z, name)
    if len(z.shape) < 2:
        raise ValueError(f"{name}: expected 2 axes (N, K) or more, got shape {z.shape}")
    if z.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, got shape {z.shape}")
    lanes = kernel.to_lanes(target, z.shape, check.common_dtype(z))
    given = weight_lanes(weights, z.shape[0], lanes.dtype)
    cost, dz = kernel.costs(check.packed(z, lanes.dtype), lanes, given)
    return total(cost, z.shape[0]) * kernel.scale(z.shape), check.result(dz, z)


def cross_entropy(z: Any, target: Any, label_smoothing: float = 0.0) -> tuple[float, Any]:
    """Log-likelihood of softmax outputs, ``-sum_k target_k ln softmax(z)_k``, mean over images.

    Of class maps it is the mean over images and pixels.

    Parameters
    ----------
    z : array_like, shape (N, K, ...), or Lanes
        Logits, the inputs of the softmax over K; (N, K, P, Q) for class maps.
    target : array_like of int, shape (N, ...), or of numbers, shape (N, K, ...)
        Class numbers, or the wanted probability of each class, 0 or more.
    label_smoothing : float
        0 to 1: the part s of each target that goes to all classes alike, (1 - s) target + s / K.

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
    return loss(KERNELS[cross_entropy].told(label_smoothing), z, target, "z")


def focal(z: Any, target: Any, gamma: float = 2.0) -> tuple[float, Any]:
    """Focal loss, ``-sum_k target_k (1 - p_k)^gamma ln p_k`` of p = softmax(z), mean over images.

    It is the cross-entropy with less weight on what is predicted well.  Of class maps it is the
    mean over images and pixels.

    Parameters
    ----------
    z, target
        As for `cross_entropy`.
    gamma : float
        0 or more; with 0 it is the cross-entropy.

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K, ...)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return loss(KERNELS[focal].told(gamma), z, target, "z")


def hinge(z: Any, target: Any) -> tuple[float, Any]:
    """Hinge loss of several classes, ``1/K sum_k max(0, 1 + z_k - z_y)``, mean over images.

    The sum is over the classes k that are not y, the right one.  Of class maps it is the mean over
    images and pixels.

    Parameters
    ----------
    z : array_like, shape (N, K, ...), or Lanes
        Outputs, the highest of which is the prediction.
    target : array_like of int, shape (N, ...), or one-hot rows, shape (N, K, ...)

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K, ...)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return loss(KERNELS[hinge], z, target, "z")


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
    return loss(KERNELS[binary_cross_entropy], z, target, "z")


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
    return loss(KERNELS[mse], a, target, "a")


def quadratic(a: Any, target: Any) -> tuple[float, Any]:
    """Quadratic cost ``1/(2N) sum ||target - a||^2``, its gradient ``(a - target) / N``.

    Arguments and result as for `mse`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return loss(KERNELS[quadratic], a, target, "a")


def huber(a: Any, target: Any, delta: float = 1.0) -> tuple[float, Any]:
    """Huber loss, the mean over all outputs of all images.

    An error e costs ``e^2 / 2`` up to `delta` and ``delta (|e| - delta / 2)`` beyond, so that far
    outliers pull no harder than others.

    Arguments and result as for `mse`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value, or there is no image.
    """
    return loss(KERNELS[huber].told(delta), a, target, "a")


def kernel_of(cost: Any) -> Kernel | None:
    """What computes a cost: one of the functions here, or `functools.partial` of it by keyword.

    Raises TypeError or ValueError if its option has a wrong value.
    """
    if isinstance(cost, partial):
        kernel = kernel_of(cost.func)
        if kernel is None or cost.args or set(cost.keywords) != {kernel.option}:
            return None
        return kernel.told(cost.keywords[kernel.option])
    return KERNELS.get(cost) if isinstance(cost, FunctionType) else None


def _by_pixels(shape: Shape) -> float:
    return 1 / (shape[0] * math.prod(shape[2:]))


#: for each cost what computes it
KERNELS: dict[Any, Kernel] = {
    cross_entropy: Kernel("cross_entropy", one_hot, _by_pixels, "label_smoothing", 0.0, most=1.0),
    focal: Kernel("focal", one_hot, _by_pixels, "gamma", 2.0),
    hinge: Kernel("hinge", one_class, lambda shape: _by_pixels(shape) / shape[1]),
    binary_cross_entropy: Kernel("binary_cross_entropy", fractions, _by_pixels),
    mse: Kernel("squared_error", dense, lambda shape: 2 / math.prod(shape)),
    quadratic: Kernel("squared_error", dense, lambda shape: 1 / shape[0]),
    huber: Kernel(
        "huber", dense, lambda shape: 1 / math.prod(shape), "delta", 1.0, sys.float_info.min
    ),
}
