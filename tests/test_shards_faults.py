"""Folders of shards that are broken, do not fit, or cannot be written: what the errors say."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import IMAGES, pictures, readers, shards, trained

from cnn_ext.data import Shards, gather, write_shards

X, Y = pictures()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shards(tmp_path)


# ------------------------------------------------------------------------------------ broken shards


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case "flipped":
            data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty"])
def test_a_truncated_shard_is_found_at_once(folder: Path, how: str) -> None:
    spoil(folder / "shard-000007.npz", how)
    with pytest.raises(ValueError, match=r"shard-000007\.npz: File is not a zip file"):
        Shards(folder)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_shard_is_named_by_fit(tmp_path: Path, compressed: bool) -> None:
    folder = shards(tmp_path, 180, compressed=compressed)  # more than is read with the header
    spoil(folder / "shard-000000.npz", "flipped")
    found = Shards(folder)
    told = r"shard-000000\.npz: .*(damaged, or changed|Bad CRC-32|Error -3)"
    with pytest.raises(ValueError, match=told):
        trained(found, found.y)
    assert not readers()
    with pytest.raises(ValueError, match=told):
        found[:]


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    """Where a packed file says that it becomes more than its bytes can."""
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 3)}
    np.lib.format.write_array_header_1_0(header, fields)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(1000))
    data = (tmp_path / "a.npz").read_bytes()
    size, lie = len(header.getvalue()) + 1000, len(header.getvalue()) + 3 * (1 << 40)
    with pytest.raises(ValueError, match=rf"a\.npz: 'x': expected {lie} bytes, as its header says"):
        Shards(tmp_path)
    extra = struct.pack("<HHQ", 1, 8, lie)  # the size in 64 bits, in the directory at the end
    entry = data.rindex(b"PK\1\2")
    central = bytearray(data[entry : data.rindex(b"PK\5\6")])
    assert struct.unpack_from("<I", central, 24)[0] == size
    struct.pack_into("<I", central, 24, 0xFFFFFFFF)
    struct.pack_into("<H", central, 30, len(extra))
    end = bytearray(data[data.rindex(b"PK\5\6") :])
    struct.pack_into("<I", end, 12, len(central) + len(extra))
    (tmp_path / "a.npz").write_bytes(data[:entry] + central + extra + end)
    with pytest.raises(ValueError, match=rf"a\.npz: 'x': {3 << 40} bytes, as its header says, do"):
        Shards(tmp_path)


def test_a_shard_that_is_gone_or_cut_meanwhile(folder: Path) -> None:
    found = Shards(folder, window=40)
    (folder / "shard-000003.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-000003\.npz"):
        trained(found, Y)
    spoil(folder / "shard-000002.npz", "cut")
    for rows in (slice(32, 48), [47]):
        with pytest.raises(ValueError, match=r"shard-000002\.npz: 'x': truncated since"):
            found[rows]
    assert not readers()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X[:5, :, :5], "y": Y[:5]}, r"expected x of shape \(n, 1, 6, 6\) and uint8 as in sh"),
        ({"x": X[:5].astype("f4"), "y": Y[:5]}, r".*got shape \(5, 1, 6, 6\) and float32"),
        ({"x": X[:5], "y": Y[:5].astype("i2")}, r"expected y of shape \(n\) and int64 as in shard"),
        ({"x": X[:5], "y": Y[:4]}, "expected 5 targets in y, one for each image, got 4"),
        ({"x": X[:5]}, "expected y in all shards or in none"),
        ({"images": X[:5], "y": Y[:5]}, "expected arrays x and y, got images, y"),
        (
            {"x": X[:5].astype(complex), "y": Y[:5]},
            "'x': expected real numbers, got dtype complex128",
        ),
        ({"x": X[:5].astype(str), "y": Y[:5]}, "'x': expected real numbers, got dtype <U3"),
        ({"x": np.array(1), "y": Y[:5]}, "'x': expected an array with an axis of images"),
        ({"x": np.array([{}])}, "'x': expected booleans, numbers or strings"),
    ],
)
def test_a_shard_that_does_not_fit_is_named_at_once(
    folder: Path, arrays: Any, message: str
) -> None:
    np.savez(folder / "shard-000007.npz", **arrays)
    with pytest.raises(ValueError, match=r"shard-000007\.npz: " + message):
        Shards(folder)


def test_what_is_no_folder_of_shards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \.npz files, got none"):
        Shards(tmp_path)
    np.savez(tmp_path / "a.npz", x=X[:0], y=Y[:0])
    with pytest.raises(ValueError, match="expected at least one image, got none"):
        Shards(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Shards(tmp_path / "nowhere")


def test_arguments_are_checked(folder: Path) -> None:
    for options, error, message in (
        ({"window": 0}, ValueError, "window: expected 1"),
        ({"window": 2.5}, TypeError, "window: expected a whole number"),
        ({"readers": 0}, ValueError, "readers: expected 1"),
    ):
        with pytest.raises(error, match=message):
            Shards(folder, **options)  # type: ignore[arg-type]
    found = Shards(folder)
    with pytest.raises(ValueError, match="y: expected 200 targets, one for each image, got shape"):
        trained(found, Y[:-1])
    for wrong in ((0, 1), [[1]], 1.5, "x", None, np.array([True])):
        with pytest.raises(TypeError, match="index: expected numbers of images"):
            found[wrong]
    for number in (IMAGES, -IMAGES - 1, [0, IMAGES]):
        with pytest.raises(IndexError, match="index: expected numbers below 200"):
            found[number]
    with pytest.raises(IndexError):
        gather(found, [IMAGES])


# ----------------------------------------------------------------------------------- failed writing


def failing() -> Any:
    yield X[:20], Y[:20]
    raise RuntimeError("the source is broken")


def interrupted() -> Any:
    yield X[:20], Y[:20]
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (failing(), None, RuntimeError, "the source is broken"),
        (interrupted(), None, KeyboardInterrupt, "^$"),
        ([X, Y][:0], None, ValueError, "x: expected at least one image, got none"),
        (iter([(X, Y), (X,)]), None, TypeError, r"x: expected \(images, targets\) in batch 2"),
        (iter([(X, Y), (X, Y[:1])]), None, ValueError, "as many images as targets in batch 2"),
        (iter([(X, Y), (X[:, :, :1], Y)]), None, ValueError, "batches of one shape and type"),
        (iter([]), None, ValueError, "x: expected at least one image, got none"),
        (X, Y[:9], ValueError, "y: expected 200 targets"),
        (3, None, TypeError, "not iterable|images in an array"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    x: Any, y: Any, error: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        write_shards(tmp_path / "shards", x, y, 16)
    assert os.listdir(tmp_path) == []


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="folder: expected a new or an empty folder, got"):
        write_shards(folder, X, Y)
    (tmp_path / "file").write_text("text")
    with pytest.raises(FileExistsError):
        write_shards(tmp_path / "file", X, Y)
    (tmp_path / "new").mkdir()
    write_shards(tmp_path / "new", X, Y)
    assert len(Shards(tmp_path / "new")) == IMAGES
    with pytest.raises(ValueError, match="per_shard: expected 1"):
        write_shards(tmp_path / "other", X, Y, 0)
