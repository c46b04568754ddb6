"""What `airbench` learns and what it keeps, and the filters that whiten patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import Adam, Conv2d, Flatten, Linear, Normalize, Sequential, Trainer
from cnn_ext.architectures import build, whiten


def pictures(channels: int = 3, dtype: str = "float32") -> np.ndarray:
    """Images whose neighbouring pixels and channels have much in common."""
    noise = normal("pictures", (40, channels, 12, 12), "float64")
    smooth = noise + 2 * np.roll(noise, 1, 2) + 3 * np.roll(noise, 1, 3) + noise.mean(1)[:, None]
    images = (0.4 + 0.05 * smooth).clip(0, 1)
    return np.rint(255 * images).astype("uint8") if dtype == "uint8" else images.astype(dtype)


def patches_of(images: np.ndarray) -> np.ndarray:
    N, _, H, W = images.shape
    rows = [
        images[n, :, i : i + 2, j : j + 2].reshape(-1)
        for n in range(N) for i in range(H - 1) for j in range(W - 1)
    ]  # fmt: skip
    return np.array(rows, np.float64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_whitened_patches_have_mean_0_and_covariance_1(channels: int, dtype: str) -> None:
    x = pictures(channels, dtype)
    count = 4 * channels
    net = Sequential(Conv2d(channels, 2 * count, 2))
    whiten(net, x, eps=0)
    y = net(x).transpose(0, 2, 3, 1).reshape(-1, 2 * count).astype(np.float64)
    assert_allclose(y.mean(0), 0, atol=1e-4)
    assert_allclose(y[:, :count].T @ y[:, :count] / len(y), np.eye(count), atol=1e-3)
    assert_allclose(y[:, count:], -y[:, :count], atol=1e-4)


def test_filters_are_those_of_the_formula() -> None:
    x, eps = pictures(), 0.01
    net = Sequential(Conv2d(3, 24, 2))
    whiten(net, x, eps)
    rows = patches_of(x)
    covariance = np.cov(rows.T, bias=True)
    filters = net[0].weight.data[:12].reshape(12, 12).astype(np.float64)
    damped = covariance + eps * np.trace(covariance) / 12 * np.eye(12)
    assert_allclose(filters.T @ filters, np.linalg.inv(damped), rtol=1e-3, atol=1e-3)
    assert_allclose(net[0].bias.data[:12], -filters @ rows.mean(0), rtol=1e-3, atol=1e-4)


def test_whitened_layers_are_kept() -> None:
    net = build("airbench", (3, 32, 32), 10)
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), np.uint8)
    whiten(net, x)
    kept = [parameter.data.copy() for parameter in net[0].parameters()]
    moved = net[2].weight.data.copy()
    Trainer(net, optimizer=Adam(net)).fit(x, np.arange(20) % 10, batch_size=10, progress=False)
    for parameter, data in zip(net[0].parameters(), kept, strict=True):
        assert_array_equal(parameter.data, data)
    assert not np.array_equal(net[2].weight.data, moved)


def test_airbench_learns_no_scales_and_no_biases_at_the_end() -> None:
    for name, shape in (("airbench", (3, 32, 32)), ("airbench_slim", (1, 28, 28))):
        net = build(name, shape, 7)
        assert net.output_shape(shape) == (7,)
        assert net[0].weight.shape == (8 * shape[0], shape[0], 2, 2)
        norms = [layer for layer in net if isinstance(layer, cnn_ext.BatchNorm2d)]
        assert len(norms) == 6
        assert not any(norm.weight.trainable for norm in norms)
        assert all(norm.bias.trainable and norm.momentum == 0.4 for norm in norms)
        assert isinstance(net[-1], Linear) and net[-1].bias is None
        assert 0.5 < 9 * net[-1].weight.data.std() / np.sqrt(2 / net[-1].in_features) < 2


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([Conv2d(3, 23, 2)], (4, 3, 8, 8), "net: expected 24 filters"),
        ([Conv2d(3, 24, 2, bias=False)], (4, 3, 8, 8), "net: expected a convolution with biases"),
        ([Conv2d(4, 32, 2, groups=2)], (4, 4, 8, 8), "net: expected a convolution"),
        ([Flatten(), Linear(192, 3)], (4, 3, 8, 8), "net: expected a convolution"),
        ([Conv2d(3, 24, 2)], (4, 2, 8, 8), "x: expected images"),
        ([Conv2d(3, 24, 2)], (0, 3, 8, 8), "x: expected images"),
        ([Conv2d(3, 24, 2)], (4, 3, 1, 8), "x: expected images"),
        ([Conv2d(3, 24, 2)], (3, 8, 8), "x: expected images"),
    ],
)
def test_what_does_not_fit_is_named(
    layers: list[Any], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        whiten(Sequential(*layers), np.zeros(shape, np.float32))


def test_a_network_that_normalizes_first_is_refused() -> None:
    with pytest.raises(ValueError, match="beginning"):
        whiten(Sequential(Normalize(), Conv2d(3, 24, 2)), pictures())
