"""Honest arguments of the functions of `_core`, which hostile_core.py then bends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn_ext import _core
from cnn_ext.lanes import Lanes

# what there are kernels for in float32 alone
SINGLE = {
    "channel_conv", "pixel_conv", "depthwise", "pool_pairs", "embed", "border",
    "winograd_weights", "channel_winograd",
}  # fmt: skip


def calls(
    dtype: np.dtype, guarded: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[str, list[Any], list[int]]]:
    """Honest arguments of every function that takes arrays, and which of these it writes.

    `guarded` puts an array between numbers that nothing may touch.
    """
    L, size = _core.lanes(dtype.itemsize), dtype.itemsize
    lanes = Lanes.empty((5, 4, 4, 4), dtype).data
    N = lanes.shape[0]

    def new() -> np.ndarray:
        return guarded(np.ones_like(lanes))

    def row() -> np.ndarray:
        return new().reshape(-1)

    def tables(*numbers: int) -> list[np.ndarray]:
        return [np.array([0, number], np.intp) for number in numbers]

    conv = (N, 1, 4, 4, 4, 4, 1, 1, 4, 4, 1, 1, 0, 0, 1, 1)
    window = (N * 4, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0)
    planes, steps = (1, *window[1:]), (16 * L, 4 * L, 4 * L, 2 * L)
    places = tables(L, L, 1, L, 2 * L, 2 * L)
    winograd = (1, 1, 1, 1, 4, 4, 4, 4, 1, 1, 3)
    u = guarded(np.ones(36 * L, dtype))
    key = guarded(np.ones(2, np.uint64))

    def images() -> np.ndarray:
        return guarded(np.ones((5, 1, 4, 4), dtype))

    def plain(*shape: int) -> np.ndarray:
        return guarded(np.ones(shape))

    bent = (plain(5, 2, 7, 7), plain(4, 4), plain(4, 4), 1.0)
    return [
        ("conv2d", [new(), new(), None, new(), size, conv, (0.0, 1.0)], [3]),
        ("conv2d", [new(), new(), None, new(), size, conv, None, None, None, True], [3]),
        ("conv2d_input", [new(), new(), new(), size, conv], [2]),
        ("conv2d_input", [new(), new(), new(), size, conv, None, True], [2]),
        ("conv2d_weight", [new(), new(), new(), size, conv], [2]),
        ("conv2d_weight", [new(), new(), new(), size, conv, None, True], [2]),
        ("block_sum", [new(), new(), size, 3, 8], [1]),
        ("channel_sum", [new(), new(), size, N, 4, 16], [1]),
        ("batch_norm_statistics", [new(), new(), size, N, 4, 16, 5], [1]),
        ("batch_norm_merge", [new(), new(), new(), size, N, 4, 16, 5], [1, 2]),
        ("batch_norm_variance", [new(), new(), size, 4, 16, 5], [1]),
        ("batch_norm", [*(new() for _ in range(6)), size, N, 4, 16, 0.1, (0.0, 1.0)], [5]),
        ("batch_norm_sums", [*(new() for _ in range(5)), size, N, 4, 16, 0.1, 5], [4]),
        ("batch_norm_input", [*(new() for _ in range(7)), size, N, 4, 16, 0.1, 5], [6]),
        ("group_norm", [*(new() for _ in range(5)), size, N, 2, 2, 16, 0.1, False], [3, 4]),
        ("group_norm_input", [*(new() for _ in range(5)), size, N, 2, 2, 16, False], [4]),
        ("group_norm_sums", [*(new() for _ in range(4)), size, N, 2, 2, 16, 5, False], [3]),
        ("dropout", [new(), key, new(), size, N, 4, 16, 0.5, 0, 0], [2]),
        ("linear", [new(), new(), new(), new(), size, N, 4, 4, (0.0, 1.0)], [3]),
        ("linear", [new(), new(), new(), new(), size, N, 4, 4, None, True], [3]),
        ("linear_input", [new(), new(), new(), size, N, 4, 4], [2]),
        ("linear_input", [new(), new(), new(), size, N, 4, 4, True], [2]),
        ("linear_weight", [new(), new(), new(), size, 5, 16, 4], [2]),
        ("linear_weight", [new(), new(), new(), size, 5, 16, 4, True], [2]),
        ("max_pool2d", [new(), new(), new(), size, window], [1, 2]),
        ("max_pool2d_input", [new(), new(), new(), size, window], [2]),
        ("avg_pool2d", [new(), new(), size, window, True], [1]),
        ("avg_pool2d_input", [new(), new(), size, window, False], [1]),
        ("elementwise", ["add", new(), new(), new(), size, 64, 0.0], [3]),
        ("elementwise", ["div_back_b", new(), new(), new(), size, 64, 0.0, 0.0, new()], [3]),
        ("affine", [new(), row(), row(), new(), size, N, 4, 16, (0.0, 1.0)], [3]),
        ("prelu", [new(), row(), new(), size, N, 4, 16], [2]),
        ("prelu_back", [new(), new(), row(), new(), size, N, 4, 16], [3]),
        ("prelu_slope", [new(), new(), new(), size, N, 4, 16, 5], [2]),
        ("softmax", [new(), new(), new(), size, N, 4, 16], [2]),
        ("loss", ["cross_entropy", *(new() for _ in range(5)), size, 5, 4, 1.0], [4, 5]),
        ("sgd", [new(), new(), new(), size, 64, 0.1, 0.9, 0.0, 0.0, False, False], [0, 2]),
        (
            "adam",
            [*(new() for _ in range(4)), size, 64, 0.1, 0.9, 0.9, 0.1, 0.0, 1.0, 1.0],
            [0, 2, 3],
        ),
        ("rmsprop", [*(new() for _ in range(5)), size, 64, 0.1, 0.9, 0.1, 0.0, 0.9], [0, 2, 3, 4]),
        ("average", [new(), new(), size, 64, 0.5], [1]),
        ("shrink", [new(), new(), size, 64, 0.5], [1]),
        ("sum_of_squares", [new(), size, 64], []),
        ("one_hot", [guarded(np.ones(20, np.int64)), new(), size, 5, 4, 4], [1]),
        ("total", [new(), size, 64], []),
        ("pack", [new(), new(), size, 5, 16, 1.0], [1]),
        ("unpack", [new(), new(), size, 5, 16], [1]),
        ("channel_conv", [row(), row(), row(), row(), size, places, (0.0, 1.0)], [3]),
        ("pixel_conv", [row(), row(), row(), row(), size, tables(1, L, 1, 1, L, L)], [3]),
        ("depthwise", [row(), row(), row(), row(), size, places, L], [3]),
        ("winograd_weights", [row(), u, size, 1, 1, 3], [1]),
        (
            "channel_winograd",
            [row(), u, row(), row(), row(), size, winograd, (16 * L, 4 * L) * 2, (0, 0)],
            [4],
        ),
        ("pool_channels", [row(), row(), size, planes, steps, (0, 0), True], [1]),
        ("pool_pairs", [row(), row(), size, (1, 2, 2), (16, 4), (8, 2)], [1]),
        ("embed", [row(), row(), size, (1, 4, 4), (16, 4), (16, 4), 0, 1.0], [1]),
        ("move", [row(), row(), size, *tables(3, 5), 1], [1]),
        ("fill", [row(), size, 1.0], [0]),
        ("border", [row(), size, (1, 2, 3), (16, 5), 6], [0]),
        ("draws", [guarded(np.ones(5, np.uint64)), plain(5, 3), 1, 2, 3, 5, 3], [1]),
        (
            "augment",
            [images(), plain(5, 12), images(), size, (5, 1, 4, 4, 4, 4), "edge", 0.0, 0.0, *bent],
            [2],
        ),
        ("mix", [images(), images(), plain(5, 5), images(), size, 5, 1, 4, 4], [3]),
    ]


def half_calls(
    guarded: Callable[[np.ndarray], np.ndarray],
) -> list[tuple[str, list[Any], list[int]]]:
    """Likewise of those that need kernels of bfloat16."""
    L = _core.lanes(4)
    x, w, bias, y = (guarded(np.ones(n * L, np.float32)) for n in (16, 8, 1, 9))
    sizes, ends = (4, 4, 2, 2, 3, 3, 1, 1, 1, 1), (9 * L, 3 * L)
    return [
        ("half_conv", [x, w, bias, y, sizes, (16 * L, 4 * L, *ends), (0, 0), (0.0, 1.0)], [3]),
        ("half_conv", [x, w, bias, y, sizes, (16, 4, *ends), (0, 0), None, True], [3]),
        ("half_units", [4], []),
    ]
