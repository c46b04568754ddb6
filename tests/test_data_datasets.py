"""Data sets by name and by folder: what is recognised, in which shape it comes, what is refused."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data_readers import cifar_records, make_classes, tar_gz

from cnn_ext.data import Dataset, datasets, load_npz, stratified_split, write_idx

RNG = np.random.default_rng(0)
STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture
def idx_arrays():
    def images(n):
        return RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)

    return images(20), np.arange(20, dtype=np.uint8) % 10, images(5), np.arange(5, dtype=np.uint8)


def write_set(folder, arrays, spell=lambda stem: stem):
    for stem, array in zip(STEMS, arrays, strict=True):
        write_idx(folder / spell(stem), array)


def check_idx(dataset, arrays):
    x_train, y_train, x_test, y_test = arrays
    assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int64
    np.testing.assert_array_equal(dataset.x_train, x_train[:, None])
    np.testing.assert_array_equal(dataset.x_test, x_test[:, None])
    np.testing.assert_array_equal(dataset.y_train, y_train)
    np.testing.assert_array_equal(dataset.y_test, y_test)


# The bundled digits


def test_the_bundled_digits_are_whole():
    """The hash was taken from scikit-learn's arrays."""
    bundled = load_npz(Path(datasets.__file__).with_name("digits.npz"))
    assert bundled["x"].shape == (1797, 8, 8) and bundled["x"].dtype == np.uint8
    found = hashlib.sha256(bundled["x"].tobytes() + bundled["y"].tobytes()).hexdigest()
    assert found == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_digits():
    digits = datasets.digits()
    assert digits.x_train.shape == (1438, 1, 8, 8) and digits.x_test.shape == (359, 1, 8, 8)
    assert digits.x_train.dtype == np.float32 and digits.y_train.dtype == np.int64
    assert digits.classes == tuple("0123456789")
    x = np.concatenate([digits.x_train, digits.x_test])
    assert x.min() == 0 and x.max() == 1 and x.sum() * 16 == 561718
    counts = np.bincount(np.concatenate([digits.y_train, digits.y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.y_test).tolist() == [round(0.2 * count) for count in counts]


def test_the_division_of_the_digits_never_changes():
    digits = datasets.digits()
    pixels = np.ascontiguousarray(digits.x_test * 16).astype(np.uint8).tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "c8e1e8f27e28845d"
    assert digits.y_test[:12].tolist() == [0, 6, 3, 8, 1, 8, 4, 1, 5, 8, 9, 7]
    assert datasets.digits(0).x_test.shape == (0, 1, 8, 8)
    assert datasets.digits(0.5).x_test.shape[0] in range(890, 910)


# Splitting, and the parts of a Dataset


def test_stratified_split():
    labels = np.array([0] * 10 + [1] * 5 + [2])
    train, test = stratified_split(labels)
    assert sorted([*train, *test]) == list(range(16))
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 1, 0]
    assert stratified_split(list("aaaaabbbbb"), 0.4)[1].size == 4
    assert [part.size for part in stratified_split([])] == [0, 0]


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_split_refuses_fractions(fraction):
    with pytest.raises(ValueError, match="test_fraction: expected 0 <= test_fraction < 1"):
        stratified_split([0, 1], fraction)


def test_split_refuses_tables():
    with pytest.raises(ValueError, match=r"labels: .* \(N, 1\), got \(2, 2\)"):
        stratified_split(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((4, 8, 8))}, "x_train: expected images"),
        ({"x_test": np.zeros((2, 1, 8, 8), complex)}, "x_test: expected images"),
        ({"y_train": np.zeros(3, int)}, "y_train: expected 4 integer labels"),
        ({"y_test": np.zeros(2)}, "y_test: expected 2 integer labels"),
        ({"y_test": np.array([0, 2])}, "y_test: expected labels 0 to 1, got 0 to 2"),
        ({"y_train": np.array([0, -1, 0, 0])}, "y_train: expected labels 0 to 1, got -1 to 0"),
        ({"x_test": np.zeros((2, 3, 8, 8))}, "x_test: expected images of shape"),
    ],
)
def test_dataset_parts_must_fit(change, message):
    images = np.zeros((6, 1, 8, 8))
    dataset = Dataset(images[:4], np.zeros(4, int), images[4:], np.zeros(2, int), ("a", "b"))
    assert repr(dataset) == "Dataset(4 + 2 images of shape (1, 8, 8), float64, 2 classes)"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(dataset, **change)


# MNIST and its relatives


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_names_of_files(tmp_path, idx_arrays, dotted, packed):
    write_set(tmp_path, idx_arrays, lambda s: s.replace("-idx", ".idx") if dotted else s)
    if packed:
        for path in list(tmp_path.iterdir()):
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    check_idx(datasets.mnist(tmp_path), idx_arrays)
    assert datasets.mnist(tmp_path).classes == tuple("0123456789")
    fashion = datasets.fashion_mnist(tmp_path)
    check_idx(fashion, idx_arrays)
    assert fashion.classes[9] == "Ankle boot" and len(fashion.classes) == 10
    check_idx(datasets.load(tmp_path), idx_arrays)
    assert datasets.load(tmp_path).classes == tuple("0123456789")


def test_mnist_missing_file(tmp_path, idx_arrays):
    write_set(tmp_path, idx_arrays)
    (tmp_path / STEMS[2]).unlink()
    with pytest.raises(FileNotFoundError, match="holds no t10k-images-idx3-ubyte"):
        datasets.mnist(tmp_path)


def test_mnist_files_that_do_not_fit(tmp_path, idx_arrays):
    write_set(tmp_path, idx_arrays)
    write_idx(tmp_path / STEMS[1], idx_arrays[1][:-1])
    with pytest.raises(ValueError, match="y_train: expected 20 integer labels"):
        datasets.mnist(tmp_path)
    write_idx(tmp_path / STEMS[1], np.full(20, 10, np.uint8))
    with pytest.raises(ValueError, match="y_train: expected labels 0 to 9"):
        datasets.mnist(tmp_path)
    assert datasets.load(tmp_path).classes[-1] == "10"
    for wrong in (idx_arrays[0][0], idx_arrays[0].astype(np.int16)):
        write_idx(tmp_path / STEMS[0], wrong)
        with pytest.raises(ValueError, match="idx3-ubyte: expected unsigned bytes in 3"):
            datasets.mnist(tmp_path)


MNIST = os.environ.get("CNN_EXT_MNIST")


@pytest.mark.skipif(not MNIST, reason="CNN_EXT_MNIST names no folder with the MNIST files")
def test_the_real_mnist():
    mnist = datasets.mnist(MNIST)
    assert mnist.x_train.shape == (60_000, 1, 28, 28) and mnist.x_test.shape == (10_000, 1, 28, 28)
    assert mnist.y_train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert np.bincount(mnist.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert round(mnist.x_train.mean() / 255, 4) == 0.1307
    assert round(mnist.x_train.std() / 255, 4) == 0.3081
    header = b"\0\0\x08\3" + np.array((60_000, 28, 28), ">u4").tobytes()
    unpacked = hashlib.md5(header + mnist.x_train.tobytes(), usedforsecurity=False)
    assert unpacked.hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


# CIFAR


def cifar_files(kind):
    if kind == 10:
        files = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    else:
        files = ["train.bin", "test.bin"]
    return {name: cifar_records(kind, 3, seed) for seed, name in enumerate(files)}


@pytest.mark.parametrize("form", ["files", "folder", "archive"])
@pytest.mark.parametrize("kind", [10, 100])
def test_cifar(tmp_path, kind, form):
    files = cifar_files(kind)
    inner = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[kind]
    if form == "archive":
        data = tar_gz({f"{inner}/{name}": parts[2] for name, parts in files.items()})
        (tmp_path / f"cifar-{kind}-binary.tar.gz").write_bytes(data)
    else:
        folder = tmp_path / (inner if form == "folder" else "")
        folder.mkdir(exist_ok=True)
        for name, parts in files.items():
            (folder / name).write_bytes(parts[2])
    before = sorted(tmp_path.rglob("*"))
    *train, test = files.values()
    read = datasets.cifar10 if kind == 10 else datasets.cifar100
    for dataset in (read(tmp_path), datasets.load(tmp_path)):
        assert len(dataset.classes) == len(set(dataset.classes)) == kind
        assert dataset.x_train.dtype == np.uint8 and dataset.y_train.dtype == np.int64
        np.testing.assert_array_equal(dataset.x_train, np.concatenate([p[0] for p in train]))
        np.testing.assert_array_equal(dataset.x_test, test[0])
        labels = np.concatenate([p[1] for p in train])
        np.testing.assert_array_equal(dataset.y_train, labels if kind == 10 else labels[:, 1])
        np.testing.assert_array_equal(dataset.y_test, test[1] if kind == 10 else test[1][:, 1])
    if kind == 100:
        coarse = datasets.cifar100(tmp_path, labels="coarse")
        np.testing.assert_array_equal(coarse.y_test, test[1][:, 0])
        assert len(coarse.classes) == len(set(coarse.classes)) == 20
    assert sorted(tmp_path.rglob("*")) == before


def test_cifar_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither data_batch_1\.bin .*nor cifar-10-bin"):
        datasets.cifar10(tmp_path)
    with pytest.raises(ValueError, match="labels: expected 'fine' or 'coarse', got 'both'"):
        datasets.cifar100(tmp_path, labels="both")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(tar_gz({"test_batch.bin": bytes(3073)}))
    with pytest.raises(ValueError, match=r"holds no data_batch_1\.bin, data_batch_2\.bin"):
        datasets.cifar10(tmp_path)


def test_cifar_archive_cannot_reach_outside(tmp_path):
    """Members are read by name, never written: where they say they belong does not matter."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, (_, _, data) in cifar_files(100).items():
            info = tarfile.TarInfo(f"../../outside/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("train.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "cifar-100-binary.tar.gz").write_bytes(out.getvalue())
    assert len(datasets.cifar100(folder).x_train) == 3
    assert not (tmp_path / "outside").exists()


# Whatever a folder holds


def test_load_npz_with_a_test_set(tmp_path):
    x, y = RNG.random((6, 3, 4, 6)), np.array([0, 1, 0, 1, 1, 0], np.uint8)
    names = np.array(["cat", "dog"])
    path = tmp_path / "data.npz"
    np.savez(path, x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:], classes=names)
    dataset = datasets.load(tmp_path)
    np.testing.assert_array_equal(dataset.x_train, x[:4])
    np.testing.assert_array_equal(dataset.y_test, [1, 0])
    assert dataset.classes == ("cat", "dog") and dataset.y_test.dtype == np.int64


def test_load_npz_without_a_test_set(tmp_path):
    x = np.arange(20, dtype=np.uint8).repeat(9).reshape(20, 3, 3)
    np.savez_compressed(tmp_path / "data.npz", x=x, y=np.arange(20) % 2)
    dataset = datasets.load(tmp_path, test_fraction=0.3)
    assert dataset.x_train.shape == (14, 1, 3, 3) and dataset.x_test.shape == (6, 1, 3, 3)
    assert dataset.classes == ("0", "1") and np.bincount(dataset.y_test).tolist() == [3, 3]
    both = np.concatenate([dataset.x_train, dataset.x_test])[:, 0, 0, 0]
    assert sorted(both) == list(range(20))
    np.testing.assert_array_equal(dataset.y_test, dataset.x_test[:, 0, 0, 0] % 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3, 3))}, "or x and y, got x"),
        ({}, "got none"),
        ({"x": np.zeros((2, 3)), "y": [0, 1]}, "x_train: expected images"),
        ({"x": np.zeros((2, 3, 3)), "y": [0.0, 1.0]}, r"y: expected \(N,\) or \(N, 1\) integers"),
        ({"x": np.zeros((2, 3, 3)), "y": [0, 1, 1]}, "x: expected 3 images, one per label"),
        ({"x": np.zeros((2, 3, 3)), "y": [0, -1]}, "expected labels 0 to 0, got -1"),
        ({"x": np.zeros((2, 3, 3)), "y": [0, 1], "classes": [3, 4]}, "classes: expected strings"),
        ({"x": np.zeros((2, 3, 3)), "y": [0, 1], "classes": ["a"]}, "expected labels 0 to 0"),
    ],
)
def test_load_npz_that_does_not_fit(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(tmp_path, test_fraction=0)
    assert str(caught.value).startswith(f"{path}: ")


def test_load_train_and_test_folders(tmp_path):
    make_classes(tmp_path / "train", ant=2, bee=3, cow=1)
    make_classes(tmp_path / "test", cow=2)
    dataset = datasets.load(tmp_path)
    assert dataset.classes == ("ant", "bee", "cow")
    assert dataset.x_train.shape == (6, 1, 3, 4) and dataset.y_test.tolist() == [2, 2]
    assert datasets.load(tmp_path, size=8, mode="RGB").x_test.shape == (2, 3, 8, 8)
    Image.new("L", (9, 9)).save(tmp_path / "test" / "cow" / "0.png")
    (tmp_path / "test" / "cow" / "1.png").unlink()
    with pytest.raises(ValueError, match="x_test: expected images of shape") as caught:
        datasets.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    make_classes(tmp_path / "test", dog=1)
    with pytest.raises(ValueError, match=r"test: sub-folders \['dog'\] are not among the classes"):
        datasets.load(tmp_path)


def test_load_one_tree_of_classes(tmp_path):
    make_classes(tmp_path, ant=10, bee=5)
    dataset = datasets.load(tmp_path)
    assert dataset.classes == ("ant", "bee")
    assert np.bincount(dataset.y_train).tolist() == [8, 4]
    assert np.bincount(dataset.y_test).tolist() == [2, 1]
    assert len(datasets.load(tmp_path, test_fraction=0).x_test) == 0


def test_load_says_what_it_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"expected data\.npz, .*IDX.*CIFAR-10.*sub-folder"):
        datasets.load(tmp_path)
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        datasets.load(tmp_path / "notes.txt")


def test_import_is_light():
    """No optional package, archive or network module is loaded before it is needed."""
    heavy = {"PIL", "pooch", "gzip", "tarfile", "zipfile", "urllib.request", "http.client"}
    code = f"""
import sys
before = set(sys.modules)
import cnn_ext.data, cnn_ext.data.datasets
print(*sorted({heavy} & (set(sys.modules) - before)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [], "")


def test_every_exported_name_exists():
    import cnn_ext.data

    assert all(getattr(cnn_ext.data, name) is not None for name in cnn_ext.data.__all__)
    assert all(getattr(datasets, name) is not None for name in datasets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cnn_ext.data.nothing  # noqa: B018
