"""A part that stays as it is, containers by slices, another last layer, and weights that fit."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, assert_same
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import (
    SGD,
    BatchNorm2d,
    Buffer,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Softmax,
    Task,
    Trainer,
    load,
    load_weights,
    new_head,
    ops,
    safetensors,
    save,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3, 8, 8)), np.arange(40) % 5


def net_of(classes: int = 5, seed: int = 0) -> Sequential:
    """Convolutions with batch normalisation, and statistics of some batches; float64."""
    rng = np.random.default_rng(seed)
    net = Sequential(
        Conv2d(3, 6, 3, padding=1, rng=rng), BatchNorm2d(6), ReLU(), MaxPool2d(2),
        Residual(Sequential(Conv2d(6, 6, 3, padding=1, rng=rng), BatchNorm2d(6, affine=False))),
        ReLU(), Flatten(), Linear(96, classes, rng=rng),
    ).astype(np.float64)  # fmt: skip
    for _ in range(2):
        net(rng.standard_normal((9, 3, 8, 8)) + 1)
    return net


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


# ---------------------------------------------------------------------- what stays as it is


def test_a_body_that_is_not_trained_is_that_of_pytorch_in_evaluation_mode() -> None:
    torch = pytest.importorskip("torch")
    from torch_side import torch_network

    plain = Sequential(*net_of()[:4], Conv2d(6, 4, 3, dtype=np.float64), Flatten())
    net = Sequential(*plain, Linear(16, 5, dtype=np.float64))
    model = torch_network(net)
    net[:-1].trainable = False
    model[:-1].requires_grad_(False).eval()
    trainer = Trainer(net, optimizer=SGD(net, 0.05, momentum=0.9, weight_decay=0.01))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    for start in (0, 7, 20):
        x, y = X[start : start + 19], Y[start : start + 19]
        optimizer.zero_grad()
        cost = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        cost.backward()
        optimizer.step()
        assert abs(trainer.train_on_batch(x, y) - cost.item()) < 1e-12
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(net.state_dict()[name], tensor.numpy(), 1e-10, 1e-12, str(name))


@pytest.mark.parametrize("images", [3, 40])  # layer by layer, and recorded
def test_parameters_and_statistics_stay_until_they_are_trainable_again(images: int) -> None:
    net = net_of()
    before = net.state_dict()
    net[:-1].trainable = False
    assert [layer.trainable for layer in net] == [False] * 7 + [True] and net.trainable
    trainer = Trainer(net, optimizer="adam")
    trainer.fit(X[:images], Y[:images], 2, progress=False)
    moved = [name for name, array in net.state_dict().items() if (array != before[name]).any()]
    assert moved == ["7.weight", "7.bias"]
    net.trainable = True
    trainer.train_on_batch(X, Y)
    after = net.state_dict()
    assert all((after[name] != before[name]).any() for name in before)


def test_a_batch_of_one_number_a_channel_will_do_where_statistics_stay() -> None:
    net = Sequential(Conv2d(3, 4, 8), BatchNorm2d(4), Flatten(), Linear(4, 5))
    with pytest.raises(ValueError, match="expected more than one number a channel in training"):
        Trainer(net).train_on_batch(X[:1], Y[:1])
    net[1].trainable = False
    Trainer(net).train_on_batch(X[:1], Y[:1])


def test_dropout_goes_on_in_a_part_that_is_not_trained() -> None:
    net = Sequential(Dropout(0.5), Linear(8, 2))
    net[:1].trainable = False
    assert (net.train()(np.ones((9, 8), np.float32)) != net.eval()(np.ones((9, 8)))).any()


def test_what_is_set_is_kept_by_copies_and_not_by_files(tmp_path: Path) -> None:
    net = net_of()
    net[0].trainable = net[1].trainable = False
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [p.trainable for p in made.parameters()] == [False] * 4 + [True] * 4
        assert not made[1].trainable and made[4].trainable
    save(net, tmp_path / "net")
    assert all(p.trainable for p in load(tmp_path / "net").parameters())


def test_the_summary_says_how_much_stays(capsys: pytest.CaptureFixture[str]) -> None:
    net = net_of()
    net.summary((3, 8, 8))
    assert "not trainable" not in capsys.readouterr().out
    net[:-1].trainable = False
    net.summary((3, 8, 8))
    assert capsys.readouterr().out.splitlines()[-1].split() == ["not", "trainable", "510"]


def test_gradients_of_before_are_gone() -> None:
    net = net_of()
    Trainer(net).train_on_batch(X, Y)
    assert net[0].weight.grad is not None  # type: ignore[attr-defined]
    net[:-1].trainable = False
    assert [p.grad is None for p in net.parameters()] == [True] * 6 + [False] * 2


def test_layers_of_ones_own_are_not_asked_for_gradients_that_nobody_wants() -> None:
    scale = ChannelScale(3)
    net = Sequential(scale, Flatten(), Linear(192, 5))
    scale.trainable = False
    before = scale.gain.data.copy()
    Trainer(net).train_on_batch(X, Y)
    assert scale.gain.grad is None
    assert_array_equal(scale.gain.data, before)


def test_nothing_to_train_is_said() -> None:
    net = net_of()
    net.trainable = False
    trainer = Trainer(net)
    assert trainer.evaluate(X, Y)["cost"] > 0
    message = "optimizer: expected at least one parameter that is trainable"
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, Y, progress=False)
    with pytest.raises(ValueError, match=message):
        trainer.train_on_batch(X, Y)
    with pytest.raises(TypeError, match="trainable: expected a bool, got 'no'"):
        net.trainable = "no"  # type: ignore[assignment]


# ---------------------------------------------------------------------------------- containers


def test_a_slice_is_a_container_that_shares_its_layers() -> None:
    net = net_of().eval()
    body = net[:-1]
    assert type(body) is Sequential and list(body) == list(net)[:-1] and not body.training
    assert_array_equal(net[-1](body(X)), net(X))
    branches = Concat(ReLU(), Flatten(), ReLU())
    assert type(branches[::2]) is Concat and len(branches[::2]) == 2

    class Classifier(Sequential):
        def __init__(self) -> None:
            super().__init__(Linear(4, 3), Softmax())

    assert type(Classifier()[:1]) is Sequential


def test_another_layer_takes_a_place_and_the_last_one_the_task() -> None:
    net = net_of()
    Trainer(net, task=Task(classes=list("abcde"))).train_on_batch(X, Y)
    net[0] = Conv2d(3, 6, 3, padding=1, dtype=np.float64)
    assert net.task is not None and net.task.classes == tuple("abcde")
    net[-1] = Linear(96, 2, dtype=np.float64)
    assert net.task is None
    Trainer(net).fit(X, Y % 2, progress=False)
    assert net.task is not None and net.task.kind == "classes"
    with pytest.raises(IndexError):
        net[8] = ReLU()
    with pytest.raises(TypeError, match="layer 7: expected a Module, got list"):
        net[-1] = [ReLU()]  # type: ignore[assignment]
    with pytest.raises(TypeError):
        net[:1] = ReLU()  # type: ignore[index]
    assert len(net) == 8 and isinstance(net[-1], Linear)


def test_classes_of_before_are_refused_with_the_cure() -> None:
    net = Own(5)
    net.task = Task("classes", classes=list("abcde"))
    net.fc = Linear(6, 2)
    with pytest.raises(ValueError, match="with a new last layer needs a new task, or None"):
        Trainer(net, "quadratic").fit(X, Y % 2, progress=False)


# ------------------------------------------------------------------------------- another head


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


def test_a_convolution_before_the_mean_is_a_head_too() -> None:
    net = Sequential(Conv2d(3, 5, 3), ReLU(), Conv2d(5, 7, 1), ReLU(), GlobalAvgPool2d(), Flatten())
    net.input_shape = (3, 8, 8)
    new_head(net, 2)
    assert net.output_shape((3, 8, 8)) == (2,)
    assert net[2].out_channels == 2  # type: ignore[attr-defined]


def test_the_same_generator_gives_the_same_head() -> None:
    states = []
    for _ in range(2):
        net = net_of()
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
    (net_of(), 0, "outputs: expected 1"),
    (net_of(), "2", "outputs: expected a whole number"),
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
    net = net_of()
    with pytest.raises(ValueError, match="input_shape: expected the shape of one image"):
        new_head(net, 2)
    with pytest.raises(ValueError, match="task: 3 classes for outputs of shape"):
        new_head(net, 2, list("abc"), input_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="initializer: expected one of"):
        new_head(net, 2, input_shape=(3, 8, 8), initializer="best")
    assert net.output_shape((3, 8, 8)) == (5,)
    assert net[-1].out_features == 5  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------ weights that fit


def test_what_fits_is_taken_and_the_rest_is_told(tmp_path: Path) -> None:
    theirs, net = net_of(10, seed=1), net_of(5, seed=2)
    state = theirs.state_dict()
    save(theirs, tmp_path / "net")
    del state["0.bias"]
    state["8.weight"] = np.zeros((2, 2))
    safetensors.write(tmp_path / "some", state)
    before = net.state_dict()
    for take in (
        lambda: net.load_state_dict(state, strict=False),
        lambda: load_weights(net, tmp_path / "some", strict=False),
    ):
        net.load_state_dict(before)
        report = take()
        assert report.missing_keys == ("0.bias",)
        assert report.unexpected_keys == ("8.weight",)
        assert report.mismatched_keys == {
            "7.weight": ((5, 96), (10, 96)), "7.bias": ((5,), (10,)),
        }  # fmt: skip
        assert not report.complete
        assert len(report.loaded_keys) == len(before) - 3
        for name, array in net.state_dict().items():
            assert_array_equal(array, (state if name in report.loaded_keys else before)[name])
        assert str(report) == (
            f"loaded {len(before) - 3} of {len(before)} arrays\n"
            "  missing: 0.bias\n"
            "  of other shapes: 7.weight (5, 96), given (10, 96), 7.bias (5,), given (10,)\n"
            "  unexpected: 8.weight"
        )
    report = load_weights(net_of(10), tmp_path / "net")
    assert report.complete and str(report) == f"loaded {len(before)} of {len(before)} arrays"
    for name in ("0.bias", "8.weight"):
        with pytest.raises(KeyError, match=name):
            net.load_state_dict(state)
        with pytest.raises(ValueError, match=name):
            load_weights(net, tmp_path / "some")


def test_where_nothing_fits_it_is_an_error_that_says_what_there_is(tmp_path: Path) -> None:
    net = net_of()
    before = net.state_dict()
    state = {f"backbone.{name}": array for name, array in before.items()}
    safetensors.write(tmp_path / "w", state)
    message = r"got none: loaded 0 of 14 arrays\n  missing: 0\.weight, .*\n  unexpected: backbone"
    with pytest.raises(ValueError, match=f"^state: expected .* fits, {message}"):
        net.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'w'}: expected .* fits, {message}"):
        load_weights(net, tmp_path / "w", strict=False)
    wrong = {**before, "7.bias": np.full(5, "a")}
    for strict in (True, False):
        with pytest.raises(TypeError, match=r"7\.bias: expected real numbers"):
            net.load_state_dict({**wrong, "0.bias": np.ones(6)}, strict=strict)
    safetensors.write(tmp_path / "w", {**before, "7.bias": np.full(5, np.nan)})
    with pytest.raises(ValueError, match=r"7\.bias: expected finite numbers"):
        load_weights(net, tmp_path / "w", strict=False)
    assert_same(net.state_dict(), before)


def test_whole_numbers_are_taken_for_buffers_alone(tmp_path: Path) -> None:
    net = net_of()
    state = net.state_dict()
    state["1.num_batches_tracked"] = np.array(7)  # as PyTorch has it
    safetensors.write(tmp_path / "w", state)
    load_weights(net, tmp_path / "w")
    assert net.state_dict()["1.num_batches_tracked"] == 7.0
    safetensors.write(tmp_path / "w", {**state, "7.bias": np.arange(5)})
    with pytest.raises(ValueError, match=r"7\.bias: expected floating-point numbers, got int64"):
        load_weights(net, tmp_path / "w")


def test_many_names_are_cut_short() -> None:
    class Many(Module):
        def __init__(self) -> None:
            self.first = Parameter(np.zeros(1))
            self.rest = [Buffer(np.zeros(1)) for _ in range(50)]

    report = Many().load_state_dict({"first": np.ones(1)}, strict=False)
    assert "rest.19, 30 more" in str(report) and len(str(report)) < 400


def test_files_of_pytorch_itself_are_refused_with_the_cure(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_side import torch_network

    net = Sequential(Linear(2, 3))
    model = torch_network(net)
    for new in (True, False):
        torch.save(model.state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=new)
        for read in (load, lambda path: load_weights(net, path)):
            with pytest.raises(ValueError, match="pickles are not read; safetensors.torch.save_fi"):
                read(tmp_path / "w.pt")
    other = Sequential(Linear(2, 3))
    assert other.load_state_dict(model.state_dict()).complete
    assert_same(other.state_dict(), net.state_dict())


# ------------------------------------------------------------------------ a file of PyTorch


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
    exec("lr, decay = 0.1, 5e-4\n" + more.replace("\n  ", "\n").lstrip(), names)
    groups = names["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [0.1, 6.4]
    assert [len(group["params"]) for group in groups] == [10, 2]
