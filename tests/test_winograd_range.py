"""NaN, infinities and huge numbers in Winograd's way: there alone where the direct one has them."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import reference

import cnn_ext
from cnn_ext import Conv2d, ReLU, Sequential, _core, ops

L = _core.lanes(4)
NAN, INF = np.nan, np.inf
SPOILS = (NAN, INF, -INF, 1e37, -3e38)
PLACES = {"corner": (0, 0), "edge": (-1, 2), "middle": (5, 4), "border of tiles": (3, 8)}
# N, C, K, H, W, kernel, padding: channels no multiple of the lanes, several tiles and blocks
CASES = [
    (L + 1, 21, 38, 11, 13, 3, 1),
    (5, 40, 33, 12, 12, 5, 2),
    (2 * L + 3, 20, 40, 12, 12, 5, 0),
    (5, 24, 33, 27, 14, 3, 0),
]
Arrays = dict[str, np.ndarray]
TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(autouse=True)
def switch():
    before = cnn_ext.get_winograd()
    cnn_ext.set_winograd(True)
    yield
    cnn_ext.set_winograd(before)


def arrays(case: tuple[int, ...]) -> Arrays:
    N, C, K, H, W, R, padding = case
    rng = np.random.default_rng(0)
    P, Q = H + 2 * padding - R + 1, W + 2 * padding - R + 1
    shapes = {"x": (N, C, H, W), "w": (K, C, R, R), "b": (K,), "dy": (N, K, P, Q)}
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    made["w"] /= np.float32(np.sqrt(R * R * C))
    return made


def spoilt(clean: Arrays, what: str, place: str, value: float) -> Arrays:
    """One number of the last image (or of one weight) replaced."""
    made = {name: array.copy() for name, array in clean.items()}
    size = made[what].shape[2:]
    at = tuple(i % n for i, n in zip(PLACES[place], size, strict=True))
    made[what][(1, 2) if what == "w" else (-1, 3)][at] = value
    return made


def passes(a: Arrays, padding: int, winograd: bool = True) -> Arrays:
    cnn_ext.set_winograd(winograd)
    dx, dw, _ = ops.conv2d_backward(a["dy"], a["x"], a["w"], padding=padding)
    y = ops.conv2d(a["x"], a["w"], a["b"], padding=padding)
    cnn_ext.set_winograd(True)
    return {"y": y, "dx": dx, "dw": dw}


def same_kinds(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(wanted))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(wanted))


def seen(case: tuple[int, ...], what: str, place: str) -> Arrays:
    """Which results share a tile, or a sum over tiles, with the spoilt number."""
    N, C, K, H, W, R, padding = case
    P, Q = H + 2 * padding - R + 1, W + 2 * padding - R + 1
    shapes = {"y": (N, K, P, Q), "dx": (N, C, H, W), "dw": (K, C, R, R)}
    masks = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    if what == "w":
        masks["y"][:, 1] = masks["dx"][:, 2] = True
        return masks
    into, size, top = ("y", (H, W), padding) if what == "x" else ("dx", (P, Q), R - 1 - padding)
    masks["dw"][(slice(None), 3) if what == "x" else 3] = True
    sides = list(zip(PLACES[place], size, shapes[into][2:], strict=True))
    if what == "dy" and tiles(P, Q) < tiles(H, W):  # the transpose: tiles of gradients
        first = [at % n // 4 * 4 - padding for at, n, _ in sides]
        rows, columns = (
            [(o // 4 * 4 < lo + R + 3 and lo < o // 4 * 4 + 4) for o in range(m)]
            for lo, (_, _, m) in zip(first, sides, strict=True)
        )
    else:
        rows, columns = (
            [(o // 4 * 4 - top <= at % n < o // 4 * 4 - top + R + 3) for o in range(m)]
            for at, n, m in sides
        )
    masks[into][-1] = np.outer(rows, columns)
    return masks


def tiles(P: int, Q: int) -> int:
    return -(-P // 4) * -(-Q // 4)


@pytest.mark.parametrize("value", SPOILS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", ["x", "w", "dy"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_not_finite_where_the_direct_way_is(case, what, place, value):
    padding = case[-1]
    clean = arrays(case)
    before, a = passes(clean, padding), spoilt(clean, what, place, value)
    got, wanted, shared = passes(a, padding), passes(a, padding, False), seen(case, what, place)
    for name, array in got.items():
        assert array[~shared[name]].tobytes() == before[name][~shared[name]].tobytes()
        same_kinds(array, wanted[name])
        here = shared[name] & np.isfinite(wanted[name])
        if np.isfinite(value):  # digits are lost beside it
            error, most = np.abs(array[here] / value - wanted[name][here] / value), 1e-4
        else:
            error, most = np.abs(array[here] - wanted[name][here]), 1e-3 if name == "dw" else 0
        assert error.max(initial=0.0) <= most
        if not np.isfinite(value) and shared[name].any():
            assert not np.isfinite(array[shared[name]]).all()


@pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize("value", (NAN, INF, -INF))
@pytest.mark.parametrize("what", ["x", "w", "dy"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_not_finite_where_pytorch_is_not(case, what, value):
    import torch

    padding = case[-1]
    for place in PLACES:
        a = spoilt(arrays(case), what, place, value)
        x, w, b, dy = (torch.from_numpy(a[name]) for name in ("x", "w", "b", "dy"))
        y = torch.nn.functional.conv2d(x.requires_grad_(), w.requires_grad_(), b, padding=padding)
        dx, dw = torch.autograd.grad(y, (x, w), dy)
        got = passes(a, padding)
        for name, tensor in (("y", y), ("dx", dx), ("dw", dw)):
            wanted: Any = tensor.detach().numpy()
            same_kinds(got[name], wanted)
            here = np.isfinite(wanted)
            assert np.abs(got[name][here] - wanted[here]).max() < 1e-3


@pytest.mark.parametrize("value", (NAN, INF, -INF))
def test_not_finite_where_the_naive_reference_is_not(value):
    case = (3, 24, 24, 8, 8, 3, 0)
    for what in ("x", "w", "dy"):
        a = spoilt(arrays(case), what, "middle", value)
        got = passes(a, 0)
        with np.errstate(invalid="ignore"):
            y = reference.conv2d(a["x"], a["w"], a["b"])
            dx, dw, _ = reference.conv2d_backward(a["dy"], a["x"], a["w"])
        same_kinds(got["y"], y)
        same_kinds(got["dw"], dw)
        if what != "w":  # the reference scatters zeros times a weight
            same_kinds(got["dx"], dx)


@pytest.mark.parametrize("padding", [(1, 2), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}], ids=str)
def test_padding_makes_no_nan_of_gradients_that_are_not_finite(padding, dtype, options):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 4, 7, 7)).astype(dtype), np.ones((6, 4, 3, 3), dtype)
    w = w[:, : 4 // options.get("groups", 1)]
    dy = np.ones_like(ops.conv2d(x, w, padding=padding, **options))
    _, clean, _ = ops.conv2d_backward(dy, x, w, padding=padding, **options)
    dy[2, 1, 0, 0] = np.nan
    _, dw, _ = ops.conv2d_backward(dy, x, w, padding=padding, **options)
    gap = options.get("dilation", 1)
    rows, columns = (np.arange(3) * gap >= pad for pad in padding)  # the taps inside the image
    seen = np.zeros_like(dw, bool)
    seen[1, :] = np.outer(rows, columns)
    np.testing.assert_array_equal(np.isnan(dw), seen)
    np.testing.assert_allclose(dw[~seen], clean[~seen], rtol=1e-4, atol=1e-4)


def test_bias_and_clip_around_a_tile_done_again():
    case = (3, 24, 40, 8, 8, 3, 1)
    for value in SPOILS:
        a = spoilt(arrays(case), "x", "middle", value)
        shape = (-(-3 // L), 1, 24, 40, 8, 8, 3, 3, 8, 8, 1, 1, 1, 1, 1, 1)
        x, y = (
            cnn_ext.lanes.Lanes.pack(a["x"]),
            cnn_ext.lanes.Lanes.empty((3, 40, 8, 8), np.dtype("f")),
        )
        _core.conv2d(x.data, a["w"], a["b"], y.data, 4, shape, (0.0, 6.0), 3)
        wanted = np.clip(passes(a, 1, False)["y"], 0, 6)
        same_kinds(y.unpack(), wanted)
        here = np.isfinite(wanted) & ~seen(case, "x", "middle")["y"]
        np.testing.assert_allclose(y.unpack()[here], wanted[here], atol=1e-4)


@pytest.mark.parametrize("value", SPOILS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("sizes", [(21, 38, 3, 1), (40, 2 * L + 1, 5, 2)], ids=str)
def test_not_finite_in_a_plan_as_in_a_batch(value, clip, sizes):
    C, K, R, padding = sizes
    net = Sequential(Conv2d(C, K, R, padding=padding), *([ReLU()] if clip else []))
    net.initialize("pytorch", np.random.default_rng(0))
    clean = np.random.default_rng(1).standard_normal((L + 2, C, 14, 15)).astype(np.float32)
    for place in PLACES:
        images = clean.copy()
        images[-1, C - 1][PLACES[place]] = images[1, 0][PLACES[place]] = value
        plan = net.compile((C, 14, 15))
        together = plan(images)
        alone = np.concatenate([plan(image[None]) for image in images])
        same_kinds(together, alone)
        here = ~np.isnan(alone)
        assert together[here].tobytes() == alone[here].tobytes()
        cnn_ext.set_winograd(False)
        wanted = net.eval()(images)
        cnn_ext.set_winograd(True)
        same_kinds(alone, wanted)
        others = [i for i in range(len(images)) if i not in (1, L + 1)]
        assert together[others].tobytes() == plan(clean)[others].tobytes()


def test_spoilt_weights_of_a_plan():
    for value in SPOILS:
        net = Sequential(Conv2d(24, 2 * L + 1, 3), Conv2d(2 * L + 1, 24, 3))
        net.initialize("pytorch", np.random.default_rng(0))
        net.layers[0].weight.data[2 * L, 23, 1, 2] = value
        net.layers[1].weight.data[3] *= 1e-3
        images = np.random.default_rng(1).standard_normal((L, 24, 12, 12)).astype(np.float32)
        plan = net.compile((24, 12, 12))
        together, alone = plan(images), np.concatenate([plan(image[None]) for image in images])
        same_kinds(together, alone)
        here = ~np.isnan(alone)
        assert together[here].tobytes() == alone[here].tobytes()
