"""Against PyTorch: names and defaults, weights both ways, gradients and descents of whole networks.

What needs PyTorch runs where it is installed; its stored figures are compared everywhere.
"""

from __future__ import annotations

import inspect
import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import parity
import pytest
from cases import normal
from numpy.testing import assert_array_equal
from parity import DESCENTS, SHAPES, Figures, network, our_descent, our_gradients, prints

import cnn_ext

# PyTorch says that an even kernel with padding "same" costs it a copy
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
with_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
FIGURES = json.loads(parity.STORED.read_text())["figures"]
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
DTYPES = sorted(TOLERANCE)


def assert_agree(ours: Figures, theirs: Figures, tolerance: float) -> None:
    """Every array to the tolerance, relative to its greatest entry."""
    assert ours.keys() == theirs.keys()
    errors = {}
    for key, expected in theirs.items():
        assert np.shape(ours[key]) == np.shape(expected), key
        scale = float(np.abs(expected).max()) or 1.0
        errors[key] = float(np.abs(ours[key] - np.asarray(expected)).max()) / scale
    wrong = {key: error for key, error in errors.items() if not error < tolerance}
    assert not wrong, wrong


# --------------------------------------------------------------------------- stored figures


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_gradients_agree_with_the_stored_figures(name: str, dtype: str) -> None:
    ours = prints(our_gradients(name, dtype))
    assert_agree(as_arrays(ours), as_arrays(FIGURES[name]["gradients"]), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descent", DESCENTS)
@pytest.mark.parametrize("name", SHAPES)
def test_descents_agree_with_the_stored_figures(name: str, descent: str, dtype: str) -> None:
    ours = prints(our_descent(name, descent, dtype))
    assert_agree(as_arrays(ours), as_arrays(FIGURES[name][descent]), TOLERANCE[dtype])


def as_arrays(stored: dict[str, list[float]]) -> Figures:
    return {key: np.array(numbers) for key, numbers in stored.items()}


def test_the_figures_notice_a_wrong_gradient() -> None:
    wrong = our_gradients("mixed", "float64")
    wrong["3.weight"] = wrong["3.weight"].copy()
    wrong["3.weight"][2, 0, 1, 1] *= 1.001
    with pytest.raises(AssertionError, match=r"3\.weight"):
        stored = as_arrays(FIGURES["mixed"]["gradients"])
        assert_agree(as_arrays(prints(wrong)), stored, TOLERANCE["float64"])


# ------------------------------------------------------------------------------ live figures


@with_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_all_gradients_agree(name: str, dtype: str) -> None:
    from torch_side import their_gradients

    assert_agree(our_gradients(name, dtype), their_gradients(name, dtype), TOLERANCE[dtype])


@with_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descent", DESCENTS)
@pytest.mark.parametrize("name", SHAPES)
def test_all_weights_agree_after_ten_steps(name: str, descent: str, dtype: str) -> None:
    from torch_side import their_descent

    ours, theirs = our_descent(name, descent, dtype), their_descent(name, descent, dtype)
    assert_agree(ours, theirs, TOLERANCE[dtype])


@with_torch
@pytest.mark.parametrize("name", SHAPES)
def test_the_stored_figures_are_pytorchs(name: str) -> None:
    from torch_side import their_descent, their_gradients

    live = {"gradients": prints(their_gradients(name, "float64"))}
    live |= {descent: prints(their_descent(name, descent, "float64")) for descent in DESCENTS}
    assert live.keys() == FIGURES[name].keys()
    for key, figures in live.items():
        assert_agree(as_arrays(figures), as_arrays(FIGURES[name][key]), TOLERANCE["float64"])


# ------------------------------------------------------------------------- names and defaults

# what PyTorch has and this package does not: nothing of it changes the numbers of a layer
LEFT_OUT = {
    "inplace", "padding_mode", "device", "dtype", "return_indices", "divisor_override", "start_dim",
    "end_dim", "maximize", "foreach", "differentiable", "fused", "amsgrad", "capturable",
    "decoupled_weight_decay",
}  # fmt: skip
OURS = {"initializer", "rng", "dtype", "decay_biases", "max_norm", "max_value"}
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop"]
OTHERWISE = {("Softmax", "dim"): 1, ("SGD", "lr"): 0.01}  # defaults that differ


@with_torch
@pytest.mark.parametrize(
    "name",
    [
        "Conv2d",
        "MaxPool2d",
        "AvgPool2d",
        "ReLU",
        "LeakyReLU",
        "Sigmoid",
        "Tanh",
        "Softmax",
        "Flatten",
        "Linear",
        "Dropout",
        *OPTIMIZERS,
    ],
)
def test_arguments_are_pytorchs(name: str) -> None:
    import torch

    home = torch.optim if name in OPTIMIZERS else torch.nn
    theirs = [
        parameter
        for parameter in inspect.signature(getattr(home, name)).parameters.values()
        if parameter.kind is not parameter.VAR_POSITIONAL and parameter.name != "kwargs"
    ]
    ours = {
        parameter.name: parameter
        for parameter in inspect.signature(getattr(cnn_ext, name)).parameters.values()
        if parameter.name not in OURS
    }
    if name in OPTIMIZERS:  # the one name that is spelt out
        assert theirs.pop(0).name == "params" and ours.pop("parameters")
    shared = [parameter for parameter in theirs if parameter.name not in LEFT_OUT]
    assert [parameter.name for parameter in shared] == list(ours)
    for place, parameter in enumerate(theirs):
        if parameter.name in LEFT_OUT:
            continue
        mine = ours[parameter.name]
        default = OTHERWISE.get((name, parameter.name), parameter.default)
        assert mine.default == default
        if mine.kind is mine.POSITIONAL_OR_KEYWORD:  # then in the same place
            assert list(ours).index(parameter.name) == place


# ----------------------------------------------------------------------------------- weights


@with_torch
@pytest.mark.parametrize(
    ("name", "shape"), [("lenet5", (1, 28, 28)), ("nielsen", (1, 28, 28)), ("vgg6", (3, 32, 32))]
)
def test_weights_move_both_ways(name: str, shape: tuple[int, int, int]) -> None:
    import torch
    from torch_side import torch_network

    net = cnn_ext.architectures.build(name, shape, 10, rng=np.random.default_rng(0)).eval()
    model = torch_network(net)
    theirs = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert {key: array.shape for key, array in net.state_dict().items()} == theirs
    assert list(net.state_dict()) == list(theirs)

    x = normal(name, (2, *shape), np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    assert_agree({"y": net(x)}, {"y": expected}, 1e-5)

    back: Any = cnn_ext.architectures.build(name, shape, 10, initializer="zeros").eval()
    back.load_state_dict(model.state_dict())
    assert_array_equal(back(x), net(x))


@with_torch
@pytest.mark.parametrize("kind", ["Conv2d", "Linear"])
def test_first_weights_are_drawn_from_pytorchs_range(kind: str) -> None:
    import torch

    arguments = (8, 64, 5) if kind == "Conv2d" else (200, 300)
    theirs = getattr(torch.nn, kind)(*arguments)
    ours = getattr(cnn_ext, kind)(*arguments, rng=np.random.default_rng(0))
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        values = other.detach().numpy()
        assert abs(np.abs(mine.data).max() / np.abs(values).max() - 1) < 0.1
        assert abs(mine.data.std() / values.std() - 1) < 0.25


def test_a_network_of_the_table_is_the_same_at_every_call() -> None:
    for name in SHAPES:
        a, b = network(name, "float64").state_dict(), network(name, "float64").state_dict()
        for key, array in a.items():
            assert_array_equal(array, b[key])
