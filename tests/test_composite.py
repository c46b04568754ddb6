"""Layers that consist of layers, and what parameters admit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import check_layer
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    SGD,
    Buffer,
    Conv2d,
    CostError,
    Epoch,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Sequential,
    Tanh,
    Trainer,
)
from cnn_ext.c.source import write_c
from cnn_ext.layers import graph_of
from cnn_ext.layers.config import BUILT_IN
from cnn_ext.layers.tracing import is_opaque

X = np.random.default_rng(0).standard_normal((20, 3))
Y = np.arange(20) % 3


def linear(seed: int, dtype: str = "float64") -> Linear:
    return Linear(3, 3, rng=np.random.default_rng(seed), dtype=dtype)


class Skip(Sequential):
    """A chain with its input added: passes of its own."""

    def forward(self, x: Any) -> Any:
        return x + super().forward(x)

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        return dy + super().backward(dy)


class Around(Layer):
    """Layers in attributes, a list and a dictionary, and state."""

    def __init__(self, seed: int = 0) -> None:
        self.body = Sequential(linear(seed), Tanh())
        self.more: list[Any] = [linear(seed + 1), (linear(seed + 2),)]
        self.named = {"a": linear(seed + 3)}
        self.calls = Buffer(np.zeros(1))

    def forward(self, x: Any) -> Any:
        if self.training:
            self.calls.data = self.calls.data + 1
        y = self.body(x)
        for layer in (self.more[0], self.more[1][0], self.named["a"]):
            y = layer(y)
        return x + y

    def backward(self, dy: Any) -> Any:
        dx = dy
        for layer in (self.named["a"], self.more[1][0], self.more[0], self.body):
            dx = layer.backward(dx)
        return dy + dx


class Named(Sequential):
    """A chain that is only called otherwise."""


class Half(ReLU):
    """A subclass of a built-in layer that was written for plain arrays."""

    def forward(self, x: Any) -> Any:
        assert type(x) is np.ndarray
        return 0.5 * super().forward(x)

    def backward(self, dy: Any) -> Any:
        assert type(dy) is np.ndarray
        return super().backward(0.5 * dy)


class Doubled(Conv2d):
    """Likewise, with `backward(dy)` as the base class documents it."""

    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)

    def backward(self, dy: Any) -> Any:
        return super().backward(2 * dy)


# ------------------------------------------------------------------------------ what is found

NAMES = ["body.0", "more.0", "more.1.0", "named.a"]


def test_parameters_buffers_and_layers_are_found_wherever_they_are() -> None:
    net = Sequential(linear(9), Around())
    expected = [f"{layer}.{kind}" for layer in ["0", *(f"1.{n}" for n in NAMES)]
                for kind in ("weight", "bias")]  # fmt: skip
    assert [name for name, _ in net.named_parameters()] == expected
    assert list(net.state_dict()) == [*expected, "1.calls"]
    net.eval()
    assert not any(layer.training for _, layer in net.named_modules())
    assert net.astype("float32").state_dict()["1.calls"].dtype == np.float32
    other = Sequential(linear(8, "float32"), Around(7)).astype("float32")
    other.load_state_dict(net.state_dict())
    assert_array_equal(other.eval()(X), net(X))


@pytest.mark.parametrize(
    "layer", [Skip(linear(0), Tanh(), linear(1)), Around()], ids=["Skip", "Around"]
)
def test_gradients_of_layers_that_hold_layers(layer: Layer) -> None:
    check_layer(layer, X)
    check_layer(Sequential(linear(5), layer, Tanh()), X)


def test_layers_in_attributes_learn_and_are_saved(tmp_path: Path) -> None:
    net = Sequential(Around(), linear(9))
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1))
    before = net.state_dict()
    trainer.fit(X, Y, 3, 5, progress=False)
    assert all((before[name] != array).any() for name, array in net.state_dict().items())
    assert net[0].calls.data == [12]  # type: ignore[attr-defined]
    cnn_ext.save(net, tmp_path / "net")
    back = cnn_ext.load(tmp_path / "net", {"Around": Around})
    assert_array_equal(back(X), net(X))
    with pytest.raises(ValueError, match=r"layer 0 \(Around\): unknown type"):
        cnn_ext.load(tmp_path / "net")


def test_a_chain_with_passes_of_its_own_is_saved_by_its_name(tmp_path: Path) -> None:
    net = Sequential(Skip(linear(0), Tanh()), Named(linear(1))).eval()
    assert net.to_config()["layers"][0]["type"] == "Skip"
    cnn_ext.save(net, tmp_path / "net")
    assert_array_equal(cnn_ext.load(tmp_path / "net", {"Skip": Skip})(X), net(X))
    with pytest.raises(ValueError, match=r"layer 0 \(Skip\): unknown type"):
        cnn_ext.load(tmp_path / "net")


@pytest.mark.parametrize(
    "net",
    [
        Sequential(Skip(linear(0))),
        Skip(linear(0)),
        Sequential(Around()),
        Sequential(Sequential(Half())),
    ],
)
def test_what_no_graph_knows_is_refused_by_name(net: Sequential, tmp_path: Path) -> None:
    net.eval()
    match = "net: .*(Skip|Around|Half)"
    with pytest.raises(TypeError, match=match):
        net.compile((3,))
    with pytest.raises(TypeError, match=match):
        write_c(graph_of(net, (3,)), tmp_path / "net.c")
    with pytest.raises(TypeError, match=match):
        cnn_ext.onnx.export(net, tmp_path / "net.onnx", (3,))
    assert not list(tmp_path.iterdir())


def test_a_skip_on_top_trains_and_answers() -> None:
    inner = linear(0)
    net = Skip(inner)
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1))
    plain = X + X @ inner.weight.data.T + inner.bias.data  # type: ignore[union-attr]
    assert_allclose(trainer.outputs(X), plain, rtol=1e-12)
    costs = trainer.fit(X, Y, 20, 5, progress=False)["cost"]
    assert costs[-1] < costs[0]
    assert_array_equal(trainer.predict(X), net.eval()(X).argmax(1))


def test_a_subclass_that_changes_nothing_compiles() -> None:
    net = Named(linear(0), ReLU()).eval()
    assert_allclose(net.compile((3,))(X), net(X), rtol=1e-5, atol=1e-6)
    assert net.to_config() == Sequential(*net).to_config()


@pytest.mark.parametrize("kind", [*BUILT_IN.values(), Sequential])
def test_who_has_a_backward_of_its_own_gets_plain_arrays(kind: type[Module]) -> None:
    assert not is_opaque(kind.__new__(kind))
    same = type("Same", (kind,), {"forward": lambda self, x: x})
    assert not is_opaque(same.__new__(same))
    own = type("Own", (kind,), {"backward": lambda self, dy: dy})
    assert is_opaque(own.__new__(own))


def test_subclasses_of_built_in_layers_get_plain_arrays() -> None:
    x = np.random.default_rng(1).standard_normal((17, 1, 6, 6))
    conv = Doubled(1, 2, 3, rng=np.random.default_rng(2), dtype="float64")
    check_layer(Sequential(conv, Half(), MaxPool2d(2), Flatten(), Linear(8, 2, dtype="float64")), x)
    net = Sequential(conv, Half(), Flatten(), Linear(32, 2, dtype="float64"))
    trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.01))
    assert trainer.train_on_batch(x, np.arange(17) % 2) > trainer.train_on_batch(
        x, np.arange(17) % 2
    )


# -------------------------------------------------------------------------------- parameters

WRONG: list[Any] = [
    np.ones(3, "int64"), np.ones(3, "complex64"), np.ones(3, ">f4"), np.ones(3, object),
    np.ones(3, "float16"), np.ones(3, bool), np.ones(3, "longdouble"), [1.0, 2.0], 3.0, None,
    np.ma.MaskedArray([1.0, 2.0], mask=[0, 1]), np.ones(3, "M8[s]"), np.ones(2, "f4,f4"),
]  # fmt: skip


@pytest.mark.parametrize("data", WRONG, ids=lambda data: str(getattr(data, "dtype", data)))
@pytest.mark.parametrize("kind", [Parameter, Buffer])
def test_what_parameters_do_not_admit(kind: Any, data: Any) -> None:
    with pytest.raises(
        TypeError, match=r"data: expected (float32 or float64|an array of NumPy), got"
    ):
        kind(data)
    kept = kind(np.zeros(3))
    with pytest.raises(TypeError, match=r"data: expected"):
        kept.data = data
    assert_array_equal(kept.data, np.zeros(3))


@pytest.mark.parametrize("how", ["transposed", "every second", "read-only", "unaligned"])
def test_weights_in_any_order_of_memory(how: str) -> None:
    w = np.random.default_rng(0).standard_normal((3, 3))
    given = {
        "transposed": np.ascontiguousarray(w.T).T,
        "every second": np.repeat(w, 2, axis=1)[:, ::2],
        "read-only": w.copy(),
        "unaligned": np.frombuffer(b"\0" + w.tobytes(), np.uint8)[1:].view("f8").reshape(3, 3),
    }[how]
    if how == "read-only":
        given.flags.writeable = False
    nets = []
    for weight in (given, w.copy()):
        layer = linear(0)
        layer.weight.data = weight
        net = Sequential(layer, Tanh())
        trainer = Trainer(net, optimizer=SGD(net.parameters(), 0.1))
        trainer.fit(X, Y, 2, 5, progress=False)
        nets.append(net)
    assert_array_equal(nets[0].state_dict()["0.weight"], nets[1].state_dict()["0.weight"])
    assert_array_equal(nets[0](X), nets[1](X))
    assert_array_equal(nets[0].compile((3,))(X), nets[1].compile((3,))(X))


def test_what_a_wrapped_layer_was_given_is_found() -> None:
    layer: Any = ReLU()
    assert Sequential(layer).parameters() == []
    layer.scale = Parameter(np.ones(3))
    layer.forward = lambda x: x * layer.scale.data
    assert Sequential(layer).parameters() == [layer.scale]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float64"])
def test_passes_of_its_own_get_the_same_numbers_in_training_and_afterwards(kind: str) -> None:
    seen: list[np.ndarray] = []

    class Watched(Skip):
        def forward(self, x: Any) -> Any:
            seen.append(x)
            return super().forward(x)

    x = np.random.default_rng(0).integers(0, 256, (20, 3)).astype(kind)
    net = Watched(linear(0, "float32"))
    trainer = Trainer(net, "mse", SGD(net.parameters(), lr=1e-9))
    trainer.train_on_batch(x, X)
    trainer.evaluate(x, X)
    trainer.outputs(x)
    net(x)
    assert len(seen) == 4
    for each in seen[1:]:
        assert each.dtype == np.float32
        assert_array_equal(each, seen[0])
    with pytest.raises(TypeError, match="whose range does not"):
        net(x.astype(np.int64))


class Averaged(Layer):
    """Subtracts a running mean, which is a buffer."""

    def __init__(self) -> None:
        self.mean = Buffer(np.zeros(3, np.float32))

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.training:
            self.mean.data[...] = 0.5 * self.mean.data + 0.5 * x.mean(0)
        return x - self.mean.data

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy


def test_a_cost_that_is_no_number_leaves_good_buffers() -> None:
    net = Sequential(Averaged(), linear(0, "float32"))
    trainer = Trainer(net)
    bad = X.copy()
    bad[3] = np.nan
    for _ in range(2):
        kept = net.state_dict()["0.mean"]
        with pytest.raises(CostError):
            trainer.train_on_batch(bad, Y)
        assert_array_equal(net.state_dict()["0.mean"], kept)
        assert np.isfinite(trainer.evaluate(X, Y)["cost"])
        trainer.train_on_batch(X, Y)


def test_early_stopping_takes_weights_and_buffers_of_one_epoch() -> None:
    net = Sequential(Averaged(), linear(0, "float32"))
    seen: list[tuple[float, dict[str, np.ndarray]]] = []

    def note(trainer: Trainer, epoch: Epoch) -> None:
        seen.append((epoch.validation_cost or 0.0, net.state_dict()))

    # the longer it trains, the worse for labels that are the other way round
    trainer = Trainer(net, optimizer=SGD(net.parameters(), lr=0.5))
    trainer.fit(
        X, Y, 5, 4, validation_data=(X, (Y + 1) % 3), early_stopping=5, callbacks=[note],
        progress=False,
    )  # fmt: skip
    best = min(seen, key=lambda pair: pair[0])[1]
    assert not np.array_equal(best["0.mean"], seen[-1][1]["0.mean"])
    for name, array in net.state_dict().items():
        assert_array_equal(array, best[name])


class Times(Sequential):
    """Passes of its own, a constructor and an argument."""

    arguments = ("factor",)

    def __init__(self, factor: float) -> None:
        super().__init__(linear(0))
        self.factor = factor

    def forward(self, x: Any) -> Any:
        return self.factor * super().forward(x)


class Counted(Sequential):
    """A chain that keeps something besides its layers."""

    def __init__(self) -> None:
        super().__init__(linear(0))
        self.count = Buffer(np.ones(2))


@pytest.mark.parametrize("net", [Skip(linear(0)), Times(3.0), Counted()])
def test_a_network_of_ones_own_class_is_loaded_as_that_or_refused(
    net: Sequential, tmp_path: Path
) -> None:
    path, kind = tmp_path / "net.safetensors", type(net)
    for saved in (net, Sequential(net)):
        cnn_ext.save(saved, path)
        back = cnn_ext.load(path, custom={kind.__name__: kind})
        assert type(back) is type(saved)
        assert_array_equal(back(X), net(X))
        with pytest.raises(ValueError, match=f"{kind.__name__}.*unknown type"):
            cnn_ext.load(path)


def test_what_no_constructor_makes_is_not_saved(tmp_path: Path) -> None:
    net = Named(linear(0))
    net.count = Buffer(np.ones(2))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no constructor of Named makes its count"):
        cnn_ext.save(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_what_is_loaded_must_be_a_network() -> None:
    with pytest.raises(
        TypeError, match="config: expected a list of layers or a Sequential, got a R"
    ):
        Sequential.from_config({"type": "ReLU"})


@pytest.mark.parametrize("state", [None, [np.ones(3)], "0.weight"])
def test_states_are_arrays_by_name(state: Any) -> None:
    with pytest.raises(TypeError, match="state: expected arrays by name, got"):
        linear(0).load_state_dict(state)
