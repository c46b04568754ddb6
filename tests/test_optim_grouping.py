"""Groups of parameters by names and by depth, and that each moves as PyTorch's does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cnn_ext import (
    SGD,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    Module,
    Parameter,
    ReLU,
    Sequential,
    Trainer,
    optim,
)
from cnn_ext.graph import Graph
from cnn_ext.optim import layer_wise, param_groups

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 2, 6, 6)), np.arange(30) % 3


def net_of() -> Sequential:
    """Two convolutions with normalisation, and a head; float64."""
    rng = np.random.default_rng(1)
    return Sequential(
        Conv2d(2, 4, 3, rng=rng), BatchNorm2d(4), ReLU(), Conv2d(4, 4, 3, bias=False, rng=rng),
        BatchNorm2d(4), ReLU(), Flatten(), Linear(16, 3, rng=rng),
    ).astype(np.float64)  # fmt: skip


def named(net: Module, groups: list[dict[str, Any]]) -> list[list[str]]:
    """What the parameters of each group are called."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in groups]


def test_each_layer_has_a_part_of_the_rate_of_the_next() -> None:
    net = net_of()
    groups = layer_wise(net, 0.1, 0.5)
    assert named(net, groups) == [
        ["7.weight", "7.bias"],
        ["3.weight", "4.weight", "4.bias"],
        ["0.weight", "0.bias", "1.weight", "1.bias"],
    ]
    assert [group["lr"] for group in groups] == [0.1, 0.05, 0.025]
    optimizer = optim.AdamW(groups)
    assert optimizer.lr == 0.1 and len(optimizer.parameters) == len(net.parameters())


def test_a_normalisation_of_the_input_belongs_to_the_first_layer() -> None:
    net = Sequential(BatchNorm2d(2), Conv2d(2, 3, 3), Conv2d(3, 4, 3, bias=False), BatchNorm2d(4))
    groups = layer_wise(net, 1.0)
    assert named(net, groups) == [
        ["2.weight", "3.weight", "3.bias"], ["0.weight", "0.bias", "1.weight", "1.bias"],
    ]  # fmt: skip
    assert layer_wise(Sequential(BatchNorm2d(2)), 1.0)[0]["lr"] == 1.0
    assert layer_wise(Sequential(ReLU()), 1.0) == []


def test_names_patterns_and_classes_choose_the_first_that_fits_counts() -> None:
    net = net_of()
    options = {"3": {"lr": 1}, "BatchNorm*.bias": {"lr": 2}, "*.bias": {"lr": 3}, "1.weight": {}}
    groups = param_groups(net, options)
    assert named(net, groups) == [
        ["0.weight", "4.weight", "7.weight"],
        ["3.weight"],
        ["1.bias", "4.bias"],
        ["0.bias", "7.bias"],
        ["1.weight"],
    ]
    assert [group.get("lr") for group in groups] == [None, 1, 2, 3, None]
    assert SGD(groups, lr=0.25).lr == 0.25
    (only,) = param_groups(net, {"*": {"lr": 1.0}})
    assert len(only["params"]) == len(net.parameters())


def test_modules_of_ones_own_and_parameters_in_lists_have_names() -> None:
    class Own(Module):
        def __init__(self) -> None:
            self.blocks = [Sequential(Linear(2, 2)), Sequential(Linear(2, 2))]
            self.gains = [Parameter(np.ones(1)), Parameter(np.ones(1))]

    net = Own()
    groups = param_groups(
        net, {"blocks.0": {"lr": 1}, "Own.gains.1": {"lr": 2}, "gains": {"lr": 3}}
    )
    assert named(net, groups) == [
        ["blocks.1.0.weight", "blocks.1.0.bias"], ["blocks.0.0.weight", "blocks.0.0.bias"],
        ["gains.1"], ["gains.0"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"8": {}}, "such as 0.weight, 0.bias, .*, got '8', which none has that is left"),
        ({"*": {}, "7.bias": {}}, "got '7.bias', which none has that is left"),
        ({"": {}}, "got '', which"),
        (["7"], "options: expected hyper-parameters by name, got"),
        ({7: {}}, "options: expected hyper-parameters by name, got"),
        ({"7": 0.1}, "options: expected hyper-parameters by name, got"),
    ],
)
def test_names_that_fit_nothing_are_refused(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        param_groups(net_of(), options)


def test_other_arguments_are_checked() -> None:
    for make in (lambda: param_groups(3, {}), lambda: layer_wise([Parameter(np.ones(1))], 0.1)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="net: expected a network, got"):
            make()
    with pytest.raises(ValueError, match="decay: expected a number above 0, up to 1, got 0"):
        layer_wise(net_of(), 0.1, 0)
    with pytest.raises(ValueError, match="decay: expected 0 to 1, got 2"):
        layer_wise(net_of(), 0.1, 2)
    with pytest.raises(ValueError, match="lr: expected 0 or more, got -1"):
        layer_wise(net_of(), -1)
    with pytest.raises(ValueError, match=r"param_groups\[1\]: missing \[\], unknown \['rate'\]"):
        SGD(param_groups(net_of(), {"7": {"rate": 1}}))


LR, DECAY = 0.01, 0.05


@pytest.mark.parametrize("kind", ["by name", "layer-wise"])
def test_steps_are_those_of_pytorch_with_the_same_groups(kind: str) -> None:
    torch = pytest.importorskip("torch")
    from torch_side import torch_network

    net = net_of()
    model = torch_network(net)
    theirs = dict(model.named_parameters())
    if kind == "by name":  # as recipes for CIFAR-10 have it
        ours = param_groups(net, {"BatchNorm2d.bias": {"lr": 64 * LR, "weight_decay": DECAY / 64}})
        biases = ["1.bias", "4.bias"]
        groups = [
            {"params": [p for name, p in theirs.items() if name not in biases]},
            {"params": [theirs[b] for b in biases], "lr": 64 * LR, "weight_decay": DECAY / 64},
        ]
    else:
        ours = layer_wise(net, 0.05, 0.5)
        groups = [
            {"params": [theirs[name] for name in names], "lr": 0.05 * 0.5**behind}
            for behind, names in enumerate(named(net, ours))
        ]
    trainer = Trainer(net, optimizer=SGD(ours, LR, 0.85, weight_decay=DECAY, nesterov=True))
    optimizer = torch.optim.SGD(groups, LR, 0.85, weight_decay=DECAY, nesterov=True)
    for start in range(0, 18, 3):
        x, y = X[start : start + 12], Y[start : start + 12]
        optimizer.zero_grad()
        cost = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        cost.backward()
        optimizer.step()
        assert abs(trainer.train_on_batch(x, y) - cost.item()) < 1e-10
    state = net.state_dict()
    for name, tensor in model.state_dict().items():
        assert_allclose(state[name], tensor.detach().numpy(), 1e-9, 1e-11, err_msg=name)


def test_a_schedule_multiplies_all_and_the_history_has_the_rate_of_the_last_layer() -> None:
    net = net_of()
    trainer = Trainer(net, optimizer=SGD(layer_wise(net, 0.1, 0.5)))
    rates: list[list[float]] = []
    step = trainer.optimizer.step

    def noting_step() -> None:
        rates.append([group["lr"] for group in trainer.optimizer.param_groups])
        step()

    trainer.optimizer.step = noting_step  # type: ignore[method-assign]
    history = trainer.fit(X, Y, 2, 15, schedule=lambda done: 1 - done, progress=False)
    factors = 1 - np.arange(4) / 4
    assert_allclose(rates, factors[:, None] * [0.1, 0.05, 0.025])
    assert_allclose(history["learning_rate"], 0.1 * factors[1::2])
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.1, 0.05, 0.025]


def test_a_graph_has_layers_too() -> None:
    graph = Graph((16,))
    rng = np.random.default_rng(0)
    for K, C in ((8, 16), (3, 8)):
        name = graph.nodes[-1].output if graph.nodes else graph.input
        graph.output = graph.add("linear", name, weights={"weight": rng.random((K, C), np.float32)})
    net = graph.module()
    groups = layer_wise(net, 0.1, 0.5)
    assert [group["params"][0].shape for group in groups] == [(3, 8), (8, 16)]
