"""Images of ONNX models in another size: nearest, linear and cubic, without antialiasing.

They become gathers, and sums of gathers with fixed weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..onnx.building import Builder, Operand, said
from ..onnx.step import Step, reads
from .arithmetic_onnx import binary

MOST = 2**20  # numbers along an axis
ROUND: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


@reads("Resize", "Upsample")
def resize(build: Builder, step: Step) -> Operand:
    x, mode = step.value(0), step.attribute("mode", "s", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise ValueError(f"mode: {mode!r} is not known")
    if step.flag("antialias") or step.flag("exclude_outside"):
        raise ValueError("antialias and exclude_outside are not supported")
    if step.attribute("keep_aspect_ratio_policy", "s", "stretch") != "stretch":
        raise ValueError("another keep_aspect_ratio_policy than stretch is not supported")
    old = step.op == "Upsample" or step.opset < 11
    how = step.attribute(
        "coordinate_transformation_mode", "s", "asymmetric" if old else "half_pixel"
    )
    rounding = step.attribute("nearest_mode", "s", "floor" if old else "round_prefer_floor")
    if rounding not in ROUND:
        raise ValueError(f"nearest_mode: {rounding!r} is not known")
    value = x
    for axis, scale, size in _targets(build, step, x, old):
        whole = build.inner(x)[axis]
        if scale == 1 and size == whole:
            continue
        if how == "align_corners" and _rounded(whole, scale, size):
            raise ValueError("programs disagree about corners where the size is no whole number")
        places = _places(how, whole, size, scale)
        if mode == "nearest":
            taps: list[tuple[Any, Any]] = [(ROUND[rounding](places), None)]
        else:
            coefficient = step.number("cubic_coeff_a", -0.75)
            taps = _linear(places, whole) if mode == "linear" else _cubic(places, coefficient)
        total = None
        for place, share in taps:
            index = np.clip(place, 0, whole - 1).astype(np.intp)
            build.need(math.prod(build.inner(value)) // whole * size)
            part = build.moved(value, partial(np.take, indices=index, axis=axis))
            if share is not None:
                after = len(build.inner(x)) - 1 - axis
                part = binary(build, "mul", part, share.reshape(-1, *(1,) * after))
            total = part if total is None else binary(build, "add", total, part)
        assert total is not None
        value = total
    return value


def _targets(build: Builder, step: Step, x: Any, old: bool) -> list[tuple[int, Any, int]]:
    # axes of one image, by what each is scaled, and its new size
    sizes: Any = None
    scales: Any = None
    if step.op == "Upsample" and step.opset < 9:
        scales = np.array(step.attribute("scales", "floats", ()), np.float32)
    elif old:
        scales = step.weight(1)
    else:
        if step.given(3) and step.constant(3).size:
            sizes = step.integers(3, "sizes", since=0, counting=True)
        elif step.given(2):
            scales = step.weight(2)
    axes = step.attribute("axes", "ints", tuple(range(len(x.shape))))
    count = len(axes)
    if (sizes is None) == (scales is None) or count != len(sizes or scales.ravel()):
        raise ValueError("expected either scales or sizes, one for each axis")
    found = []
    for i, axis in enumerate(axes):
        scale = np.float32(1 if scales is None else scales.ravel()[i])
        if build.counts(x, axis):
            if scale != 1 or (sizes and not build.all_images(sizes[i])):
                raise ValueError("axis 0 counts images, which are not resized")
            continue
        (inner,) = build.axes(x, (axis,))
        whole = build.inner(x)[inner]
        size = math.floor(whole * float(scale)) if sizes is None else sizes[i]
        if not 1 <= size <= MOST:
            raise ValueError(f"{said(x.shape)} cannot be resized to {size} along axis {axis}")
        found.append((inner, scale if sizes is None else np.float32(size / whole), size))
    return found


def _rounded(whole: int, scale: Any, size: int) -> bool:
    return bool(abs(whole * float(scale) - size) > 1e-3)


def _places(how: str, whole: int, size: int, scale: Any) -> Any:
    # where each new pixel lies among the old ones, in float32 as other programs do it
    x, half = np.arange(size, dtype=np.float32), np.float32(0.5)
    if how == "align_corners":
        return x * np.float32((whole - 1) / (size - 1)) if size > 1 else x
    if how == "asymmetric":
        return x / scale
    if how == "tf_half_pixel_for_nn":
        return (x + half) / scale
    if how == "pytorch_half_pixel" and size == 1:
        return np.zeros_like(x)
    if how in ("half_pixel", "pytorch_half_pixel"):
        return (x + half) / scale - half
    if how == "half_pixel_symmetric":
        middle = whole / 2 * (1 - size / (whole * scale))
        return np.float32(middle) + (x + half) / scale - half
    raise ValueError(f"coordinate_transformation_mode: {how!r} is not supported")


def _linear(places: Any, whole: int) -> list[tuple[Any, Any]]:
    places = np.clip(places, 0, whole - 1)
    first = np.floor(places)
    share = places - first
    return [(first, 1 - share), (first + 1, share)]


def _cubic(places: Any, a: float) -> list[tuple[Any, Any]]:
    first = np.floor(places)
    taps = []
    for step in (-1, 0, 1, 2):
        far = np.abs(places - first - step)
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        outer = ((far - 5) * far + 8) * far * a - 4 * a
        taps.append((first + step, np.where(far <= 1, near, outer)))
    return taps
