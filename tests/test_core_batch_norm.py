"""Batch normalisation in `_core`: naive formulas, any number of images, recorded as at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import _core, threads
from cnn_ext.lanes import Lanes, empty

EPS = 1e-3
C, SHAPE = 5, (3, 7)
PIXELS = 21
IMAGES = [1, 5, 16, 17, 37, 300]
DTYPES = ["float32", "float64"]
TIGHT = {"float32": 2e-6, "float64": 1e-14}


def lanes_of(x: np.ndarray, dead: float = 0.0) -> np.ndarray:
    """Lanes of (N, C, pixels), those without an image filled with `dead`."""
    data = Lanes.pack(x).data
    if len(x) % data.shape[-1]:
        data[-1, ..., len(x) % data.shape[-1] :] = dead
    return data


def plain(data: np.ndarray, images: int) -> np.ndarray:
    return Lanes(data, images).unpack()


def batch(images: int, dtype: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    """x, dy, weight and bias."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, C, *SHAPE)) * np.arange(1, C + 1)[:, None, None] + 3
    dy = rng.standard_normal(x.shape)
    weight, bias = rng.standard_normal((2, C))
    return tuple(a.astype(dtype) for a in (x, dy, weight, bias))


def sizes(x: np.ndarray) -> tuple[int, int, int, int]:
    return x.itemsize, x.shape[0], x.shape[1], int(np.prod(x.shape[2:-1]))


def moments(x: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    size, N, channels, pixels = sizes(x)
    parts = empty((N, 2, channels), x.dtype)
    mean, squares, var = (empty((channels,), x.dtype) for _ in range(3))
    _core.batch_norm_statistics(x, parts, size, N, channels, pixels, images)
    _core.batch_norm_merge(parts, mean, squares, size, N, channels, pixels, images)
    _core.batch_norm_variance(squares, var, size, channels, pixels, images)
    return mean, var


def gradient_sums(dy: Any, x: np.ndarray, mean: Any, var: Any, images: int) -> np.ndarray:
    size, N, channels, pixels = sizes(x)
    parts, sums = empty((N, 2, channels), x.dtype), empty((2, channels), x.dtype)
    _core.batch_norm_sums(dy, x, mean, var, parts, size, N, channels, pixels, EPS, images)
    _core.block_sum(parts, sums, size, N, sums.size)
    return sums


def over(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


def reference(x: np.ndarray, weight: Any, bias: Any) -> np.ndarray:
    x = x.astype("f8")
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    return (x - over(mean)) / np.sqrt(over(var) + EPS) * over(weight) + over(bias)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", IMAGES)
def test_forward(images: int, dtype: str) -> None:
    x, _, weight, bias = batch(images, dtype)
    data = lanes_of(x, np.nan)
    mean, var = moments(data, images)
    wide = x.astype("f8")
    assert_allclose(mean, wide.mean((0, 2, 3)), rtol=TIGHT[dtype], atol=TIGHT[dtype])
    assert_allclose(var, wide.var((0, 2, 3)), rtol=5 * TIGHT[dtype])
    wanted = reference(x, weight, bias)
    y = empty(data.shape, data.dtype)
    _core.batch_norm(data, mean, var, weight, bias, y, *sizes(data), EPS)
    assert_allclose(plain(y, images), wanted, rtol=0, atol=20 * TIGHT[dtype])
    clipped = empty(data.shape, data.dtype)
    _core.batch_norm(data, mean, var, weight, bias, clipped, *sizes(data), EPS, (0.0, np.inf))
    assert_array_equal(plain(clipped, images), np.maximum(plain(y, images), 0))
    _core.batch_norm(data, mean, var, None, None, data, *sizes(data), EPS, (-1.0, 0.5))
    wanted = np.clip(reference(x, np.ones(C), np.zeros(C)), -1, 0.5)
    assert_allclose(plain(data, images), wanted, rtol=0, atol=20 * TIGHT[dtype])


@pytest.mark.parametrize("images", [3, 100])
def test_no_digits_are_lost_beside_a_large_mean(images: int) -> None:
    x, *_ = batch(images, "float32")
    x = x + np.float32(4000)
    mean, var = moments(lanes_of(x), images)
    assert_allclose(mean, x.mean((0, 2, 3), dtype="f8"), rtol=1e-6)
    assert_allclose(var, x.astype("f8").var((0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", IMAGES)
def test_backward(images: int, dtype: str) -> None:
    x, dy, weight, _ = batch(images, dtype)
    data, gradient = lanes_of(x, np.nan), lanes_of(dy, np.inf)
    mean, var = moments(data, images)
    sums = gradient_sums(gradient, data, mean, var, images)
    wide, d = x.astype("f8"), dy.astype("f8")
    deviation = np.sqrt(wide.var((0, 2, 3)) + EPS)
    normal = (wide - over(wide.mean((0, 2, 3)))) / over(deviation)
    wanted = np.array([d.sum((0, 2, 3)), (d * normal).sum((0, 2, 3))])
    assert_allclose(sums, wanted, rtol=0, atol=TIGHT[dtype] * 4 * images * PIXELS)
    count = images * PIXELS
    dx = over(weight / deviation) * (d - over(wanted[0]) / count - normal * over(wanted[1]) / count)
    _core.batch_norm_input(gradient, data, mean, var, weight, sums, gradient, *sizes(data), EPS,
                           images)  # fmt: skip
    assert_allclose(plain(gradient, images), dx, rtol=0, atol=20 * TIGHT[dtype])
    # in evaluation mode mean and variance are constants
    gradient = lanes_of(dy)
    _core.batch_norm_input(gradient, None, None, var, weight, None, gradient, *sizes(data), EPS,
                           images)  # fmt: skip
    assert_allclose(plain(gradient, images), over(weight / deviation) * d, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
def test_a_clip_lets_through_what_a_clip_behind_would(dtype: str, training: bool) -> None:
    x, dy, weight, bias = batch(21, dtype)
    data, size, clip = lanes_of(x), sizes(lanes_of(x)), (0.0, 2.5)
    mean, var = moments(data, 21)
    y, dx = (empty(data.shape, data.dtype) for _ in range(2))
    parts, sums = empty((size[1], 2, C), data.dtype), empty((2, C), data.dtype)
    _core.batch_norm(data, mean, var, weight, bias, y, *size, EPS, clip)
    behind = np.where((y > clip[0]) & (y < clip[1]), lanes_of(dy), 0).astype(dtype)
    wanted_sums = gradient_sums(behind, data, mean, var, 21)
    _core.batch_norm_sums(lanes_of(dy), data, mean, var, parts, *size, EPS, 21, weight, bias, clip)
    _core.block_sum(parts, sums, size[0], size[1], 2 * C)
    assert_array_equal(sums, wanted_sums)
    given, wanted = (sums if training else None), empty(data.shape, data.dtype)
    _core.batch_norm_input(behind, data, mean, var, weight, given, wanted, *size, EPS, 21)
    _core.batch_norm_input(lanes_of(dy), data, mean, var, weight, given, dx, *size, EPS, 21, bias,
                           clip)  # fmt: skip
    assert_array_equal(plain(dx, 21), plain(wanted, 21))


def test_gradients_are_those_of_differences() -> None:
    x, dy, weight, bias = batch(9, "float64")
    data = lanes_of(x)
    mean, var = moments(data, 9)
    sums = gradient_sums(lanes_of(dy), data, mean, var, 9)
    dx = empty(data.shape, data.dtype)
    _core.batch_norm_input(lanes_of(dy), data, mean, var, weight, sums, dx, *sizes(data), EPS, 9)
    rng = np.random.default_rng(0)

    def cost(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
        data = lanes_of(x)
        y = empty(data.shape, data.dtype)
        _core.batch_norm(data, *moments(data, 9), weight, bias, y, *sizes(data), EPS)
        return float((plain(y, 9) * dy).sum())

    for i, gradient in enumerate([plain(dx, 9), sums[1], sums[0]]):
        arrays = [x, weight, bias]

        def at(value: np.ndarray, i: int = i) -> float:
            return cost(*arrays[:i], value, *arrays[i + 1 :])  # noqa: B023

        assert check_gradient(at, arrays[i], gradient, rng, step=1e-5) < 1e-7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [*IMAGES, 1000])
def test_recorded_as_at_once_bit_for_bit(images: int, dtype: str) -> None:
    x, dy, weight, bias = batch(images, dtype)
    L = _core.lanes(x.itemsize)

    def step(x: np.ndarray, dy: np.ndarray, images: int) -> list[np.ndarray]:
        mean, var = moments(x, images)
        y, dx = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
        _core.batch_norm(x, mean, var, weight, bias, y, *sizes(x), EPS, (0.0, np.inf))
        sums = gradient_sums(dy, x, mean, var, images)
        _core.batch_norm_input(dy, x, mean, var, weight, sums, dx, *sizes(x), EPS, images)
        return [mean, var, y, sums, dx]

    data, gradient = lanes_of(x, np.nan), lanes_of(dy)
    wanted = step(data, gradient, images)
    block = [np.zeros((1, *data.shape[1:]), dtype) for _ in range(2)]
    recorder = _core.record(lambda: step(*block, L), block, [weight, bias], x.itemsize)
    for count in (1, 2, 3):
        results = [np.empty_like(a) for a in wanted]
        with threads(count):
            recorder.run([data, gradient, *results], images, 1.0)
        for got, right in zip(results, wanted, strict=True):
            assert got.tobytes() == right.tobytes()


def test_channels_and_pixels_of_all_sizes() -> None:
    rng = np.random.default_rng(0)
    for channels, shape in [(1, (1,)), (3, (1,)), (40, (2,)), (1100, (1,)), (17, (1, 33))]:
        x = rng.standard_normal((11, channels, *shape))
        mean, var = moments(lanes_of(x), 11)
        axes = (0, *range(2, x.ndim))
        assert_allclose(mean, x.mean(axes), atol=1e-14)
        assert_allclose(var, x.var(axes), rtol=1e-12, atol=1e-15)


def test_what_is_not_finite_stays_in_its_channel() -> None:
    x, *_ = batch(20, "float32")
    x[3, 1, 0, 0], x[7, 3, 1, 1] = np.nan, np.inf
    mean, var = moments(lanes_of(x), 20)
    assert np.isfinite(mean[[0, 2, 4]]).all() and np.isfinite(var[[0, 2, 4]]).all()
    assert np.isnan(mean[1]) and np.isnan(var[[1, 3]]).all() and not np.isfinite(mean[3])


def test_no_block_has_mean_and_variance_zero() -> None:
    mean, var = moments(np.zeros((0, C, *SHAPE, _core.lanes(4)), np.float32), 0)
    assert (mean == 0).all() and (var == 0).all()
