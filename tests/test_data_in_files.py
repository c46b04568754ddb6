"""Sets whose images stay in their files: the same images, read when they are used."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cnn_ext.data import ImageFolder, datasets, gather, load_npz, write_idx
from cnn_ext.data.dataset import Selection, some_of

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (40, 8, 6), np.uint8), np.arange(40) % 4


def idx(folder: Path) -> dict[str, Any]:
    for name, part in (("train", slice(30)), ("t10k", slice(30, None))):
        write_idx(folder / f"{name}-images-idx3-ubyte", X[part])
        write_idx(folder / f"{name}-labels-idx1-ubyte", Y[part].astype(np.uint8))
    return {}


def emnist(folder: Path) -> dict[str, Any]:
    for name, part in (("train", slice(30)), ("test", slice(30, None))):
        write_idx(folder / f"emnist-mnist-{name}-images-idx3-ubyte", X[part])
        write_idx(folder / f"emnist-mnist-{name}-labels-idx1-ubyte", Y[part].astype(np.uint8))
    return {}


def npz(folder: Path) -> dict[str, Any]:
    np.savez(folder / "a.npz", x=X.astype(np.float32), y=Y)
    return {}


def channels_last(folder: Path) -> dict[str, Any]:
    colours = np.stack([X, X // 2, 255 - X], 3)
    np.savez(folder / "a.npz", x_train=colours[:30], y_train=Y[:30], x_test=colours[30:],
             y_test=Y[30:])  # fmt: skip
    return {"layout": "channels_last"}


def pictures(folder: Path, home: Callable[[int], str] = lambda number: "") -> dict[str, Any]:
    for number, (image, label) in enumerate(zip(X, Y, strict=True)):
        place = folder / home(number) / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02d}.png")
    return {}


def mixed_depths(folder: Path) -> dict[str, Any]:
    pictures(folder, lambda number: "test" if number > 30 else "train")
    Image.fromarray(X[0].astype(np.uint16) * 200).save(folder / "test" / "class3" / "40.png")
    return {}


@pytest.mark.parametrize("kind", [idx, emnist, npz, channels_last, pictures, mixed_depths])
def test_images_are_those_in_memory(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    options = kind(tmp_path)
    expected = datasets.load(tmp_path, **options)
    found = datasets.load(tmp_path, in_memory=False, **options)
    assert found.classes == expected.classes
    assert repr(found) == repr(expected)
    for name in ("train", "test"):
        there, here = (getattr(each, f"x_{name}") for each in (found, expected))
        assert type(there) in (np.memmap, Selection, ImageFolder)
        assert (there.shape, there.dtype, len(there)) == (here.shape, here.dtype, len(here))
        assert_array_equal(getattr(found, f"y_{name}"), getattr(expected, f"y_{name}"))
        for chosen in ([5, 0, 5], [], slice(None, None, 3), 2):
            assert_array_equal(there[chosen], here[chosen])
        batch = gather(there, [7, 1])
        assert type(batch) is np.ndarray
        assert_array_equal(batch, here[[7, 1]])


def test_what_cannot_stay_in_files_is_read(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures")
    with_skipped = datasets.load(tmp_path / "pictures", on_error="skip", in_memory=False)
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    compressed = datasets.load(tmp_path / "a.npz", in_memory=False)
    idx(tmp_path)
    for file in tmp_path.glob("*images*"):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    for found in (with_skipped, compressed, datasets.load(tmp_path, in_memory=False)):
        assert type(found.x_train) is np.ndarray


def test_arrays_of_an_npz_file_may_stay_there(tmp_path: Path) -> None:
    arrays = {
        "bytes": X, "numbers": X.astype(float), "texts": np.array(["a", "bc"]), "none": X[:0],
        "fortran": np.asfortranarray(X), "other": X.astype(">i4" if np.little_endian else "<i4"),
        "single": np.float32(3),
    }  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    found = load_npz(tmp_path / "a.npz", in_memory=False)
    for name, array in arrays.items():
        assert_array_equal(found[name], array)
        assert found[name].dtype.isnative
    there = {name for name, array in found.items() if isinstance(array, np.memmap)}
    assert there == {"bytes", "numbers", "texts", "single"}


def test_a_part_of_a_part(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    part = some_of(some_of(there, np.array([9, 3, 5, 1])), np.array([2, 0]))
    assert_array_equal(part[:], X[[5, 9]])
    assert_array_equal(part[-1], X[9])
    with pytest.raises(IndexError, match="expected numbers below 2, got 2"):
        part[2]
    assert type(some_of(X, np.array([1]))) is np.ndarray
