"""What transforms make of images: naive loops, exact identities, any size, type and order."""

from __future__ import annotations

import math
from typing import Any

import augment_reference as ref
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import _core
from cnn_ext.augment import (
    AlternatingFlip,
    Chance,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    ElasticTransform,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
    Shift,
    Transform,
    draws,
)

MODES = ("constant", "edge", "reflect")
DTYPES = (np.uint8, np.float32, np.float64)
SINGLE = [transform for transform in ref.ALL if not isinstance(transform, (MixUp, CutMix))]
MANY = [
    *SINGLE,
    Compose([RandomRotation(30), RandomShift(2), AlternatingFlip(), ElasticTransform(20, 1.0)]),
    Compose([ColorJitter(0.5), RandomShift(2), Cutout(4), RandomRotation(9), RandomErasing()]),
]


def pictures(shape: tuple[int, ...], dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 256, shape)
    return numbers.astype(dtype) if np.dtype(dtype).kind != "f" else (numbers / 255).astype(dtype)


def close(dtype: Any) -> dict[str, float]:
    return {"rtol": 0, "atol": {"uint8": 1, "float32": 1e-5}.get(np.dtype(dtype).name, 1e-7)}


# -------------------------------------------------------------------------------------- chance


def test_the_same_draws_for_ever() -> None:
    u = draws(1, 2, np.array([0, 3, 2**63], np.uint64), 3, 4)
    expected = [[ref.draw(1, 2, 4, image, i) for i in range(3)] for image in (0, 3, 2**63)]
    assert_array_equal(u, expected)
    assert draws(0, 0, [0], 2).tolist() == [[0.2804984875640292, 0.9984630298185215]]


def test_draws_are_uniform_and_independent() -> None:
    u = draws(5, 1, np.arange(20000), 6)
    assert 0 <= u.min() and u.max() < 1
    assert_allclose(u.mean(0), 0.5, atol=0.01)
    assert_allclose(u.var(0), 1 / 12, atol=0.003)
    others = [draws(6, 1, np.arange(20000), 1), draws(5, 2, np.arange(20000), 1),
              draws(5, 1, np.arange(20000), 1, 1), draws(5, 1, np.arange(1, 20001), 1)]  # fmt: skip
    table = np.corrcoef(np.concatenate([u, *others], 1).T)
    assert np.abs(table - np.eye(len(table))).max() < 0.03
    counts, _, _ = np.histogram2d(u[:, 0], u[:, 1], 10, [(0, 1), (0, 1)])
    assert ((counts - 200) ** 2 / 200).sum() < 150


@pytest.mark.parametrize("transform", MANY, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_is_the_same_in_every_batch_and_on_any_number_of_threads(
    transform: Transform, dtype: Any
) -> None:
    x = pictures((300, 3, 11, 9), dtype)
    with cnn_ext.threads(1):
        y = transform(x, 3, 5)
    with cnn_ext.threads(2):
        assert_array_equal(transform(x, 3, 5), y)
    order = np.random.default_rng(1).permutation(300)[:77]
    assert_array_equal(transform(x[order], 3, 5, order), y[order])
    assert_array_equal(transform(x[7:8], 3, 5, [7]), y[7:8])
    assert y.dtype == x.dtype and len(transform(x[:0])) == 0
    if not isinstance(transform, Shift):
        assert not np.array_equal(transform(x, 3, 6), y)
        assert not np.array_equal(transform(x, 4, 5), y)


# ------------------------------------------------------------------------------------- loops


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 6)] * 4),
    dtype=st.sampled_from(DTYPES),
    mode=st.sampled_from(MODES),
    whole=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_kernel_against_loops(
    sizes: tuple[int, ...], dtype: Any, mode: str, whole: bool, seed: int
) -> None:
    N, C, H, W, P, Q = sizes
    rng = np.random.default_rng(seed)
    x = pictures((N, C, H, W), dtype, seed)
    rows = np.zeros((N, 12))
    rows[:, :6] = rng.uniform(-2, 2, (N, 6)) * [1, 1, 8, 1, 1, 8]
    if whole:
        rows[:, [0, 4]] = rng.choice([-1.0, 1.0], (N, 2))
        rows[:, [1, 3]] = 0
        rows[:, [2, 5]] = rng.integers(-20, 20, (N, 2))
    rows[:, 6:8] = np.stack([rng.choice([1.0, 0.5, 1.5], N), rng.choice([0.0, 0.5], N)], 1)
    rows[:, 8:] = rng.integers(-3, 9, (N, 4))
    fill, value = 3.3, 0.7
    y = np.full((N, C, P, Q), 99, dtype)
    _core.augment(
        x, rows, y, x.itemsize, (N, C, H, W, P, Q), mode, fill, value, None, None, None, 1.0
    )
    for n in range(N):
        m = rows[n]
        moved = ref.resampled(
            x[n],
            lambda i, j, m=m: m[0] * i + m[1] * j + m[2],
            lambda i, j, m=m: m[3] * i + m[4] * j + m[5],
            (P, Q), mode, fill,
        )  # fmt: skip
        expected = ref.painted(moved, m[6], m[7])
        top, left, bottom, right = np.clip(m[8:], 0, [P, Q, P, Q]).astype(int)
        expected[:, top:bottom, left:right] = ref.stored(value, x.dtype)
        bound = close(dtype)
        if dtype == np.uint8 and tuple(m[6:8]) != (1, 0):  # gain and mean make more of a rounding
            bound["atol"] = 2
        assert_allclose(y[n].astype(float), expected.astype(float), **bound)


@pytest.mark.parametrize("size", [(6, 9), (1, 1), (13, 4)])
def test_elastic_against_loops(size: tuple[int, int]) -> None:
    x = pictures((2, 2, *size), np.float64)
    transform = ElasticTransform(40, 1.5, 0.3)
    chance = Chance(9, 2, np.arange(2, dtype=np.uint64), 0)
    noise, rows, columns, spacing = transform.displacements(chance, size)
    u = 2 * draws(9, 2, [0, 1], noise[0].size).reshape(noise.shape) - 1
    y = transform(x, 9, 2)
    for n in range(2):

        def moved(axis: int, i: int, j: int, n: int = n) -> float:
            k, m = int(i / spacing), int(j / spacing)
            near = u[n, axis, k : k + 4, m : m + 4]
            return 20 * float((rows[i] / 40) @ near @ columns[j])

        expected = ref.resampled(
            x[n], lambda i, j: i + moved(0, i, j), lambda i, j: j + moved(1, i, j), size,
            "constant", 0.3,
        )  # fmt: skip
        assert_allclose(y[n], expected, atol=1e-9)


def test_displacements_are_as_large_and_smooth_as_those_of_blurred_noise() -> None:
    size, sigma = (24, 30), 4.0
    chance = Chance(0, 0, np.arange(3000, dtype=np.uint64), 0)
    noise, rows, columns, spacing = ElasticTransform(50, sigma).displacements(chance, size)
    left, right = np.zeros((24, noise.shape[2])), np.zeros((30, noise.shape[3]))
    for matrix, weights in ((left, rows), (right, columns)):
        for i, each in enumerate(weights):
            matrix[i, int(i / spacing) : int(i / spacing) + 4] = each
    field = left @ noise @ right.T  # in pixels: 50 / 2 times the noise of -1 to 1
    taps = np.exp(-0.5 * (np.arange(-20, 21) / sigma) ** 2)
    taps /= taps.sum()
    deviation = 25 * math.sqrt(1 / 3) * np.square(taps).sum()
    assert_allclose(field.std(0), deviation, rtol=0.1)
    for lag in (2, 4, 8):  # correlation of noise blurred by a Gaussian
        found = (field[..., lag:] * field[..., :-lag]).mean() / deviation**2
        assert abs(found - math.exp(-(lag**2) / (4 * sigma**2))) < 0.08


# ----------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_identities(dtype: Any) -> None:
    x = pictures((3, 2, 7, 7), dtype)
    assert_array_equal(RandomHorizontalFlip(1.0)(x), x[..., ::-1])
    assert_array_equal(RandomVerticalFlip(1)(x), x[:, :, ::-1])
    for degrees in (-180, -90, 0, 90, 270, 360):
        turned = np.rot90(x, degrees // 90, (2, 3))
        assert_array_equal(RandomRotation((degrees, degrees))(x), turned)
        assert_array_equal(RandomAffine((-degrees, -degrees))(x), turned)
    for same in (
        RandomAffine(0, scale=(1, 1)), ElasticTransform(0), ColorJitter(), Compose([]),
        RandomErasing(0), RandomShift(0), RandomCrop(7), RandomHorizontalFlip(0),
    ):  # fmt: skip
        y = same(x)
        assert_array_equal(y, x)
        assert y is not x and not np.shares_memory(x, y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("move", [(0, 0), (1, -2), (-3, 4), (40, 0), (-17, 33)])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 6)])
def test_shifts_are_those_of_padding(
    mode: str, move: tuple[int, int], size: tuple[int, int]
) -> None:
    x = pictures((2, 3, *size))
    options = {"constant_values": 7} if mode == "constant" else {}
    padded = np.pad(x, ((0, 0), (0, 0), (50, 50), (50, 50)), mode, **options)  # type: ignore
    top, left = 50 - move[0], 50 - move[1]
    expected = padded[:, :, top : top + size[0], left : left + size[1]]
    assert_array_equal(Shift(*move, mode, 7)(x), expected)


@pytest.mark.parametrize("size", [(7, 7), (6, 9)])
def test_affine_maps_against_loops(size: tuple[int, int]) -> None:
    x = pictures((1, 1, *size), np.float64)
    for degrees, part, scale, shear in [
        (30, 0, 1, (0, 0)), (0, 1, 1, (0, 0)), (0, 0, 0.7, (0, 0)), (0, 0, 1, (20, 0)),
        (0, 0, 1, (0, 15)), (-50, 0.5, 1.6, (10, -25)),
    ]:  # fmt: skip
        transform = RandomAffine(
            (degrees, degrees), (part, part), (scale, scale), (shear[0],) * 2 + (shear[1],) * 2, 0.5
        )
        u = draws(4, 0, [0], 6)[0]
        move = [round((2 * u[5] - 1) * part * size[1]), round((2 * u[4] - 1) * part * size[0])]
        back = np.linalg.inv(ref.affine(size, degrees, (move[0], move[1]), scale, shear))
        expected = ref.resampled(
            x[0],
            lambda i, j, m=back: m[1] @ (j, i, 1),
            lambda i, j, m=back: m[0] @ (j, i, 1),
            size, "constant", 0.5,
        )  # fmt: skip
        assert_allclose(transform(x, 4)[0], expected, atol=1e-6)


def test_ranges_are_those_asked_for() -> None:
    chance = Chance(0, 0, np.arange(3000, dtype=np.uint64), 0)
    matrices, _ = RandomShift((2, 5)).sources(chance, (9, 9))
    assert set(matrices[:, 0, 2]) == set(range(-2, 3))
    assert set(matrices[:, 1, 2]) == set(range(-5, 6))
    matrices, size = RandomCrop((4, 6), (1, 2, 3, 4)).sources(chance, (9, 9))
    assert size == (4, 6)
    assert set(matrices[:, 0, 2]) == set(range(-2, 10)) and set(matrices[:, 1, 2]) == {
        *range(-1, 7)
    }
    matrices, _ = RandomRotation(25).sources(chance, (9, 9))
    angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    assert -25 <= angles.min() < -24.5 and 24.5 < angles.max() <= 25
    flipped = RandomHorizontalFlip(0.3).sources(chance, (9, 9))[0][:, 1, 1] < 0
    assert abs(flipped.mean() - 0.3) < 0.03


def test_alternating_flip_shows_each_image_in_both_ways() -> None:
    x = pictures((500, 1, 3, 3))
    flip = AlternatingFlip()
    first, second = flip(x, 7, 0), flip(x, 7, 1)
    assert_array_equal(first, second[..., ::-1])
    assert_array_equal(first, flip(x, 7, 2))
    unchanged = (first == x).all((1, 2, 3)).mean()
    assert 0.4 < unchanged < 0.6


# ------------------------------------------------------------------------- order and rectangles


def test_transforms_act_in_order() -> None:
    x = pictures((4, 2, 6, 8), np.float64)
    parts = [
        ColorJitter((0.5, 0.5)), Shift(1, 2, fill=9), Shift(0, 1, "edge"), ColorJitter(0, (2, 2)),
        Shift(-1, 0, fill=3), RandomRotation((180, 180)), ColorJitter((2, 2)),
    ]  # fmt: skip
    y = x
    for part in parts:
        y = part(y)
    assert_allclose(Compose(parts)(x), y, atol=1e-12)


def test_maps_in_a_row_are_one() -> None:
    x = pictures((4, 1, 9, 9), np.float64)
    there_and_back = Compose([Shift(5, 0), RandomRotation((30, 30)), RandomRotation((-30, -30)),
                              Shift(-5, 0)])  # fmt: skip
    assert_allclose(there_and_back(x), x, atol=1e-6)


def test_rectangles_are_those_asked_for() -> None:
    x = np.ones((2000, 2, 10, 20), np.float32)
    covered = Cutout(4, 0)(x) == 0
    assert covered[:, 0].any((1, 2)).all() and (covered[:, 0] == covered[:, 1]).all()
    heights, widths = covered[:, 0].any(2).sum(1), covered[:, 0].any(1).sum(1)
    assert heights.max() == widths.max() == 4 and heights.min() == widths.min() == 2
    assert covered.any((0, 1)).all()
    covered = RandomErasing(0.7, (0.1, 0.2), (0.5, 2.0), 0)(x)[:, 0] == 0
    seen = covered[covered.any((1, 2))]
    assert abs(len(seen) / len(x) - 0.7) < 0.04
    heights, widths = seen.any(2).sum(1), seen.any(1).sum(1)
    assert_array_equal(seen.sum((1, 2)), heights * widths)
    assert 12 <= seen.sum((1, 2)).min() and seen.sum((1, 2)).max() <= 48
    assert 0.3 < (heights / widths).min() and (heights / widths).max() < 3


@pytest.mark.parametrize("dtype", ["u2", "i2", "i8", "f2", ">f4", ">u2", "?", "g"])
def test_other_types_stay_what_they_mean(dtype: str) -> None:
    x = pictures((3, 1, 5, 6)).astype(dtype)
    y = Compose([RandomRotation(20), ColorJitter((0.5, 0.5))])(x)
    if np.dtype(dtype).kind in "iu":
        assert y.dtype == x.dtype
    numbers = Compose([RandomRotation(20), ColorJitter((0.5, 0.5))])(x.astype(np.float64))
    assert_allclose(y.astype(np.float64), numbers, atol=0.5 if y.dtype.kind in "iu" else 1e-3 * 255)
    assert_array_equal(Shift(0, 1)(x)[..., 1:], x[..., :-1])


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(DTYPES),
    chosen=st.lists(st.sampled_from(SINGLE), max_size=5),
    seed=st.integers(0, 2**64 - 1),
)
def test_any_list_on_any_size(
    shape: tuple[int, ...], dtype: Any, chosen: list[Transform], seed: int
) -> None:
    x = pictures(shape, dtype)
    before = x.copy()
    try:
        y = Compose(chosen)(x, seed, seed % 7)
    except ValueError as error:
        assert "is more than images of" in str(error)
        return
    assert_array_equal(x, before)
    assert y.dtype == x.dtype and y.shape[:2] == shape[:2] and np.isfinite(y).all()
    crops = any(isinstance(transform, RandomCrop) for transform in chosen)
    assert y.shape[2:] == ((5, 4) if crops else shape[2:])


# -------------------------------------------------------------------------------------- mixing


@pytest.mark.parametrize("transform", [MixUp(0.4), CutMix(1.0), MixUp(3.0)], ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
def test_mixed_images_and_targets(transform: Any, dtype: Any) -> None:
    x, y = pictures((40, 2, 6, 7), dtype), np.arange(40) % 5
    both = Compose([RandomShift(1), transform])
    images, targets = both.batch(x, y, np.arange(40), 3, 1, 5)
    assert images.dtype == x.dtype and targets.shape == (40, 5)
    assert_allclose(targets.sum(1), 1, atol=1e-12)
    rows, _ = both.batch(x, np.eye(5)[y], np.arange(40), 3, 1)
    assert_array_equal(rows, images)
    some, same = both.batch(x, y, np.array([31, 2]), 3, 1, 5)
    assert_array_equal(some, images[[31, 2]])
    assert_array_equal(same, targets[[31, 2]])
    moved = RandomShift(1)(x, 3, 1)
    chance = Chance(3, 1, np.arange(40, dtype=np.uint64), 1)
    others = transform.partners(chance, 40)
    given, shares = transform.pairs(chance, (6, 7))
    for n in range(40):
        weight, (top, left, bottom, right) = given[n, 0], given[n, 1:].astype(int)
        expected = weight * moved[n] + (1 - weight) * moved[others[n]].astype(float)
        expected[:, top:bottom, left:right] = moved[others[n], :, top:bottom, left:right]
        assert_allclose(
            images[n], np.floor(expected + 0.5) if dtype == np.uint8 else expected, **close(dtype)
        )
        target = np.zeros(5)
        target[y[n]] += shares[n]
        target[y[others[n]]] += 1 - shares[n]
        assert_allclose(targets[n], target)
        if isinstance(transform, CutMix):
            area = (bottom - top) * (right - left)
            assert_allclose(shares[n], 1 - area / 42)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.5])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    chance = Chance(1, 0, np.arange(20000, dtype=np.uint64), 0)
    _, shares = MixUp(alpha).pairs(chance, (1, 1))
    true = np.random.default_rng(0).beta(alpha, alpha, 200000)
    for q in (0.1, 0.25, 0.5, 0.8):
        assert abs((shares < np.quantile(true, q)).mean() - q) < 0.015
