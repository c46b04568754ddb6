"""Images made larger: by zeros around them, or by what lies between their pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _check as check
from .built_in import BuiltIn, image_sizes

MODES = ("nearest", "bilinear")


class ZeroPad2d(BuiltIn):
    """Zeros around images.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
        In PyTorch's order, in which `Conv2d` has another.

    Raises
    ------
    TypeError, ValueError
        If `padding` does not fit.
    """

    arguments = ("padding",)

    def __init__(self, padding: Any) -> None:
        sides = padding if check.is_list(padding) else (padding,) * 4
        if len(sides) != 4:
            raise ValueError(f"padding: expected a number or four, got {padding!r}")
        self.padding = tuple(check.whole(side, "padding", 0) for side in sides)

    def forward(self, x: Any) -> Any:
        image_sizes(x)
        left, right, top, bottom = self.padding
        index = np.arange(math.prod(x.features)).reshape(x.features)
        around = ((0, 0), (top, bottom), (left, right))
        return x.emit("gather", index=np.pad(index, around, constant_values=-1))


class Upsample(BuiltIn):
    """Images of a larger (or smaller) size, as `torch.nn.Upsample` makes them.

    Parameters
    ----------
    size : int or (int, int), optional
        Rows and columns of the output.
    scale_factor : float or (float, float), optional
        Or how many times as many as the input has.
    mode : "nearest" or "bilinear"
    align_corners : bool, optional
        Of "bilinear" alone: whether the middles of the corner pixels stay in the corners.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or not exactly one of `size` and `scale_factor` is given.
    """

    arguments = ("size", "scale_factor", "mode", "align_corners")

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        if (size is None) is (scale_factor is None):
            raise ValueError("size, scale_factor: expected one of them")
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if align_corners is not None and mode == "nearest":
            raise ValueError("align_corners: expected None with mode 'nearest'")
        self.size = None if size is None else check.pair(size, "size", 1)
        self.scale_factor = None
        if scale_factor is not None:
            factors = scale_factor if check.is_list(scale_factor) else (scale_factor, scale_factor)
            if len(factors) != 2:
                raise ValueError(f"scale_factor: expected a number or two, got {scale_factor!r}")
            self.scale_factor = tuple(check.number(f, "scale_factor") for f in factors)
        self.mode = mode
        self.align_corners = None if align_corners is None else bool(align_corners)

    def forward(self, x: Any) -> Any:
        image_sizes(x)
        for axis in (1, 2):
            x = self._along(x, axis)
        return x

    def _along(self, x: Any, axis: int) -> Any:
        size = x.features[axis]
        factor = None if self.scale_factor is None else self.scale_factor[axis - 1]
        count = math.floor(size * factor) if self.size is None else self.size[axis - 1]
        if count < 1:
            raise ValueError(f"scale_factor {factor}: nothing is left of {size} pixels")
        places = np.arange(count)
        step = size / count if factor is None else 1 / factor  # input pixels an output pixel
        if self.mode == "nearest":
            return _picked(x, axis, np.minimum((places * step).astype(int), size - 1))
        if self.align_corners:
            at = places * ((size - 1) / (count - 1)) if count > 1 else places * 0.0
        else:
            at = np.maximum((places + 0.5) * step - 0.5, 0)
        low = np.minimum(at.astype(int), size - 1)
        share = at - low
        form = [1, 1, 1]
        form[axis] = count
        share = share.reshape(form)
        near = _picked(x, axis, low) * (1 - share)
        return near + _picked(x, axis, np.minimum(low + 1, size - 1)) * share


def _picked(x: Any, axis: int, index: np.ndarray) -> Any:
    table = np.arange(math.prod(x.features)).reshape(x.features)
    return x.emit("gather", index=np.take(table, index, axis))
