"""Convolution of pictures with one kernel, and a convolution as the matrix that it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from ..operators.conv2d import conv_sizes
from .conv import conv2d


def correlate2d(image: ArrayLike, kernel: ArrayLike, mode: str = "full") -> np.ndarray:
    """Cross-correlate a picture with a kernel, ``y[i,j] = sum x[i+r, j+s] k[r,s]``.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, channels)
        Grey, or colour with each channel on its own.
    kernel : array_like, shape (R, S)
    mode : "full", "valid" or "same"
        The extent of the result: every overlap, whole overlaps only, or that of the picture.

    Returns
    -------
    ndarray
        float32, or float64 if either argument is float64.  As SciPy's function of this name; in
        mode "valid" the kernel must not be larger than the picture.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    return _filter(image, check.real_array(kernel, "kernel"), mode, before=-1)


def convolve2d(image: ArrayLike, kernel: ArrayLike, mode: str = "full") -> np.ndarray:
    """Convolve a picture with a kernel, which is first rotated by 180 degrees.

    ``y[i,j] = sum x[i-r, j-s] k[r,s]``.  Parameters, result and errors as `correlate2d`.
    """
    weights = check.real_array(kernel, "kernel")
    return _filter(image, weights[::-1, ::-1] if weights.ndim == 2 else weights, mode, before=0)


def _filter(image: ArrayLike, weights: np.ndarray, mode: str, before: int) -> np.ndarray:
    # "same" is the middle of the full result.  An even kernel has two middles: for correlation
    # (before = -1) the smaller half of the padding is above and left, for convolution the larger.
    picture = check.real_array(image, "image")
    if picture.ndim not in (2, 3) or 0 in picture.shape:
        raise ValueError(f"image: expected shape (H, W) or (H, W, channels), got {picture.shape}")
    if weights.ndim != 2 or 0 in weights.shape:
        raise ValueError(f"kernel: expected shape (R, S), got {weights.shape}")
    R, S = weights.shape
    padding: Any = mode
    if mode == "same":
        top, left = (R + before) // 2, (S + before) // 2
        padding = (top, R - 1 - top, left, S - 1 - left)
    elif mode not in ("full", "valid"):
        raise ValueError(f"mode: expected 'full', 'valid' or 'same', got {mode!r}")
    if mode == "valid" and (R > picture.shape[0] or S > picture.shape[1]):
        raise ValueError(
            f"kernel: expected at most the picture's {picture.shape[:2]} in mode 'valid', "
            f"got {weights.shape}"
        )
    channels = picture[..., None] if picture.ndim == 2 else picture
    y = conv2d(channels.transpose(2, 0, 1)[:, None], weights[None, None], padding=padding)
    y = y[:, 0].transpose(1, 2, 0)
    return np.ascontiguousarray(y[..., 0] if picture.ndim == 2 else y)


def conv2d_matrix(
    weight: ArrayLike,
    input_shape: tuple[int, ...],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The matrix W of weight sharing: ``conv2d(x, weight).ravel() = W @ x.ravel()`` for one image.

    Parameters
    ----------
    weight : array_like, shape (K, C / groups, R, S)
    input_shape : (C, H, W)
    stride, padding, dilation, groups
        As for `conv2d`.

    Returns
    -------
    scipy.sparse.csr_array, shape (K P Q, C H W)
        Or a dense ndarray where SciPy is not installed.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or shape; the message names it.
    """
    w = check.real_array(weight, "weight")
    C, H, W = check.extents(input_shape, "input_shape", "CHW")
    sizes = conv_sizes((C, H, W), w.shape, stride, padding, dilation, groups)
    G, C_group, K_group, _, _, R, S, P, Q, step_h, step_w, top, left, gap_h, gap_w = sizes
    k, c, p, q, r, s = np.ogrid[: G * K_group, :C_group, :P, :Q, :R, :S]
    h, v = p * step_h + r * gap_h - top, q * step_w + s * gap_w - left
    inside = np.broadcast_to(
        (h >= 0) & (h < H) & (v >= 0) & (v < W), (G * K_group, C_group, P, Q, R, S)
    )
    row = np.broadcast_to((k * P + p) * Q + q, inside.shape)[inside]
    column = np.broadcast_to(((k // K_group * C_group + c) * H + h) * W + v, inside.shape)[inside]
    value = np.broadcast_to(w[:, :, None, None].astype(check.common_dtype(w)), inside.shape)[inside]
    extent = (G * K_group * P * Q, C * H * W)
    try:
        from scipy import sparse
    except ImportError:
        dense = np.zeros(extent, value.dtype)
        dense[row, column] = value
        return dense
    return sparse.csr_array((value, (row, column)), shape=extent)
