"""Mini-batches: every image once, in order or shuffled, and the values of one batch."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_ext.data import batches, gather

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 2, 3, 4)).astype(np.uint8)


@given(n=st.integers(0, 60), size=st.integers(1, 70), shuffled=st.booleans(), drop=st.booleans())
def test_every_index_once(n, size, shuffled, drop):
    rng = np.random.default_rng(1) if shuffled else None
    parts = list(batches(n, size, rng, drop))
    lengths = [size] * (n // size) + ([n % size] if n % size and not drop else [])
    assert [len(part) for part in parts] == lengths
    seen = np.concatenate([*parts, np.empty(0, int)]).tolist()
    if shuffled:
        assert len(set(seen)) == len(seen) and set(seen) <= set(range(n))
    else:
        assert seen == list(range(sum(lengths)))


def test_the_generator_decides_the_order():
    def order(seed):
        return np.concatenate(list(batches(100, 8, np.random.default_rng(seed)))).tolist()

    assert order(3) == order(3) != order(4)
    rng = np.random.default_rng(3)
    first, second = (np.concatenate(list(batches(100, 8, rng))) for _ in range(2))
    assert first.tolist() == order(3) != second.tolist()


@pytest.mark.parametrize(
    ("n", "size", "error", "message"),
    [
        (-1, 2, ValueError, r"n: expected 0 to 2\*\*31 - 1, got -1"),
        (5, 0, ValueError, r"batch_size: expected 1 to 2\*\*31 - 1, got 0"),
        (5, 2.0, TypeError, r"batch_size: expected a whole number, got 2\.0"),
        (None, 2, TypeError, "n: expected a whole number, got None"),
    ],
)
def test_arguments_of_batches_are_checked_at_once(n, size, error, message):
    with pytest.raises(error, match=message):
        batches(n, size)


class OneByOne:
    """A set that knows single indices only, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        if not isinstance(index, int):
            raise TypeError("one index at a time")
        self.asked.append(index)
        return IMAGES[index]


@pytest.fixture(params=["array", "memmap", "list", "one by one", "fortran"])
def images(request, tmp_path):
    match request.param:
        case "array":
            return IMAGES
        case "memmap":
            IMAGES.tofile(tmp_path / "images")
            return np.memmap(tmp_path / "images", np.uint8, "r", shape=IMAGES.shape)
        case "list":
            return list(IMAGES)
        case "one by one":
            return OneByOne()
        case "fortran":
            return np.asfortranarray(IMAGES)


@pytest.mark.parametrize("indices", [[7], [10, 0, 3, 3, -1], range(11)])
def test_gather(images, indices):
    batch = gather(images, indices)
    assert type(batch) is np.ndarray and batch.dtype == np.uint8
    np.testing.assert_array_equal(batch, IMAGES[list(indices)])


def test_gather_asks_for_the_batch_only():
    images = OneByOne()
    gather(images, [4, 2])
    assert images.asked == [4, 2]


def test_gather_index_out_of_range(images):
    with pytest.raises(IndexError):
        gather(images, [0, 11])


@pytest.mark.parametrize("dtype", ["?", "i1", "i8", "u2", "f2", "f4", "f8"])
def test_gather_keeps_the_number_type(dtype):
    values = np.array([[0], [1], [100]]).astype(dtype)
    batch = gather(values, np.array([2, 0, 1]))
    assert batch.dtype == values.dtype
    np.testing.assert_array_equal(batch, values[[2, 0, 1]])


def test_gather_returns_a_copy():
    values = np.zeros((3, 2), np.float32)
    gather(values, [0, 1, 2])[:] = 1
    assert not values.any()


def test_gather_of_no_image():
    assert gather(IMAGES, []).shape == (0, 2, 3, 4)


@pytest.mark.parametrize(
    ("x", "indices", "error", "message"),
    [
        (IMAGES, 3, ValueError, r"indices: expected one dimension, got shape \(\)"),
        (IMAGES, [[1]], ValueError, "indices: expected one dimension"),
        (IMAGES, [1.0], TypeError, "indices: expected integers, got dtype float64"),
        (IMAGES, [True], TypeError, "indices: expected integers, got dtype bool"),
        (IMAGES + 1j, [1], TypeError, "x: expected real numbers, got dtype complex"),
        (np.array(["a"]), [0], TypeError, "x: expected real numbers, got dtype <U1"),
        ([np.zeros(2), np.zeros(3)], [0, 1], ValueError, "same shape"),
    ],
)
def test_gather_checks(x, indices, error, message):
    with pytest.raises(error, match=message):
        gather(x, indices)


def test_an_epoch_does_not_copy_the_set():
    images = np.zeros((4000, 1, 50, 50), np.uint8)  # 10 MB
    tracemalloc.start()
    try:
        for part in batches(len(images), 10, np.random.default_rng(0)):
            gather(images, part)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000, f"{peak} bytes"
