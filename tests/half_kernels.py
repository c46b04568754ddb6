"""Kernels of bfloat16 in the place of those of float32, and what to hold them against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import _core, _dispatch
from cnn_ext._bfloat16 import rounded

LANES = _core.lanes(4)
#: names of those that this machine can run; it is asked for tiles
USABLE = [
    isa.name
    for isa in _dispatch._usable("bf16")
    if isa.beside == _dispatch.ISA and _dispatch._granted(isa)
]


def table_of(name: str) -> Any:
    return _dispatch._table(name, "bf16")


@contextmanager
def kernels(table: Any) -> Iterator[None]:
    """Have them for a while, or none; Winograd's way, which would go first, is off."""
    own, winograd = _dispatch.halves_isa(), _core.get_winograd()
    _core.use_halves(table)
    _core.set_winograd(False)
    try:
        yield
    finally:
        _core.use_halves(None if own is None else table_of(own))
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


@st.composite
def convolutions(draw: Any, channels: int, size: int = 9) -> Convolution:
    """Small ones of all kinds."""
    R, S = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    step, gap = ((draw(st.integers(1, 2)), draw(st.integers(1, 2))) for _ in range(2))
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
        found, truth = (one.passes(real(0), way) for way in (True, False))
        assert all((found[name] != truth[name]).any() for name in ("y", "dw"))


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
