"""A step of convolutions with batch normalisation between them, recorded: PyTorch's gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.testing import assert_allclose
from test_core_batch_norm import EPS, gradient_sums, lanes_of, moments, plain, sizes

from cnn_ext import _core, threads
from cnn_ext.lanes import empty

FIRST = (1, 3, 8, 9, 8, 3, 3, 9, 8, 1, 1, 1, 1, 1, 1)  # a convolution's shape behind N
SECOND = (1, 8, 4, 9, 8, 3, 3, 7, 6, 1, 1, 0, 0, 1, 1)
RELU = (0.0, np.inf)


def weights(dtype: str) -> list[np.ndarray]:
    """Of the two convolutions, then weight and bias of the two normalisations."""
    rng = np.random.default_rng(1)
    shapes = [(8, 3, 3, 3), (4, 8, 3, 3), (8,), (8,), (4,), (4,)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def normalised(x: Any, weight: Any, bias: Any, images: int, clip: Any) -> tuple[Any, ...]:
    mean, var = moments(x, images)
    y = empty(x.shape, x.dtype)
    _core.batch_norm(x, mean, var, weight, bias, y, *sizes(x), EPS, clip)
    return y, mean, var


def weight_gradient(dy: Any, x: Any, w: Any, shape: Any, images: int) -> np.ndarray:
    dw = empty(w.shape, x.dtype)
    _core.conv2d_weight(dy, x, dw, x.itemsize, (len(x), *shape), images)
    return dw


def step(
    x: np.ndarray, target: np.ndarray, ones: np.ndarray, net: list[np.ndarray], images: int
) -> list[np.ndarray]:
    """Costs and gradients; what is returned for the block comes first."""
    w1, w2, *affine = net
    (N, L), dtype, size = (x.shape[0], x.shape[-1]), x.dtype, x.itemsize
    a, b = empty((N, 8, 9, 8, L), dtype), empty((N, 4, 7, 6, L), dtype)
    _core.conv2d(x, w1, None, a, size, (N, *FIRST), None, images)
    h, mean1, var1 = normalised(a, affine[0], affine[1], images, RELU)
    _core.conv2d(h, w2, None, b, size, (N, *SECOND), None, images)
    z, mean2, var2 = normalised(b, affine[2], affine[3], images, None)
    cost, dz = empty((N, L), dtype), empty(z.shape, dtype)
    _core.loss("cross_entropy", z, target, ones, cost, dz, size, images, 4, 1 / (images * 42), 42)
    sums2 = gradient_sums(dz, b, mean2, var2, images)
    _core.batch_norm_input(dz, b, mean2, var2, affine[2], sums2, dz, *sizes(b), EPS, images)
    dh = empty(h.shape, dtype)
    _core.conv2d_input(dz, w2, dh, size, (N, *SECOND), images)
    dw2 = weight_gradient(dz, h, w2, SECOND, images)
    _core.elementwise("relu_back", h, dh, dh, size, dh.size, 0.0)
    sums1 = gradient_sums(dh, a, mean1, var1, images)
    _core.batch_norm_input(dh, a, mean1, var1, affine[0], sums1, dh, *sizes(a), EPS, images)
    return [cost, weight_gradient(dh, x, w1, FIRST, images), dw2, sums1, sums2, mean1, var2]


def data(images: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and class numbers of the pixels."""
    rng = np.random.default_rng(images)
    x = rng.standard_normal((images, 3, 9, 8)).astype(dtype)
    return x, rng.integers(0, 4, (images, 7, 6))


def rows_of(classes: np.ndarray, dtype: str) -> np.ndarray:
    return lanes_of(np.ascontiguousarray(np.eye(4, dtype=dtype)[classes].transpose(0, 3, 1, 2)))


def run(images: int, dtype: str, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The answers of the recorded step and of the same calls for all blocks."""
    x, classes = data(images, dtype)
    net = weights(dtype)
    batch, target = lanes_of(x), rows_of(classes, dtype)
    L = batch.shape[-1]
    ones = np.ones((len(batch), L), dtype)  # the weights of the images
    at_once = step(batch, target, ones, net, images)
    blocks = [np.zeros((1, *array.shape[1:]), dtype) for array in (batch, target)]
    recorder = _core.record(
        lambda: step(*blocks, ones[:1], net, L), blocks, [*net, ones], batch.itemsize
    )
    results = [np.empty_like(array) for array in at_once]
    with threads(count):
        recorder.run([batch, target, *results], images, L / images)
    return results, at_once


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("images", [2, 16, 37, 300])
def test_the_same_bits_as_all_blocks_at_once(images: int, dtype: str) -> None:
    answers = [run(images, dtype, count) for count in (1, 2, 3)]
    if images % _core.lanes(np.dtype(dtype).itemsize) == 0:
        for results, at_once in answers:  # the loss is scaled by the same number then
            assert [a.tobytes() for a in results] == [a.tobytes() for a in at_once]
    for results, at_once in answers:
        assert [a.tobytes() for a in results] == [a.tobytes() for a in answers[0][0]]
        for got, wanted in zip(results, at_once, strict=True):
            scale = np.abs(wanted).max()
            tolerance = 1e-5 if dtype == "float32" else 1e-12
            assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)


def test_gradients_are_those_of_differences() -> None:
    x, classes = data(5, "float64")
    net = weights("float64")
    results, _ = run(5, "float64", 1)
    batch, target = lanes_of(x), rows_of(classes, "float64")
    for i, gradient in [(0, results[1]), (1, results[2]), (2, results[3][1]), (3, results[3][0])]:

        def cost(value: np.ndarray, i: int = i) -> float:
            changed = [*net[:i], value, *net[i + 1 :]]
            costs = step(batch, target, np.ones((len(batch), batch.shape[-1])), changed, 5)[0]
            return float(plain(costs, 5).sum()) / (5 * 42)

        rng = np.random.default_rng(0)
        assert check_gradient(cost, net[i], gradient, rng, step=1e-6) < 1e-5


@pytest.mark.parametrize("images", [2, 5, 17, 37])
def test_the_gradients_of_pytorch(images: int) -> None:
    torch = pytest.importorskip("torch")
    functions = torch.nn.functional
    results, _ = run(images, "float64", 2)
    x, classes = data(images, "float64")
    w1, w2, *affine = (torch.tensor(a, requires_grad=True) for a in weights("float64"))
    a = functions.conv2d(torch.tensor(x), w1, padding=1)
    h = functions.relu(functions.batch_norm(a, None, None, *affine[:2], True, 0, EPS))
    z = functions.batch_norm(functions.conv2d(h, w2), None, None, *affine[2:], True, 0, EPS)
    cost = functions.cross_entropy(z, torch.tensor(classes))
    cost.backward()
    assert_allclose(plain(results[0], images).sum() / (images * 42), cost.item(), rtol=1e-12)
    for got, wanted in [
        (results[1], w1), (results[2], w2), (results[3][1], affine[0]), (results[3][0], affine[1]),
        (results[4][1], affine[2]), (results[4][0], affine[3]),
    ]:  # fmt: skip
        assert_allclose(got, wanted.grad.numpy(), rtol=1e-9, atol=1e-11)
    assert_allclose(results[5], a.detach().numpy().mean((0, 2, 3)), rtol=1e-12, atol=1e-14)
