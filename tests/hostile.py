"""Calls the kernels with hostile numbers in little memory; run as a process of its own.

Prints how many were tried.  A crash, a hang or another error than the four below is a failure.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn_ext import _core, ops, set_num_threads
from cnn_ext.lanes import Lanes

MEMORY = 1 << 30  # bytes of address space
ALLOWED = (TypeError, ValueError, MemoryError, OverflowError)
SIZES = [
    -(2**63),
    -(2**31),
    -1,
    0,
    1,
    2,
    3,
    7,
    2**31 - 1,
    2**31,
    2**32,
    2**40,
    2**60,
    2**62,
    2**63 - 1,
]
HUGE = [2**27, 2**30, 2**31 - 1]
tried = 0


def attempt(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    global tried
    tried += 1
    with contextlib.suppress(*ALLOWED):
        function(*args, **options)


def vary(function: Callable[..., Any], before: tuple[Any, ...], sizes: tuple[int, ...]) -> None:
    """Each size, and each pair of neighbours, becomes hostile; passed as one tuple."""
    for i in range(len(sizes)):
        for size in SIZES:
            attempt(function, *before, (*sizes[:i], size, *sizes[i + 1 :]))
            attempt(function, *before, (*sizes[:i], size, size, *sizes[i + 2 :])[: len(sizes)])


def door() -> None:
    """`_core` itself."""
    for dtype in (np.float32, np.float64):
        door_for(np.dtype(dtype))


def door_for(dtype: np.dtype) -> None:
    """With buffers that fit the honest sizes."""
    width = dtype.itemsize
    x, y, w, b = (Lanes.empty((5, 4, 4, 4), dtype).data for _ in range(4))
    for a in (x, y, w, b):
        a[...] = 1
    shape = (x.shape[0], 1, 4, 4, 4, 4, 1, 1, 4, 4, 1, 1, 0, 0, 1, 1)
    vary(lambda s: _core.conv2d(x, w, None, y, width, s), (), shape)
    vary(_core.conv2d_input, (x, w, y, width), shape)
    vary(_core.conv2d_weight, (x, y, w, width), shape)
    window = (x.shape[0] * 4, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0)
    vary(_core.max_pool2d, (x, y, b, width), window)
    vary(_core.max_pool2d_input, (x, b, y, width), window)
    vary(lambda s: _core.avg_pool2d(x, y, width, s, True), (), window)
    vary(lambda s: _core.avg_pool2d_input(x, y, width, s, False), (), window)
    N = x.shape[0]
    vary(lambda s: _core.channel_sum(x, y, width, *s), (), (N, 4, 16))
    vary(lambda s: _core.linear(x, w, b, y, width, *s), (), (N, 4, 4))
    vary(lambda s: _core.linear_input(x, w, y, width, *s), (), (N, 4, 4))
    vary(lambda s: _core.linear_weight(x, y, w, width, *s), (), (5, 16, 4))
    vary(lambda s: _core.softmax(x, None, y, width, *s), (), (N, 4, 16))
    vary(lambda s: _core.softmax(x, w, y, width, *s), (), (N, 4, 16))
    for op in _core.LOSSES:
        vary(lambda s, op=op: _core.loss(op, x, y, y, b, w, width, *s, 1.0), (), (5, 4))
    vary(lambda s: _core.pack(x, y, width, *s, 1.0), (), (5, 16))
    vary(lambda s: _core.unpack(x, y, width, *s), (), (5, 16))
    vary(lambda s: _core.elementwise("tanh", x, None, y, width, *s, 0.0), (), (64,))
    vary(lambda s: _core.elementwise("clip", x, None, y, width, *s, 0.0, 1.0), (), (64,))
    channels_for(width, x.reshape(-1), y.reshape(-1), w.reshape(-1), b.reshape(-1))


def channels_for(width: int, x: Any, y: Any, w: Any, b: Any) -> None:
    """What works on one image, with tables of offsets: 4 x 4 pixels, one block of channels."""
    L = _core.lanes(width)

    def tables(numbers: tuple[int, ...]) -> list[Any]:
        pixel, target, tap, weight, block, last = numbers
        rows = [[0, pixel], [0, target], [0, tap], [0, weight], [0, block], [0, last]]
        return [np.array(row, np.intp) for row in rows]

    places = (L, L, 1, L, 2 * L, 2 * L)
    vary(lambda s: _core.channel_conv(x, w, b, y, width, tables(s)), (), places)
    vary(lambda s: _core.depthwise(x, w, b, y, width, tables(s), L), (), places)
    vary(lambda s: _core.depthwise(x, w, b, y, width, tables(places), *s), (), (L,))
    vary(lambda s: _core.pixel_conv(w, x, b, y, width, tables(s)), (), (1, L, 1, 1, L, L))
    vary(lambda s: _core.move(x, y, width, *tables((*s, 0, 0, 0, 0))[:2], 1), (), (3, 5))
    vary(lambda s: _core.move(x, y, width, *tables((*s, 0, 0, 0, 0))[:2], L), (), (L, L))
    window = (1, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0)
    steps = (16 * L, 4 * L, 4 * L, 2 * L)
    vary(lambda s: _core.pool_channels(x, y, width, s, steps, (0, 0)), (), window)
    vary(lambda s: _core.pool_channels(x, y, width, s, steps, (0, 0), True), (), window)
    vary(lambda s: _core.pool_channels(x, y, width, window, s, (0, 0)), (), steps)
    vary(lambda s: _core.pool_channels(x, y, width, window, steps, s), (), (0, 0))
    vary(lambda s: _core.pool_pairs(x, y, width, s[:3], s[3:5], s[5:]), (), (1, 2, 2, 16, 4, 8, 2))
    vary(
        lambda s: _core.embed(x, y, width, s[:3], s[3:5], s[5:7], s[7], 1.0),
        (),
        (1, 4, 4, 16, 4, 16, 4, 0),
    )
    u = np.ones(36 * L, x.dtype)
    vary(lambda s: _core.winograd_weights(w, u, width, *s), (), (1, 1, 3))
    shape, sides = (1, 1, 1, 1, 4, 4, 4, 4, 1, 1, 3), (16 * L, 4 * L) * 2
    vary(lambda s: _core.channel_winograd(x, u, w, b, y, width, s, sides, (0, 0)), (), shape)
    vary(
        lambda s: _core.channel_winograd(x, u, w, b, y, width, shape, s[:4], s[4:]),
        (),
        (*sides, 0, 0),
    )


def options() -> None:
    """`ops`, with the greatest numbers that its checks let through."""
    for N in (0, 1, 3):
        x, w = np.ones((N, 1, 3, 2)), np.ones((2, 1, 1, 1))
        for size in HUGE:
            for pair in (size, (size, 1), (1, size)):
                attempt(ops.conv2d, x, w, stride=pair)
                attempt(ops.conv2d, x, w, padding=pair)
                attempt(ops.conv2d, x, w, dilation=pair)
                attempt(ops.conv2d, x, w, stride=pair, padding=pair, dilation=pair)
                attempt(ops.conv2d_backward, np.ones((N, 2, 1, 1)), x, w, stride=pair)
                attempt(ops.conv2d_backward, np.ones((N, 2, 1, 2)), x, w, stride=(size, 1))
                attempt(ops.conv2d, x, np.ones((2, 1, 2, 2)), dilation=pair, padding=pair)
                attempt(ops.conv2d, x, np.ones((2, 1, 2, 2)), padding="full", dilation=pair)
                attempt(ops.conv2d, x, np.ones((2, 1, 3, 3)), padding="same", dilation=pair)
                for padding in ((size, 0, 0, 0), (0, size, 0, 0), (0, 0, 0, size)):
                    attempt(ops.conv2d, x, w, padding=padding, stride=pair)
                for pool in (ops.max_pool2d, ops.avg_pool2d):
                    attempt(pool, x, pair)
                    attempt(pool, x, 2, pair)
                    attempt(pool, x, 2, pair, 1)
                    attempt(pool, x, pair, pair, size // 2)
                    attempt(pool, x, pair, 1, size // 2, ceil_mode=True)
                    attempt(pool, x, pair, pair, (size // 2, 0), ceil_mode=True)
                attempt(ops.max_pool2d, x, 2, 1, 1, pair)
                attempt(ops.max_pool2d, x, 1, 1, 0, pair, return_indices=True)
                attempt(ops.max_pool2d, x, pair, pair, size // 2, return_indices=True)
            shape = (N, 1, size, size)
            attempt(ops.avg_pool2d_backward, np.ones((N, 1, 1, 1)), shape, size)
            attempt(ops.max_pool2d_backward, x, np.zeros(x.shape, int), shape)
            attempt(ops.conv2d_matrix, w, (1, size, size))
            attempt(ops.conv2d_matrix, w, (1, 2, 2), padding=size)
            # a great array that takes no memory until it is packed
            attempt(ops.relu, np.broadcast_to(np.float32(1), (size, 100)))
            attempt(ops.conv2d, np.broadcast_to(1.0, (max(N, 1), 1, size, 100)), w)
            attempt(ops.cross_entropy, np.broadcast_to(1.0, (3, size)), [0, 0, 0])


if __name__ == "__main__":
    set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    {"door": door, "options": options}[sys.argv[1]]()
    print(tried)
