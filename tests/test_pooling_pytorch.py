"""Pooling against PyTorch: all small sizes, windows, strides, paddings and dilations."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from cases import normal

from cnn_ext import AvgPool2d, MaxPool2d, Sequential, ops

torch = pytest.importorskip("torch")
GRID = [
    (size, kernel, stride, padding, ceil)
    for size, kernel, stride, ceil in product(range(1, 7), range(1, 6), (1, 2, 4), (False, True))
    for padding in range(kernel // 2 + 1)
]
INPUTS = {size: normal(f"x{size}", (2, 3, 2, size), np.float32) for size in range(1, 7)}


def theirs(name: str, x: np.ndarray, options: dict[str, Any]) -> np.ndarray | None:
    """What PyTorch computes; None if it refuses, or if a window of its holds no pixel."""
    try:
        y = getattr(torch.nn.functional, name)(torch.from_numpy(x), **options).numpy()
    except RuntimeError:
        return None
    return y if np.isfinite(y).all() else None


def check(name: str, size: int, options: dict[str, Any]) -> None:
    x = INPUTS[size]
    expected = theirs(name, x, options)
    layer = {"max_pool2d": MaxPool2d, "avg_pool2d": AvgPool2d}[name](**options)
    net = Sequential(layer).eval()
    if expected is None:
        for function in (
            lambda: getattr(ops, name)(x, **options),
            lambda: net.compile(x.shape[1:]),
        ):
            with pytest.raises(ValueError, match="kernel_size: a window of"):
                function()
        return
    for y in (getattr(ops, name)(x, **options), net(x), net.compile(x.shape[1:])(x)):
        assert y.shape == expected.shape, options
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6, err_msg=str(options))


@pytest.mark.parametrize("dilation", [1, 2, 3, 7])
def test_maxima(dilation: int) -> None:
    for size, kernel, stride, padding, ceil in GRID:
        check("max_pool2d", size, {
            "kernel_size": (2, kernel), "stride": (1, stride), "padding": (1, padding),
            "dilation": (1, dilation), "ceil_mode": ceil,
        })  # fmt: skip


@pytest.mark.parametrize("count_include_pad", [False, True])
def test_means(count_include_pad: bool) -> None:
    for size, kernel, stride, padding, ceil in GRID:
        check("avg_pool2d", size, {
            "kernel_size": (3, kernel), "stride": (2, stride), "padding": (1, padding),
            "ceil_mode": ceil, "count_include_pad": count_include_pad,
        })  # fmt: skip
