"""Another last layer for networks of all kinds, and a file of PyTorch that learns other classes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, assert_same, normalised
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Module,
    ReLU,
    Residual,
    Sequential,
    Task,
    Trainer,
    load,
    new_head,
    ops,
    save,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3, 8, 8)), np.arange(40) % 5


class Own(Module):
    """A network of one's own, whose layers are not defined in the order in which they work."""

    arguments = ("classes",)

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.fc = Linear(6, classes)
        self.conv, self.norm = Conv2d(3, 6, 3), BatchNorm2d(6)

    def forward(self, x: Any) -> Any:
        x = ops.relu(self.norm(self.conv(x))).mean((2, 3))
        return ops.softmax(self.fc(x))


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "mobilenet_025", "dscnn", "airbench"])
def test_architectures_get_another_head(name: str) -> None:
    shape = (3, 32, 32)
    net = cnn_ext.architectures.build(name, shape, 10)
    before = net.state_dict()
    net.trainable = False
    new_head(net, 4, list("abcd"), input_shape=shape)
    state = net.state_dict()
    changed = [key for key in state if not np.array_equal(state[key], before[key])]
    learned = [key for key, parameter in net.named_parameters() if parameter.trainable]
    assert changed == learned and 1 <= len(learned) <= 2
    assert all(state[key].shape[0] == 4 for key in learned)
    assert net.output_shape(shape) == (4,)
    assert net.task == Task(classes=tuple("abcd"))


def test_the_head_of_a_network_of_ones_own_is_the_layer_that_works_last(tmp_path: Path) -> None:
    net = Own(5)
    new_head(net, 3, input_shape=(3, 8, 8), initializer="zeros")
    assert net.fc.out_features == 3 and net.fc.weight.shape == (3, 6)
    assert net.conv.out_channels == 6
    assert_array_equal(net.eval()(X), np.full((40, 3), 1 / 3, np.float32))


def test_classes_of_before_are_refused_with_the_cure() -> None:
    net = Own(5)
    net.task = Task("classes", classes=list("abcde"))
    net.fc = Linear(6, 2)
    with pytest.raises(ValueError, match="with a new last layer needs a new task, or None"):
        Trainer(net, "quadratic").fit(X, Y % 2, progress=False)


def test_a_convolution_before_the_mean_is_a_head_too() -> None:
    net = Sequential(Conv2d(3, 5, 3), ReLU(), Conv2d(5, 7, 1), ReLU(), GlobalAvgPool2d(), Flatten())
    net.input_shape = (3, 8, 8)
    new_head(net, 2)
    assert net.output_shape((3, 8, 8)) == (2,)
    assert net[2].out_channels == 2  # type: ignore[attr-defined]


def test_the_same_generator_gives_the_same_head() -> None:
    states = []
    for _ in range(2):
        net = normalised()
        new_head(net, 3, input_shape=(3, 8, 8), rng=np.random.default_rng(1))
        states.append(net.state_dict())
        assert net.dtype == np.float64 and net[-1].weight.data.dtype == np.float64  # type: ignore[attr-defined]
    assert_same(*states)


class Fixed(Module):
    """A network that is of five classes by more than its last layer."""

    def __init__(self) -> None:
        self.fc, self.scale = Linear(192, 5), np.arange(5.0)

    def forward(self, x: Any) -> Any:
        return self.fc(x) * self.scale


NO_HEAD: list[tuple[Any, Any, str]] = [
    (3, 2, "net: expected a Module, got int"),
    (normalised(), 0, "outputs: expected 1"),
    (normalised(), "2", "outputs: expected a whole number"),
    (Sequential(Conv2d(3, 4, 8), BatchNorm2d(4)), 2, "got them from batch_norm; put another layer"),
    (Sequential(Flatten(), ReLU()), 2, "got them from the input"),
    (Residual(Conv2d(3, 3, 1)), 2, "got them from add"),
    (Sequential(Linear(192, 5), Linear(5, 5), ChannelScale(5)), 2, "got them from opaque"),
    (Fixed(), 2, "outputs: 2 of its last layer do not fit: "),
]


@pytest.mark.parametrize("case", range(len(NO_HEAD)))
def test_where_there_is_no_head_nothing_changes(case: int) -> None:
    net, outputs, message = NO_HEAD[case]
    before = copy.deepcopy(vars(net)) if isinstance(net, Module) else None
    state = net.state_dict() if isinstance(net, Module) else {}
    with pytest.raises((TypeError, ValueError), match=message):
        new_head(net, outputs, input_shape=(3, 8, 8))
    if before is not None:
        assert_same(net.state_dict(), state)
        assert vars(net).keys() == before.keys()


def test_arguments_of_a_head_that_do_not_fit() -> None:
    net = normalised()
    with pytest.raises(ValueError, match="input_shape: expected the shape of one image"):
        new_head(net, 2)
    with pytest.raises(ValueError, match="task: 3 classes for outputs of shape"):
        new_head(net, 2, list("abc"), input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="initializer: expected one of"):
        new_head(net, 2, input_shape=(3, 8, 8), initializer="best")
    assert net.output_shape((3, 8, 8)) == (5,)
    assert net[-1].out_features == 5  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")  # the exporter of PyTorch gives many
def test_a_file_that_pytorch_wrote_learns_other_classes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(72, 10),
    ).eval()  # fmt: skip
    torch.onnx.export(model, (torch.zeros(1, 1, 8, 8),), tmp_path / "theirs.onnx", dynamo=False)
    net = cnn_ext.onnx.load(tmp_path / "theirs.onnx").module()
    before = net.state_dict()
    digits = cnn_ext.datasets.digits()
    few = digits.y_train < 3
    x, y = digits.x_train[few], digits.y_train[few]
    net.trainable = False
    new_head(net, 3, ["0", "1", "2"], rng=np.random.default_rng(0))
    trainer = Trainer(net)
    first = trainer.evaluate(x, y)["accuracy"]
    trainer.fit(x, y, epochs=10, progress=False)
    assert trainer.evaluate(x, y)["accuracy"] > max(0.7, first + 0.2)
    state = net.state_dict()
    changed = [name for name in state if not np.array_equal(state[name], before[name])]
    assert changed == ["5.weight", "5.bias"]

    cnn_ext.onnx.export(net, tmp_path / "ours.onnx")
    plan = cnn_ext.Plan(cnn_ext.onnx.load(tmp_path / "ours.onnx"))
    assert plan.task.classes == ("0", "1", "2")
    np.testing.assert_allclose(plan(x), net(x), rtol=1e-4, atol=1e-4)
    model[5] = nn.Linear(72, 3)
    model[5].load_state_dict({k: torch.from_numpy(state[f"5.{k}"]) for k in ("weight", "bias")})
    np.testing.assert_allclose(net(x), model(torch.from_numpy(x)).detach(), rtol=1e-4, atol=1e-4)
    onnx.checker.check_model(tmp_path / "ours.onnx")
    save(net, tmp_path / "net")
    assert_array_equal(load(tmp_path / "net")(x), net(x))


def test_the_example_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(__file__).parents[1] / "docs/training.md"
    if not file.exists():
        pytest.skip("no documentation beside the tests")
    section = file.read_text("utf-8").split("## Fine-tuning\n")[1].split("\n## ")[0]
    example = section.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"print": print}
    exec(example, names)
    head, whole = map(float, capsys.readouterr().out.split())
    assert head > 0.9 and whole > 0.9
    assert names["net"].task.classes == ("open", "loop")
    more = section.split("  ```python\n")[1].split("  ```")[0]
    exec(more.replace("\n  ", "\n").lstrip(), names)
    groups = names["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [0.1, 6.4]
    assert [len(group["params"]) for group in groups] == [10, 2]
