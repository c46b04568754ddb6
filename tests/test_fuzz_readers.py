"""Files that attackers write, byte by byte and at random."""

from __future__ import annotations

import copy
import gzip
import json
import math
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import small
from test_data_damage import damage, damages
from test_data_readers import cifar_records, npy, npz, tar_gz
from test_safetensors import packed

import cnn_ext
from cnn_ext import Conv2d, Flatten, Linear, ReLU, Sequential, safetensors
from cnn_ext.data import load_npy, load_npz, read_cifar, read_cifar_archive, read_idx
from cnn_ext.io import ARCHITECTURE, FORMAT, INPUT_SHAPE, VERSION, load_with_metadata

IDX = b"\0\0\x0c\2" + np.array((2, 3), ">u4").tobytes() + bytes(24)
SHOWN = 1500  # characters of the longest message, beside the name of the file


def model_file(folder: Path) -> bytes:
    """A small network with an input shape, as a file."""
    net = Sequential(Conv2d(1, 1, 2, bias=False), ReLU(), Flatten(), Linear(4, 2))
    net.input_shape = (1, 3, 3)
    cnn_ext.save(net, folder / "whole", {"classes": '["a", "b"]'})
    return (folder / "whole").read_bytes()


def refused(read: Callable[[Path], Any], path: Path) -> bool:
    """Whether the file is refused, as it must be: by a ValueError of sound length that names it."""
    try:
        read(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
        assert len(str(error)) < len(str(path)) + SHOWN
        return True
    return False


@contextmanager
def little_memory(limit: float) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak} bytes"


# ------------------------------------------------------------------- every byte and every bit

WHOLE: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], Any]]] = {
    "model": (model_file, cnn_ext.load),
    "idx": (lambda folder: IDX, read_idx),
    "idx gzip": (lambda folder: gzip.compress(IDX), read_idx),
    "cifar": (lambda folder: cifar_records(10, 1)[2], read_cifar),
    "cifar archive": (lambda folder: tar_gz({"a/b.bin": bytes(3073)}), read_cifar_archive),
    "npy": (lambda folder: npy(np.arange(6.0)), load_npy),
    "npz": (lambda folder: npz(x=np.zeros(3, np.uint8), y=np.arange(2)), load_npz),
    "npz deflated": (lambda folder: npz(np.savez_compressed, x=np.zeros(9)), load_npz),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_every_truncation_is_refused(kind: str, tmp_path: Path) -> None:
    make, read = WHOLE[kind]
    data, path = make(tmp_path), tmp_path / "cut"
    path.write_bytes(data)
    assert not refused(read, path)
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        assert refused(read, path), length


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "cifar"])
def test_every_flipped_bit_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    make, read = WHOLE[kind]
    data, path = bytearray(make(tmp_path)), tmp_path / "flipped"
    count = 0
    path.write_bytes(data)
    with path.open("r+b", buffering=0) as file:
        for place in range(len(data)):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([data[place] ^ 1 << bit]))
                count += refused(read, path)
            file.seek(place)
            file.write(data[place : place + 1])
    assert count > len(data)
    assert not refused(read, path)


# ------------------------------------------------------------------------ models at random


@settings(max_examples=200, deadline=None)
@given(steps=damages)
def test_damaged_models_are_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data, path = model_file(folder), folder / "damaged"
    path.write_bytes(damage(data, steps))
    if not refused(cnn_ext.load, path):
        assert all(np.isfinite(p.data).all() for p in cnn_ext.load(path).parameters())


CONFIG = Sequential(
    Conv2d(2, 4, (3, 2), (2, 1), "full", (1, 2), 2), cnn_ext.MaxPool2d(2, ceil_mode=True),
    cnn_ext.AvgPool2d(2), cnn_ext.LeakyReLU(), cnn_ext.Dropout(0.5), Sequential(Linear(4, 2)),
).to_config()  # fmt: skip
STATE = Sequential.from_config(CONFIG).state_dict()
HOSTILE = [
    *(0, -1, 1, 3_000_000, 2**31 - 1, 2**31, 2**63, 2**64, 10**400, 1.0, 1e308, math.nan, True),
    *(None, "", "same", "full", "Sequential", "Conv2d", "__class__", [], [1], [2, 2], [[]], {}),
]
values = st.recursive(
    st.sampled_from(HOSTILE) | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key within a description."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys if isinstance(value, (dict, list, tuple)) else ():
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def assert_refused_or_fits(path: Path, config: Any) -> bool:
    """A file of this description and the weights of `CONFIG`; says whether it was refused."""
    safetensors.write(path, STATE, {VERSION: FORMAT, ARCHITECTURE: json.dumps(config)})
    with little_memory(5e6):
        wrong = refused(cnn_ext.load, path)
    if not wrong:
        loaded = cnn_ext.load(path).state_dict()
        assert {name: array.shape for name, array in loaded.items()} == {
            name: array.shape for name, array in STATE.items()
        }
    return wrong


def test_every_value_of_a_description_made_hostile(tmp_path: Path) -> None:
    path = tmp_path / "described"
    assert not assert_refused_or_fits(path, CONFIG)
    plain = json.loads(json.dumps(CONFIG))
    tried = count = 0
    for container, key in list(places(plain)):
        before = container[key]
        for value in HOSTILE:
            container[key] = value
            count += assert_refused_or_fits(path, plain)
            tried += 1
        container[key] = before
    assert not assert_refused_or_fits(path, plain)
    assert tried / 2 < count < tried


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_description_is_refused_or_fits_the_weights(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = [copy.deepcopy(CONFIG)]
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(whole))))
        container[key] = copy.deepcopy(data.draw(values))  # else it would change for later draws
        if isinstance(container, dict) and data.draw(st.booleans()):
            del container[key]
    assert_refused_or_fits(tmp_path_factory.getbasetemp() / "described", whole[0])


# -------------------------------------------------------------------- faults that are not noise


def written(path: Path, tensors: dict[str, Any] | None = None, **changes: str | None) -> Path:
    """A file of `Linear(2, 3)` with other tensors or metadata; None leaves a key out."""
    net = Sequential(Linear(2, 3))
    own = {VERSION: FORMAT, ARCHITECTURE: json.dumps(net.to_config()), **changes}
    kept = {key: value for key, value in own.items() if value is not None}
    safetensors.write(path, {**net.state_dict(), **(tensors or {})}, kept)
    return path


@pytest.mark.parametrize("name", ["0.weight", "0.bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_are_not_finite(name: str, value: float, dtype: str, tmp_path: Path) -> None:
    net = Sequential(Linear(2, 3)).astype(dtype)
    array = net.state_dict()[name]
    array.flat[1] = value
    path = written(tmp_path / "net", {name: array})
    with pytest.raises(ValueError, match=f"{path}: .*{name}: expected finite numbers, got {value}"):
        cnn_ext.load(path)
    assert np.array_equal(safetensors.read(path)[0][name], array, equal_nan=True)

    good = written(tmp_path / "good").read_bytes()
    net.load_state_dict({**net.state_dict(), name: array})
    with pytest.raises(ValueError, match=f"net: {name}: expected finite numbers, got {value}"):
        cnn_ext.save(net, tmp_path / "good")
    assert (tmp_path / "good").read_bytes() == good


def test_finite_weights_of_every_kind_load_as_they_are(tmp_path: Path) -> None:
    bits = np.array([[0x80000000, 1], [0x807FFFFF, 0x7F7FFFFF], [0xFF7FFFFF, 0]], np.uint32)
    path = written(tmp_path / "net", {"0.weight": bits.view(np.float32)})
    weight = cnn_ext.load(path).state_dict()["0.weight"]
    assert np.array_equal(weight.view(np.uint32), bits)


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    for version in ("2", "", "one" * 10_000):
        path = written(tmp_path / "net", **{VERSION: version})
        with pytest.raises(ValueError, match=f"{path}: expected format 1, got '") as caught:
            cnn_ext.load(path)
        assert len(str(caught.value)) < len(str(path)) + 100


def test_a_key_that_occurs_twice_in_a_description(tmp_path: Path) -> None:
    text = '{"type":"Sequential","layers":[{"type":"Linear","in_features":2,"out_features":3,%s}]}'
    assert cnn_ext.load(written(tmp_path / "net", **{ARCHITECTURE: text % '"bias":true'}))
    path = written(tmp_path / "net", **{ARCHITECTURE: text % '"bias":false,"bias":true'})
    with pytest.raises(ValueError, match=f"{path}: .*a key occurs twice"):
        cnn_ext.load(path)


def test_messages_about_long_names_are_short(tmp_path: Path) -> None:
    assert refused(cnn_ext.load, written(tmp_path / "net", {"x" * 100_000: np.zeros(1)}))
    layers = json.dumps({"layers": [{"type": "ReLU", "y" * 100_000: 1}]})
    assert refused(cnn_ext.load, written(tmp_path / "net", **{ARCHITECTURE: layers}))
    assert refused(cnn_ext.load, written(tmp_path / "net", **{INPUT_SHAPE: "[" + "9" * 4000 + "]"}))


class Picky(Linear):
    """A layer of one's own whose constructor raises what it likes."""

    def __init__(self, in_features: Any, out_features: Any, bias: bool = True) -> None:
        super().__init__(in_features, 12 // in_features, bias)
        {}[out_features]


def test_whatever_a_layer_of_ones_own_raises(tmp_path: Path) -> None:
    for size in (0, 1, 4):  # ZeroDivisionError, KeyError, KeyError
        text = json.dumps({"layers": [{"type": "Picky", "in_features": size, "out_features": 1}]})
        path = written(tmp_path / "net", **{ARCHITECTURE: text})
        with pytest.raises(ValueError, match=f"{path}: not a network of this package: "):
            cnn_ext.load(path, {"Picky": Picky})


LYING_HEADERS = {
    "a terabyte": packed({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}),
    "no bytes": packed({"x": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 0]}}),
    "header of 99 MB": (99_000_000).to_bytes(8, "little") + b'{"x":1}' * 9,
    "header of 2^63 bytes": (2**63).to_bytes(8, "little") + b'{"x":1}' * 9,
    "many dimensions": packed({"x": {"dtype": "U8", "shape": [1] * 9999, "data_offsets": [0, 1]}}),
}


@pytest.mark.parametrize("lie", LYING_HEADERS)
@pytest.mark.parametrize("read", [safetensors.read, cnn_ext.load])
def test_a_lying_header_costs_no_memory(
    lie: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "liar"
    path.write_bytes(LYING_HEADERS[lie])
    with little_memory(1e6):
        assert refused(read, path)


def test_a_header_that_is_too_large_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any, **options: Any) -> None:
        raise MemoryError

    path = written(tmp_path / "net")
    monkeypatch.setattr(json, "loads", too_large)
    with pytest.raises(ValueError, match=f"{path}: .*header of [0-9]+ bytes is too large for the"):
        safetensors.read(path)


# ----------------------------------------------------------------------- the shape of the input


def test_the_input_shape_comes_back(tmp_path: Path) -> None:
    net, path = small(), tmp_path / "net"
    cnn_ext.save(net, path)
    assert load_with_metadata(path)[1] == {}
    assert getattr(cnn_ext.load(path), "input_shape", None) is None

    net.input_shape = (1, 6, 6)
    cnn_ext.save(net, path, {"note": "a"})
    back, metadata = load_with_metadata(path)
    assert back.input_shape == (1, 6, 6)
    assert metadata == {"note": "a", INPUT_SHAPE: "[1, 6, 6]"}
    assert not back.training

    cnn_ext.save(net, path, {INPUT_SHAPE: "[1, 7, 7]"})  # what the caller says comes first
    assert cnn_ext.load(path).input_shape == (1, 7, 7)
    cnn_ext.save(net, path, {INPUT_SHAPE: "null"})
    assert cnn_ext.load(path).input_shape is None

    flat = Sequential(Linear(2, 3))
    flat.input_shape = (2,)
    cnn_ext.save(flat, path)
    assert cnn_ext.load(path).input_shape == (2,)


SHAPES = {
    "": "Expecting value",
    "1 x 6 x 6": "Extra data",
    "7": "expected [C, H, W], got 7",
    '"166"': "expected [C, H, W], got '166'",
    '{"C": 1}': "expected [C, H, W], got {'C': 1}",
    "[]": "expected [C, H, W], got []",
    "[1, 6]": "expected [C, H, W], got [1, 6]",
    "[1, 1, 6, 6]": "expected [C, H, W], got [1, 1, 6, 6]",
    "[0, 6, 6]": "expected 1 to 2**31 - 1, got 0",
    "[1, -6, 6]": "expected 1 to 2**31 - 1, got -6",
    "[1, 6, 9e9]": "expected a whole number, got 9000000000.0",
    "[1, 6, NaN]": "expected a whole number, got nan",
    "[true, 6, 6]": "expected a whole number, got True",
    '[1, 6, "6"]': "expected a whole number, got '6'",
    "[1, 6, [6]]": "expected a whole number, got [6]",
    "[1, 6, null]": "expected a whole number, got None",
    f"[1, 6, {2**31}]": "expected 1 to 2**31 - 1",
    f"[1, 6, 1{'0' * 400}]": "expected 1 to 2**31 - 1",
    f"[1, 6, {'9' * 9000}]": "",  # more digits than `int` takes, in newer versions of Python
    "[3, 6, 6]": "layer 0 (Conv2d): ",
    "[1, 8, 8]": "layer 5 (Linear): ",
    "[1, 2, 2]": "layer 0 (Conv2d): ",
    "[16]": "layer 0 (Conv2d): ",
    "[" * 100_000 + "]" * 100_000: "",  # whose wording differs between versions of Python
}


@pytest.mark.parametrize("text", SHAPES, ids=lambda text: text[:30])
def test_hostile_input_shapes(text: str, tmp_path: Path) -> None:
    net, path = small(), tmp_path / "net"
    cnn_ext.save(net, path)
    tensors, metadata = safetensors.read(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="^net: metadata input_shape"):
        cnn_ext.save(net, path, {INPUT_SHAPE: text})
    assert path.read_bytes() == before

    safetensors.write(path, tensors, {**metadata, INPUT_SHAPE: text})
    with pytest.raises(ValueError) as caught:
        cnn_ext.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a network of this package: metadata input_shape ")
    assert SHAPES[text] in message
    assert len(message) < len(str(path)) + SHOWN
