"""Weights in the order of the kernels of one image, whose lanes go over output channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _core
from ..graph.layout import FLOAT, SIZE, Placed, constant


def in_blocks(
    run: Any, name: str, rows: Callable[[], np.ndarray], bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What `blocks` makes of weights and bias; the run keeps it under `name`."""
    if name not in run.packed:
        run.packed[name] = blocks(rows(), bias, run.lanes)
    return run.packed[name][0], run.packed[name][1]


def block_places(run: Any, w: np.ndarray, y: Placed, first: int = 0) -> tuple[np.ndarray, ...]:
    """Places of the taps and blocks of weights, and of the blocks of `y` from one on."""
    grid, (count, taps, L) = run.packed.grid, w.shape
    return (
        grid(0, (taps, L)),
        grid(0, (count, taps * L)),
        grid(first * y.plane, (count, y.plane)),
    )


def blocks(weight: np.ndarray, bias: np.ndarray | None, lanes: int) -> list[np.ndarray]:
    """Weights (K, taps) and bias in blocks of `lanes` output channels, the channel innermost."""
    K, taps = weight.shape
    count = -(-K // lanes)
    w = np.zeros((count * lanes, taps), FLOAT)
    w[:K] = weight
    order = w.reshape(count, lanes, taps).transpose(0, 2, 1)
    return [constant(order), constant(_filled(bias, K, lanes).reshape(count, lanes))]


def winograd_blocks(weight: np.ndarray, bias: np.ndarray | None, lanes: int) -> list[np.ndarray]:
    """Weights (K, C, R, R), transformed, as (places, blocks, C, lanes), and the bias."""
    K, C, R, _ = weight.shape
    u = np.zeros(((R + 3) ** 2, -(-K // lanes), C, lanes), FLOAT)
    _core.winograd_weights(weight, u, SIZE, K, C, R)
    return [constant(u), constant(_filled(bias, K, lanes))]


def half_blocks(weight: np.ndarray, bias: np.ndarray | None, lanes: int) -> list[np.ndarray]:
    """Weights (K, C, R, S) of bfloat16 as (blocks, units, taps, unit, lanes) pairs, and bias."""
    K, C, R, S = weight.shape
    units, unit = _core.half_units(C)
    halves = np.zeros((-(-K // lanes) * lanes, units * unit * 2, R * S), np.uint16)
    halves[:K, :C] = weight.reshape(K, C, R * S).view(np.uint32) >> 16
    apart = halves.reshape(-1, lanes, units, unit, 2, R * S).transpose(0, 2, 5, 3, 1, 4)
    return [
        constant(np.ascontiguousarray(apart).view(np.uint8)).view(FLOAT),  # bits, not numbers
        constant(_filled(bias, K, lanes)),
    ]


def _filled(bias: np.ndarray | None, K: int, lanes: int) -> np.ndarray:
    filled = np.zeros(-(-K // lanes) * lanes, FLOAT)
    filled[:K] = 0.0 if bias is None else bias
    return filled


def parts(K: int, groups: int, lanes: int) -> list[tuple[int, range, range]]:
    """Runs of blocks of output channels that read the same groups.

    Each is its first block, its channels and their groups.
    """
    found: list[tuple[int, range, range]] = []
    for k in range(0, K, lanes):
        end = min(k + lanes, K)
        own = range(k * groups // K, -(-end * groups // K))
        if found and found[-1][2] == own:
            found[-1] = found[-1][0], range(found[-1][1].start, end), own
        else:
            found.append((k // lanes, range(k, end), own))
    return found


def filters(weight: np.ndarray, k: range, own: range, groups: int) -> np.ndarray:
    """Weights (len(k), taps) of a part over the channels of its groups; zeros between groups."""
    part = weight[k.start : k.stop].reshape(len(k), -1)
    if len(own) == 1:
        return part
    rows = np.zeros((len(k), len(own), math.prod(weight.shape[1:])), FLOAT)
    group = np.arange(k.start, k.stop) * groups // len(weight) - own.start
    rows[np.arange(len(k)), group] = part
    return rows.reshape(len(k), -1)
