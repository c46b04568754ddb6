"""Every reader against files that are damaged at random, or whose headers lie."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import png
from PIL import Image
from test_data_readers import PICTURE, cifar_records, npy, npy_header, npz, picture, tar_gz

from cnn_ext.data import (
    load_npy,
    load_npz,
    read_cifar,
    read_cifar_archive,
    read_idx,
    read_image,
)

IDX = b"\0\0\x0c\3" + np.array((3, 4, 5), ">u4").tobytes() + bytes(range(240))
DEEP = np.arange(35, dtype=np.uint16).reshape(5, 7, 1) * 1800
TURNED = Image.Exif()
TURNED[0x0112] = 6


def encoded(pixels, form):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


read_idx_there = partial(read_idx, in_memory=False)
load_npz_there = partial(load_npz, in_memory=False)
READERS = {
    "idx": (IDX, read_idx),
    "idx in its file": (IDX, read_idx_there),
    "idx gzip": (gzip.compress(IDX), read_idx),
    "npy": (npy(np.arange(20.0).reshape(4, 5)), load_npy),
    "npz": (npz(x=np.zeros((6, 8, 8), np.uint8), y=np.arange(6)), load_npz),
    "npz in its file": (npz(x=np.zeros((6, 8, 8), np.uint8), y=np.arange(6)), load_npz_there),
    "npz deflated": (npz(np.savez_compressed, x=np.zeros((6, 8, 8)), y=np.arange(6)), load_npz),
    "cifar": (cifar_records(10, 3)[2], read_cifar),
    "cifar archive": (tar_gz({"a/b.bin": cifar_records(10, 2)[2]}), read_cifar_archive),
    "png": (picture("PNG"), read_image),
    "png palette": (picture("PNG", "P"), read_image),
    "jpeg": (picture("JPEG"), read_image),
    "png with alpha": (picture("PNG", "RGBA"), read_image),
    "png of 16 bits": (png(DEEP, 16, interlaced=True, transparent=7), read_image),
    "png of 2 bits": (png(DEEP & 3, 2, transparent=1), read_image),
    "tiff": (picture("TIFF"), read_image),
    "tiff of 16 bits": (encoded(DEEP[..., 0], "TIFF"), read_image),
    "pgm": (picture("PPM", "L"), read_image),
    "pgm of 16 bits": (encoded(DEEP[..., 0], "PPM"), read_image),
    "webp": (picture("WEBP", "RGBA", exif=TURNED), read_image),
    "tga": (picture("TGA", "RGBA"), read_image),
    "jpeg, turned": (picture("JPEG", exif=TURNED), read_image),
    "gif": (picture("GIF"), read_image),
    "bmp": (picture("BMP"), read_image),
}
damages = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "insert", "delete", "cut"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff"]),
    ),
    min_size=1,
    max_size=4,
)


def damage(data, steps):
    for kind, where, new in steps:
        # the square places most of the damage in the header
        i = int(where**2 * len(data))
        data = {
            "overwrite": data[:i] + new + data[i + len(new) :],
            "insert": data[:i] + new + data[i:],
            "delete": data[:i] + data[i + len(new) :],
            "cut": data[:i],
        }[kind]
    return data


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=150, deadline=None)
@given(steps=damages)
def test_damage_is_a_value_error_or_harmless(tmp_path_factory, reader, steps):
    """Whatever is changed in a file: it is read, or a ValueError names it; nothing else."""
    data, read = READERS[reader]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damage(data, steps))
    try:
        read(path)
    except ValueError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("reader", READERS)
def test_the_undamaged_file_is_read(tmp_path, reader):
    data, read = READERS[reader]
    path = tmp_path / "whole"
    path.write_bytes(data)
    assert len(read(path))


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,)}"


def lying_zip():
    """An .npz whose header and directory agree on 2**31 bytes that are not there."""
    data = npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (2147483648,)}")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("x.npy", data)
    true, false = len(data), len(data) + 2**31
    return out.getvalue().replace(true.to_bytes(4, "little"), false.to_bytes(4, "little"))


def lying_tar(kind, size):
    info = tarfile.TarInfo("data_batch_1.bin")
    info.type, info.size = kind, size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(3073 * 4))


LIARS = {
    "idx in its file": (b"\0\0\x08\2\x40\0\0\0\x40\0\0\0" + bytes(99), read_idx_there),
    "idx": (b"\0\0\x0e\2\x40\0\0\0\x40\0\0\0" + bytes(99), read_idx),
    "idx gzip": (gzip.compress(b"\0\0\x0e\2\x40\0\0\0\x40\0\0\0" + bytes(99)), read_idx),
    "idx gzip bomb": (gzip.compress(b"\0\0\x08\1\0\0\0\5" + bytes(2**25)), read_idx),
    "npy": (npy_header(HUGE) + bytes(99), load_npy),
    "npy header": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(99), load_npy),
    "npz": (lying_zip(), load_npz),
    "npz in its file": (lying_zip(), load_npz_there),
    "tar": (lying_tar(b"0", 2**60), read_cifar_archive),
    "tar pax header": (lying_tar(b"x", 2**33 - 512), read_cifar_archive),
    "tar long name": (lying_tar(b"L", 2**33 - 512), read_cifar_archive),
}


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000, f"{peak} bytes"


@pytest.mark.parametrize("liar", LIARS)
def test_a_lying_header_costs_no_memory(tmp_path, liar):
    data, read = LIARS[liar]
    path = tmp_path / "liar"
    path.write_bytes(data)
    with little_memory(), pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_lying_chunk_of_a_png_costs_no_memory(tmp_path):
    """Its decoder takes the pixels that are there, and nothing for the 2 GB that are not."""
    data, path = picture("PNG"), tmp_path / "liar.png"
    place = data.index(b"IDAT")
    path.write_bytes(data[: place - 4] + b"\x7f\xff\xff\xff" + data[place:])
    with little_memory():
        np.testing.assert_array_equal(read_image(path, mode="RGB"), PICTURE.transpose(2, 0, 1))
