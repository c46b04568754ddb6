"""Checks and conversions that all share; each error names the argument."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._arrays import plain_array
from .lanes import Lanes, contiguous

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
LARGEST = 2**31 - 1  # of any extent, stride, padding or dilation


def real_array(x: ArrayLike, name: str) -> np.ndarray:
    """`x` as an array of real numbers of its own dtype.

    Raises TypeError or ValueError if `x` does not hold real numbers, or its rows differ in length;
    if it is masked or sparse.
    """
    array = plain_array(x, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real numbers, got an array of {array.dtype}")
    return array


def finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError if a number is not finite."""
    for name, array in arrays.items():
        numbers = np.isfinite(array)
        if not numbers.all():
            raise ValueError(f"{name:.60}: expected finite numbers, got {array[~numbers][0]}")


def common_dtype(*arrays: Any) -> np.dtype:
    """float64 if any of the arrays is, else float32, also for integers and half precision."""
    wide = any(a is not None and a.dtype.kind == "f" and a.dtype.itemsize >= 8 for a in arrays)
    return FLOAT64 if wide else FLOAT32


def float_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64 as a dtype; TypeError if it is another number type."""
    chosen = np.dtype(dtype)
    if chosen not in (FLOAT32, FLOAT64):
        raise TypeError(f"dtype: expected float32 or float64, got {chosen}")
    return chosen


def plain(x: ArrayLike, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`x` as a C-contiguous array of that shape and dtype."""
    array = contiguous(real_array(x, name), dtype)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def batch(x: ArrayLike | Lanes, name: str, ndim: int | None = None) -> np.ndarray | Lanes:
    """`x` as a batch, an array or lanes, with `ndim` axes, none but the first empty."""
    checked = x if isinstance(x, Lanes) else real_array(x, name)
    shape = checked.shape
    if ndim is not None and len(shape) != ndim:
        axes = {2: "(N, features)", 4: "(N, C, H, W)"}.get(ndim, "")
        raise ValueError(f"{name}: expected {ndim} axes {axes}, got shape {shape}")
    if len(shape) < 1 or 0 in shape[1:]:
        raise ValueError(f"{name}: expected a batch with no empty axis but the first, got {shape}")
    return checked


def packed(x: np.ndarray | Lanes, dtype: np.dtype, name: str = "x") -> Lanes:
    """`x` in lanes; bytes are taken as the numbers that they are."""
    if isinstance(x, Lanes):
        if x.dtype != dtype:
            raise TypeError(f"{name}: expected lanes of {dtype}, got {x.dtype}")
        return x
    return Lanes.pack(x, dtype)


def same_shape(x: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `x` has that shape."""
    if x.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {x.shape}")


def result(y: Lanes, like: np.ndarray | Lanes, out: np.ndarray | None = None) -> Any:
    """`y` in the layout of `like`: lanes for lanes, else a plain array, in `out` if given."""
    if not isinstance(like, Lanes):
        return into(y.unpack(), out)
    if out is not None:
        raise TypeError(f"out: expected None for lanes, got {type(out).__name__}")
    return y


def into(y: np.ndarray, out: np.ndarray | None, name: str = "out") -> np.ndarray:
    """`y` itself or, if `out` is given, `out` with the values of `y`.

    Raises TypeError or ValueError if `out` is no writable array of the shape and dtype of `y`.
    """
    if out is None:
        return y
    if not isinstance(out, np.ndarray) or out.dtype != y.dtype:
        got = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"{name}: expected an array of {y.dtype}, got {got}")
    same_shape(out, name, y.shape)
    if not out.flags.writeable:
        raise ValueError(f"{name}: expected a writable array, got a read-only one")
    out[...] = y
    return out


def whole(value: Any, name: str, least: int) -> int:
    """`value` as an int from `least` to 2**31 - 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if not least <= number <= LARGEST:
        raise ValueError(f"{name}: expected {least} to 2**31 - 1, got {number}")
    return number


def number(value: Any, name: str, least: float = 0.0, most: float = sys.float_info.max) -> float:
    """`value` as a float from `least` to `most`, by default not negative; never NaN."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    if not real or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if isinstance(value, np.generic):  # with which `most` would overflow
        value = value.item()
    if not least <= value <= most:
        extent = f"{least:g} or more" if most == sys.float_info.max else f"{least:g} to {most:g}"
        raise ValueError(f"{name}: expected {extent}, got {value!r}")
    return float(value)


def boolean(value: Any, name: str) -> bool:
    """`value` as a bool; TypeError if it is none."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a bool, got {value!r:.99}")
    return bool(value)


def is_list(value: Any) -> bool:
    """Whether `value` is a tuple, list or array, and no text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def listed(value: Any) -> list[int]:
    """A number, or numbers in a list, as a list."""
    return [int(number) for number in value] if is_list(value) else [int(value)]


def extents(value: Any, name: str, letters: str) -> tuple[int, ...]:
    """A shape with an axis for each of `letters`; N alone may be 0."""
    if not is_list(value) or len(value) != len(letters):
        raise ValueError(f"{name}: expected ({', '.join(letters)}), got {value!r}")
    return tuple(
        whole(size, name, letter != "N") for size, letter in zip(value, letters, strict=True)
    )


def image_shape(value: Any) -> tuple[int, ...]:
    """The shape of one image, of whole numbers from 1."""
    if not is_list(value):
        raise TypeError(f"input_shape: expected (C, H, W) or (F,), got {value!r:.99}")
    return tuple(whole(size, "input_shape", 1) for size in value)


def image_axes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape without N, if it is that of images, (C, H, W); else ValueError."""
    if len(shape) != 3:
        hints = {2: "; a batch is (N, C, H, W), with C = 1 for grey", 4: "; N is left out here"}
        hint = hints.get(len(shape), "")
        raise ValueError(f"expected an input of (C, H, W), got {shape}{hint}")
    C, H, W = shape
    return C, H, W


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """A number, or two of them for height and width, as a pair."""
    if is_list(value):
        if len(value) != 2:
            raise ValueError(f"{name}: expected a number or two, got {value!r}")
        return whole(value[0], name, least), whole(value[1], name, least)
    number = whole(value, name, least)
    return number, number


def padding4(
    padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Padding of a convolution as (top, bottom, left, right).

    A number, a pair (height, width), four numbers, "valid" (none), "same" (the output is as large
    as the input; stride 1; the smaller half first) or "full" (each tap meets each pixel).
    """
    reach = (dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1))
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        if padding == "full":
            return reach[0], reach[0], reach[1], reach[1]
        if padding == "same":
            if stride != (1, 1):
                raise ValueError(f"padding: 'same' needs stride 1, got stride {stride}")
            top, left = reach[0] // 2, reach[1] // 2
            return top, reach[0] - top, left, reach[1] - left
        raise ValueError(f"padding: expected 'valid', 'same' or 'full', got {padding!r}")
    if is_list(padding) and len(padding) == 4:
        top, bottom, left, right = (whole(p, "padding", 0) for p in padding)
        return top, bottom, left, right
    if is_list(padding) and len(padding) != 2:
        raise ValueError(f"padding: expected one, two or four numbers, got {padding!r}")
    height, width = pair(padding, "padding", 0)
    return height, height, width, width
