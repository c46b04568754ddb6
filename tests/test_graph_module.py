"""An ONNX file as a network that is trained further, saved, loaded and exported again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_cases import by_lanes
from onnx_models import MODELS, model
from test_graph_simplify import assert_close, random
from test_onnx_export import run

import cnn_ext
from cnn_ext import SGD, Trainer
from cnn_ext import onnx as cnn_onnx
from cnn_ext.graph import Graph
from cnn_ext.layers import Conv2d, GraphModule, Residual, Sequential, graph_of
from cnn_ext.layers.from_graph import describe

pytest.importorskip("onnx")
RNG = np.random.default_rng(3)


def torch_net() -> Any:
    nn = pytest.importorskip("torch").nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
            self.last = nn.Linear(4 * 6 * 6, 5)
            self.slope = nn.PReLU(4)

        def forward(self, x: Any) -> Any:
            x = self.slope(self.first(x))
            y = nn.functional.silu(self.second(x)) + x
            y = nn.functional.max_pool2d(nn.functional.elu(y), 2)
            return self.last(y.flatten(1))

    return Net()


@pytest.mark.filterwarnings("ignore")  # the exporters of PyTorch give many
def test_a_file_of_pytorch_is_trained_as_there(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_net()
    x, y = random(RNG, 24, 1, 12, 12), RNG.integers(0, 5, 24)
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}, "dynamo": False}
    torch.onnx.export(theirs, (torch.tensor(x),), tmp_path / "net.onnx", **options)
    ours = cnn_onnx.load(tmp_path / "net.onnx").module()
    # PyTorch writes slopes in another shape, under another name
    named = dict(ours.named_parameters())
    slope = next(name for name in named if "PRelu" in name)
    own = {name.replace("slope.weight", slope): w for name, w in theirs.state_dict().items()}
    assert {name: p.shape for name, p in named.items()} == {name: own[name].shape for name in own}
    step = torch.optim.SGD(theirs.parameters(), lr=0.1)
    trainer = Trainer(ours, optimizer=SGD(ours.parameters(), lr=0.1))
    for _ in range(5):
        step.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        step.step()
        trainer.train_on_batch(x, y)
    for name, parameter in ours.named_parameters():
        assert np.abs(parameter.data - own[name].numpy()).max() < 1e-4, name
    # saved and read, and written for other programs
    cnn_ext.save(ours, tmp_path / "net.safetensors")
    again = cnn_ext.load(tmp_path / "net.safetensors")
    assert isinstance(again, GraphModule) and again.task == ours.task
    expected = ours.eval()(x)
    np.testing.assert_array_equal(again(x), expected)
    cnn_onnx.export(again, tmp_path / "again.onnx")
    assert_close(run(tmp_path / "again.onnx", x), expected)
    third = cnn_onnx.load(tmp_path / "again.onnx").module()
    assert dict(third.named_parameters()).keys() == dict(ours.named_parameters()).keys()


@pytest.mark.parametrize("name", MODELS)
def test_modules_of_all_models(tmp_path: Path, name: str) -> None:
    text, opset, tensors = MODELS[name]
    graph = cnn_onnx.from_model(model(text, opset, **tensors))
    net = graph.module()
    x = random(RNG, 3, *graph.input_shape)
    expected = by_lanes(graph, x)
    if graph.output_shape:
        assert_close(net(x), expected)
    config = json.loads(json.dumps(net.to_config()))
    again = GraphModule(config["graph"])
    again.load_state_dict(net.state_dict())
    assert_close(by_lanes(graph_of(again.eval(), graph.input_shape), x), expected)


def test_a_network_as_a_module_of_its_graph() -> None:
    net = Sequential(Residual(Conv2d(2, 2, 3, padding=1)), Conv2d(2, 3, 3)).eval()
    graph = graph_of(net, (2, 5, 5))
    made = graph.module()
    x = random(RNG, 3, 2, 5, 5)
    assert_close(made(x), net(x))
    assert list(dict(made.named_parameters())) == [
        "conv2d0.weight", "conv2d0.bias", "conv2d2.weight", "conv2d2.bias",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"expected images of \(2, 5, 5\), got \(2, 6, 5\)"):
        made(random(RNG, 1, 2, 6, 5))


def test_weights_that_are_used_twice_are_learned_once() -> None:
    text = """(float[N, 3] x) => (float[N, 3] y) {
    a = Gemm <transB = 1> (x, w)  b = Tanh (a)  y = Gemm <transB = 1> (b, w) }"""
    net = cnn_onnx.from_model(model(text, w=random(RNG, 3, 3))).module()
    assert [name for name, _ in net.named_parameters()] == ["w.weight"]


def test_places_are_kept_in_runs() -> None:
    graph = Graph((3, 40, 50))
    index = np.arange(6000).reshape(3, 40, 50).transpose(1, 2, 0)
    graph.add("gather", graph.input, index=np.ascontiguousarray(index))
    graph.add("gather", graph.output, index=np.full((4, 4, 4), -1), fill=1.0)
    (first, second) = describe(graph)[0]["nodes"]
    assert len(first["attributes"]["index"]["runs"]) == 2000
    assert second["attributes"]["index"]["runs"] == [[-1, 0, 64]]
    x = random(RNG, 2, 3, 40, 50)
    np.testing.assert_array_equal(graph.module()(x), np.ones((2, 4, 4, 4)))


def described() -> dict[str, Any]:
    graph = Graph((4,))
    graph.add("linear", graph.input, weights={"weight": random(RNG, 3, 4)})
    graph.add("gather", graph.output, index=np.array([0, 1]))
    return describe(graph)[0]


@pytest.mark.parametrize(
    ("where", "content"),
    [
        (("nodes", 0, "op"), "opaque"),
        (("nodes", 0, "op"), "nothing"),
        (("nodes", 0, "inputs"), [0]),
        (("nodes", 0, "inputs"), []),
        (("nodes", 0, "weights", "weight", 0), "forward"),
        (("nodes", 0, "weights", "weight", 1), [2**20, 2**20]),
        (("nodes", 0, "weights", "weight", 1), [3, -4]),
        (("nodes", 1, "attributes", "index", "shape"), [2**40]),
        (("nodes", 1, "attributes", "index", "runs"), [[0, 1, 2**40]]),
        (("nodes", 1, "attributes", "index", "runs"), [[0, 9, 2]]),
        (("output",), 2),
        (("input_shape",), [5]),
    ],
)
def test_descriptions_that_are_none(tmp_path: Path, where: Any, content: Any) -> None:
    net = GraphModule(described())
    cnn_ext.save(net, tmp_path / "net")
    here = net.graph
    for part in where[:-1]:
        here = here[part]
    here[where[-1]] = content
    state = net.state_dict()
    cnn_ext.safetensors.write(
        tmp_path / "bad", state,
        {"cnn_ext.format": "1", "cnn_ext.architecture": json.dumps(net.to_config()),
         "input_shape": "[4]"},
    )  # fmt: skip
    with pytest.raises(ValueError, match="not a network of this package"):
        cnn_ext.load(tmp_path / "bad")
