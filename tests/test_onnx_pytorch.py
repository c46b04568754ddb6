"""`cnn_ext.onnx.load` of what both exporters of PyTorch write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graph_reference
import numpy as np
import pytest
from onnx_cases import by_lanes

from cnn_ext import onnx as cnn_onnx

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
nn = torch.nn


def torch_networks() -> dict[str, Any]:
    """Networks as people write them, and the shape of their images."""

    class LeNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.three, self.four = nn.Linear(400, 30), nn.Linear(30, 10)

        def forward(self, x: Any) -> Any:
            x = nn.functional.avg_pool2d(torch.tanh(self.one(x)), 2)
            x = nn.functional.avg_pool2d(torch.tanh(self.two(x)), 2)
            x = torch.tanh(self.three(x.view(x.size(0), -1)))
            return torch.log_softmax(self.four(x), 1)

    class Block(nn.Module):
        def __init__(self, C: int, K: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(C, K, 3, stride, 1, bias=False), nn.BatchNorm2d(K), nn.ReLU(),
                nn.Conv2d(K, K, 3, 1, 1, bias=False), nn.BatchNorm2d(K),
            )  # fmt: skip
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(C, K, 1, stride, bias=False), nn.BatchNorm2d(K)
                )

        def forward(self, x: Any) -> Any:
            return torch.relu(self.body(x) + self.shortcut(x))

    def mobile(C: int, K: int, kernel: int, stride: int, groups: int = 1) -> list[Any]:
        conv = nn.Conv2d(C, K, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(K), nn.ReLU6()]

    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean([2, 3])

    torch.manual_seed(0)
    networks = {
        "lenet": (LeNet(), (1, 28, 28)),
        "vgg": (
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
                nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16),
                nn.LeakyReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 40), nn.ReLU(),
                nn.Dropout(), nn.Linear(40, 10), nn.Softmax(1),
            ),
            (3, 16, 16),
        ),
        "resnet": (
            nn.Sequential(
                nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                nn.MaxPool2d(3, 2, 1), Block(8, 8, 1), Block(8, 16, 2), nn.AdaptiveAvgPool2d(1),
                nn.Flatten(), nn.Linear(16, 10),
            ),
            (3, 32, 32),
        ),
        "mobilenet": (
            nn.Sequential(
                *mobile(3, 8, 3, 2), *mobile(8, 8, 3, 1, 8), *mobile(8, 16, 1, 1),
                *mobile(16, 16, 3, 2, 16), nn.Conv2d(16, 12, 1), nn.BatchNorm2d(12), Mean(),
                nn.Dropout(0.2), nn.Linear(12, 7),
            ),
            (3, 32, 32),
        ),
    }  # fmt: skip
    for net, _ in networks.values():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        net.eval()
    return networks


@pytest.mark.filterwarnings("ignore")  # the exporters of PyTorch give many
@pytest.mark.parametrize("way", ["new", "old", "old, batch of one"])
@pytest.mark.parametrize("name", ["lenet", "vgg", "resnet", "mobilenet"])
def test_files_of_pytorch(tmp_path: Path, name: str, way: str) -> None:
    path = tmp_path / "net.onnx"
    net, shape = torch_networks()[name]
    x = torch.randn(3, *shape)
    more: dict[str, Any] = {"dynamo": False}
    if way == "new":
        pytest.importorskip("onnxscript")
        batch = torch.export.Dim("batch")
        more = {"dynamo": True, "dynamic_shapes": ({0: batch},), "verbose": False}
    elif way == "old":
        more |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(net, (x[:1] if "one" in way else x,), path, **more)
    assert way != "new" or (tmp_path / "net.onnx.data").is_file()  # its weights lie beside it
    graph = cnn_onnx.load(path)
    assert graph.input_shape == shape
    assert not {"mul", "gather"} & {node.op for node in graph.nodes}
    expected = net(x).detach().numpy()
    y = graph_reference.run(graph, x.numpy())
    assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()


def small_networks() -> dict[str, Any]:
    """Layers of which the exporter makes other operators, for values of (4, 16, 16)."""
    functional = nn.functional
    layers = [
        nn.ELU(0.5), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Hardswish(),
        nn.Hardsigmoid(), nn.Softplus(), nn.Softplus(2.0), nn.Softsign(), nn.Mish(), nn.PReLU(4),
        nn.CELU(0.5), nn.ReLU6(), nn.Tanhshrink(), nn.LogSigmoid(), nn.Softmax2d(),
        nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([16, 16]),
        nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.PixelShuffle(2), nn.PixelUnshuffle(2),
        nn.UpsamplingBilinear2d(scale_factor=2), nn.UpsamplingNearest2d(scale_factor=3),
        nn.Upsample(scale_factor=1.5, mode="bicubic"), nn.ReflectionPad2d(2),
        nn.AdaptiveAvgPool2d(4), nn.AdaptiveMaxPool2d(1), nn.LocalResponseNorm(3, 0.5),
    ]  # fmt: skip
    functions = {
        "normalize": lambda h: functional.normalize(h, dim=1),
        "chunk": lambda h: torch.cat([torch.relu(part) for part in h.chunk(2, 1)][::-1], 1),
        "logsumexp": lambda h: h.logsumexp(1),
        "deviation": lambda h: h.std((2, 3)),
        "quotient": lambda h: h / (h.abs() + 1),
        "greatest and least": lambda h: torch.maximum(h[:, :2], h[:, 2:]) - h.amin(1, True),
        "power": lambda h: (h.abs() + 0.1) ** 1.5,
        "attention": lambda h: h * torch.sigmoid(h.mean((2, 3), keepdim=True)),
        "flip": lambda h: h.flip(3),
        "squeeze": lambda h: h.amax(1, keepdim=True).squeeze(1),
        "interpolate": lambda h: functional.interpolate(h, size=h.shape[-1] + 3, mode="bilinear"),
    }

    class Function(nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Any) -> Any:
            return self.function(x)

    named = {repr(layer): layer for layer in layers}
    return named | {name: Function(function) for name, function in functions.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", small_networks())
def test_layers_of_pytorch(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), small_networks()[name]).eval()
    x = torch.randn(3, 3, 16, 16)
    more = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", **more)
    expected = net(x).detach().numpy()
    graph = cnn_onnx.load(tmp_path / "net.onnx")
    y = by_lanes(graph, x.numpy())
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
