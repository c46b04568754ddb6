"""How the numbers of an input are scaled: one rule for training, networks, plans and models.

Floating-point numbers and booleans are taken as they are.  Whole numbers are pictures, fractions of
their type's range: uint8 is multiplied by 1/255, uint16 by 1/65535, and other whole numbers, whose
range says nothing, are refused.  A network that begins with `Normalize` says itself how its numbers
are scaled: it takes all of them as they are.  A model of another program takes whole numbers only
if it says how: its `byte_scale` is None otherwise.
"""

from __future__ import annotations

import math

import numpy as np

BYTE_SCALE = 1 / 255
AS_THEY_ARE = 1.0
SMALLEST, LARGEST = 1e-3, 10.0  # root mean squares between which numbers are near unit range


def scale_of(dtype: np.dtype, byte_scale: float | None, name: str = "x") -> float:
    """What numbers of that type are multiplied by.

    Parameters
    ----------
    dtype : dtype of real numbers
    byte_scale : float or None
        What bytes (uint8) are multiplied by; `AS_THEY_ARE` admits all whole numbers, None admits
        none.
    name : str
        What messages call the array.

    Raises
    ------
    TypeError
        If whole numbers of that type are not taken.
    """
    if dtype.kind in "fb" or byte_scale == AS_THEY_ARE:
        return 1.0
    if byte_scale is None:
        raise TypeError(
            f"{name}: expected floating-point numbers, got {dtype}; the model does not say how "
            "whole numbers are scaled: give byte_scale, or convert them"
        )
    if dtype == np.uint8:
        return byte_scale
    if dtype.newbyteorder("=") == np.uint16:
        return byte_scale * (255 / 65535)
    raise TypeError(
        f"{name}: expected floating-point numbers, uint8 or uint16, got {dtype}, whose range does "
        "not say how to scale it; x.astype(numpy.float32) takes the numbers as they are"
    )


def as_numbers(
    x: np.ndarray, dtype: np.dtype, byte_scale: float | None, name: str = "x"
) -> np.ndarray:
    """`x` in that floating-point type, scaled; bytes stay bytes, which the kernels scale."""
    scale = scale_of(x.dtype, byte_scale, name)
    if x.dtype == np.uint8:
        return x
    numbers = x.astype(dtype, copy=False)
    return numbers if scale == 1.0 else numbers * dtype.type(scale)


def far_from_unit(numbers: np.ndarray) -> float | None:
    """The root mean square, if first weights and learning rates are not made for such numbers."""
    size = float(np.sqrt(np.mean(np.square(numbers, dtype=np.float64))))
    return size if 0 < size < SMALLEST or LARGEST < size < math.inf else None
