"""Layers one by one: gradients of every option, the same numbers alone and in a network, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import reference as ref
from cases import (
    AVG_POOL_CASES,
    CONV_CASES,
    LINEAR_CASES,
    POOL_CASES,
    Array,
    ConvCase,
    LinearCase,
    PoolCase,
    normal,
)
from gradcheck import check_layer
from modern_layers import MODERN, Modern
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Normalize,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from cnn_ext.layers.dropout import Draws


class FixedDropout(Dropout):
    """Dropout that draws the same mask at every pass, so that it has a derivative."""

    def reseed(self, rng: np.random.Generator) -> None:
        self.draws = Same(7)


class Same(Draws):
    def next(self) -> tuple[int, int]:
        return self.seed, 1


@dataclass(frozen=True)
class LayerCase:
    """A layer, its input, and its output by the naive reference (None: not told)."""

    id: str
    build: Callable[[Any], Layer]
    x: Array
    truth: Callable[[], Array] | None = None


def conv_layer(case: ConvCase, dtype: Any) -> Layer:
    _, weight, bias = case.arrays(dtype)
    layer = Conv2d(
        case.x_shape[1], case.K, case.kernel, **case.options, bias=case.bias, dtype=dtype
    )
    return with_weights(layer, weight, bias)


def linear_layer(case: LinearCase, dtype: Any) -> Layer:
    _, weight, bias = case.arrays(dtype)
    return with_weights(Linear(case.C, case.K, case.bias, dtype=dtype), weight, bias)


def with_weights(layer: Layer, weight: Array, bias: Array | None) -> Layer:
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


def conv_case(case: ConvCase) -> LayerCase:
    return LayerCase(
        f"Conv2d-{case.id}",
        lambda dtype: conv_layer(case, dtype),
        case.arrays()[0],
        lambda: ref.conv2d(*case.arrays(), **case.options),
    )


def linear_case(case: LinearCase) -> LayerCase:
    return LayerCase(
        f"Linear-{case.id}",
        lambda dtype: linear_layer(case, dtype),
        case.arrays()[0],
        lambda: ref.linear(*case.arrays()),
    )


def max_pool_case(case: PoolCase) -> LayerCase:
    return LayerCase(
        f"MaxPool2d-{case.id}",
        lambda dtype: MaxPool2d(**case.max_options),
        case.array(),
        lambda: ref.max_pool2d(case.array(), **case.max_options),
    )


def avg_pool_case(case: PoolCase, count_include_pad: bool) -> LayerCase:
    options = {**case.options, "count_include_pad": count_include_pad}
    return LayerCase(
        f"AvgPool2d-{case.id}" + ("" if count_include_pad else "-pixels-alone"),
        lambda dtype: AvgPool2d(**options),
        case.array(),
        lambda: ref.avg_pool2d(case.array(), **options),
    )


SHAPES = [
    (1, 1),
    (5, 17),
    (17, 3),
    (3, 5, 4, 7),
    (17, 2, 3, 3),
    (1, 33, 5, 1),
    (0, 10),
    (0, 3, 4, 4),
]
ACTIVATIONS: dict[str, tuple[Callable[[], Layer], Callable[[Array], Array] | None]] = {
    "ReLU": (ReLU, ref.relu),
    "LeakyReLU": (LeakyReLU, ref.leaky_relu),
    "LeakyReLU-0.3": (lambda: LeakyReLU(0.3), lambda x: ref.leaky_relu(x, 0.3)),
    "LeakyReLU-0": (lambda: LeakyReLU(negative_slope=0), ref.relu),
    "LeakyReLU-2": (lambda: LeakyReLU(2.0), lambda x: ref.leaky_relu(x, 2.0)),
    "Sigmoid": (Sigmoid, ref.sigmoid),
    "Tanh": (Tanh, ref.tanh),
    "Softmax": (Softmax, ref.softmax),
    "Flatten": (Flatten, lambda x: x.reshape(len(x), int(np.prod(x.shape[1:])))),
    "Dropout-0": (lambda: FixedDropout(0), lambda x: x),
    "Dropout-0.3": (lambda: FixedDropout(0.3), None),
    "Dropout": (FixedDropout, None),
    "Dropout-0.9": (lambda: FixedDropout(p=0.9), None),
    "Dropout-1": (lambda: FixedDropout(1), np.zeros_like),
}


def away_from_zero(name: str, shape: tuple[int, ...]) -> Array:
    x = normal(name, shape, np.float64)
    return x + np.copysign(0.01, x)


def activation_case(name: str, shape: tuple[int, ...]) -> LayerCase:
    build, truth = ACTIVATIONS[name]
    x = away_from_zero(f"{name}-{shape}", shape)
    values = None if truth is None else lambda: truth(x)
    return LayerCase(f"{name}-{'x'.join(map(str, shape))}", lambda dtype: build(), x, values)


def global_pool_case(shape: tuple[int, ...]) -> LayerCase:
    x = normal(f"global-{shape}", shape, np.float64)
    return LayerCase(
        f"GlobalAvgPool2d-{shape}",
        lambda dtype: GlobalAvgPool2d(),
        x,
        lambda: x.mean((2, 3), keepdims=True),
    )


def linear_on_images(bias: bool) -> LayerCase:
    case = LinearCase(f"images-{bias}", 5, 24, 7, bias)
    x, weight, b = case.arrays()
    return LayerCase(
        f"Linear-on-images-bias-{bias}",
        lambda dtype: linear_layer(case, dtype),
        x.reshape(5, 2, 3, 4),
        lambda: ref.linear(x, weight, b),
    )


def normalize_case(shape: tuple[int, ...]) -> LayerCase:
    x = normal("normalize", shape, "float64")
    mean, std = 100 * normal("mean", (shape[1],), "float64"), 0.5 + np.arange(shape[1])
    form = (-1, *(1 for _ in shape[2:]))
    return LayerCase(
        f"Normalize-{'x'.join(map(str, shape))}",
        lambda dtype: Normalize(mean, std),
        x,
        lambda: (x - mean.reshape(form)) / std.reshape(form),
    )


def modern_case(case: Modern) -> LayerCase:
    return LayerCase(
        case.name,
        lambda dtype: case.build().astype(dtype),
        away_from_zero(case.name, (5, *case.shape)),
    )


LAYER_CASES = [
    *map(modern_case, MODERN),
    *map(conv_case, CONV_CASES),
    *map(linear_case, LINEAR_CASES),
    *map(linear_on_images, (True, False)),
    *map(max_pool_case, POOL_CASES),
    *(avg_pool_case(case, count) for case in AVG_POOL_CASES for count in (True, False)),
    *map(global_pool_case, [(1, 1, 1, 1), (3, 2, 4, 5), (17, 3, 2, 2), (0, 2, 3, 3)]),
    *(activation_case(name, shape) for name in ACTIVATIONS for shape in SHAPES),
    *map(normalize_case, [(3, 2), (17, 3, 4, 5), (0, 2, 3, 3)]),
]
TIES = {f"MaxPool2d-{case.id}" for case in POOL_CASES if case.ties}


def by_id(case: LayerCase) -> str:
    return case.id


def test_every_built_in_layer_is_in_the_table() -> None:
    kinds = {type(case.build(np.float64)).__name__.removeprefix("Fixed") for case in LAYER_CASES}
    built_in = {
        name
        for name in cnn_ext.layers.__all__
        if name not in ("Buffer", "GraphModule", "Layer", "Module", "Parameter")
    }
    assert kinds | {"Dropout2d", "DropPath"} == built_in - {"Sequential"}


# at a tie a maximum has no derivative, so there is none to compare with
@pytest.mark.parametrize("case", [c for c in LAYER_CASES if c.id not in TIES], ids=by_id)
def test_gradients(case: LayerCase) -> None:
    cnn_ext.seed(0)  # else weights may lie so near a corner of ReLU that differences are wrong
    try:
        check_layer(case.build(np.float64), case.x)
    finally:
        cnn_ext.seed(None)


@pytest.mark.parametrize("case", [c for c in LAYER_CASES if c.truth], ids=by_id)
def test_forward_passes_every_option_on(case: LayerCase) -> None:
    assert case.truth is not None
    y = case.build(np.float64).forward(case.x)
    assert y.dtype == np.float64
    assert_allclose(y, case.truth(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", LAYER_CASES, ids=by_id)
def test_alone_and_in_a_network_the_same(case: LayerCase, dtype: str) -> None:
    alone = case.build(dtype)
    inside = copy.deepcopy(alone)
    net = Sequential(inside)
    if not list(alone.named_state()):  # without weights a network computes in float32
        dtype = "float32"
    x = case.x.astype(dtype)
    before = x.copy()
    y = alone.forward(x)
    assert y.dtype == dtype
    assert_array_equal(net.forward(x), y)
    dy = normal(case.id + ".dy", y.shape, dtype)
    assert_array_equal(net.backward(dy), alone.backward(dy))
    for a, b in zip(alone.parameters(), inside.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        assert a.grad.dtype == dtype
        assert_array_equal(a.grad, b.grad)
    assert_array_equal(x, before)
    assert alone.output_shape(x.shape[1:]) == y.shape[1:]


@pytest.mark.parametrize("case", LAYER_CASES, ids=by_id)
def test_evaluation_keeps_nothing_and_backward_needs_a_forward_pass(case: LayerCase) -> None:
    layer = case.build(np.float64)
    message = f"{type(layer).__name__}.backward: no forward pass in training mode before it"
    with pytest.raises(RuntimeError, match=message):
        layer.backward(case.x)
    layer.forward(case.x)
    y = layer.eval().forward(case.x)
    with pytest.raises(RuntimeError, match=message):
        layer.backward(y)
    with pytest.raises(RuntimeError, match=message):
        layer.train().backward(y)


# ---------------------------------------------------------------------------------- dropout


def test_dropout_drops_the_part_it_is_told_to_and_keeps_the_mean() -> None:
    layer = Dropout(0.3, rng=np.random.default_rng(0))
    y = layer.forward(np.ones((100, 1000), np.float32))
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert abs(y.mean() - 1) < 0.01
    assert_array_equal(layer.backward(np.ones_like(y)), y)
    assert (layer.forward(np.ones((100, 1000), np.float32)) != y).any()


def test_dropout_in_evaluation_returns_its_input() -> None:
    x = np.ones((2, 3), np.float32)
    assert_array_equal(Dropout(0.9).eval().forward(x), x)


def test_dropout_takes_whole_numbers() -> None:
    y = Dropout(0.5, rng=np.random.default_rng(0)).forward(np.ones((10, 10), np.int64))
    assert set(np.unique(y)) == {0, 2}


# --------------------------------------------------------------------------- construction


BAD_ARGUMENTS = [
    (Conv2d, (0, 1, 3), ValueError, "in_channels: expected 1 to"),
    (Conv2d, (1, 2.0, 3), TypeError, "out_channels: expected a whole number, got 2.0"),
    (Conv2d, (1, 1, (3, 3, 3)), ValueError, "kernel_size: expected a number or two"),
    (Conv2d, (1, 1, 0), ValueError, "kernel_size"),
    (Conv2d, (1, 1, 3, 0), ValueError, "stride"),
    (Conv2d, (1, 1, 3, 1, -1), ValueError, "padding"),
    (Conv2d, (1, 1, 3, 1, "reflect"), ValueError, "padding: expected 'valid', 'same' or 'full'"),
    (Conv2d, (1, 1, 3, 2, "same"), ValueError, "padding: 'same' needs stride 1"),
    (Conv2d, (1, 1, 3, 1, 0, 0), ValueError, "dilation"),
    (Conv2d, (4, 6, 3, 1, 0, 1, 3), ValueError, "groups: expected a divisor of in_channels 4"),
    (Conv2d, (6, 4, 3, 1, 0, 1, 3), ValueError, "groups: expected a divisor of out_channels 4"),
    (Linear, (0, 1), ValueError, "in_features"),
    (Linear, (1, True), TypeError, "out_features"),
    (MaxPool2d, (0,), ValueError, "kernel_size"),
    (MaxPool2d, (2, 0), ValueError, "stride"),
    (MaxPool2d, (3, 2, 2), ValueError, "padding: expected at most half of kernel_size"),
    (MaxPool2d, (2, 2, 0, 0), ValueError, "dilation"),
    (AvgPool2d, ("2",), TypeError, "kernel_size"),
    (AvgPool2d, ((2, 3), 2, (0, 2)), ValueError, "padding: expected at most half"),
    (LeakyReLU, (-0.1,), ValueError, "negative_slope: expected 0 or more"),
    (LeakyReLU, (float("nan"),), ValueError, "negative_slope"),
    (LeakyReLU, ("0.1",), TypeError, "negative_slope"),
    (Softmax, (-1,), ValueError, "dim: expected 1, got -1"),
    (Dropout, (-0.1,), ValueError, "p: expected 0 to 1, got -0.1"),
    (Dropout, (1.1,), ValueError, "p: expected 0 to 1"),
    (Dropout, (float("nan"),), ValueError, "p: expected 0 to 1"),
    (Dropout, ("half",), TypeError, "p: expected a number, got 'half'"),
]


@pytest.mark.parametrize(("kind", "arguments", "error", "message"), BAD_ARGUMENTS)
def test_arguments_that_do_not_fit(
    kind: type[Layer], arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        kind(*arguments)


@pytest.mark.parametrize("build", [lambda **k: Conv2d(1, 1, 1, **k), lambda **k: Linear(1, 1, **k)])
def test_number_types(build: Callable[..., Layer]) -> None:
    assert build().dtype == np.float32
    assert build(dtype="float64").dtype == np.float64
    for wrong in ("float16", "int32", np.complex64):
        with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
            build(dtype=wrong)
    assert ReLU().dtype == np.float32


def test_sizes_may_be_numpy_numbers_and_are_kept_as_pythons() -> None:
    two: Any = np.int64(2)
    layer = Conv2d(two, two + two, np.array([3, 2]), padding=np.int8(1), groups=two)
    assert layer.to_config() == {
        "type": "Conv2d", "in_channels": 2, "out_channels": 4, "kernel_size": (3, 2),
        "stride": (1, 1), "padding": 1, "dilation": (1, 1), "groups": 2, "bias": True,
    }  # fmt: skip
    assert type(layer.to_config()["padding"]) is int
    assert Conv2d(1, 1, 2, padding=np.array([1, 2])).padding == (1, 2)
    assert "bias=False" in repr(Linear(2, 3, bias=False))


def test_the_caller_may_reuse_arrays_of_weights() -> None:
    mine = np.ones((2, 3))
    layer = Linear(3, 2, initializer=lambda shape, rng: mine, dtype="float64")
    layer.weight.data[...] = 5
    assert_array_equal(mine, 1)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (Conv2d(3, 4, 3), (2, 1, 5, 5), "x: expected 3 channels, got 1"),
        (Conv2d(3, 4, 3), (2, 3, 5), r"expected an input of \(C, H, W\), got \(3, 5\)"),
        (Conv2d(1, 4, 6), (2, 1, 5, 5), "does not fit into the padded input of 5 x 5"),
        (Linear(3, 4), (2, 5), r"expected 3 features, got 5 from \(N, 5\)"),
        (MaxPool2d(3), (2, 1, 2, 2), "kernel_size: a window"),
        (AvgPool2d(3), (2, 9), r"expected an input of \(C, H, W\), got \(9,\)"),
        (GlobalAvgPool2d(), (2, 9), r"expected an input of \(C, H, W\), got \(9,\)"),
        (Softmax(), (9,), r"x: expected a batch \(N, ...\)"),
    ],
)
def test_inputs_that_do_not_fit(layer: Layer, x: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.forward(np.zeros(x))


@pytest.mark.parametrize("layer", [Conv2d(1, 1, 1), MaxPool2d(1), AvgPool2d(1), GlobalAvgPool2d()])
def test_image_layers_know_the_axes_of_their_input(layer: Layer) -> None:
    with pytest.raises(ValueError, match=r"expected an input of \(C, H, W\), got \(4,\)"):
        layer.output_shape((4,))


def test_gradients_replace_each_other() -> None:
    layer = Linear(2, 1, dtype="float64")
    x = np.array([[1.0, 2]])
    for _ in range(2):
        layer.forward(x)
        layer.backward(np.ones((1, 1)))
    assert_array_equal(layer.weight.grad, x)


def test_a_layer_without_passes_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Layer\.forward"):
        Layer()(1)
    with pytest.raises(NotImplementedError, match=r"Layer\.backward"):
        Layer().backward(1)
    assert repr(Parameter(np.zeros((2, 3)))) == "Parameter(2, 3)"
