"""IDX files: every type and shape there and back, and what a broken one says."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_ext.data import read_idx, write_idx

CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


def header(code, *shape):
    return bytes((0, 0, code, len(shape))) + np.array(shape, ">u4").tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@pytest.mark.parametrize("code", CODES)
def test_layout_of_every_type(code, tmp_path):
    """The bytes of the file are those of the format's definition, built here by hand."""
    dtype = CODES[code]
    values = np.array([[0, 1, 2], [3, 127, 100]], dtype)
    data = header(code, 2, 3) + values.astype(">" + dtype).tobytes()
    written, by_hand = tmp_path / "written", tmp_path / "by_hand"
    write_idx(written, values)
    assert written.read_bytes() == data
    by_hand.write_bytes(data)
    read = read_idx(by_hand)
    assert read.dtype == np.dtype(dtype) and read.dtype.isnative and read.flags.writeable
    np.testing.assert_array_equal(read, values)


@settings(deadline=None)
@given(
    code=st.sampled_from(sorted(CODES)),
    shape=st.lists(st.integers(0, 4), max_size=5),
    big_endian=st.booleans(),
    fortran=st.booleans(),
    seed=st.integers(0, 99),
)
def test_round_trip(folder, code, shape, big_endian, fortran, seed):
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(CODES[code])
    given_array = values.astype((">" if big_endian else "<") + CODES[code])
    path = folder / "round"
    write_idx(path, np.array(given_array, order="F" if fortran else "C"))
    read = read_idx(path)
    assert read.shape == tuple(shape) and read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_bytes_may_stay_in_their_file(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_idx(tmp_path / "plain", values)
    (tmp_path / "packed").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    write_idx(tmp_path / "wide", values.astype(np.int32))
    write_idx(tmp_path / "empty", values[:0])
    kinds = {"plain": np.memmap, "packed": np.ndarray, "wide": np.ndarray, "empty": np.ndarray}
    for name, kind in kinds.items():
        found = read_idx(tmp_path / name, in_memory=False)
        assert type(found) is kind
        np.testing.assert_array_equal(found, values[: 0 if name == "empty" else 3])
    (tmp_path / "plain").write_bytes((tmp_path / "plain").read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated: the header promises 12 bytes"):
        read_idx(tmp_path / "plain", in_memory=False)


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    values = np.arange(12, dtype=np.int16).reshape(3, 4)
    plain, packed = tmp_path / "plain.gz", tmp_path / "packed"
    write_idx(plain, values)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read_idx(plain), values)
    np.testing.assert_array_equal(read_idx(packed), values)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file.*got no byte"),
        (b"\0\0", "not an IDX file.*got 00 00"),
        (b"\0\1\x08\1\0\0\0\1\0", "not an IDX file.*00 01 08 01"),
        (b"\0\0\x0a\1\0\0\0\1\0", "not an IDX file.*00 00 0a 01"),
        (b"\0\0\x08\2\0\0\0\1\0\0", "truncated within the 2 dimensions"),
        (b"\0\0\x08\x21" + bytes(4 * 33), "at most 32 dimensions, got 33"),
        (header(0x0B, 2, 3) + bytes(11), "promises 12 bytes of data, got 11"),
        (header(0x0B, 2, 3) + bytes(13), "trailing bytes after the 12 bytes"),
        (header(0x08, 0) + b"x", "trailing bytes after the 0 bytes"),
        (header(0x0E, *[2**32 - 1] * 9), "promises .* bytes of data, got 0"),
        (header(0x0E, 0, *[2**32 - 1] * 9), "too (big|large)|[Mm]aximum"),
    ],
)
def test_broken_file_is_named(tmp_path, pack, data, message):
    path = tmp_path / "broken-idx"
    path.write_bytes(pack(data))
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_damaged_gzip(tmp_path):
    path = tmp_path / "damaged"
    whole = gzip.compress(header(0x08, 1000) + bytes(range(250)) * 4)
    wrong_sum = bytearray(whole)
    wrong_sum[-8] ^= 1
    for data in (whole[:-9], whole[:-1], whole[:15], bytes(wrong_sum), whole + b"garbage"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="damaged gzip"):
            read_idx(path)


def test_missing_file_is_not_a_value_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


@pytest.mark.parametrize("dtype", ["i8", "u2", "f2", "c8", "?", "U3", "O"])
def test_write_refuses_types_without_a_code(tmp_path, dtype):
    with pytest.raises(TypeError, match="array: expected uint8"):
        write_idx(tmp_path / "x", np.zeros(3, dtype))
    assert not list(tmp_path.iterdir())


def test_write_refuses_shapes_that_do_not_fit(tmp_path):
    too_long = np.broadcast_to(np.uint8(0), (2**32,))
    with pytest.raises(ValueError, match="below 2"):
        write_idx(tmp_path / "x", too_long)
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_idx(path, np.arange(3, dtype=np.uint8))

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_idx(path, np.zeros(5, np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    np.testing.assert_array_equal(read_idx(path), [0, 1, 2])
