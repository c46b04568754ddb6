"""Dropout in `_core`: the same choice everywhere, and one that looks like chance."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_core_batch_norm import lanes_of, plain

from cnn_ext import _core, threads
from cnn_ext.lanes import empty

ELEMENTS, CHANNELS, IMAGES = (_core.DROPOUT[name] for name in ("elements", "channels", "images"))


def dropped(
    x: np.ndarray, p: float, kind: int = ELEMENTS, seed: int = 1, counter: int = 0, first: int = 0
) -> np.ndarray:
    """Of plain images (N, C, ...)."""
    data = lanes_of(x)
    y = empty(data.shape, data.dtype)
    key = np.array([seed, counter], np.uint64)
    N, C, *rest, _ = data.shape
    _core.dropout(data, key, y, x.itemsize, N, C, int(np.prod(rest)), p, kind, first)
    return plain(y, len(x))


def kept(shape: tuple[int, ...], p: float, *args: Any) -> np.ndarray:
    return dropped(np.ones(shape, np.float32), p, *args) != 0


def avalanche(x: Any) -> Any:
    x = np.asarray(x, np.uint32)
    with np.errstate(over="ignore"):
        x = (x ^ x >> np.uint32(16)) * np.uint32(0x21F0AAAD)
        x = (x ^ x >> np.uint32(15)) * np.uint32(0xD35A2D97)
    return x ^ x >> np.uint32(15)


def naive(images: int, numbers: int, p: float, seed: int, counter: int) -> np.ndarray:
    """What is kept, (images, numbers)."""
    halves = []
    for half in (np.uint32(0), np.uint32(1)):
        with np.errstate(over="ignore"):
            for word in (seed, counter):
                half = avalanche(half ^ np.uint32(word & 0xFFFFFFFF)) + np.uint32(0x9E3779B9)
                half = avalanche(half ^ np.uint32(word >> 32)) + np.uint32(0x85EBCA6B)
        halves.append(half)
    image = avalanche(halves[0] ^ np.arange(images, dtype=np.uint32))
    number = avalanche(halves[1] ^ np.arange(numbers, dtype=np.uint32))
    return avalanche(image[:, None] + number) >= p * 2.0**32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("images", [1, 5, 16, 17, 37])
def test_the_naive_hash(images: int, dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((images, 3, 5, 4)).astype(dtype)
    seed, counter = 2**63 + 12345, 2**40 + 7
    for p in (0.0, 0.1, 0.5, 0.9):
        scale = x.dtype.type(1 / (1 - p))
        for kind, numbers in ((ELEMENTS, 60), (CHANNELS, 3), (IMAGES, 1)):
            mask = naive(images, numbers, p, seed, counter)
            mask = mask.reshape(images, *{60: (3, 5, 4), 3: (3, 1, 1), 1: (1, 1, 1)}[numbers])
            assert_array_equal(dropped(x, p, kind, seed, counter), np.where(mask, x * scale, 0))


PRINT = """
import hashlib
import numpy as np
from test_core_dropout import kept
masks = [kept((70, 3, 9), 0.3, kind, 5, 6) for kind in range(3)]
print(hashlib.sha256(b"".join(mask.tobytes() for mask in masks)).hexdigest())
"""


def test_the_same_choice_on_every_instruction_set_and_in_double_precision() -> None:
    answers = set()
    for isa in ("avx512", "avx2", "base"):
        environment = {**os.environ, "CNN_EXT_CPU": isa, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", PRINT], capture_output=True, text=True, env=environment
        )
        if done.returncode and "CNN_EXT_CPU" in done.stderr:
            continue  # this machine has no such instructions
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1
    ones = np.ones((33, 4, 6))
    assert_array_equal(dropped(ones, 0.3) != 0, dropped(ones.astype("f4"), 0.3) != 0)


@pytest.mark.parametrize("kind", [ELEMENTS, CHANNELS, IMAGES])
@pytest.mark.parametrize("images", [1, 17, 300])
def test_recorded_as_at_once_and_the_key_may_change(images: int, kind: int) -> None:
    x = lanes_of(np.random.default_rng(0).standard_normal((images, 4, 6)).astype("f4"))
    key = np.array([3, 0], np.uint64)
    block = np.zeros((1, *x.shape[1:]), np.float32)

    def step(x: np.ndarray) -> list[np.ndarray]:
        y, dx = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
        for from_, to in ((x, y), (y, dx)):  # forward and, say, backward
            _core.dropout(from_, key, to, 4, x.shape[0], 4, 6, 0.4, kind)
        return [y, dx]

    recorder = _core.record(lambda: step(block), [block], [key], 4)
    seen = set()
    for counter in range(12):
        key[1] = counter
        wanted = step(x)
        seen.add(wanted[0].tobytes())
        for count in (1, 2, 3):
            results = [np.empty_like(a) for a in wanted]
            with threads(count):
                recorder.run([x, *results], images, 1.0)
            for got, right in zip(results, wanted, strict=True):
                assert got.tobytes() == right.tobytes()
    assert len(seen) > 1


def test_images_are_counted_from_the_first() -> None:
    whole = kept((64, 3, 7), 0.5)
    for first in (1, 16, 40):
        assert_array_equal(kept((64 - first, 3, 7), 0.5, ELEMENTS, 1, 0, first), whole[first:])


def test_numbers_that_are_not_finite() -> None:
    x = np.full((20, 2, 8), np.nan, np.float32)
    x[::2] = np.inf
    for p in (0.5, 1.0):
        y = dropped(x, p)
        mask = kept(x.shape, p)
        assert (y[~mask] == 0).all() and not np.isfinite(y[mask]).any()
    assert not kept(x.shape, 1.0).any() and not kept(x.shape, 1 - 2.0**-40).any()
    assert kept(x.shape, 0.0).all()
    assert_array_equal(dropped(np.ones((5, 2)), 0.5), 2.0 * kept((5, 2), 0.5))


# ------------------------------------------------------------------------- is it like chance?

N, NUMBERS = 256, 1024
SIGMAS = 5.0


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """In standard deviations of what independent choices would have."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()) * np.sqrt(a.size))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("counter", [0, 1, 2, 1000, 2**32])
def test_rate(p: float, counter: int) -> None:
    mask = kept((N, NUMBERS), p, ELEMENTS, 0, counter)
    spread = np.sqrt(p * (1 - p))
    assert abs(mask.mean() - (1 - p)) < SIGMAS * spread / np.sqrt(mask.size)
    for axis in (0, 1):  # of each element, of each image
        means = mask.mean(axis)
        z = (means - (1 - p)) / spread * np.sqrt(mask.shape[axis])
        assert np.abs(z).max() < SIGMAS + 1
        assert abs(z.var() - 1) < SIGMAS * np.sqrt(2 / z.size)


@pytest.mark.parametrize("seed", [0, 1, 12345678901234567890])
def test_neighbours_images_steps_and_seeds_are_independent(seed: int) -> None:
    mask = kept((N, NUMBERS), 0.5, ELEMENTS, seed, 7).astype(float)
    for shift in (1, 2, 3, 4, 8, 15, 16, 17, 32, 64, 128, 256):
        assert abs(correlation(mask[:, shift:], mask[:, :-shift])) < SIGMAS
        if shift < N:
            assert abs(correlation(mask[shift:], mask[:-shift])) < SIGMAS
            assert abs(correlation(mask[shift:, shift:], mask[:-shift, :-shift])) < SIGMAS
            assert abs(correlation(mask[shift:, :-shift], mask[:-shift, shift:])) < SIGMAS
    for other in (6, 8, 7 + 2**16, 7 + 2**32, 2**63):
        assert abs(correlation(mask, kept(mask.shape, 0.5, ELEMENTS, seed, other))) < SIGMAS
    for other in (seed + 1, seed ^ 2**31, seed ^ 2**32):
        assert abs(correlation(mask, kept(mask.shape, 0.5, ELEMENTS, other, 7))) < SIGMAS
    # channels and images have a chance of their own too
    channels = kept((N, 256, 2), 0.5, CHANNELS, seed, 7)
    assert_array_equal(channels[..., 0], channels[..., 1])
    assert abs(correlation(channels[:, 1:, 0], channels[:, :-1, 0])) < SIGMAS
    images = np.array([kept((N, 1), 0.5, IMAGES, seed, n)[:, 0] for n in range(64)])
    assert abs(correlation(images[1:], images[:-1])) < SIGMAS
    assert abs(correlation(images[:, 1:], images[:, :-1])) < SIGMAS


def test_triples_are_independent() -> None:
    """As chance has it, also three choices together, which differences of two do not show."""
    mask = 2.0 * kept((N, NUMBERS), 0.5, ELEMENTS, 3, 9) - 1
    for a, b in ((1, 2), (1, 3), (2, 5), (16, 32)):
        product = mask[:, : -a - b] * mask[:, a:-b] * mask[:, a + b :]
        assert abs(product.mean()) * np.sqrt(product.size) < SIGMAS
    corners = mask[1:, 1:] * mask[:-1, :-1] * mask[1:, :-1] * mask[:-1, 1:]
    assert abs(corners.mean()) * np.sqrt(corners.size) < SIGMAS


@pytest.mark.parametrize("p", [0.3])
def test_sums_are_kept_on_average(p: float) -> None:
    x = np.random.default_rng(0).random((N, NUMBERS))
    assert_allclose(dropped(x, p).sum(), x.sum(), rtol=0.01)


def test_wrong_arguments() -> None:
    x, key = np.ones((1, 1, 1, _core.lanes(4)), np.float32), np.zeros(2, np.uint64)
    for p in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="p: expected"):
            _core.dropout(x, key, x, 4, 1, 1, 1, p, 0)
    for kind in (-1, 3):
        with pytest.raises(ValueError, match="kind"):
            _core.dropout(x, key, x, 4, 1, 1, 1, 0.5, kind)
    for wrong, error in ((key[:1], ValueError), (key.astype("i8"), TypeError), (x, TypeError)):
        with pytest.raises(error, match="key"):
            _core.dropout(x, wrong, x, 4, 1, 1, 1, 0.5, 0)
