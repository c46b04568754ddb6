"""Weights to and from PyTorch by safetensors files, with equal outputs, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import normal
from networks import Weights, assert_same
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, safetensors
from cnn_ext.io import load_weights

MODULES = ["conv1", "conv2", "classifier.0", "classifier.2", "classifier.4"]
NETWORKS = [("lenet5", (1, 28, 28)), ("nielsen", (1, 28, 28)), ("tiny", (3, 8, 8))]


def lenet(seed: int = 0) -> Sequential:
    return cnn_ext.architectures.build("lenet5", (1, 28, 28), 10, rng=np.random.default_rng(seed))


def nested(seed: int) -> Sequential:
    """A network within the network; (1, 6, 6)."""
    rng = np.random.default_rng(seed)
    inner = Sequential(Conv2d(1, 4, 3, bias=False, rng=rng), ReLU(), MaxPool2d(2))
    return Sequential(inner, Flatten(), Linear(16, 3, rng=rng))


def assert_agree(ours: np.ndarray, theirs: Any) -> None:
    """Equal to 1e-5 of the greatest output."""
    expected = theirs.numpy()
    assert ours.shape == expected.shape
    scale = np.abs(expected).max()
    assert scale > 0.01
    assert np.abs(ours - expected).max() < 1e-5 * scale


# ------------------------------------------------------------------------------ from PyTorch


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_weights_of_pytorch_load(dtype: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
    ).to(getattr(torch, dtype))  # fmt: skip
    theirs.save_file(model.state_dict(), tmp_path / "torch.safetensors")
    model.float()  # on the weights as they are stored, rounded to half precision perhaps

    net = lenet().eval()
    load_weights(net, tmp_path / "torch.safetensors")
    for name, tensor in model.state_dict().items():
        assert_array_equal(net.state_dict()[name], tensor.numpy(), name)
    x = normal("x", (5, 1, 28, 28), np.float32)
    with torch.no_grad():
        assert_agree(net(x), model(torch.from_numpy(x)))

    load_weights(net.astype(np.float64), tmp_path / "torch.safetensors")
    assert net.dtype == np.float64
    if dtype != "float64":
        assert_array_equal(net[0].state_dict()["weight"], model[0].weight.detach().double())


def test_weights_of_a_module_with_named_parts_load(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    nn = torch.nn

    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.classifier = nn.Sequential(
                nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
            )

        def forward(self, x: Any) -> Any:
            pooled = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
            pooled = nn.functional.max_pool2d(self.conv2(pooled).relu(), 2)
            return self.classifier(pooled.flatten(1))

    model = LeNet()
    theirs.save_file(model.state_dict(), tmp_path / "torch.safetensors")
    assert MODULES == list(dict.fromkeys(name.rpartition(".")[0] for name in model.state_dict()))
    net = lenet().eval()
    load_weights(net, tmp_path / "torch.safetensors", modules=MODULES)
    x = normal("x", (5, 1, 28, 28), np.float32)
    with torch.no_grad():
        assert_agree(net(x), model(torch.from_numpy(x)))


# -------------------------------------------------------------------------------- to PyTorch


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_saved_networks_load_in_pytorch(
    name: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    from torch_side import torch_network

    build, rng = cnn_ext.architectures.build, np.random.default_rng
    net = build(name, shape, 10, rng=rng(0)).eval()
    cnn_ext.save(net, tmp_path / "net.safetensors", {"note": "ours"})
    model = torch_network(build(name, shape, 10, rng=rng(1)))
    x = normal("x", (3, *shape), np.float32)
    with torch.no_grad():
        before = model(torch.from_numpy(x)).numpy()
        model.load_state_dict(theirs.load_file(tmp_path / "net.safetensors"), strict=True)
        assert not np.allclose(net(x), before, atol=1e-3)
        assert_agree(net(x), model(torch.from_numpy(x)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nested_networks_go_there_and_back(dtype: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("safetensors.torch")
    nn = torch.nn
    net = nested(0).astype(dtype).eval()
    cnn_ext.save(net, tmp_path / "ours")
    inner = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(inner, nn.Flatten(), nn.Linear(16, 3)).to(getattr(torch, dtype))
    model.load_state_dict(theirs.load_file(tmp_path / "ours"), strict=True)
    x = normal("x", (3, 1, 6, 6), dtype)
    with torch.no_grad():
        assert_agree(net(x), model(torch.from_numpy(x)))
    theirs.save_file(model.state_dict(), tmp_path / "theirs")
    back = nested(1).astype(dtype)
    load_weights(back, tmp_path / "theirs")
    assert_same(back.state_dict(), net.state_dict())


# ---------------------------------------------------------------------------- without PyTorch


def renamed(state: Weights, modules: list[str]) -> Weights:
    """The weights under other names of layers."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    names = dict(zip(layers, modules, strict=True))
    return {
        f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": array
        for name, array in state.items()
    }


@pytest.mark.parametrize("modules", [None, MODULES, list("edcba"), ["4", "3", "2", "1", "0"]])
def test_names_are_taken_in_the_order_of_the_layers(
    modules: list[str] | None, tmp_path: Path
) -> None:
    state = lenet(seed=1).state_dict()
    safetensors.write(tmp_path / "w", renamed(state, modules) if modules else state, {"a": "b"})
    net = lenet(seed=2)
    load_weights(net, tmp_path / "w", modules)
    assert_same(net.state_dict(), state)
    assert net.training


def test_a_single_layer_without_a_name(tmp_path: Path) -> None:
    weights = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(3, np.float32)}
    safetensors.write(tmp_path / "w", weights)
    net = Sequential(Flatten(), Linear(2, 3))
    load_weights(net, tmp_path / "w", [""])
    assert_array_equal(net(np.ones((1, 2), np.float32)), [[2, 2, 2]])


def test_a_network_without_weights_takes_a_file_without_tensors(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "w", {})
    load_weights(Sequential(ReLU()), tmp_path / "w")
    load_weights(Sequential(ReLU()), tmp_path / "w", [])


WEIGHT, BIAS = np.ones((3, 2), np.float32), np.ones(3, np.float32)
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "other names": (
        {"fc.weight": WEIGHT, "fc.bias": BIAS},
        r"the network takes 0\.weight \(3, 2\), 0\.bias \(3,\), which the file lacks; "
        r"the file has fc\.bias \(3,\), fc\.weight \(3, 2\), which the network does not take",
    ),
    "one missing": ({"0.weight": WEIGHT}, r"takes 0\.bias \(3,\), .* the file has nothing, which"),
    "one more": (
        {"0.weight": WEIGHT, "0.bias": BIAS, "0.steps": np.array(1)},
        r"takes nothing, which the file lacks; the file has 0\.steps \(\), which",
    ),
    "transposed": (
        {"0.weight": WEIGHT.T, "0.bias": BIAS},
        r"takes 0\.weight \(3, 2\), .* has 0\.weight \(2, 3\), which",
    ),
    "integers": (
        {"0.weight": WEIGHT.astype(np.int32), "0.bias": BIAS},
        r"0\.weight: expected floating-point numbers, got int32",
    ),
    "booleans": (
        {"0.weight": WEIGHT, "0.bias": BIAS > 0},
        r"0\.bias: expected floating-point numbers, got bool",
    ),
    "not a number": (
        {"0.weight": WEIGHT, "0.bias": BIAS * np.nan},
        r"0\.bias: expected finite numbers, got nan",
    ),
    "beyond float32": (
        {"0.weight": WEIGHT * np.float64(-1e200), "0.bias": BIAS},
        r"0\.weight: expected finite numbers, got -inf",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_weights_that_do_not_fit_change_nothing(case: str, tmp_path: Path) -> None:
    tensors, fault = UNFIT[case]
    safetensors.write(tmp_path / "w", tensors)
    net = Sequential(Linear(2, 3))
    before = net.state_dict()
    with pytest.raises(ValueError, match=f"^{tmp_path / 'w'}: .*{fault}"):
        load_weights(net, tmp_path / "w")
    assert_same(net.state_dict(), before)


def test_messages_about_long_names_are_short(tmp_path: Path) -> None:
    safetensors.write(tmp_path / "w", {f"{i}" * 1000: BIAS for i in range(30)})
    with pytest.raises(ValueError, match="10 more, which the network does not take") as caught:
        load_weights(Sequential(Linear(2, 3)), tmp_path / "w")
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("modules", [[], ["a"], ["a", "b", "c"], "ab", 5])
def test_modules_must_be_as_many_as_the_layers_with_weights(modules: Any, tmp_path: Path) -> None:
    net = nested(0)
    with pytest.raises(ValueError, match=r"modules: expected 2 names, for the layers 0\.0, 2, got"):
        load_weights(net, tmp_path / "not read", modules)


def test_only_a_network_takes_weights(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="net: expected a Module, got int"):
        load_weights(3, tmp_path / "not read")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        load_weights(nested(0), tmp_path / "nothing")
    (tmp_path / "text").write_text("hello, this is no weight")
    with pytest.raises(ValueError, match="text: not a safetensors file: "):
        load_weights(nested(0), tmp_path / "text")
