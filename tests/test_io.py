"""Networks as files: equal bit for bit after a round trip, and never a crash on a hostile file."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import normal
from modern_layers import MODERN
from networks import ChannelScale, all_kinds, pooled, small
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Dropout2d,
    DropPath,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Module,
    Normalize,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    safetensors,
)
from cnn_ext.io import ARCHITECTURE, FORMAT, LONGEST, VERSION, load_with_metadata

CUSTOM = {"ChannelScale": ChannelScale}
MODERN_LAYERS = [case.build() for case in MODERN]
LAYERS: list[Module] = [
    Conv2d(2, 4, (3, 2), (2, 1), "full", (1, 2), 2),
    Conv2d(2, 4, 3, padding=(1, 0, 2, 1), bias=False),
    Conv2d(2, 4, 3, padding=(1, 2)),
    Conv2d(2, 4, 2, padding="same"),
    MaxPool2d(3, (2, 1), 1, 2, ceil_mode=True),
    AvgPool2d((3, 2), 2, 1, True, False),
    GlobalAvgPool2d(),
    ReLU(),
    LeakyReLU(0.3),
    Sigmoid(),
    Tanh(),
    Softmax(),
    Flatten(),
    Linear(98, 3),
    Linear(98, 3, bias=False),
    Dropout(0.25),
    Normalize(),
    Normalize(0.5, [0.25, 2]),
    Sequential(Sequential(Conv2d(2, 1, 1)), Sequential()),
    Dropout2d(0.25),
    DropPath(0.25),
    *MODERN_LAYERS,
]
SHAPES = {id(layer): case.shape for layer, case in zip(MODERN_LAYERS, MODERN, strict=True)}


def assert_same(a: Sequential, b: Sequential) -> None:
    assert a.to_config() == b.to_config()
    states = a.state_dict(), b.state_dict()
    assert list(states[0]) == list(states[1])
    for name, array in states[0].items():
        other = states[1][name]
        assert array.dtype == other.dtype and array.shape == other.shape
        assert array.tobytes() == other.tobytes()


# -------------------------------------------------------------------------------- round trips


def test_every_built_in_layer_is_in_the_list() -> None:
    kinds = {type(layer).__name__ for layer in LAYERS}
    assert kinds == set(cnn_ext.layers.__all__) - {
        "Buffer",
        "GraphModule",
        "Layer",
        "Module",
        "Parameter",
    }


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_comes_back(layer: Module, dtype: str, tmp_path: Path) -> None:
    net = Sequential(layer).astype(dtype).eval()
    cnn_ext.save(net, tmp_path / "net.safetensors")
    back = cnn_ext.load(tmp_path / "net.safetensors")
    assert_same(back, net)
    assert not back.training and not back[0].training
    x = normal("x", (3, *SHAPES.get(id(layer), (2, 7, 7))), dtype)
    assert_array_equal(back(x), net(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_networks_come_back(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    for net, shape in ((all_kinds(dtype=dtype), (2, 7, 7)), (pooled(dtype=dtype), (2, 6, 6))):
        before = net.state_dict()
        cnn_ext.save(net, str(path))
        back = cnn_ext.load(str(path), custom=CUSTOM)
        assert_same(back, net)
        assert net.training
        for name, array in net.state_dict().items():
            assert_array_equal(array, before[name])
        x = normal("x", (5, *shape), dtype)
        assert_array_equal(back(x), net.eval()(x))


def test_a_loaded_network_trains_on_as_the_saved_one(tmp_path: Path) -> None:
    net = small()
    cnn_ext.save(net, tmp_path / "net")
    back = cnn_ext.load(tmp_path / "net")
    x, y = normal("x", (20, 1, 6, 6), np.float32), np.arange(20) % 3
    for each in (net, back):
        cnn_ext.Trainer(each).fit(x, y, 2, 8, progress=False)
    assert_same(net, back)


def test_networks_without_weights_and_with_two_number_types(tmp_path: Path) -> None:
    for net in (
        Sequential(),
        Sequential(ReLU(), Flatten()),
        Sequential(Linear(2, 3), Linear(3, 1, dtype="float64")),
    ):
        cnn_ext.save(net, tmp_path / "net")
        assert_same(cnn_ext.load(tmp_path / "net"), net)


def test_metadata(tmp_path: Path) -> None:
    path = tmp_path / "net"
    mine = {"classes": "cat, dog", "note": "größer ✓", ARCHITECTURE: "not mine to set"}
    cnn_ext.save(small(), path, mine)
    net, metadata = load_with_metadata(path)
    assert_same(net, cnn_ext.load(path))
    assert metadata == {"classes": "cat, dog", "note": "größer ✓"}
    cnn_ext.save(small(), path)
    assert load_with_metadata(path)[1] == {}
    with pytest.raises(TypeError, match="metadata: expected str to str"):
        cnn_ext.save(small(), path, {"epochs": 5})  # type: ignore[dict-item]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cnn_ext.save(small(), tmp_path / name, {"x": "1", "y": "2"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy", reason="the safetensors package is missing")
    opened = pytest.importorskip("safetensors")
    net = all_kinds()
    cnn_ext.save(net, tmp_path / "net.safetensors", {"note": "hello"})
    tensors = theirs.load_file(tmp_path / "net.safetensors")
    assert tensors.keys() == net.state_dict().keys()
    for name, array in net.state_dict().items():
        assert tensors[name].dtype == array.dtype
        assert_array_equal(tensors[name], array)
    with opened.safe_open(tmp_path / "net.safetensors", "numpy") as file:
        assert file.metadata()["note"] == "hello"
        assert json.loads(file.metadata()[ARCHITECTURE])["type"] == "Sequential"


# ------------------------------------------------------------------------ layers of one's own


def test_own_layers_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "net"
    cnn_ext.save(Sequential(ChannelScale(2)), path)
    with pytest.raises(ValueError, match=r"net: .*layer 0 \(ChannelScale\): unknown type; known"):
        cnn_ext.load(path)
    assert isinstance(cnn_ext.load(path, CUSTOM)[0], ChannelScale)


class Shift(Layer):
    """Has an argument that JSON cannot hold."""

    arguments = ("by",)

    def __init__(self, by: Any) -> None:
        self.by = by
        self.start = Parameter(np.zeros(1, np.float32))


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net"
    cnn_ext.save(small(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        cnn_ext.save(Sequential(Shift(np.zeros(2))), path)
    with pytest.raises(TypeError, match="net: expected a Module, got int"):
        cnn_ext.save(3, path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="net: its description may have 1000000 characters, got"):
        cnn_ext.save(Sequential(Shift("x" * LONGEST)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_fault_while_writing_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net"
    cnn_ext.save(small(seed=0), path)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        cnn_ext.save(small(seed=1), path)
    monkeypatch.undo()
    assert_same(cnn_ext.load(path), small(seed=0))
    assert os.listdir(tmp_path) == ["net"]


# -------------------------------------------------------------------------------- hostile files


def stored(path: Path, text: str, tensors: dict[str, Any] | None = None) -> Path:
    """A file with this description, by default with the weights of `Linear(2, 3)`."""
    if tensors is None:
        tensors = Sequential(Linear(2, 3)).state_dict()
    safetensors.write(path, tensors, {VERSION: FORMAT, ARCHITECTURE: text})
    return path


def described(*layers: Any) -> str:
    return json.dumps({"type": "Sequential", "layers": layers})


LINEAR = {"type": "Linear", "in_features": 2, "out_features": 3, "bias": True}
CONV = {"type": "Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1}
HUGE = {**CONV, "in_channels": 10**9, "out_channels": 10**9, "kernel_size": 99}


def nested(depth: int) -> str:
    return '{"type":"Sequential","layers":[' * depth + "]}" * depth


HOSTILE: dict[str, str] = {
    "not JSON": "hello",
    "empty": "",
    "cut short": described(LINEAR)[:-5],
    "a number": "5",
    "null": "null",
    "a list of numbers": "[1, 2]",
    "no layers": "{}",
    "layers that are no list": '{"layers": {"type": "ReLU"}}',
    "a number of thousands of digits": '{"layers": [' + "9" * 5000 + "]}",
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep networks": nested(10_000),
    "networks as deep as the stack": nested(400),
    "unknown type": described({"type": "Exec", "code": "1"}),
    "type of another kind": described({"type": {"a": 1}}),
    "no type": described({"in_features": 2}),
    "an attribute of Python": described({"type": "__class__"}),
    "unknown argument": described({**LINEAR, "device": "gpu"}),
    "another initialiser": described({**LINEAR, "initializer": "he"}),
    "a generator": described({**LINEAR, "rng": 1}),
    "no argument": described({"type": "Linear"}),
    "negative": described({**LINEAR, "out_features": -3}),
    "zero": described({**LINEAR, "out_features": 0}),
    "a fraction": described({**LINEAR, "out_features": 3.0}),
    "a string": described({**LINEAR, "out_features": "3"}),
    "null size": described({**LINEAR, "out_features": None}),
    "other sizes": described({**LINEAR, "out_features": 2}),
    "other sizes of as many": described({**LINEAR, "in_features": 3, "out_features": 2}),
    "no bias": described({**LINEAR, "bias": False}),
    "one layer more": described(LINEAR, {"type": "Linear", "in_features": 1, "out_features": 1}),
    "no layer": described(),
    "huge convolution": described(HUGE),
    "huge within limits": described({**CONV, "out_channels": 30_000, "in_channels": 60_000}),
    "huge depthwise": described({**CONV, "in_channels": 2**31 - 1, "out_channels": 2**31 - 1,
                                 "groups": 2**31 - 1}),
    "beyond 64 bits": described({**CONV, "out_channels": 2**80}),
    "huge linear": described({**LINEAR, "in_features": 2**31 - 1, "out_features": 2**31 - 1}),
    "many layers of the right size": described(*[LINEAR] * 5000),
    "inner huge": described({"type": "Sequential", "layers": [HUGE]}),
    "padding": described({**CONV, "padding": {"top": 1}}),
    "padding of three": described({**CONV, "padding": [1, 2, 3]}),
    "nan": described({"type": "Dropout", "p": float("nan")}),
    "infinite slope": described({"type": "LeakyReLU", "negative_slope": float("inf")}),
    "too long": described(*[{"type": "ReLU"}] * 70_000),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions(name: str, tmp_path: Path) -> None:
    path = stored(tmp_path / "net", HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="net: not a network of this package: ") as caught:
            cnn_ext.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6
    assert "MemoryError" not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"0.weight": np.ones((3, 2), np.float32)},
        {"0.weight": np.ones((3, 2), np.float32), "0.bias": np.ones(4, np.float32)},
        {"0.weight": np.ones((3, 2), np.int32), "0.bias": np.ones(3, np.int32)},
        {"0.weight": np.ones((3, 2), np.float16), "0.bias": np.ones(3, np.float16)},
        {"0.weight": np.ones((3, 2), bool), "0.bias": np.ones(3, np.float32)},
        {"0.weight": np.ones((2, 3), np.float32), "0.bias": np.ones(3, np.float32)},
        {"0.weight": np.ones((3, 2)), "0.bias": np.ones(3), "1.weight": np.ones(1)},
        {"weight": np.ones((3, 2)), "bias": np.ones(3)},
    ],
    ids=lambda tensors: "-".join(f"{name}{array.dtype}" for name, array in tensors.items()),
)
def test_tensors_that_do_not_fit(tensors: dict[str, Any], tmp_path: Path) -> None:
    path = stored(tmp_path / "net", described(LINEAR), tensors)
    with pytest.raises(ValueError, match="net: not a network of this package: "):
        cnn_ext.load(path)


def test_the_description_that_is_meant_loads(tmp_path: Path) -> None:
    net = cnn_ext.load(stored(tmp_path / "net", described(LINEAR)))
    assert net.to_config()["layers"] == [LINEAR]


def test_files_of_other_programs_and_versions(tmp_path: Path) -> None:
    path = tmp_path / "net"
    safetensors.write(path, {}, {VERSION: "2", ARCHITECTURE: described()})
    with pytest.raises(ValueError, match="net: expected format 1, got '2'"):
        cnn_ext.load(path)
    safetensors.write(path, {}, {VERSION: FORMAT})
    with pytest.raises(ValueError, match="net: no architecture in the metadata"):
        cnn_ext.load(path)
    safetensors.write(path, {}, {ARCHITECTURE: described()})
    with pytest.raises(ValueError, match="net: expected format 1, got None"):
        cnn_ext.load(path)
    with pytest.raises(FileNotFoundError):
        cnn_ext.load(tmp_path / "nothing")


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"hello, this is no network",
    "pickle": lambda data: b"\x80\x04\x95" + data,
    "header alone": lambda data: data[: 8 + int.from_bytes(data[:8], "little")],
    "one byte less": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "half": lambda data: data[: len(data) // 2],
    "long header": lambda data: (2**63).to_bytes(8, "little") + data[8:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    cnn_ext.save(small(), path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=f"^{path}: not a safetensors file: "):
        cnn_ext.load(path)


def test_a_wrong_byte_anywhere_in_the_header_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / "net"
    cnn_ext.save(Sequential(Conv2d(1, 2, 2), Flatten(), Linear(2, 2)), path)
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for place in range(0, header):
        for byte in (data[place] ^ 1, ord("9"), ord('"')):
            path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
            try:
                cnn_ext.load(path)
            except ValueError as error:
                assert str(error).startswith(f"{path}: ")
                refused += 1
    assert refused > 2 * header
