"""Group and layer normalisation in `_core`: naive formulas, PyTorch's figures, recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.testing import assert_allclose
from test_core_batch_norm import DTYPES, IMAGES, TIGHT, lanes_of, plain

from cnn_ext import _core, threads
from cnn_ext.lanes import empty

EPS = 1e-3
CASES = [(1, 6, False), (3, 2, False), (6, 1, False), (1, 6, True)]  # groups, channels, across
SHAPE = (3, 7)


def batch(images: int, dtype: str, channels: int = 6) -> tuple[np.ndarray, ...]:
    """x, dy, weight and bias."""
    rng = np.random.default_rng(images)
    x = rng.standard_normal((images, channels, *SHAPE)) * 2 + 3
    arrays = x, rng.standard_normal(x.shape), *rng.standard_normal((2, channels))
    return tuple(a.astype(dtype) for a in arrays)


def normal(x: np.ndarray, groups: int, across: bool) -> np.ndarray:
    x = x.astype("f8")
    rows = x if across else x.reshape(len(x), groups, -1)
    axis = 1 if across else 2
    rows = (rows - rows.mean(axis, keepdims=True)) / np.sqrt(rows.var(axis, keepdims=True) + EPS)
    return rows.reshape(x.shape)


def step(x: np.ndarray, dy: np.ndarray, weight: Any, bias: Any, case: Any, images: int) -> Any:
    """y, dx and the sums for the gradients of bias and weight."""
    groups, channels, across = case
    N, pixels = x.shape[0], int(np.prod(x.shape[2:-1]))
    sizes = x.itemsize, N, groups, channels, pixels
    y, dx = empty(x.shape, x.dtype), empty(x.shape, x.dtype)
    stats = empty((N, pixels if across else groups, 2, x.shape[-1]), x.dtype)
    parts, sums = (empty((n, 2, groups * channels), x.dtype) for n in (N, 1))
    _core.group_norm(x, weight, bias, y, stats, *sizes, EPS, across)
    _core.group_norm_input(dy, x, weight, stats, dx, *sizes, across)
    _core.group_norm_sums(dy, x, stats, parts, *sizes, images, across)
    _core.block_sum(parts, sums, x.itemsize, N, sums.size)
    return [y, dx, sums]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", IMAGES)
def test_the_naive_formulas(images: int, dtype: str, case: Any) -> None:
    x, dy, weight, bias = batch(images, dtype)
    y, _, sums = step(lanes_of(x), lanes_of(dy, np.nan), weight, bias, case, images)
    rows = normal(x, case[0], case[2])
    wide = [a.astype("f8")[:, None, None] for a in (weight, bias)]
    assert_allclose(plain(y, images), rows * wide[0] + wide[1], rtol=0, atol=20 * TIGHT[dtype])
    wanted = [dy.sum((0, 2, 3), dtype="f8"), (dy * rows).sum((0, 2, 3), dtype="f8")]
    assert_allclose(sums[0], wanted, rtol=0, atol=TIGHT[dtype] * 80 * images)
    # without weights, over itself
    data, gradient = lanes_of(x), lanes_of(dy)
    groups, channels, across = case
    sizes = x.itemsize, data.shape[0], groups, channels, 21
    stats = empty((data.shape[0], 21 if across else groups, 2, data.shape[-1]), data.dtype)
    _core.group_norm(data.copy(), None, None, data, stats, *sizes, EPS, across)
    assert_allclose(plain(data, images), rows, rtol=0, atol=20 * TIGHT[dtype])
    _core.group_norm_input(gradient, lanes_of(x), None, stats, gradient, *sizes, across)
    again = step(lanes_of(x), lanes_of(dy), None, None, case, images)[1]
    assert_allclose(plain(gradient, images), plain(again, images), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_differences(case: Any) -> None:
    x, dy, weight, bias = batch(5, "float64")
    _, dx, sums = step(lanes_of(x), lanes_of(dy), weight, bias, case, 5)
    rng = np.random.default_rng(0)
    arrays = [x, weight, bias]
    for i, gradient in enumerate([plain(dx, 5), sums[0, 1], sums[0, 0]]):

        def cost(value: np.ndarray, i: int = i) -> float:
            now = [*arrays[:i], value, *arrays[i + 1 :]]
            y = step(lanes_of(now[0]), lanes_of(dy), *now[1:], case, 5)[0]
            return float((plain(y, 5) * dy).sum())

        assert check_gradient(cost, arrays[i], gradient, rng, step=1e-5) < 1e-7


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [5, 37, 300])
def test_recorded_as_at_once_bit_for_bit(images: int, dtype: str, case: Any) -> None:
    x, dy, weight, bias = batch(images, dtype)
    data, gradient = lanes_of(x), lanes_of(dy)
    L = data.shape[-1]
    wanted = step(data, gradient, weight, bias, case, images)
    block = [np.zeros((1, *data.shape[1:]), dtype) for _ in range(2)]
    recorder = _core.record(
        lambda: step(*block, weight, bias, case, L), block, [weight, bias], x.itemsize
    )
    for count in (1, 2, 3):
        results = [np.empty_like(a) for a in wanted]
        with threads(count):
            recorder.run([data, gradient, *results], images, 1.0)
        for got, right in zip(results, wanted, strict=True):
            assert got.tobytes() == right.tobytes()


def test_the_figures_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    functions = torch.nn.functional
    for case in CASES:
        x, dy, weight, bias = batch(7, "float64")
        ours = step(lanes_of(x), lanes_of(dy), weight, bias, case, 7)
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
        if case[2]:
            y = functions.layer_norm(tensors[0].movedim(1, -1), (6,), *tensors[1:], EPS)
            y = y.movedim(-1, 1)
        else:
            y = functions.group_norm(tensors[0], case[0], *tensors[1:], EPS)
        y.backward(torch.tensor(dy))
        assert_allclose(plain(ours[0], 7), y.detach().numpy(), rtol=1e-12, atol=1e-13)
        assert_allclose(plain(ours[1], 7), tensors[0].grad.numpy(), rtol=1e-11, atol=1e-13)
        assert_allclose(ours[2][0, 1], tensors[1].grad.numpy(), rtol=1e-12)
        assert_allclose(ours[2][0, 0], tensors[2].grad.numpy(), rtol=1e-12)


def test_an_image_that_is_not_finite_leaves_the_others_alone() -> None:
    x, dy, weight, bias = batch(9, "float32")
    clean = step(lanes_of(x), lanes_of(dy), weight, bias, (3, 2, False), 9)[0]
    x[4, 0, 0, 0] = np.nan
    y = step(lanes_of(x), lanes_of(dy), weight, bias, (3, 2, False), 9)[0]
    wanted = plain(clean, 9)
    wanted[4, :2] = np.nan
    np.testing.assert_array_equal(plain(y, 9), wanted)


def test_one_group_across_the_channels() -> None:
    x = np.zeros((1, 6, 4, _core.lanes(4)), np.float32)
    with pytest.raises(ValueError, match="one group"):
        _core.group_norm(x, None, None, x, x, 4, 1, 2, 3, 4, EPS, True)
