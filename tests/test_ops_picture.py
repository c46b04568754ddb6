"""Pictures: worked numbers, SciPy's answers, colour, and a convolution as the matrix that it is."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from calls import assert_close
from cases import CONV_CASES, ConvCase, normal
from numpy.testing import assert_array_equal

from cnn_ext import filters, ops

NINE = np.arange(1.0, 10.0).reshape(3, 3)
TWO_BY_TWO = np.array([[1.0, 2.0], [3.0, 4.0]])
MODES = ["full", "valid", "same"]
FUNCTIONS = ["convolve2d", "correlate2d"]
SHAPES = [
    ((7, 6), (3, 3)),
    ((7, 6), (2, 2)),
    ((6, 7), (4, 3)),
    ((6, 7), (1, 4)),
    ((5, 5), (5, 5)),
    ((5, 4), (1, 1)),
    ((9, 8), (6, 2)),
]

# ------------------------------------------------------------------------- worked numbers


def test_convolution_proper_of_the_nine_numbers() -> None:
    assert_array_equal(ops.convolve2d(NINE, TWO_BY_TWO, "valid"), [[23, 33], [53, 63]])


def test_correlation_of_the_nine_numbers() -> None:
    assert_array_equal(ops.correlate2d(NINE, TWO_BY_TWO, "valid"), [[37, 47], [67, 77]])
    same = ops.correlate2d(NINE, TWO_BY_TWO, "same")
    assert_array_equal(same, [[37, 47, 21], [67, 77, 33], [23, 26, 9]])


def test_extents_of_convolution_proper() -> None:
    full = [[1, 4, 7, 6], [7, 23, 33, 24], [19, 53, 63, 42], [21, 52, 59, 36]]
    assert_array_equal(ops.convolve2d(NINE, TWO_BY_TWO, "full"), full)
    assert_array_equal(ops.convolve2d(NINE, TWO_BY_TWO), full)
    assert_array_equal(ops.convolve2d(NINE, TWO_BY_TWO, "same"), np.array(full)[:3, :3])


def test_feature_map_of_the_binary_image() -> None:
    image = np.zeros((7, 7), np.uint8)
    image[[1, 1, 3, 4, 4, 5, 5, 5], [1, 5, 3, 1, 5, 2, 3, 4]] = 1
    y = ops.correlate2d(image, [[0, 0, 1], [1, 0, 0], [0, 1, 1]], "valid")
    expected = [[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 0, 0, 2, 1], [1, 4, 2, 1, 0], [0, 0, 1, 2, 1]]
    assert_array_equal(y, expected)
    assert y.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        ("blur", np.ones((3, 3)) / 9),
        ("edge-enhance", [[0, 0, 0], [-1, 1, 0], [0, 0, 0]]),
        ("edge-detect", [[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
        ("emboss", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
        ("sobel-x", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
    ],
)
def test_filters(name: str, kernel: Any) -> None:
    assert_array_equal(filters.FILTERS[name], kernel)
    point = np.zeros((5, 5))
    point[2, 2] = 1
    # the picture of a point is the kernel itself, or its rotation
    assert_array_equal(ops.convolve2d(point, filters.FILTERS[name], "same")[1:4, 1:4], kernel)
    rotated = ops.correlate2d(point, filters.FILTERS[name], "same")[1:4, 1:4]
    assert_array_equal(rotated, np.asarray(kernel)[::-1, ::-1])


# ----------------------------------------------------------------------------------- SciPy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_agrees_with_scipy(function: str, mode: str, shapes: Any, dtype: str) -> None:
    signal = pytest.importorskip("scipy.signal")
    image, kernel = normal("image", shapes[0], dtype), normal("kernel", shapes[1], dtype)
    y = getattr(ops, function)(image, kernel, mode)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    tolerance = 1e-5 if dtype == "float32" else 1e-14
    assert_close(y, getattr(signal, function)(image, kernel, mode), tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_colour_is_filtered_channel_by_channel(function: str, mode: str) -> None:
    image, kernel = normal("image", (6, 7, 3), np.float64), normal("kernel", (3, 2), np.float64)
    y = getattr(ops, function)(image, kernel, mode)
    for channel in range(3):
        plane = getattr(ops, function)(image[..., channel], kernel, mode)
        assert_array_equal(y[..., channel], plane)
    assert y.flags.c_contiguous


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_kernel_larger_than_the_picture(function: str) -> None:
    signal = pytest.importorskip("scipy.signal")
    image, kernel = normal("image", (3, 2), np.float64), normal("kernel", (4, 5), np.float64)
    for mode in ("full", "same"):
        expected = getattr(signal, function)(image, kernel, mode)
        assert_close(getattr(ops, function)(image, kernel, mode), expected, 1e-14)
    with pytest.raises(ValueError, match=r"kernel: expected at most the picture's \(3, 2\)"):
        getattr(ops, function)(image, kernel, "valid")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_errors_name_the_argument(function: str) -> None:
    f = getattr(ops, function)
    with pytest.raises(ValueError, match=r"image: expected shape \(H, W\) or \(H, W, channels\)"):
        f(np.zeros(3), TWO_BY_TWO)
    with pytest.raises(ValueError, match="image: expected shape"):
        f(np.zeros((0, 3)), TWO_BY_TWO)
    for mode in MODES:
        with pytest.raises(ValueError, match=r"kernel: expected shape \(R, S\), got \(3,\)"):
            f(NINE, np.zeros(3), mode)
        with pytest.raises(ValueError, match=r"kernel: expected shape \(R, S\), got \(0, 2\)"):
            f(NINE, np.zeros((0, 2)), mode)
    with pytest.raises(ValueError, match="mode: expected 'full', 'valid' or 'same', got 'all'"):
        f(NINE, TWO_BY_TWO, "all")
    with pytest.raises(TypeError, match="image: expected real numbers, got an array of complex128"):
        f(NINE + 1j, TWO_BY_TWO)


# ------------------------------------------------------------------------------ as a matrix


def test_shared_weights() -> None:
    matrix = ops.conv2d_matrix(TWO_BY_TWO[None, None, ::-1, ::-1], (1, 3, 3))
    expected = [
        [4, 3, 0, 2, 1, 0, 0, 0, 0],
        [0, 4, 3, 0, 2, 1, 0, 0, 0],
        [0, 0, 0, 4, 3, 0, 2, 1, 0],
        [0, 0, 0, 0, 4, 3, 0, 2, 1],
    ]
    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    assert_array_equal(dense, expected)
    assert_array_equal(matrix @ NINE.ravel(), [23, 33, 53, 63])


def check_matrix(case: ConvCase, matrix: Any) -> None:
    x, weight, _ = case.arrays()
    y = ops.conv2d(x, weight, **case.options)
    assert matrix.shape == (np.prod(y.shape[1:]), np.prod(case.x_shape[1:]))
    for n in range(len(x)):
        assert_close(matrix @ x[n].ravel(), y[n].ravel(), 1e-13)


@pytest.mark.parametrize("case", CONV_CASES, ids=lambda case: case.id)
def test_matrix_with_scipy(case: ConvCase) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = ops.conv2d_matrix(case.arrays()[1], case.x_shape[1:], **case.options)
    assert sparse.issparse(matrix) and matrix.format == "csr"
    check_matrix(case, matrix)


@pytest.mark.parametrize("case", CONV_CASES, ids=lambda case: case.id)
def test_matrix_without_scipy(case: ConvCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)  # an import of it fails
    matrix = ops.conv2d_matrix(case.arrays()[1], case.x_shape[1:], **case.options)
    assert type(matrix) is np.ndarray
    check_matrix(case, matrix)


def test_dtype_of_the_matrix() -> None:
    assert ops.conv2d_matrix(np.ones((1, 1, 2, 2), np.float32), (1, 3, 3)).dtype == np.float32
    assert ops.conv2d_matrix(np.ones((1, 1, 2, 2), np.int8), (1, 3, 3)).dtype == np.float32
    assert ops.conv2d_matrix(np.ones((1, 1, 2, 2)), (1, 3, 3)).dtype == np.float64


def test_errors_of_the_matrix() -> None:
    for wrong in ((3, 3), 5, "CHW "):
        with pytest.raises(ValueError, match=r"input_shape: expected \(C, H, W\)"):
            ops.conv2d_matrix(TWO_BY_TWO[None, None], wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="input_shape: expected a whole number, got 1.5"):
        ops.conv2d_matrix(TWO_BY_TWO[None, None], (1, 3, 1.5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight: .* does not fit"):
        ops.conv2d_matrix(TWO_BY_TWO[None, None], (1, 3, 1))
