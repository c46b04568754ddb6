"""A part that stays as it is, and containers by slices."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import ChannelScale, assert_same, normalised
from numpy.testing import assert_array_equal

from cnn_ext import (
    SGD,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    Softmax,
    Task,
    Trainer,
    load,
    save,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3, 8, 8)), np.arange(40) % 5


# ---------------------------------------------------------------------- what stays as it is


def test_a_body_that_is_not_trained_is_that_of_pytorch_in_evaluation_mode() -> None:
    torch = pytest.importorskip("torch")
    from torch_side import torch_network

    plain = Sequential(*normalised()[:4], Conv2d(6, 4, 3, dtype=np.float64), Flatten())
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
    net = normalised()
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
    net = normalised()
    net[0].trainable = net[1].trainable = False
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [p.trainable for p in made.parameters()] == [False] * 4 + [True] * 4
        assert not made[1].trainable and made[4].trainable
    save(net, tmp_path / "net")
    assert all(p.trainable for p in load(tmp_path / "net").parameters())


def test_a_checkpoint_has_what_is_trainable_and_the_metrics(tmp_path: Path) -> None:
    def fit(trainer: Trainer, epochs: int) -> Any:
        return trainer.fit(
            X, Y, epochs, validation_split=0.25, metrics=["f1"], progress=False,
            checkpoint=tmp_path / "training",
        )  # fmt: skip

    def frozen(net: Sequential) -> Trainer:
        net[:-1].trainable = False
        return Trainer(net)

    whole = normalised()
    history = fit(frozen(whole), 3)
    fit(frozen(normalised()), 1)
    net = normalised()
    trainer = Trainer(net)
    trainer.resume(tmp_path / "training")
    assert [layer.trainable for layer in net] == [False] * 7 + [True]
    assert fit(trainer, 3)["validation_f1"] == history["validation_f1"]
    assert_same(net.state_dict(), whole.state_dict())


def test_the_summary_says_how_much_stays(capsys: pytest.CaptureFixture[str]) -> None:
    net = normalised()
    net.summary((3, 8, 8))
    assert "not trainable" not in capsys.readouterr().out
    net[:-1].trainable = False
    net.summary((3, 8, 8))
    assert capsys.readouterr().out.splitlines()[-1].split() == ["not", "trainable", "510"]


def test_gradients_of_before_are_gone() -> None:
    net = normalised()
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
    net = normalised()
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
    net = normalised().eval()
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
    net = normalised()
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
