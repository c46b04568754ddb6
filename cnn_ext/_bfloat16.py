"""bfloat16, the upper half of a float32: as integers that travel, and rounded numbers."""

from __future__ import annotations

import numpy as np

_QUIET = 0x40  # a bit of a NaN that keeps it one when its lower half is gone


def to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """The nearest bfloat16, to even if there are two; NaN and infinities stay what they are.

    Parameters
    ----------
    numbers : ndarray of float32
        What is nearer to 2**128 than to the largest bfloat16 becomes infinite.

    Returns
    -------
    ndarray of uint16, of the same shape
    """
    bits = numbers.view(np.uint32)
    high = (bits >> 16).astype(np.uint16)
    rounded = ((bits + 0x7FFF + (high & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(numbers), high | _QUIET, rounded)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 that these bfloat16 are, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """The nearest numbers of bfloat16 as float32."""
    return from_bfloat16(to_bfloat16(np.ascontiguousarray(numbers, np.float32)))
