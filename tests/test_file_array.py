"""HDF5 data sets, Zarr arrays and memmaps, given to training as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import small
from numpy.testing import assert_array_equal
from stored import IMAGES, InMemory, assert_same_training, pictures, readers, trained

from cnn_ext import Trainer
from cnn_ext.data import FileArray, gather, write_shards

X, Y = pictures()


def hdf5(folder: Path, x: np.ndarray, chunk: int | None = 16, **options: Any) -> Any:
    h5py = pytest.importorskip("h5py")
    chunks = None if chunk is None else (chunk, *x.shape[1:])
    return h5py.File(folder / "a.h5", "w").create_dataset("x", data=x, chunks=chunks, **options)


def packed(folder: Path, x: np.ndarray, chunk: int | None = 16) -> Any:
    return hdf5(folder, x, chunk, compression="gzip")


def whole(folder: Path, x: np.ndarray, chunk: int | None = None) -> Any:
    return hdf5(folder, x, None)


def zarr(folder: Path, x: np.ndarray, chunk: int = 16) -> Any:
    package = pytest.importorskip("zarr")
    chunks = (chunk, *x.shape[1:])
    array = package.open_array(
        store=str(folder / "a.zarr"), mode="w", shape=x.shape, chunks=chunks, dtype=x.dtype
    )
    array[:] = x
    return array


def memmap(folder: Path, x: np.ndarray, chunk: int = 16) -> Any:
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


FORMATS = [hdf5, packed, whole, zarr, memmap]
each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)


@each_format
def test_images_are_those_of_the_file(form: Callable[..., Any], tmp_path: Path) -> None:
    array = form(tmp_path, X)
    for found in (array, FileArray(array, window=40)):
        for rows in ([5, 3, 3, 199, 0], [7], [], np.arange(9, 30)):
            batch = gather(found, rows)
            assert type(batch) is np.ndarray and batch.dtype == X.dtype
            assert_array_equal(batch, X[rows])
    found = FileArray(array)
    assert (found.shape, found.dtype, len(found)) == (X.shape, X.dtype, IMAGES)
    assert_array_equal(found[:], X)
    assert_array_equal(found[-1], X[-1])
    assert repr(found) == "FileArray((200, 1, 6, 6) of uint8, 1 blocks)"


@each_format
@pytest.mark.parametrize("options", [{}, {"validation_split": 0.3}], ids=["plain", "split"])
def test_training_takes_it_as_it_is(form: Callable[..., Any], options: Any, tmp_path: Path) -> None:
    array = form(tmp_path, X)
    expected = trained(X, Y, **options)
    assert_same_training(trained(array, Y, **options), expected)
    trainer = Trainer(small())
    assert_array_equal(trainer.predict_proba(array), trainer.predict_proba(X))
    assert not readers()


@each_format
def test_blocks_of_chunks_are_shuffled_in_windows(
    form: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_ext.data.file_array.BLOCK", 40 * 36)  # two chunks
    found = FileArray(form(tmp_path, X), window=70, readers=3)
    blocks = 5 if form in (whole, memmap) else 7
    assert repr(found) == f"FileArray((200, 1, 6, 6) of uint8, {blocks} blocks)"
    expected = trained(InMemory(X, found), Y)
    assert_same_training(trained(found, Y), expected)
    assert expected[1] != trained(X, Y)[1]


def test_targets_are_taken_from_it(tmp_path: Path) -> None:
    array = hdf5(tmp_path, X)
    targets = array.file.create_dataset("y", data=Y)
    assert_same_training(trained(array, targets), trained(X, Y))
    write_shards(tmp_path / "shards", array, targets)


def test_a_sharded_zarr_is_read_by_its_shards(tmp_path: Path) -> None:
    package = pytest.importorskip("zarr", minversion="3")
    array = package.create_array(
        str(tmp_path / "a.zarr"), shape=X.shape, chunks=(5, 1, 6, 6), shards=(50, 1, 6, 6),
        dtype=X.dtype,
    )  # fmt: skip
    array[:] = X
    found = FileArray(array)
    assert found._rows % 50 == 0
    assert_array_equal(found[[190, 3]], X[[190, 3]])


def test_what_is_refused(tmp_path: Path) -> None:
    for wrong in (3, list(X)):
        with pytest.raises(TypeError, match=r"array: expected an h5py\.Dataset, a zarr\.Array or"):
            FileArray(wrong)
    with pytest.raises(TypeError, match=r"x\.npy: expected real numbers, got dtype complex128"):
        FileArray(memmap(tmp_path, X.astype(complex)))
    with pytest.raises(ValueError, match="ndarray: expected at least one image, got shape"):
        FileArray(X[:0])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    array = packed(tmp_path, X, 180)
    start = array.id.get_chunk_info(0).byte_offset
    array.file.close()
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[start + 20 : start + 60] = bytes(40)
    (tmp_path / "a.h5").write_bytes(data)
    with h5py.File(tmp_path / "a.h5") as file:
        with pytest.raises(ValueError, match=r"a\.h5: /x: .*read"):
            trained(file["x"], Y)
        assert not readers()
        found = FileArray(file["x"])
    with pytest.raises(ValueError, match=r"a\.h5: /x: "):  # it is closed
        trained(found, Y)


def test_a_data_set_of_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a\.h5: /x: expected real numbers, got dtype object"):
        trained(hdf5(tmp_path, np.array(["a", "b"], object), None), Y[:2])
