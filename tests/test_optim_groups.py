"""Groups of parameters, what an optimizer moves, its state in files, and rules of one's own."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import normal
from descent import OPTIONS
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import SGD, Adam, AdamW, Conv2d, Flatten, Linear, Parameter, RMSprop, Sequential, optim
from cnn_ext.safetensors import read, write


def ones(*shapes: tuple[int, ...]) -> list[Parameter]:
    parameters = [Parameter(np.ones(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = np.ones(parameter.data.shape)
    return parameters


def test_groups_have_rates_and_decays_of_their_own() -> None:
    a, b, c = ones((2,), (3,), (4,))
    optimizer = SGD(
        [{"params": [a], "lr": 0.5}, {"params": [b], "weight_decay": 1.0}, {"params": c}], lr=0.1
    )
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1, 0.1]
    assert optimizer.parameters == [a, b, c]
    optimizer.step()
    for parameter, value in ((a, 0.5), (b, 0.8), (c, 0.9)):
        assert_allclose(parameter.data, value)


def test_the_rate_is_that_of_the_first_group_and_moves_all() -> None:
    a, b = ones((2,), (3,))
    optimizer = SGD([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.1}])
    optimizer.lr /= 2
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.05]
    optimizer.lr = 0
    assert [group["lr"] for group in optimizer.param_groups] == [0, 0]
    optimizer.lr = 0.5
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    optimizer.param_groups[1]["lr"] = 0.01
    optimizer.step()
    assert_allclose(a.data, 0.5)
    assert_allclose(b.data, 0.99)
    optimizer.param_groups[1]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"param_groups\[1\]: lr: expected 0 or more, got -1"):
        optimizer.step()
    assert_allclose(a.data, 0.5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_no_decay_of_biases(name: str) -> None:
    net = Sequential(Conv2d(1, 2, 2), Flatten(), Linear(8, 2))
    for parameter in net.parameters():
        parameter.data[...] = 1
        parameter.grad = np.zeros_like(parameter.data)
    optimizer = getattr(optim, name)(net, lr=0.01, weight_decay=0.5, decay_biases=False)
    optimizer.step()
    assert [bool((p.data < 1).all()) for p in net.parameters()] == [True, False, True, False]
    assert optimizer.parameters == net.parameters()


def test_a_group_decides_about_its_biases() -> None:
    a, b = ones((2,), (3,))
    groups = [{"params": a}, {"params": b, "decay_biases": False}]
    SGD(groups, lr=0.1, weight_decay=1).step()
    assert_allclose(a.data, 0.8)
    assert_allclose(b.data, 0.9)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_what_is_not_trainable_stays_and_has_no_slots(name: str) -> None:
    a, b = ones((2, 2), (3,))
    a.trainable = False
    optimizer = getattr(optim, name)([a, b], weight_decay=0.1)
    optimizer.step()
    assert_array_equal(a.data, 1)
    assert (b.data < 1).all() and optimizer.state[0] == {}
    a.trainable = True
    optimizer.step()
    assert (a.data < 1).all() and optimizer.state[0]["step"] == 1
    assert copy.deepcopy(a).trainable


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (3, TypeError, "parameters: expected a network or a list of parameters, got int"),
        ([{"lr": 0.1}], ValueError, r'param_groups\[0\]: expected a dictionary with "params"'),
        (
            [{"params": [], "rate": 1}],
            ValueError,
            r"param_groups\[0\]: missing \[\], unknown \['ra",
        ),
        ([{"params": [], "lr": "x"}], TypeError, r"param_groups\[0\]: lr: expected a number"),
        ([{"params": 3}], TypeError, "parameters: expected a network or a list of parameters"),
        ([{"params": np.ones(3)}], TypeError, "parameters: expected Parameter objects, got"),
        ([Parameter(np.ones(1)), {"params": []}], TypeError, "parameters: expected Parameter obj"),
        ("weights", TypeError, "parameters: expected a network or a list"),
    ],
)
def test_groups_that_do_not_fit(groups: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        SGD(groups)


def test_a_parameter_is_in_one_group() -> None:
    (a,) = ones((2,))
    with pytest.raises(ValueError, match=r"param_groups\[1\]: a parameter is in another group"):
        SGD([{"params": [a]}, {"params": [a]}])
    optimizer = SGD([a, a], 0.1)
    optimizer.step()
    assert_allclose(a.data, 0.9)
    (b,) = ones((3,))
    optimizer.add_param_group({"params": [b], "lr": 0.2})
    optimizer.step()
    assert_allclose(b.data, 0.8)


def test_momentum_that_is_turned_on_later_begins_as_on_the_first_step() -> None:
    (a,) = ones((2,))
    optimizer = SGD([a], 1.0, dampening=0.5)
    optimizer.step()
    optimizer.momentum = 0.5
    optimizer.step()
    assert_array_equal(a.data, -1)  # not dampened
    optimizer.step()
    assert_array_equal(a.data, -2)


# ------------------------------------------------------------------------------------- files


def trained(name: str, options: dict[str, Any], steps: int, dtype: str = "float32") -> Any:
    """An optimizer of two groups after some steps."""
    parameters = [Parameter(normal(f"p{i}", (3, i), dtype)) for i in (2, 0, 5)]
    groups = [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:]}]
    optimizer = getattr(optim, name)(groups, lr=0.02, **options)
    advance(optimizer, range(steps))
    return optimizer


def advance(optimizer: Any, steps: Any) -> None:
    for step in steps:
        for parameter in optimizer.parameters:
            parameter.grad = normal(f"g{step}", parameter.data.shape, parameter.data.dtype)
        optimizer.step()


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_a_state_goes_through_a_file_and_on(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    optimizer = trained(name, options, 3)
    state = optimizer.state_dict()
    arrays = {
        f"{i}.{slot}": array
        for i, slots in state["state"].items()
        for slot, array in slots.items()
        if slot != "step"
    }
    steps = {i: slots["step"] for i, slots in state["state"].items()}
    rest = json.dumps({"steps": steps, "param_groups": state["param_groups"]})
    write(tmp_path / "optimizer.safetensors", arrays, {"optimizer": rest})

    tensors, metadata = read(tmp_path / "optimizer.safetensors")
    rest = json.loads(metadata["optimizer"])
    loaded: dict[int, dict[str, Any]] = {int(i): {"step": s} for i, s in rest["steps"].items()}
    for key, array in tensors.items():
        number, slot = key.split(".")
        loaded[int(number)][slot] = array
    other = trained(name, {}, 0)
    for mine, theirs in zip(other.parameters, optimizer.parameters, strict=True):
        mine.data[...] = theirs.data
    other.load_state_dict({"state": loaded, "param_groups": rest["param_groups"]})
    for one in (optimizer, other):
        advance(one, range(3, 6))
    for mine, theirs in zip(other.parameters, optimizer.parameters, strict=True):
        assert mine.data.tobytes() == theirs.data.tobytes()
    assert other.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_a_state_is_a_copy_and_takes_the_number_type_of_the_parameters() -> None:
    optimizer = trained("Adam", {}, 2)
    state = optimizer.state_dict()
    before = state["state"][0]["exp_avg"].copy()
    advance(optimizer, [2])
    assert_array_equal(state["state"][0]["exp_avg"], before)
    wide = trained("Adam", {}, 0, "float64")
    wide.load_state_dict(state)
    assert wide.state[0]["exp_avg"].dtype == np.float64
    assert not np.shares_memory(trained("Adam", {}, 0).state or before, before)


def spoilt(change: Any) -> dict[str, Any]:
    state = trained("Adam", {}, 2).state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("state"), KeyError, "expected 'param_groups' and 'state', got"),
        (
            lambda s: s["param_groups"].pop(),
            ValueError,
            "param_groups: expected a list of 2, got 1",
        ),
        (
            lambda s: s["param_groups"][0]["params"].pop(),
            ValueError,
            r"param_groups\[0\]: expected params \[0, 1\], got \[0\]",
        ),
        (
            lambda s: s["param_groups"][1].pop("eps"),
            ValueError,
            r"param_groups\[1\]: missing \['eps'\], unknown \[\]",
        ),
        (
            lambda s: s["param_groups"][1].update(eps=-1),
            ValueError,
            r"param_groups\[1\]: eps: expected 0 or more",
        ),
        (
            lambda s: s["state"].update({3: {}}),
            KeyError,
            r"state: expected numbers below 3, got \[3",
        ),
        (lambda s: s["state"].update({"0": {}}), KeyError, "state: expected numbers below 3"),
        (lambda s: s["state"].update({0: []}), TypeError, r"state\[0\]: expected slots by name"),
        (lambda s: s["state"][2].pop("exp_avg"), KeyError, r"state\[2\]: missing \['exp_avg'\]"),
        (
            lambda s: s["state"][2].update(v=1),
            KeyError,
            r"state\[2\]: missing \[\], unknown \['v'\]",
        ),
        (
            lambda s: s["state"][2].update(exp_avg=np.ones(3)),
            ValueError,
            r"state\[2\]\['exp_avg'\]: expected shape \(3, 5\), got \(3,\)",
        ),
        (lambda s: s["state"][2].update(exp_avg="x"), TypeError, r"state\[2\]\['exp_avg'\]"),
        (lambda s: s["state"][2].update(step=0), ValueError, r"state\[2\]\['step'\]: expected 1"),
        (
            lambda s: s["state"][2].update(step=1.5),
            TypeError,
            r"state\[2\]\['step'\]: expected a w",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(
    change: Any, error: type[Exception], message: str
) -> None:
    optimizer = trained("Adam", {"eps": 0.5}, 0)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(spoilt(change))
    assert optimizer.state == [{}, {}, {}]
    assert [group["eps"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_a_state_without_slots_is_that_of_the_beginning() -> None:
    for kind in (SGD, Adam, AdamW, RMSprop):
        optimizer = kind(ones((2,)))
        state = optimizer.state_dict()
        assert state["state"] == {} and state["param_groups"][0]["params"] == [0]
        optimizer.step()
        optimizer.load_state_dict(state)
        assert optimizer.state == [{}]


# -------------------------------------------------------------------------- rules of one's own


def test_the_rule_of_the_tutorial() -> None:
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text("utf-8")
    source = next(block for block in text.split("```python\n") if "class Lion" in block)
    names: dict[str, Any] = {}
    exec(source.split("```")[0], names)
    (a,) = ones((2, 3))
    optimizer = names["Lion"]([a], lr=0.5, weight_decay=0.1, max_norm=1.0)
    optimizer.step()
    assert_allclose(a.data, 1 - 0.5 * (1 + 0.1))
    clip = 1 / np.sqrt(6)
    assert_allclose(optimizer.state[0]["exp_avg"], 0.01 * clip, rtol=1e-5)
    assert optimizer.state_dict()["param_groups"][0]["betas"] == (0.9, 0.99)


def test_a_rule_without_update_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"^Optimizer\.update"):
        optim.Optimizer(ones((1,)), {"lr": 1.0}).step()
