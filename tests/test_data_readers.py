"""CIFAR batches, NumPy files and pictures: what is read, and what a broken one says."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnn_ext.data import (
    image_folder,
    load_npy,
    load_npz,
    read_cifar,
    read_cifar_archive,
    read_image,
)

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)  # H x W x C


def cifar_records(kind, n, seed=0):
    """Images and labels at random, and the bytes of their batch."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8)
    limits = (10,) if kind == 10 else (20, 100)
    labels = np.stack([rng.integers(0, limit, n) for limit in limits], axis=1)
    records = (
        bytes(label.tolist()) + image.tobytes() for label, image in zip(labels, images, strict=True)
    )
    return images, labels[:, 0] if kind == 10 else labels, b"".join(records)


def tar_gz(members, form=tarfile.GNU_FORMAT):
    """Bytes of an archive of the files {name: bytes}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def npy(array, **kwargs):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), **kwargs)
    return out.getvalue()


def npy_header(text, version=b"\1\0"):
    """A ``.npy`` file with `text` for a header and no data."""
    width = 2 if version == b"\1\0" else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text.encode("latin1")


def npz(save=np.savez, **arrays):
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def picture(form, mode="RGB", **kwargs):
    out = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(out, form, **kwargs)
    return out.getvalue()


# CIFAR


@pytest.mark.parametrize("kind", [10, 100])
def test_cifar_batch(tmp_path, kind):
    images, labels, data = cifar_records(kind, 7)
    path = tmp_path / "batch.bin"
    path.write_bytes(data)
    batch = read_cifar(path, kind)
    assert batch.images.dtype == np.uint8 and batch.labels.dtype == np.int64
    np.testing.assert_array_equal(batch.images, images)
    np.testing.assert_array_equal(batch.labels, labels)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_cifar_archive(tmp_path, form):
    one, two = cifar_records(10, 3, 1), cifar_records(10, 2, 2)
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(tar_gz({"a/one.bin": one[2], "a/readme.html": b"?", "two.bin": two[2]}, form))
    batches = read_cifar_archive(path)
    assert list(batches) == ["one.bin", "two.bin"]
    for batch, (images, labels, _) in zip(batches.values(), (one, two), strict=True):
        np.testing.assert_array_equal(batch.images, images)
        np.testing.assert_array_equal(batch.labels, labels)
    assert list(read_cifar_archive(path, names=["two.bin"])) == ["two.bin"]
    with pytest.raises(ValueError, match=r"holds no three\.bin"):
        read_cifar_archive(path, names=["two.bin", "three.bin"])
    assert [p.name for p in tmp_path.iterdir()] == ["cifar.tar.gz"]


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (10, b"", "records of 3073 bytes, got 0 bytes"),
        (10, bytes(3072), "got 3072 bytes"),
        (10, bytes(2 * 3073 + 1), "got 6147 bytes"),
        (100, bytes(3073), "records of 3074 bytes"),
        (10, bytes(3073) + b"\x0a" + bytes(3072), "labels below 10, got 10 in record 1"),
        (100, b"\x14\0" + bytes(3072), "labels below 20 and 100, got 20 and 0 in record 0"),
        (100, b"\0\x64" + bytes(3072), "got 0 and 100 in record 0"),
    ],
)
def test_broken_cifar_is_named(tmp_path, kind, data, message):
    path = tmp_path / "batch.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_cifar(path, kind)
    assert str(caught.value).startswith(f"{path}: ")
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(tar_gz({"batch.bin": data}))
    with pytest.raises(ValueError, match=message) as caught:
        read_cifar_archive(archive, kind)
    assert str(caught.value).startswith(f"{archive}: batch.bin: ")


def test_damaged_cifar_archive(tmp_path):
    path = tmp_path / "x.tar.gz"
    whole = tar_gz({"batch.bin": cifar_records(10, 2)[2]})
    wrong_sum = bytearray(whole)
    wrong_sum[-8] ^= 1
    twice = tar_gz({"a/batch.bin": bytes(3073), "b/batch.bin": bytes(3073)})
    for data in (b"", b"no gzip", whole[:100], whole[:-4], bytes(wrong_sum), twice):
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            read_cifar_archive(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("read", [read_cifar, read_cifar_archive])
def test_cifar_kind(tmp_path, read):
    with pytest.raises(ValueError, match="kind: expected 10 or 100, got 20"):
        read(tmp_path / "x", 20)


# NumPy's files


@settings(deadline=None)
@given(
    dtype=st.sampled_from(["?", "u1", "<i2", ">i4", "<f4", ">f8", "<c8", "<U3", ">U2"]),
    shape=st.lists(st.integers(0, 4), max_size=4),
    fortran=st.booleans(),
    version=st.sampled_from([(1, 0), (2, 0)]),
)
def test_npy_round_trip(tmp_path_factory, dtype, shape, fortran, version):
    values = RNG.integers(0, 100, shape).astype(dtype)
    path = tmp_path_factory.getbasetemp() / "round.npy"
    path.write_bytes(npy(np.array(values, order="F" if fortran else "C"), version=version))
    read = load_npy(path)
    assert read.dtype == values.dtype.newbyteorder("=") and read.dtype.isnative
    assert read.shape == values.shape
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {"x": np.arange(6).reshape(2, 3), "names": np.array(["a", "bc"]), "none": np.zeros(0)}
    path = tmp_path / "set.npz"
    path.write_bytes(npz(save, **arrays))
    read = load_npz(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


BROKEN_NPY = {
    "empty": (b"", "begins with no byte"),
    "magic": (b"\x93NUMPZ\1\0", "begins with 93 4e"),
    "version": (b"\x93NUMPY\3\0", r"version 1\.0 or 2\.0 of the format, got 03\.00"),
    "no header": (b"\x93NUMPY\1\0\x40\0{'descr", "truncated within its header"),
    "long header": (b"\x93NUMPY\2\0\xff\xff\xff\xff", "at most 10000 bytes, got 4294967295"),
    "no literal": (npy_header("{'descr': open('x')}"), "not a literal"),
    "brackets": (npy_header("(" * 9000), "not a literal"),
    "no dict": (npy_header("[1, 2]"), "expected a header with shape"),
    "shape": (
        npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        "expected a shape",
    ),
    "bool shape": (
        npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}"),
        "expected a shape",
    ),
    "descr": (
        npy_header("{'descr': '<f3', 'fortran_order': False, 'shape': ()}"),
        "dtype that NumPy knows",
    ),
    "short": (npy(np.arange(4.0))[:-1], "promises 32 bytes of data, got 31"),
    "long": (npy(np.arange(4.0)) + b"x", "trailing bytes after the 32 bytes"),
    "objects": (npy(np.array([None, 1]), allow_pickle=True), "got descr '|O'"),
    "records": (npy(np.zeros(2, [("a", "f4")])), "expected a header with"),
}


@pytest.mark.parametrize("case", BROKEN_NPY)
def test_broken_npy_is_named(tmp_path, case):
    data, message = BROKEN_NPY[case]
    path, archive = tmp_path / "broken.npy", tmp_path / "broken.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        load_npy(path)
    assert str(caught.value).startswith(f"{path}: ")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", data)
    with pytest.raises(ValueError, match=message) as caught:
        load_npz(archive)
    assert str(caught.value).startswith(f"{archive}: 'x': ")


def test_broken_npz_is_named(tmp_path):
    path = tmp_path / "broken.npz"

    def zipped(method, *names):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as file:
            for name in names:
                file.writestr(name, npy(np.arange(3)))
        return out.getvalue()

    whole = zipped(zipfile.ZIP_STORED, "x.npy")
    wrong_sum = bytearray(whole)
    wrong_sum[whole.index(b"x.npy") + 140] ^= 1
    for data, message in (
        (b"", "not a zip file"),
        (whole[:-30], "not a zip file"),
        (bytes(wrong_sum), "Bad CRC-32"),
        (zipped(zipfile.ZIP_BZIP2, "x.npy"), "expected stored or deflated data"),
        (zipped(zipfile.ZIP_STORED, "x.npy", "notes.txt"), "got 'notes.txt'"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            load_npz(path)
        assert str(caught.value).startswith(f"{path}: ")


# Pictures


def test_read_image(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(picture("PNG"))
    np.testing.assert_array_equal(read_image(path, mode="RGB"), PICTURE.transpose(2, 0, 1))
    grey = read_image(path)
    assert grey.shape == (1, 5, 7) and grey.dtype == np.uint8 and grey.flags.c_contiguous
    weights = PICTURE @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    assert np.abs(grey[0] - weights).max() <= 1
    assert read_image(path, 4).shape == (1, 4, 4)
    assert read_image(path, (4, 6), "RGB").shape == (3, 4, 6)


@pytest.mark.parametrize("size", [0, (3, 0), (3,), (1, 2, 3), "3", 2.5])
def test_image_size_is_checked(tmp_path, size):
    with pytest.raises(ValueError, match="size: expected a positive number"):
        read_image(tmp_path / "p.png", size)


def test_image_mode_is_checked(tmp_path):
    with pytest.raises(ValueError, match="mode: expected 'L' or 'RGB', got 'CMYK'"):
        read_image(tmp_path / "p.png", mode="CMYK")


def test_broken_pictures_are_named(tmp_path):
    path = tmp_path / "p.png"
    real = io.BytesIO()
    Image.fromarray(PICTURE[..., 0].astype(np.float32)).save(real, "TIFF")
    for data in (b"", b"text", picture("PNG")[:80], picture("JPEG")[:-300], real.getvalue()):
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: ")


def make_classes(root, **counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (4, 3), 10 * i + len(name)).save(root / name / f"{i}.png")


def test_image_folder(tmp_path):
    make_classes(tmp_path, dog=2, ant=1)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "dog" / ".ds.png").write_bytes(b"?")
    (tmp_path / "dog" / "notes.txt").write_bytes(b"?")
    images, labels, classes = image_folder(tmp_path)
    assert classes == ("ant", "dog") and labels.dtype == np.int64
    assert images.shape == (3, 1, 3, 4) and images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == [3, 3, 13] and labels.tolist() == [0, 1, 1]
    _, labels, classes = image_folder(tmp_path, classes=["dog", "cat", "ant"])
    assert classes == ("dog", "cat", "ant") and labels.tolist() == [2, 0, 0]
    with pytest.raises(ValueError, match=r"sub-folders \['ant'\] are not among"):
        image_folder(tmp_path, classes=["dog", "cat"])


def test_image_folder_names_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="one sub-folder per class, got none"):
        image_folder(tmp_path)
    make_classes(tmp_path, dog=2, ant=0)
    with pytest.raises(ValueError, match=r"ant: the class has no pictures"):
        image_folder(tmp_path)
    odd = tmp_path / "ant" / "odd.png"
    Image.new("L", (4, 4)).save(odd)
    with pytest.raises(ValueError, match=r"0\.png: expected 4 x 4 pixels .*, got 3 x 4"):
        image_folder(tmp_path)
    assert image_folder(tmp_path, size=5)[0].shape == (3, 1, 5, 5)
    odd.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"odd\.png: not a picture"):
        image_folder(tmp_path)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'cnn_ext\[images\]'"):
        read_image(tmp_path / "p.png")
