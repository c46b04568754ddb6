"""Costs and their gradients as functions; each returns (cost, gradient at the first argument)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _core
from ..lanes import Lanes, empty
from . import _check as check


def one_hot(target: Any, images: int, classes: int, dtype: np.dtype) -> Lanes:
    """Class numbers (N,) or rows of targets (N, K) as lanes of targets.

    Raises
    ------
    TypeError, ValueError
        If class numbers are not whole or outside 0..K-1, or the shape does not fit.
    """
    if isinstance(target, Lanes):
        check.same_shape(target, "target", (images, classes))
        return target
    numbers = check.real_array(target, "target")
    if numbers.shape == (images, classes) and numbers.ndim == 2:
        return Lanes.pack(np.ascontiguousarray(numbers, dtype))
    if numbers.shape != (images,):
        raise ValueError(
            f"target: expected shape ({images},) or ({images}, {classes}), got {numbers.shape}"
        )
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"target: expected whole class numbers, got {numbers.dtype}")
    if images and (numbers.min() < 0 or numbers.max() >= classes):
        raise ValueError(
            f"target: expected classes 0 to {classes - 1}, got {numbers.min()} to {numbers.max()}"
        )
    lanes = Lanes.empty((images, classes), dtype)
    lanes.data[...] = 0
    image = np.arange(images)
    width = lanes.data.shape[-1]
    lanes.data[image // width, numbers, image % width] = 1
    return lanes


def costs(op: str, z: Lanes, target: Lanes, scale: float) -> tuple[np.ndarray, Lanes]:
    """The unscaled cost of each image, (blocks, LANES), and the gradient at z times `scale`."""
    images, K = z.shape
    dz = Lanes.empty((images, K), target.dtype)
    cost = empty((z.blocks, target.data.shape[-1]), target.dtype)
    _core.loss(op, z.data, target.data, cost, dz.data, dz.dtype.itemsize, images, K, scale)
    return cost, dz


def total(cost: np.ndarray, images: int) -> float:
    """The sum of the costs of the images."""
    return float(cost.reshape(-1)[:images].sum(dtype=np.float64))


def _loss(op: str, z: Any, target: Lanes, scale: float) -> tuple[float, Any]:
    # every cost is the sum over the images times the factor of its gradient
    cost, dz = costs(op, check.packed(z, target.dtype), target, scale)
    return total(cost, z.shape[0]) * scale, check.result(dz, z)


def _outputs(z: Any, name: str) -> tuple[Any, int]:
    z = check.batch(z, name, 2)
    if z.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, got shape {z.shape}")
    return z, z.shape[0]


def dense(target: Any, images: int, outputs: int, dtype: np.dtype) -> Lanes:
    """Rows of targets (N, K) as lanes."""
    if isinstance(target, Lanes):
        check.same_shape(target, "target", (images, outputs))
        return target
    return Lanes.pack(check.plain(target, "target", (images, outputs), dtype))


def _dense(target: Any, z: Any) -> Lanes:
    images, outputs = z.shape
    return dense(target, images, outputs, check.common_dtype(z))


def cross_entropy(z: Any, target: Any) -> tuple[float, Any]:
    """Log-likelihood of softmax outputs, ``-sum_k target_k ln softmax(z)_k``, mean over images.

    Parameters
    ----------
    z : array_like, shape (N, K), or Lanes
        Logits, the inputs of the softmax.
    target : array_like of int, shape (N,), or of numbers, shape (N, K)
        Class numbers, or the wanted probability of each class.

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K)
        ``(softmax(z) - target) / N``.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape or there is no image.
    """
    z, N = _outputs(z, "z")
    target = one_hot(target, N, z.shape[1], check.common_dtype(z))
    return _loss("cross_entropy", z, target, 1 / N)


def binary_cross_entropy(z: Any, target: Any) -> tuple[float, Any]:
    """Cross-entropy of sigmoid outputs a, ``-sum_j [t ln a + (1-t) ln(1-a)]``, mean over images.

    Parameters
    ----------
    z : array_like, shape (N, K), or Lanes
        Logits, the inputs of the sigmoid.
    target : array_like, shape (N, K)
        Wanted outputs, anywhere in [0, 1].

    Returns
    -------
    cost : float
    dz : ndarray or Lanes, shape (N, K)
        ``(sigmoid(z) - target) / N``; the factor a (1 - a), which makes saturated neurons learn
        slowly, is gone.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape or there is no image.
    """
    z, N = _outputs(z, "z")
    return _loss("binary_cross_entropy", z, _dense(target, z), 1 / N)


def mse(a: Any, target: Any) -> tuple[float, Any]:
    """Mean squared error over all outputs of all images.

    Parameters
    ----------
    a : array_like, shape (N, K), or Lanes
    target : array_like, shape (N, K)

    Returns
    -------
    cost : float
    da : ndarray or Lanes, shape (N, K)
        ``2 (a - target) / (N K)``.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape or there is no image.
    """
    a, N = _outputs(a, "a")
    return _loss("squared_error", a, _dense(target, a), 2 / (N * a.shape[1]))


def quadratic(a: Any, target: Any) -> tuple[float, Any]:
    """Quadratic cost ``1/(2N) sum ||target - a||^2``.

    Parameters
    ----------
    a : array_like, shape (N, K), or Lanes
    target : array_like, shape (N, K)

    Returns
    -------
    cost : float
    da : ndarray or Lanes, shape (N, K)
        ``(a - target) / N``.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape or there is no image.
    """
    a, N = _outputs(a, "a")
    return _loss("squared_error", a, _dense(target, a), 1 / N)


#: for each cost its kernel, how targets become lanes, and the factor for N images of K outputs
KERNELS: dict[Any, tuple[str, Callable[..., Lanes], Callable[[int, int], float]]] = {
    cross_entropy: ("cross_entropy", one_hot, lambda N, K: 1 / N),
    binary_cross_entropy: ("binary_cross_entropy", dense, lambda N, K: 1 / N),
    mse: ("squared_error", dense, lambda N, K: 2 / (N * K)),
    quadratic: ("squared_error", dense, lambda N, K: 1 / N),
}
