"""Random shapes and options: every answer is that of the naive reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import reference as ref
from calls import assert_close
from cases import normal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnn_ext import ops

RANDOM = settings(max_examples=80, deadline=None)
batches = st.integers(0, 20)
sizes = st.integers(1, 7)
pairs = st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = (
    st.integers(0, 4)
    | st.tuples(st.integers(0, 4), st.integers(0, 4))
    | st.tuples(*(st.integers(0, 4),) * 4)
    | st.sampled_from(["valid", "same", "full"])
)


@st.composite
def depthwise(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Wide images and one or two output channels a group, which go in strips of pixels."""
    groups, multiplier, W = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 30)),
    )
    padding, gaps = draw(st.tuples(*(st.integers(0, 3),) * 4)), draw(st.tuples(sizes, sizes))
    x_shape = (draw(batches), groups, draw(sizes), W)
    R = min(draw(sizes), (x_shape[2] + sum(padding[:2]) - 1) // gaps[0] + 1)
    S = min(draw(sizes), (W + sum(padding[2:]) - 1) // gaps[1] + 1)
    options = {"stride": draw(pairs), "padding": padding, "dilation": gaps, "groups": groups}
    return x_shape, (groups * multiplier, 1, R, S), options


@st.composite
def convolutions(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of input and weights, and options, that fit together."""
    groups, C, K = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 7))
    padding = draw(paddings)
    options = {
        "stride": 1 if padding == "same" else draw(pairs),
        "padding": padding,
        "dilation": draw(pairs),
        "groups": groups,
    }
    x_shape = (draw(batches), groups * C, draw(sizes), draw(sizes))
    gaps = ref.pair(options["dilation"])
    R, S = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if padding not in ("same", "full"):  # a kernel that fits
        top, bottom, left, right = ref.sides(padding, (R, S), gaps)
        R = min(R, (x_shape[2] + top + bottom - 1) // gaps[0] + 1)
        S = min(S, (x_shape[3] + left + right - 1) // gaps[1] + 1)
    return x_shape, (groups * K, C, R, S), options


@RANDOM
@given(convolutions() | depthwise())
def test_convolution(case: tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]) -> None:
    x_shape, weight_shape, options = case
    x, weight = normal("x", x_shape, np.float64), normal("w", weight_shape, np.float64)
    bias = normal("b", weight_shape[:1], np.float64)
    y = ops.conv2d(x, weight, bias, **options)
    assert_close(y, ref.conv2d(x, weight, bias, **options), 1e-13)
    dy = normal("dy", y.shape, np.float64)
    answer = ops.conv2d_backward(dy, x, weight, **options)
    for ours, theirs in zip(answer, ref.conv2d_backward(dy, x, weight, **options), strict=True):
        assert_close(ours, theirs, 1e-12)


@st.composite
def poolings(draw: Any, dilations: int = 3) -> tuple[Any, dict[str, Any]]:
    """Shape of the input, and options, that fit together."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2)))
    dilation = (draw(st.integers(1, dilations)), draw(st.integers(1, dilations)))
    stride, ceil_mode = draw(st.none() | pairs), draw(st.booleans())
    extent = []
    steps = kernel if stride is None else ref.pair(stride)
    for window, pad, gap, step in zip(kernel, padding, dilation, steps, strict=True):
        # the window fits or hangs over, and holds a pixel wherever it stands
        spare = step - 1 if ceil_mode else 0
        least = max(gap * (window - 1) + 1 - 2 * pad - spare, gap if pad else 1)
        extent.append(draw(st.integers(least, least + 6)))
    x_shape = (draw(batches), draw(st.integers(1, 3)), *extent)
    options = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    return x_shape, options


@RANDOM
@given(poolings(), st.booleans())
def test_max_pooling(case: tuple[Any, dict[str, Any]], ties: bool) -> None:
    x_shape, options = case
    x = normal("x", x_shape, np.float32)
    x = x.round() if ties else x
    y, indices = ops.max_pool2d(x, **options, return_indices=True)
    expected, places = ref.max_pool2d_with_indices(x, **options)
    assert_array_equal(y, expected)
    assert_array_equal(indices, places)
    dy = normal("dy", y.shape, np.float64)
    dx = ops.max_pool2d_backward(dy, indices, x_shape)
    assert_close(dx, ref.max_pool2d_backward(dy, places, x_shape), 1e-14)


@RANDOM
@given(poolings(dilations=1), st.booleans())
def test_average_pooling(case: tuple[Any, dict[str, Any]], count: bool) -> None:
    x_shape, options = case
    del options["dilation"]
    options["count_include_pad"] = count
    x = normal("x", x_shape, np.float64)
    y = ops.avg_pool2d(x, **options)
    assert_close(y, ref.avg_pool2d(x, **options), 1e-14)
    dy = normal("dy", y.shape, np.float64)
    dx = ops.avg_pool2d_backward(dy, x_shape, **options)
    assert_close(dx, ref.avg_pool2d_backward(dy, x_shape, **options), 1e-14)


@RANDOM
@given(batches, st.integers(1, 40), st.integers(1, 40))
def test_full_connection(N: int, C: int, K: int) -> None:
    x, weight, bias, dy = (
        normal(name, shape, np.float64)
        for name, shape in {"x": (N, C), "w": (K, C), "b": (K,), "dy": (N, K)}.items()
    )
    assert_close(ops.linear(x, weight, bias), x @ weight.T + bias, 1e-13)
    dx, dweight, dbias = ops.linear_backward(dy, x, weight)
    assert_close(dx, dy @ weight, 1e-13)
    assert_close(dweight, dy.T @ x, 1e-13)
    assert_close(dbias, dy.sum(axis=0), 1e-13)


@RANDOM
@given(sizes, sizes, st.integers(1, 5), st.integers(1, 5), st.sampled_from(["full", "same"]))
def test_convolution_of_pictures_commutes_with_rotation(
    H: int, W: int, R: int, S: int, mode: str
) -> None:
    image, kernel = normal("image", (H, W), np.float64), normal("kernel", (R, S), np.float64)
    y = ops.convolve2d(image, kernel, mode)
    assert_close(y, ref.convolve2d(image, kernel, mode), 1e-13)
    turned = ops.correlate2d(image[::-1, ::-1], kernel, mode)[::-1, ::-1]
    assert_close(turned, y, 1e-13)
