"""The safetensors layer: round trips, the reference package, broken files and bad arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from cnn_ext.safetensors import MAX_HEADER, read, write

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
tensor_names = names.filter(lambda name: name != "__metadata__")
arrays = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)


def packed(header: Any, data: bytes = b"") -> bytes:
    """A file of this header, which is JSON or already bytes, and this data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()  # NaN and -0.0 too


# ----------------------------------------------------------------------------- round trips


@SAME_FOLDER
@given(
    tensors=st.dictionaries(tensor_names, arrays, max_size=4),
    metadata=st.dictionaries(names, names, max_size=3),
)
def test_round_trip(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    write(tmp_path / "net.safetensors", tensors, metadata)
    back, back_metadata = read(tmp_path / "net.safetensors")
    assert back_metadata == metadata
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert_same(back[name], tensor)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_arrays_own_aligned_writable_memory(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "net", {"odd": np.ones(3, np.int8), "x": np.ones((2, 3), dtype)})
    array = read(tmp_path / "net")[0]["x"]
    flags = array.flags
    assert flags.owndata and flags.writeable and flags.aligned and flags.c_contiguous
    assert array.dtype.isnative


@pytest.mark.parametrize("array", [np.float32(2.5), np.zeros((3, 0, 2)), np.array(7, np.int64)])
def test_arrays_without_dimensions_or_entries(tmp_path: Path, array: np.ndarray) -> None:
    write(tmp_path / "net", {"x": array})
    assert_same(read(tmp_path / "net")[0]["x"], np.asarray(array))


def test_any_strides_and_byte_order(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    big = x.astype(">i4")
    write(tmp_path / "net", {"t": x.T, "r": x[:, ::-1, ::2], "b": big, "f": np.asfortranarray(x)})
    tensors, _ = read(tmp_path / "net")
    for name, expected in {"t": x.T, "r": x[:, ::-1, ::2], "b": x, "f": x}.items():
        assert_array_equal(tensors[name], expected)
        assert tensors[name].dtype == np.int32


def test_lists_are_taken_as_arrays(tmp_path: Path) -> None:
    write(tmp_path / "net", {"x": [[1.0, 2.0]]})
    assert_array_equal(read(tmp_path / "net")[0]["x"], [[1.0, 2.0]])


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    halves = np.array([0x3F80, 0xC020, 0x7F80, 0x0001, 0x8000, 0x7FC0], dtype="<u2")
    header = {"x": entry("BF16", [2, 3], [0, 12]), "y": entry("BF16", [], [12, 14])}
    (tmp_path / "net").write_bytes(packed(header, halves.tobytes() + b"\x80\x3f"))
    tensors, _ = read(tmp_path / "net")
    expected = np.array([[1.0, -2.5, np.inf], [2.0**-133, -0.0, np.nan]], dtype=np.float32)
    assert_same(tensors["x"], expected)
    assert tensors["x"].flags.owndata and tensors["x"].flags.writeable
    assert_same(tensors["y"], np.array(1.0, dtype=np.float32))


def test_layout_of_the_file_byte_by_byte(tmp_path: Path) -> None:
    write(tmp_path / "net", {"b": np.array([1, 2], np.int16), "a": np.array(0.5)}, {"k": "v"})
    header = (
        b'{"__metadata__":{"k":"v"},"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]},'
        b'"b":{"dtype":"I16","shape":[2],"data_offsets":[8,12]}}'
    )
    header += b" " * (-len(header) % 8)
    data = bytes.fromhex("000000000000e03f 0100 0200")
    assert (tmp_path / "net").read_bytes() == packed(header, data)


def test_order_of_the_arguments_does_not_change_the_file(tmp_path: Path) -> None:
    tensors: dict[str, np.ndarray] = {"b": np.zeros(2), "a": np.ones(3, np.int8), "c": np.ones(2)}
    metadata = {"y": "1", "x": "2"}
    write(tmp_path / "one", tensors, metadata)
    write(tmp_path / "two", dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# ----------------------------------------------------------------------- reference package


@SAME_FOLDER
@given(
    tensors=st.dictionaries(tensor_names, arrays, max_size=4),
    metadata=st.none() | st.dictionaries(names, names, min_size=1, max_size=1),
)
def test_the_reference_package_writes_the_same_bytes(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None
) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    reference.save_file(tensors, tmp_path / "theirs", metadata)
    write(tmp_path / "ours", tensors, metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_both_read_what_the_other_wrote(tmp_path: Path) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    tensors = {
        f"{name}.weight": (100 * rng.random((3, 5))).astype(dtype) for name, dtype in DTYPES.items()
    }
    reference.save_file(tensors, tmp_path / "theirs", {"format": "np"})
    write(tmp_path / "ours", tensors, {"format": "np"})
    ours_of_theirs, metadata = read(tmp_path / "theirs")
    theirs_of_ours = reference.load_file(tmp_path / "ours")
    assert metadata == {"format": "np"}
    assert ours_of_theirs.keys() == theirs_of_ours.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert_same(ours_of_theirs[name], tensor)
        assert_same(theirs_of_ours[name], tensor)


def test_null_metadata_are_none_as_in_the_reference_package(tmp_path: Path) -> None:
    path = tmp_path / "null"
    path.write_bytes(packed({"__metadata__": None, "x": entry()}, FOUR))
    tensors, metadata = read(path)
    assert metadata == {}
    assert_same(tensors["x"], np.frombuffer(FOUR, np.uint8))
    reference = pytest.importorskip("safetensors.numpy")
    assert_same(reference.load_file(path)["x"], tensors["x"])


# ---------------------------------------------------------------------------- broken files

FOUR = b"\x01\x02\x03\x04"
DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BROKEN = {
    "empty": (b"", "at least 8 bytes"),
    "seven bytes": (b"\x02\0\0\0\0\0\0", "at least 8 bytes"),
    "no header": (b"\x02" + bytes(7), "file ends after 0"),
    "header cut off": (packed({"x": entry()})[:-3], "file ends after"),
    "header length of 2^64 - 1": (b"\xff" * 8 + b"{}", "may have 100000000 bytes"),
    "header length above the limit": (
        (MAX_HEADER + 1).to_bytes(8, "little") + b"{}",
        "may have 100000000 bytes",
    ),
    "header of no bytes": (packed(b""), "begin with"),
    "not an object": (packed([1]), "begin with"),
    "byte order mark": (packed(b"\xef\xbb\xbf{}"), "begin with"),
    "leading space": (packed(b" {}"), "begin with"),
    "UTF-16": (packed("{}".encode("utf-16-le")), ""),
    "not UTF-8": (packed(b'{"\xff":1}'), "utf-8"),
    "half of a surrogate pair": (packed(b'{"__metadata__":{"k":"\\ud800"}}'), "surrogates"),
    "not JSON": (packed(b"{x}"), "property name"),
    "two objects": (packed(b"{}{}"), "Extra data"),
    "NUL padding": (packed(b"{}\0\0"), "Extra data"),
    "NaN": (packed(b'{"x":NaN}'), "NaN in the header"),
    "number of 5000 digits": (packed(b'{"x":' + b"9" * 5000 + b"}"), ""),
    "deeply nested": (packed(DEEP), "nested too deeply"),
    "duplicate name": (
        packed(b'{"x":%b,"x":%b}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
        "twice",
    ),
    "duplicate field": (
        packed(b'{"x":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', FOUR),
        "twice",
    ),
    "metadata is a list": (packed({"__metadata__": []}), "should be an object"),
    "metadata holds null": (packed({"__metadata__": {"k": None}}), "should be a string"),
    "metadata holds a number": (packed({"__metadata__": {"k": 1}}), "should be a string"),
    "entry is a number": (packed({"x": 1}), "expected an object"),
    "field missing": (packed({"x": {"dtype": "U8", "shape": [4]}}, FOUR), "expected an object"),
    "field unknown": (packed({"x": {**entry(), "y": 1}}, FOUR), "expected an object"),
    "dtype unknown": (packed({"x": entry("F8_E4M3")}, FOUR), "dtype should be one of"),
    "dtype is a list": (packed({"x": entry(["U8"])}, FOUR), "dtype should be one of"),
    "shape is a number": (packed({"x": entry(shape=4)}, FOUR), "shape should be"),
    "shape of fractions": (packed({"x": entry(shape=[4.0])}, FOUR), "shape should be"),
    "shape of booleans": (packed({"x": entry(shape=[True, 4])}, FOUR), "shape should be"),
    "shape of strings": (packed({"x": entry(shape=["4"])}, FOUR), "shape should be"),
    "negative size": (packed({"x": entry(shape=[-4])}, FOUR), "shape should be"),
    "negative sizes of positive product": (
        packed({"x": entry(shape=[-2, -2])}, FOUR),
        "shape should be",
    ),
    "65 dimensions": (packed({"x": entry(shape=[1] * 64 + [4])}, FOUR), "32 sizes at most"),
    "huge product": (packed({"x": entry(shape=[2**40, 2**40])}, FOUR), "too large"),
    "product of 2^64 elements": (packed({"x": entry(shape=[2**32, 2**32])}, FOUR), "too large"),
    "empty with huge sizes": (packed({"x": entry(shape=[0, 2**62], offsets=[0, 0])}), "too large"),
    "a terabyte": (packed({"x": entry(shape=[2**40], offsets=[0, 2**40])}, FOUR), "file holds 4"),
    "shape larger than range": (packed({"x": entry(shape=[5])}, FOUR), "has 5 bytes"),
    "shape smaller than range": (packed({"x": entry(shape=[3])}, FOUR), "has 3 bytes"),
    "offsets are one": (packed({"x": entry(offsets=[4])}, FOUR), "two positions"),
    "offsets are three": (packed({"x": entry(offsets=[0, 2, 4])}, FOUR), "two positions"),
    "offsets negative": (packed({"x": entry(offsets=[-4, 0])}, FOUR), "two positions"),
    "offsets fractions": (packed({"x": entry(offsets=[0.0, 4.0])}, FOUR), "two positions"),
    "offsets null": (packed({"x": entry(offsets=None)}, FOUR), "two positions"),
    "offsets reversed": (packed({"x": entry(offsets=[4, 0])}, FOUR), "data_offsets are"),
    "range beyond the file": (packed({"x": entry(shape=[5], offsets=[0, 5])}, FOUR), "holds 4"),
    "hole at the start": (packed({"x": entry(offsets=[4, 8])}, FOUR + FOUR), "a hole"),
    "hole between": (
        packed({"x": entry(), "y": entry(shape=[2], offsets=[6, 8])}, FOUR + FOUR),
        "a hole",
    ),
    "overlap": (packed({"x": entry(), "y": entry(offsets=[2, 6])}, FOUR + b"56"), "an overlap"),
    "one range for two": (packed({"x": entry(), "y": entry()}, FOUR), "an overlap"),
    "trailing bytes": (packed({"x": entry()}, FOUR + b"!"), "file holds 5"),
    "data without tensors": (packed({}, b"!"), "file holds 1"),
    "data cut off": (packed({"x": entry()}, FOUR[:-1]), "file holds 3"),
    "bool of 3": (packed({"x": entry("BOOL")}, b"\0\1\3\1"), "BOOL should be 0 or 1"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    content, fault = BROKEN[kind]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a safetensors file: ")
    assert fault in message
    assert len(message) < len(str(path)) + 300


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def sample(folder: Path) -> bytes:
    tensors = {"w": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "e": np.zeros(0)}
    write(folder / "sample", tensors, {"k": "v"})
    return (folder / "sample").read_bytes()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = sample(tmp_path)
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a safetensors file"):
            read(tmp_path / "cut")


@settings(SAME_FOLDER, max_examples=400)
@given(data=st.data())
def test_corruption_gives_arrays_or_a_value_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(sample(tmp_path))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        removed = data.draw(st.integers(0, 3))
        content[start : start + removed] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"9", b"-", b"]", b"}", b'"', b"e9", b"null"])
        )
    (tmp_path / "corrupt").write_bytes(content)
    try:
        tensors, _ = read(tmp_path / "corrupt")
    except ValueError as error:
        assert str(tmp_path / "corrupt") in str(error)
    else:
        assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content)


@SAME_FOLDER
@given(
    fields=st.dictionaries(
        st.sampled_from(["dtype", "shape", "data_offsets", "other"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-3, 9)
            | st.floats()
            | st.sampled_from(["x", "U8"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
            max_leaves=8,
        ),
    ),
    content=st.binary(max_size=9),
)
def test_any_json_gives_arrays_or_a_value_error(
    tmp_path: Path, fields: dict[str, Any], content: bytes
) -> None:
    (tmp_path / "any").write_bytes(packed({"x": {**entry(), **fields}}, content))
    try:
        tensors, _ = read(tmp_path / "any")
    except ValueError as error:
        assert str(error).startswith(f"{tmp_path / 'any'}: not a safetensors file: ")
    else:
        assert tensors["x"].nbytes == len(content)


# --------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize("dtype", ["complex64", "object", "U3", "datetime64[s]", "V4"])
def test_write_refuses_other_dtypes(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(TypeError, match=r"tensors\['x'\]: expected one of uint64, .*bool, got"):
        write(tmp_path / "net", {"x": np.zeros(2, dtype)})
    assert not list(tmp_path.iterdir())


def test_write_refuses_other_names_and_metadata(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="names of type str, got 1"):
        write(tmp_path / "net", {1: np.zeros(2)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="'__metadata__' is reserved"):
        write(tmp_path / "net", {"__metadata__": np.zeros(2)})
    with pytest.raises(TypeError, match="metadata: expected str to str, got 'k' to 1"):
        write(tmp_path / "net", {}, {"k": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="surrogates"):
        write(tmp_path / "net", {"\ud800": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_write_refuses_a_header_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnn_ext.safetensors.MAX_HEADER", 64)
    with pytest.raises(ValueError, match="header may have 64 bytes, got"):
        write(tmp_path / "net", {"x": np.zeros(2)}, {"k": 40 * "v"})
    assert not list(tmp_path.iterdir())
