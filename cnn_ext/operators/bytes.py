"""Convolutions, windows and sums of one image whose activations are bytes.

With ``x = (q - zero) scale`` and weights ``w = u scale[k]``, whole numbers q and u, a sum of
products is ``scale scale[k] (sum of q u - zero sum of u)``: whole numbers but for one factor (Jacob
et al. 2018, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _core
from ..graph.bytes import MOST_TAPS, Bytes, Grid, byte_room
from ..graph.layout import FLOAT, NO_BORDER, Border, Placed, constant, image, room
from ..graph.node import Node, Shape

MOST_SIDE = 8  # pixels that are one


def has_byte_weights(node: Node) -> bool:
    """Whether the weights are multiples of a scale of each output channel, from -128 to 127.

    Training may have moved them off that grid; then the layer works on numbers.
    """
    weight, scale = node.weight("weight"), node.weight("weight_scale")
    if weight is None or scale is None or weight.ndim not in (2, 4):
        return False
    if math.prod(weight.shape[1:]) > MOST_TAPS:
        return False
    return np.array_equal(whole_weights(node) * by_row(scale, weight), weight)


def by_row(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The scale of each output channel, (K,), in as many axes as the weights have."""
    return scale.reshape(-1, *(1,) * (weight.ndim - 1))


def whole_weights(node: Node) -> np.ndarray:
    """The weights as whole numbers, int8, in their own shape."""
    weight, scale = node.weight("weight"), node.weight("weight_scale")
    assert weight is not None and scale is not None
    steps = np.rint(weight / by_row(scale, weight))
    return np.clip(steps, -128, 127).astype(np.int8)


def make(run: Any, shape: Shape, grid: Grid, border: Border = NO_BORDER) -> Bytes:
    """Room for an activation, with zeros in its border."""
    C, H, W = image(shape)
    top, bottom, left, right = border
    row = (left + W + right) * C
    data = byte_room((top + H + bottom) * row)
    if border != NO_BORDER:
        run.kernels.byte_fill(data, grid.zero_point)
    return Bytes(data, shape, (C, H, W), grid, top * row + left * C, row, border)


def to_bytes(run: Any, x: Placed, grid: Grid, border: Border = NO_BORDER) -> Bytes:
    """The nearest bytes of numbers; NaN among them will be seen in the outputs."""
    y = make(run, x.shape, grid, border)
    places, steps, odd = x.at(run.packed), (y.first, y.row), run.odd_room()
    run.kernels.byte_cast(
        x.data, y.data, places, y.body, steps, grid.scale, grid.limits(), False, odd
    )
    return y


def to_numbers(run: Any, x: Bytes) -> Placed:
    """What bytes stand for, as plain numbers."""
    C, H, W = x.body
    data = room(C * H * W + 2 * run.lanes)
    places, steps = run.packed.grid(0, (C * H * W, 1)), (x.first, x.row)
    grid = x.grid
    run.kernels.byte_cast(x.data, data, places, x.body, steps, grid.scale, grid.limits(), True)
    plain = Placed(data, x.body, None, 1, 0, H * W, W)
    return plain.as_shape(x.shape, run.packed)


def numbers_of(run: Any, x: Bytes | Placed) -> Placed:
    """An activation as numbers, whatever it is."""
    return to_numbers(run, x) if isinstance(x, Bytes) else x


def as_image(run: Any, x: Bytes, border: Border = NO_BORDER) -> Bytes:
    """`x` as an image of its shape, within such a border or more."""
    if image(x.shape) != x.body:
        return to_bytes(run, to_numbers(run, x), x.grid, border)
    enough = all(has >= needs for has, needs in zip(x.border, border, strict=True))
    if enough:
        return x
    return window(run, "max", x, x.shape, (1, 1, 1, 1, 1, 1, 0, 0), x.grid, border)


def conv2d(run: Any, node: Node, x: Bytes, pooling: Node | None) -> Bytes | Placed:
    """A convolution; numbers, unless the node says of which grid its results are.

    If there is a `pooling` of pairs, it gives the maxima.
    """
    a = node.attributes
    K, C_group, R, S = node.weights["weight"].shape
    groups = a["groups"]
    x = as_image(run, x, a["padding"])
    C = x.body[0]
    if _is_depthwise(node):
        return _depthwise(run, node, x)
    (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
    top, _, left, _ = a["padding"]
    first, row, column = x.first - top * x.row - left * C, step_h * x.row, step_w * C
    four: tuple[tuple[int, int], ...] = ()  # pixels of a maximum
    if pooling is not None:
        four, row, column = ((2, row), (2, column)), 2 * row, 2 * column
    last = pooling or node
    P, Q = image(run.graph.shapes[last.output])[1:]
    together, side = gap_w == 1 and groups == 1, 1  # the bytes of a row of taps lie side by side
    if together and a["quantize"] is not None:
        side = best_side(K, Q, lambda n: -(-(S * C + (n - 1) * column) // 4))
    y, y_pixels = _results(run, node, last, side)
    grid = run.packed.grid
    for g in range(groups):
        axes, width = [(R, gap_h * x.row), (S, gap_w * C)], C_group
        if together:
            axes, width = axes[:1], S * C
        own = slice(g * K // groups, (g + 1) * K // groups)
        rows = whole_weights(node)[own].transpose(0, 2, 3, 1).reshape(K // groups, -1, width)
        rows = side_by_side(rows, side, column)
        tables = (
            grid(first + g * C_group, *four, (P, row), (Q // side, side * column)),
            y_pixels if own.start == 0 else y_pixels + own.start,
            grid(0, *axes, (-(-rows.shape[-1] // 4), 4)),
        )
        _sums(run, node, f"{node.output} {g}", rows, own, x, y, tables)
    return _in_lanes(run, y)


def best_side(K: int, Q: int, taps: Callable[[int], int]) -> int:
    """How many neighbours of Q pixels are best one pixel with as many times the K channels.

    With few channels vectors are fuller so; `taps` says how many are read for so many neighbours.
    """

    def products(side: int) -> float:
        return taps(side) * -(-side * K // _core.ints()) / side

    return min((side for side in range(1, MOST_SIDE + 1) if Q % side == 0), key=products)


def side_by_side(rows: np.ndarray, side: int, apart: int) -> np.ndarray:
    """Weights (K, rows, bytes side by side) for so many pixels at once, (side K, rows, ...)."""
    K, count, width = rows.shape
    wide = np.zeros((side, K, count, width + (side - 1) * apart), np.int8)
    for i in range(side):
        wide[i, :, :, i * apart : i * apart + width] = rows
    return wide.reshape(side * K, count, -1)


def linear(run: Any, node: Node, x: Bytes) -> Bytes | Placed:
    """A linear layer, likewise; its features may lie as the bytes of an image."""
    K, F = node.weights["weight"].shape
    if x.border != NO_BORDER:
        x = window(run, "max", x, x.shape, (1, 1, 1, 1, 1, 1, 0, 0), x.grid)
    y, y_pixels = _results(run, node, node)
    grid = run.packed.grid
    tables = grid(x.first, (1, 1)), y_pixels, grid(0, (-(-F // 4), 4))
    rows = whole_weights(node).reshape(K, *x.body).transpose(0, 2, 3, 1).reshape(K, 1, F)
    _sums(run, node, node.output, rows, slice(0, K), x, y, tables)
    return _in_lanes(run, y)


def _results(run: Any, node: Node, last: Node, side: int = 1) -> tuple[Any, np.ndarray]:
    # room for the results, as the `last` node gives them, and where its pixels lie, so many as one:
    # bytes, or numbers in whole vectors
    shape, wanted = run.graph.shapes[last.output], node.attributes["quantize"]
    K, P, Q = image(shape)
    grid, border, ints = run.packed.grid, run.border[last.output], _core.ints()
    if wanted is not None:
        y = make(run, shape, Grid(*wanted), border)
        return y, grid(y.first, (P, y.row), (Q // side, side * K))
    groups = node.attributes.get("groups", 1)
    if groups == 1 or _is_depthwise(node):
        placed: Placed = run.make(shape, border, ints)
        return placed, grid(placed.first, (P, placed.row), (Q, ints))
    pitch = K - K // groups + -(-(K // groups) // ints) * ints  # the last group ends with a vector
    table = grid(0, (K, 1), (P * Q, pitch))
    return Placed(room(P * Q * pitch), shape, table), grid(0, (P * Q, pitch))


def _in_lanes(run: Any, y: Any) -> Any:
    # numbers, whose vectors may be wider than those of sums of bytes
    other = isinstance(y, Placed) and y.lanes not in (0, run.lanes)
    return run.regular(y, lanes=run.lanes) if other else y


def _sums(
    run: Any, node: Node, name: str, rows: np.ndarray, own: slice, x: Bytes, y: Any, tables: Any
) -> None:
    # weights (K, rows, bytes side by side), four bytes a tap; K is that of `own` or a multiple
    K, count, width = rows.shape
    if name not in run.packed:
        taps = np.zeros((K, count, -(-width // 4) * 4), np.int8)
        taps[:, :, :width] = rows
        total = rows.reshape(K, -1).sum(axis=1, dtype=np.int32)
        start = (_core.dot_offset() - x.grid.zero_point) * total
        terms = _terms(node, own, start, x.grid)
        run.packed[name] = [_in_vectors(taps.reshape(K, -1, 4)), terms]
    _call(run, node, run.packed[name], x, y, tables, K)


def _in_vectors(taps: np.ndarray) -> np.ndarray:
    # weights (K, taps, n) as bytes in (blocks, taps, INTS, n)
    K, count, n = taps.shape
    ints = _core.ints()
    padded = np.zeros((-(-K // ints) * ints, count, n), taps.dtype)
    padded[:K] = taps
    order = padded.reshape(-1, ints, count, n).transpose(0, 2, 1, 3)
    return constant(np.ascontiguousarray(order).view(np.uint8))


def _call(
    run: Any, node: Node, packed: Any, x: Bytes, y: Any, tables: Any, K: int, apart: bool = False
) -> None:
    limits, clip = _limits(node)
    step = y.plane if isinstance(y, Placed) else 0
    run.kernels.byte_conv(x.data, *packed, y.data, tables, K, limits, clip, step, apart)


def _terms(node: Node, own: slice, start: np.ndarray, grid: Grid) -> np.ndarray:
    # start, scale and bias of the channels, in whole vectors
    wanted, scale, bias = (
        node.attributes["quantize"],
        node.weight("weight_scale"),
        node.weight("bias"),
    )
    assert scale is not None
    K, ints = len(start), _core.ints()
    times = K // len(scale[own])
    unit = 1.0 if wanted is None else wanted[0]
    terms = np.zeros((3, -(-K // ints) * ints), FLOAT)
    terms[0, :K] = start.astype(np.int32).view(FLOAT)
    terms[1, :K] = np.tile(scale[own].astype(np.float64), times) * grid.scale / unit
    terms[2, :K] = 0.0 if bias is None else np.tile(bias[own].astype(np.float64), times) / unit
    return constant(terms.view(np.uint8)).view(FLOAT)  # bits, also where they are no number


def _limits(node: Node) -> tuple[Any, Any]:
    clip, wanted = node.attributes["clip"], node.attributes["quantize"]
    if wanted is None:
        return None, clip
    return Grid(*wanted).limits(clip), None


def _is_depthwise(node: Node) -> bool:
    K, C_group = node.weights["weight"].shape[:2]
    return node.attributes["groups"] == K > C_group == 1


def _depthwise(run: Any, node: Node, x: Bytes) -> Bytes | Placed:
    # of an image within its border
    a, (C, _, R, S) = node.attributes, node.weights["weight"].shape
    (step_h, step_w), (gap_h, gap_w) = a["stride"], a["dilation"]
    top, _, left, _ = a["padding"]
    _, P, Q = run.graph.shapes[node.output]
    side = 1
    if step_w == 1 and a["quantize"] is not None:
        side = best_side(C, Q, lambda n: 1)
    y, y_pixels = _results(run, node, node, side)
    if node.output not in run.packed:
        taps = np.tile(whole_weights(node).reshape(C, R * S).astype(np.int32), (side, 1))
        terms = _terms(node, slice(0, C), -x.grid.zero_point * taps.sum(axis=1), x.grid)
        run.packed[node.output] = [_in_vectors(taps[:, :, None]), terms]
    grid, first = run.packed.grid, x.first - top * x.row - left * C
    tables = (
        grid(first, (P, step_h * x.row), (Q // side, side * step_w * C)),
        y_pixels,
        grid(0, (R, gap_h * x.row), (S, gap_w * C)),
    )
    _call(run, node, run.packed[node.output], x, y, tables, side * C, apart=True)
    return _in_lanes(run, y)


def window(
    run: Any,
    op: str,
    x: Bytes,
    shape: Shape,
    sizes: tuple[int, ...],
    grid: Grid,
    border: Border = NO_BORDER,
    counts: int = 0,
) -> Bytes:
    """Maxima or means of windows; `sizes` are R, S, strides, dilations, top and left."""
    y = make(run, shape, grid, border)
    R, S, *others = sizes
    run.kernels.byte_window(
        op, x.data, y.data, (*x.body, *y.body[1:], R, S, *others),
        (x.first, x.row, y.first, y.row), x.grid.zero_point, x.grid.scale / grid.scale,
        grid.limits(), counts,
    )  # fmt: skip
    return y


def add(run: Any, node: Node, first: Bytes, second: Bytes) -> Bytes:
    """The sum of two images of one shape."""
    a = node.attributes
    grid = Grid(*a["quantize"])
    first, second = as_image(run, first), as_image(run, second)
    y = make(run, run.graph.shapes[node.output], grid, run.border[node.output])
    C, H, W = y.body
    steps = first.first, first.row, second.first, second.row, y.first, y.row
    zeros = first.grid.zero_point, second.grid.zero_point
    scales = first.grid.scale / grid.scale, second.grid.scale / grid.scale
    run.kernels.byte_add(
        first.data, second.data, y.data, (H, W * C), steps, zeros, scales, grid.limits(a["clip"])
    )
    return y
