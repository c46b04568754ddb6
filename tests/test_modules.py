"""Modules of one's own: what `forward` may say, what is refused by name, when it is traced anew."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import check_layer
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    SGD,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Trainer,
    ops,
)
from cnn_ext.layers.tracing import trace_of
from cnn_ext.ops.loss import KERNELS

X = np.random.default_rng(0).standard_normal((19, 3, 6, 6))
Y = np.arange(19) % 4


CALLS: list[Any] = []  # of Net.forward; an attribute that counts would be one that changes


class Block(Module):
    """Two convolutions and what came in, as one writes it in PyTorch."""

    arguments = ("c",)

    def __init__(self, c: int) -> None:
        self.c = c
        self.a, self.b = Conv2d(c, c, 3, padding=1), Conv2d(c, c, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return ops.relu(x + self.b(ops.relu(self.a(x))))


class Net(Module):
    """A whole network that is no `Sequential`."""

    arguments = ("width",)

    def __init__(self, width: int) -> None:
        self.width = width
        self.first = Conv2d(3, width, 3, padding=1)
        self.blocks = [Block(width), Block(width)]
        self.last = Linear(width, 4)

    def forward(self, x: Any) -> Any:
        CALLS.append(x)
        x = ops.relu(self.first(x))
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean((2, 3)))


def test_a_network_of_ones_own_from_training_to_files(tmp_path: Path) -> None:
    cnn_ext.seed(7)
    net = Net(4)
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1, 0.9))
    costs = trainer.fit(X, Y, 25, 8, progress=False)["cost"]
    assert costs[-1] < 0.9 * costs[0]
    assert [name for name, _ in net.named_parameters()][:4] == [
        "first.weight", "first.bias", "blocks.0.a.weight", "blocks.0.a.bias",
    ]  # fmt: skip
    x = X.astype("f4")
    plan = net.eval().compile((3, 6, 6))
    assert_array_equal(plan(x), net(x))
    assert_array_equal(np.stack([plan(image) for image in x]), net(x))
    cnn_ext.save(net, tmp_path / "net.safetensors")
    back = cnn_ext.load(tmp_path / "net.safetensors", custom={"Net": Net})
    assert type(back) is Net
    assert_array_equal(back(x), net(x))
    for same in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_array_equal(same(x), net(x))


def test_the_gradient_of_a_block() -> None:
    check_layer(Block(3).astype("float64"), X[:5])
    check_layer(Residual(Block(3), Conv2d(3, 3, 1)).astype("float64"), X[:5])


def test_forward_is_called_once_for_each_shape_mode_and_number_type() -> None:
    net = Net(4).eval()
    x = X.astype("f4")
    CALLS.clear()
    for times in (1, 1, 2, 3):
        for _ in range(3):
            net(x if times < 2 else x[:, :, :5])
            net.train(times == 3)(x[:1] if times < 2 else x[:1, :, :5])
        assert len(CALLS) == times


def test_an_attribute_that_changes_is_seen() -> None:
    class Scaled(Module):
        def __init__(self) -> None:
            self.factor = 2.0
            self.table = np.ones(3)
            self.steps: list[Any] = []
            self.linear = Linear(3, 3, dtype="float64")

        def forward(self, x: Any) -> Any:
            for step in self.steps:
                x = step(x)
            return self.linear(x * self.factor * self.table)

    net, x = Scaled().eval(), np.random.default_rng(1).standard_normal((5, 3))
    plain = x @ net.linear.weight.data.T * 2 + net.linear.bias.data  # type: ignore[union-attr]
    assert_allclose(net(x), plain, rtol=1e-12)
    net.factor = 1.0
    bias = net.linear.bias.data  # type: ignore[union-attr]
    assert_allclose(net(x), (plain - bias) / 2 + bias, rtol=1e-12)
    net.table[:] = 0  # in place
    assert_allclose(net(x), np.broadcast_to(bias, (5, 3)), rtol=1e-12)
    net.table[:] = 1
    net.steps.append(lambda x: x * 2.0)
    assert_allclose(net(x), plain, rtol=1e-12)
    net.linear = Linear(3, 3, dtype="float64")
    assert np.abs(net(x) - plain).max() > 1e-3


def test_a_value_that_is_used_often_sums_its_gradients() -> None:
    class Often(Module):
        def __init__(self) -> None:
            self.conv = Conv2d(3, 3, 3, padding=1, dtype="float64")

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return y + y + self.conv(y) * y - x

    check_layer(Often(), X[:3])


def test_several_inputs_and_outputs() -> None:
    class Two(Module):
        def __init__(self) -> None:
            self.a, self.b = Linear(3, 4, dtype="float64"), Linear(2, 4, dtype="float64")

        def forward(self, x: Any, y: Any) -> Any:
            z = self.a(x) + self.b(y)
            return {"sum": z, "relu": ops.relu(z)}

    net, rng = Two(), np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    out = net(x, y)
    z = x @ net.a.weight.data.T + net.a.bias.data + y @ net.b.weight.data.T + net.b.bias.data  # type: ignore[union-attr]
    assert list(out) == ["sum", "relu"]
    assert_allclose(out["sum"], z, rtol=1e-12)
    assert_allclose(out["relu"], np.maximum(z, 0), rtol=1e-12)
    first, second = rng.standard_normal((2, 5, 4))
    dx, dy = net.backward({"sum": first, "relu": second})
    dz = first + second * (z > 0)
    assert_allclose(dx, dz @ net.a.weight.data, rtol=1e-12)
    assert_allclose(dy, dz @ net.b.weight.data, rtol=1e-12)
    assert_allclose(net.a.weight.grad, dz.T @ x, rtol=1e-12)
    assert list(net.eval()(x, y)) == ["sum", "relu"]


def test_what_is_not_trained_costs_nothing_and_stays() -> None:
    net = Sequential(Conv2d(3, 4, 3), ReLU(), Conv2d(4, 4, 3), Flatten(), Linear(16, 4))
    for name, parameter in net.named_parameters():
        parameter.trainable = not name.startswith("0.")
    before = net.state_dict()
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1))
    trainer.train_on_batch(X, Y)
    assert net[0].weight.grad is None  # type: ignore[attr-defined]
    after = net.state_dict()
    assert_array_equal(after["0.weight"], before["0.weight"])
    assert (after["2.weight"] != before["2.weight"]).any()
    trace = trace_of(net, None, [(3, 6, 6)], np.dtype("f4"))
    program = trace.program([X.astype("f4")], ((KERNELS[ops.cross_entropy], 1.0),))
    assert program is not None and len(program.parameters) == 4


# -------------------------------------------------------------------------- what is refused

Refused = Any


def module(function: Any) -> Module:
    class Own(Module):
        def __init__(self) -> None:
            self.inner = Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return function(self, x)

    return Own()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda self, x: np.abs(x), TypeError, "no numbers yet, for NumPy|ufunc|unsupported"),
        (lambda self, x: np.concatenate([x, x]), TypeError, "no numbers yet, for NumPy"),
        (lambda self, x: x if x else -x, TypeError, "no branch can depend on it"),
        (lambda self, x: [y for y in x], TypeError, "no images to go through"),
        (lambda self, x: x[0], ValueError, r"index: expected \[:, ...\]"),
        (lambda self, x: x[:, 9:], ValueError, "nothing is left"),
        (lambda self, x: x.reshape(3, 2), ValueError, r"expected x.shape\[0\] or -1"),
        (lambda self, x: x.reshape(x.shape[0], 5), ValueError, "cannot become"),
        (lambda self, x: x.mean(0), ValueError, "dim: expected neighbouring axes"),
        (lambda self, x: x + np.ones((4, 1, 6)), ValueError, "not the same for every image"),
        (lambda self, x: x * np.ones(7), ValueError, "shape mismatch"),
        (lambda self, x: self.inner(x), ValueError, r"inner \(Linear\): expected 2 features, got"),
        (lambda self, x: None, TypeError, "forward: expected to return values"),
        (lambda self, x: [], ValueError, "expected at least one output"),
        (lambda self, x: x**2.5, TypeError, "unsupported operand|no numbers"),
    ],
)
def test_what_forward_cannot_say_is_told(function: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        module(function)(np.ones((5, 6)))


def test_the_place_of_a_fault_is_told() -> None:
    net = Sequential(Flatten(), module(lambda self, x: self.inner(x)))
    with pytest.raises(
        ValueError, match=r"layer 1 \(Own\): inner \(Linear\): expected 2 features, got 108"
    ):
        net(X)


def test_a_plan_of_several_outputs_is_refused() -> None:
    net = module(lambda self, x: (x, -x))
    with pytest.raises(ValueError, match="net: expected one output, got 2"):
        net.compile((6,))


class Doubled(Layer):
    """On plain arrays."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        assert type(x) is np.ndarray
        return 2 * x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return 2 * dy


def test_a_layer_on_arrays_within_a_module() -> None:
    class Mixed(Module):
        def __init__(self) -> None:
            self.conv, self.twice = Conv2d(3, 3, 3, padding=1), Doubled()

        def forward(self, x: Any) -> Any:
            return x + self.twice(self.conv(x))

    net = Mixed().astype("float64")
    check_layer(net, X[:3])
    with pytest.raises(TypeError, match="net: Doubled has passes of its own"):
        net.compile((3, 6, 6))
    whole = Sequential(net, Flatten(), Linear(108, 4, dtype="float64"))
    trainer = Trainer(whole, optimizer=SGD(whole.parameters(), 0.01))
    assert trainer.train_on_batch(X, Y) > trainer.train_on_batch(X, Y)


def test_running_statistics_need_more_than_one_number() -> None:
    net = Sequential(Conv2d(3, 2, 6), BatchNorm2d(2), Flatten(), Linear(2, 4))
    trainer = Trainer(net)
    before = net.state_dict()
    with pytest.raises(ValueError, match="expected more than one number a channel"):
        trainer.train_on_batch(X[:1], Y[:1])
    for name, array in net.state_dict().items():
        assert_array_equal(array, before[name])
    assert np.isfinite(trainer.train_on_batch(X[:2], Y[:2]))


@pytest.mark.parametrize("images", [1, 17, 40])
def test_the_same_bits_at_any_number_of_threads(images: int) -> None:
    rng = np.random.default_rng(0)
    start = Sequential(
        Conv2d(3, 8, 3, padding=1, bias=False, rng=rng), BatchNorm2d(8), ReLU(), Dropout(0.3),
        Residual(Conv2d(8, 8, 3, padding=1, rng=rng)), MaxPool2d(2), Flatten(),
        Linear(72, 4, rng=rng),
    )  # fmt: skip
    states = []
    x = rng.random((images, 3, 6, 6), np.float32)
    for threads in (1, 2, 3, 7):
        trainer = Trainer(copy.deepcopy(start), num_threads=threads)
        for _ in range(3):
            trainer.train_on_batch(x, np.arange(images) % 4)
        states.append(trainer.net.state_dict())
    for state in states[1:]:
        for name, array in state.items():
            assert array.tobytes() == states[0][name].tobytes()


def test_parameters_are_found_in_every_kind_of_attribute() -> None:
    class Kept(Module):
        def __init__(self) -> None:
            self.one = Parameter(np.ones(2))
            self.many = [Parameter(np.ones(3)), {"deep": (Parameter(np.ones(4)),)}]

        def forward(self, x: Any) -> Any:
            return x * self.one

    net = Kept()
    names = ["one", "many.0", "many.1.deep.0"]
    assert [name for name, _ in net.named_parameters()] == names
    y = net(np.ones((5, 2)))
    net.backward(np.ones_like(y))
    assert_array_equal(net.one.grad, [5, 5])


def test_a_summary_of_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    net = Net(4)
    net.summary((3, 6, 6))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:]] == ["first", "blocks.0", "blocks.1", "last", "total"]
    assert lines[-1][-2:] == [f"{sum(p.data.size for p in net.parameters()):,}", "24,640"]
    assert net.multiply_adds((3, 6, 6)) == 24_640


# ------------------------------------------------------------ several outputs in training


class Heads(Module):
    """Two inputs and two outputs, classes and numbers."""

    def __init__(self, form: str) -> None:
        self.form = form
        rng = np.random.default_rng(3)
        self.body = Sequential(Conv2d(3, 4, 3, rng=rng), ReLU(), Flatten())
        self.a = Linear(64, 4, rng=rng)
        self.b = Linear(66, 2, rng=rng)

    def forward(self, x: Any, more: Any) -> Any:
        y = self.body(x)
        outputs = {"kind": self.a(y), "size": self.b(ops.concat([y, more]))}
        return outputs if self.form == "dict" else tuple(outputs.values())


MORE = np.random.default_rng(5).standard_normal((19, 2))
SIZES = np.random.default_rng(6).standard_normal((19, 2))


def in_form(form: str, kind: Any, size: Any) -> Any:
    return {"kind": kind, "size": size} if form == "dict" else [kind, size]


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_a_network_with_several_inputs_and_outputs_trains(form: str) -> None:
    net = Heads(form).astype("float64")
    losses = in_form(form, "cross_entropy", "mse")
    options: Any = {"loss_weights": in_form(form, 1.0, 0.5)}
    trainer = Trainer(net, losses, SGD(net.parameters(), 0.05), **options)
    targets = in_form(form, Y, SIZES)
    # the gradient is the weighted sum of those of both
    outputs = net((X), MORE)
    kind, size = outputs.values() if form == "dict" else outputs
    first, second = ops.cross_entropy(kind, Y), ops.mse(size, SIZES)
    net.backward(in_form(form, first[1], 0.5 * second[1]), need_dx=False)
    wanted = [parameter.grad.copy() for parameter in net.parameters() if parameter.grad is not None]
    before = [parameter.data.copy() for parameter in net.parameters()]
    cost = trainer.train_on_batch((X, MORE), targets)
    assert cost == pytest.approx(first[0] + 0.5 * second[0], rel=1e-12)
    for parameter, gradient, data in zip(net.parameters(), wanted, before, strict=True):
        assert_allclose(parameter.data, data - 0.05 * gradient, rtol=1e-10, atol=1e-13)
    history = trainer.fit(
        (X, MORE), targets, 12, 5, validation_data=((X, MORE), targets), progress=False
    )
    assert history["cost"][-1] < history["cost"][0]
    assert len(history) == 12
    trainer.fit((X, MORE), targets, 1, 5, validation_split=0.2, progress=False)
    scores = trainer.evaluate((X, MORE), targets)
    names = ("kind", "size") if form == "dict" else (0, 1)
    assert scores["cost"] == pytest.approx(
        scores[f"{names[0]}_cost"] + 0.5 * scores[f"{names[1]}_cost"]
    )
    assert 0 <= scores[f"{names[0]}_accuracy"] <= 1 and f"{names[1]}_accuracy" not in scores
    outputs = trainer.outputs((X, MORE))
    assert [y.shape for y in (outputs.values() if form == "dict" else outputs)] == [
        (19, 4), (19, 2),
    ]  # fmt: skip


def test_losses_that_do_not_fit_the_outputs() -> None:
    net = Heads("dict")
    with pytest.raises(ValueError, match="loss: expected a loss for each output"):
        Trainer(net, {"kind": "cross_entropy"}).train_on_batch((X, MORE), {"kind": Y})
    with pytest.raises(ValueError, match="loss: expected a loss for each output"):
        Trainer(net).train_on_batch((X, MORE), Y)
    both = {"kind": "cross_entropy", "size": "mse"}
    with pytest.raises(ValueError, match="y: expected targets for the output 'size'"):
        Trainer(net, both).train_on_batch((X, MORE), {"kind": Y})
    with pytest.raises(ValueError, match="loss_weights: expected weights of"):
        Trainer(net, both, loss_weights={"other": 1})
    with pytest.raises(ValueError, match="x: expected as many images in each"):
        Trainer(net, both).fit((X, MORE[1:]), {"kind": Y, "size": SIZES}, progress=False)


# ------------------------------------------------------------------------- functions by name


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("conv2d", None, "expected one of"),
        ("softsigh", None, "softsign"),
        (3, None, "expected a name"),
        ("abs", {"alpha": 1.0}, "alpha"),
        ("power", None, "exponent"),
        ("elu", {"alpha": "much"}, "expected a number"),
        ("elu", [1.0], "dict"),
    ],
)
def test_functions_that_there_are_not(name: Any, options: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        cnn_ext.Activation(name, options)


def test_a_bend_upwards_is_inferred_and_not_trained() -> None:
    layer = cnn_ext.Activation("leaky_relu", {"negative_slope": -1.0})
    x = np.array([[-2.0, 3.0]])
    assert_array_equal(layer(x), [[2.0, 3.0]])
    layer.train()(x)
    with pytest.raises(ValueError, match="negative_slope: training expects 0 or more"):
        layer.backward(x)
