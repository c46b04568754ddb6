"""Kernels of bfloat16 in the place of those of float32, and what to hold them against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from byte_networks import two_convolutions
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import _core, _dispatch
from cnn_ext._bfloat16 import rounded
from cnn_ext.operators.packing import half_blocks

LANES = _core.lanes(4)
#: names of those that this machine can run; it is asked for tiles
USABLE = [
    isa.name
    for isa in _dispatch._usable("bf16")
    if isa.beside == _dispatch.ISA and _dispatch._granted(isa)
]


def table_of(name: str) -> Any:
    return _dispatch._table(name, "bf16")


_used: list[Any] = []  # in the blocks that are open


@contextmanager
def kernels(table: Any) -> Iterator[None]:
    """Have them for a while, or none; Winograd's way, which would go first, is off."""
    own, winograd = _dispatch.halves_isa(), _core.get_winograd()
    before = _used[-1] if _used else None if own is None else table_of(own)
    _core.use_halves(table)
    _core.set_winograd(False)
    _used.append(table)
    try:
        yield
    finally:
        _used.pop()
        _core.use_halves(before)
        _core.set_winograd(winograd)


@dataclass(frozen=True)
class Convolution:
    """Sizes as `_core.conv2d` takes them."""

    N: int
    C: int
    K: int
    H: int
    W: int
    R: int
    S: int
    step: tuple[int, int]
    padding: tuple[int, int]
    gap: tuple[int, int]

    @property
    def output(self) -> tuple[int, int]:
        pairs = zip((self.H, self.W), (self.R, self.S), self.step, self.padding, self.gap,
                    strict=True)  # fmt: skip
        P, Q = [(size + 2 * p - gap * (k - 1) - 1) // step + 1 for size, k, step, p, gap in pairs]
        return P, Q

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = self.N, 1, self.C, self.K, self.H, self.W, self.R, self.S, *self.output
        return *sizes, *self.step, *self.padding, *self.gap

    def passes(self, draw: Any, halves: bool) -> dict[str, np.ndarray]:
        """What the ways forward and back give for operands that `draw` makes."""
        N, C, K, (P, Q) = self.N, self.C, self.K, self.output
        x, dy = draw((N, C, self.H, self.W, LANES)), draw((N, K, P, Q, LANES))
        w, bias = draw((K, C, self.R, self.S)), draw((K,))
        y, dx, dw = np.empty_like(dy), np.empty_like(x), np.empty_like(w)
        clip = (-20.0, 1e9)
        _core.conv2d(x, w, bias, y, 4, self.shape, clip, None, None, halves)
        _core.conv2d_input(dy, w, dx, 4, self.shape, None, halves)
        images = N * LANES - 3
        dy[-1, ..., -3:] = np.nan  # of no image
        _core.conv2d_weight(dy, x, dw, 4, self.shape, images, halves)
        return {"y": y, "dx": dx, "dw": dw}

    def of_an_image(self, draw: Any, taps: bool) -> tuple[np.ndarray, ...]:
        """Image 3 of a block by itself, amid NaN; in the block; in float32."""
        C, K, R, S, (P, Q) = self.C, self.K, self.R, self.S, self.output
        x, w, bias, clip = draw((C, self.H, self.W)), draw((K, C, R, S)), draw((K,)), (-20.0, 1e9)
        channels = w.reshape(K, -1, 1, 1) if taps else w
        lanes = np.zeros((1, *x.shape, LANES), np.float32)
        lanes[0, ..., 3] = x
        block, truth = (np.empty((1, K, P, Q, LANES), np.float32) for _ in range(2))
        for y, halves in ((block, True), (truth, False)):
            _core.conv2d(lanes, w, bias, y, 4, (1, *self.shape[1:]), clip, None, None, halves)
        (top, left), (H, W), L = self.padding, (self.H, self.W), 1 if taps else LANES
        blocks, targets = -(-C // L), -(-K // LANES)
        own = np.full((blocks * L, 2 + H + 2 * top, 3 + W + 2 * left), np.nan, np.float32)
        own[:C, 1:-1, 1:-2] = np.pad(x, ((0, 0), (top, top), (left, left)))
        own = own.reshape(blocks, L, *own.shape[1:]).transpose(0, 2, 3, 1).copy()
        alone = np.full((targets, P + 1, Q + 1, LANES), 77, np.float32)
        steps = [part.strides[axis] // 4 for part in (own, alone) for axis in (0, 1)]
        sizes, first = (C, K, R, S, P, Q, *self.step, *self.gap), (steps[1] + L, LANES)
        pairs = half_blocks(channels, bias, LANES)
        _core.half_conv(own, *pairs, alone, sizes, steps, first, clip, taps)
        assert (alone[:, P] == 77).all() and (alone[:, :, 0] == 77).all()
        found = alone[:, :P, 1:].transpose(0, 3, 1, 2).reshape(-1, P, Q)[:K]
        if _core.channels_of_halves(4, self.shape) != channels.shape[1]:
            block[0, ..., 3] = found  # which is done in another way
        return found, block[0, ..., 3], truth[0, ..., 3]


@st.composite
def convolutions(draw: Any, channels: int, size: int = 12) -> Convolution:
    """Small ones of all kinds."""
    R, S = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    step, gap = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(2))
    padding = draw(st.integers(0, R - 1)), draw(st.integers(0, S - 1))
    H, W = (draw(st.integers(max(1, gap[i] * (k - 1) + 1 - 2 * padding[i]), size))
            for i, k in enumerate((R, S)))  # fmt: skip
    N, C, K = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, channels)),
        draw(st.integers(1, channels)),
    )
    return Convolution(N, C, K, H, W, R, S, step, padding, gap)


def whole(seed: int) -> Any:
    """Draws whole numbers, of which sums are exact in any order."""
    rng = np.random.default_rng(seed)
    return lambda shape: rng.integers(-16, 17, shape).astype(np.float32)


def real(seed: int) -> Any:
    """Draws numbers of bfloat16."""
    rng = np.random.default_rng(seed)
    return lambda shape: rounded(rng.normal(size=shape).astype(np.float32))


def check_convolution(case: Convolution, seed: int) -> None:
    """Sums of whole numbers are the same, and others as near as their number lets them be."""
    found, truth = (case.passes(whole(seed), halves) for halves in (True, False))
    for name, array in found.items():
        assert_array_equal(array, truth[name], err_msg=name)
    found, truth = (case.passes(real(seed), halves) for halves in (True, False))
    for name, array in found.items():
        size = np.abs(truth[name]).max() + 1
        assert_allclose(array, truth[name], rtol=0, atol=3e-6 * size, err_msg=name)


def check_taps(C: int) -> None:
    """Few channels, whose taps are multiplied as channels."""
    for step, padding, gap in (((1, 1), (2, 1), (1, 1)), ((2, 1), (0, 3), (1, 2))):
        one = Convolution(2, C, 20, 9, 8, 3, 4, step, padding, gap)
        check_convolution(one, 7)
        check_image(one, 7, True)
        found, truth = (one.passes(real(0), way) for way in (True, False))
        assert all((found[name] != truth[name]).any() for name in ("y", "dw"))


def check_image(case: Convolution, seed: int, taps: bool) -> None:
    """An image by itself has the bits that it has in a block, if this has such products too."""
    found, block, truth = case.of_an_image(whole(seed), taps)
    assert_array_equal(found, truth)
    found, block, truth = case.of_an_image(real(seed), taps)
    assert_array_equal(found.view(np.int32), block.view(np.int32))
    assert_allclose(found, truth, rtol=0, atol=3e-6 * (np.abs(truth).max() + 1))


def check_plan(seed: int) -> None:
    """A network has the same answers for images one by one, in a batch, and in a small plan."""
    net, x = two_convolutions(np.random.default_rng(seed))
    x = np.concatenate([x, x[::-1]])
    found = net.compile(precision="bfloat16")(x)
    alone = net.compile(precision="bfloat16", max_batch=1)
    assert_array_equal(alone(x), found)


def check_linear(N: int, C: int, K: int, seed: int) -> None:
    """The ways of a linear layer, for N blocks, the last of which lacks an image."""
    for make in (whole(seed), real(seed)):
        x, dy, w, bias = make((N, C, LANES)), make((N, K, LANES)), make((K, C)), make((K,))
        exact = np.array_equal(np.rint(x), x)
        y, dx, dw = ([np.empty_like(like) for _ in range(2)] for like in (dy, x, w))
        for i, halves in enumerate((False, True)):
            _core.linear(x, w, bias, y[i], 4, N, C, K, (-9.0, 1e9), halves)
            _core.linear_input(dy, w, dx[i], 4, N, C, K, halves)
        dy[-1, :, -1] = np.nan
        for i, halves in enumerate((False, True)):
            if C >= LANES:
                _core.linear_weight(dy, x, dw[i], 4, N * LANES - 1, C, K, halves)
            else:
                dw[i].fill(0)
        for truth, found in (y, dx, dw):
            size = 0.0 if exact else 3e-6 * (np.abs(truth).max() + 1)
            assert_allclose(found, truth, rtol=0, atol=size)
