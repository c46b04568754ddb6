"""Networks: gradients through every layer and loss, errors that name the layer, own layers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cases import normal
from gradcheck import check_gradient, check_layer
from networks import ChannelScale, all_kinds, pooled, small
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, losses

LENET_SHAPES = [
    (1, 32, 32), (6, 28, 28), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 10, 10), (16, 5, 5),
    (120,), (120,), (10,),
]  # fmt: skip


def lenet(features: int) -> Sequential:
    return Sequential(
        Conv2d(1, 6, 5), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(), MaxPool2d(2),
        Linear(features, 120), ReLU(), Linear(120, 10),
    )  # fmt: skip


# -------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("images", [1, 3, 5])
def test_gradients_through_all_kinds_of_layers(images: int) -> None:
    check_layer(all_kinds(), normal("all", (images, 2, 7, 7), np.float64))
    check_layer(pooled(), normal("pooled", (images, 2, 6, 6), np.float64))


def targets_for(loss: str) -> Any:
    if loss == "hinge":
        return [np.array([0, 2, 1, 1, 0])]
    if loss in ("cross_entropy", "focal"):
        return [np.array([0, 2, 1, 1, 0]), np.abs(normal("soft", (5, 3), np.float64))]
    return [np.clip(normal("targets", (5, 3), np.float64), 0, 1)]


@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_gradients_of_every_loss_through_a_network(loss: str) -> None:
    cost = losses.LOSSES[loss].cost
    net, x = pooled(), normal("x", (5, 2, 6, 6), np.float64)
    for target in targets_for(loss):
        gradient = cost(net.forward(x), target)[1]
        dx = net.backward(gradient)
        gradients = [parameter.grad for parameter in net.parameters()]
        rng = np.random.default_rng(0)

        def at(value: Any, target: Any = target) -> float:
            return cost(net.forward(value), target)[0]

        assert check_gradient(at, x, dx, rng) < 1e-6
        for parameter, analytic in zip(net.parameters(), gradients, strict=True):
            data, original = parameter.data, parameter.data.copy()

            def changed(value: Any, data: Any = data, at: Any = at) -> float:
                data[...] = value
                return at(x)

            assert analytic is not None
            assert check_gradient(changed, original, analytic, rng) < 1e-6
            data[...] = original


def test_the_gradient_at_the_input_can_be_left_out() -> None:
    x, dy = normal("x", (5, 2, 7, 7), np.float64), normal("dy", (5, 3), np.float64)
    net = all_kinds()
    net.forward(x)
    assert net.backward(dy).shape == x.shape
    whole = [parameter.grad for parameter in net.parameters()]
    net.forward(x)
    assert net.backward(dy, need_dx=False) is None
    for parameter, expected in zip(net.parameters(), whole, strict=True):
        assert parameter.grad is not expected
        assert_array_equal(parameter.grad, expected)


@pytest.mark.parametrize("first", [ReLU(), Flatten(), ChannelScale(1), Sequential(ReLU())])
def test_left_out_with_any_first_layer(first: Layer) -> None:
    net = Sequential(first, Flatten(), Linear(4, 2))
    net.forward(np.ones((3, 1, 2, 2)))
    assert net.backward(np.ones((3, 2)), need_dx=False) is None
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_nothing_to_learn() -> None:
    net = Sequential(ReLU(), Flatten())
    net.forward(np.ones((2, 1, 1, 1)))
    assert net.backward(np.ones((2, 1)), need_dx=False) is None
    assert net.parameters() == [] and net.state_dict() == {}
    empty = Sequential()
    assert_array_equal(empty(np.array([[1.0, 2]])), [[1, 2]])
    assert empty.output_shape((3, 4)) == (3, 4)


# ------------------------------------------------------------------------------------ inputs


def test_pictures_are_parts_of_their_range() -> None:
    net = small().eval()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 6, 6))
    expected = net(pixels / 255)
    assert_allclose(net(pixels.astype(np.uint8)), expected, rtol=1e-6, atol=1e-6)
    assert_allclose(net(pixels.astype(np.uint16) * 257), expected, rtol=1e-6, atol=1e-6)
    assert_array_equal(net(pixels > 127), net((pixels > 127).astype(np.float32)))
    assert np.abs(net(pixels.astype(np.float32)) - expected).max() > 1
    for dtype in ("int8", "int16", "int32", "uint32", "int64", "uint64"):
        with pytest.raises(TypeError, match=f"x: expected .* uint8 or uint16, got {dtype}"):
            net(pixels.astype(dtype))


@pytest.mark.parametrize("images", [0, 1, 15, 16, 17, 33])
def test_each_image_is_on_its_own(images: int) -> None:
    net, x = all_kinds(dtype="float32").eval(), normal("x", (33, 2, 7, 7), np.float32)
    y = net(x[:images])
    assert y.shape == (images, 3) and y.dtype == np.float32
    for i in range(images):
        assert_array_equal(net(x[i : i + 1])[0], y[i])


def test_arrays_of_any_layout_and_number_type() -> None:
    net, x = small().eval(), normal("x", (5, 1, 6, 6), np.float32)
    expected = net(x)
    turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (turned, frozen, x.astype(">f4"), x.astype(np.float64), x.tolist(), x[::-1][::-1]):
        assert_array_equal(net(same), expected)
    with pytest.raises(TypeError, match="x: expected real numbers, got an array of complex64"):
        net(x + 1j)
    with pytest.raises(ValueError, match="x: expected a batch with no empty axis but the first"):
        net(np.zeros((2, 1, 0, 6)))


def test_the_answer_is_the_callers_own() -> None:
    net, x = small().eval(), normal("x", (2, 1, 6, 6), np.float32)
    first = net(x)
    kept = first.copy()
    net(x + 1)
    assert_array_equal(first, kept)
    first[...] = 0
    assert_array_equal(net(x), kept)


def test_a_network_of_eight_threads_at_once() -> None:
    net, batches = all_kinds(dtype="float32").eval(), normal("x", (8, 20, 2, 7, 7), np.float32)
    expected = [net(x) for x in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for y, right in zip(pool.map(net, batches), expected, strict=True):
                assert_array_equal(y, right)


# ------------------------------------------------------------------------------------- modes


def test_modes_reach_every_layer_and_evaluation_leaves_nothing() -> None:
    net = Sequential(Conv2d(1, 2, 3), Sequential(ReLU(), Sequential(Dropout(0.5))))
    inner: Any = net[1]
    everything = [net, *net, *inner, *inner[1]]
    x = np.ones((2, 1, 4, 4))
    net.forward(x)
    assert net.eval() is net
    assert not any(layer.training for layer in everything)
    assert_array_equal(net(x), net(x))
    assert all(layer._saved is None for layer in everything)
    assert net.train() is net
    assert all(layer.training for layer in everything)


def test_backward_needs_a_forward_pass() -> None:
    net = small()
    with pytest.raises(
        RuntimeError, match=r"Sequential\.backward: no forward pass in training mode"
    ):
        net.backward(np.ones((2, 3)))
    net.eval().forward(np.ones((2, 1, 6, 6)))
    with pytest.raises(
        RuntimeError, match=r"Sequential\.backward: no forward pass in training mode"
    ):
        net.backward(np.ones((2, 3)))


def test_gradients_of_another_shape() -> None:
    net = small()
    net.forward(np.ones((2, 1, 6, 6)))
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 3\), got \(2, 4\)"):
        net.backward(np.ones((2, 4)))
    with pytest.raises(TypeError, match="dy: expected real numbers"):
        net.backward(np.ones((2, 3), complex))


# ----------------------------------------------------------------- shapes, summary, messages


def test_shapes() -> None:
    assert lenet(400).shapes((1, 32, 32)) == LENET_SHAPES
    assert lenet(400).output_shape((1, 32, 32)) == (10,)


def test_a_shape_that_does_not_fit_names_its_layer() -> None:
    net = lenet(640)
    message = r"layer 6 \(Linear\): expected 640 features, got 400 from \(N, 16, 5, 5\)"
    for use in (net.shapes, net.summary, net.output_shape, net.multiply_adds):
        with pytest.raises(ValueError, match=message):
            use((1, 32, 32))
    for run in (net, net.eval()):
        with pytest.raises(ValueError, match=message):
            run(np.zeros((2, 1, 32, 32)))
    with pytest.raises(ValueError, match=r"layer 0 \(Conv2d\): x: expected 1 channels, got 3"):
        net(np.zeros((2, 3, 32, 32)))
    with pytest.raises(ValueError, match=r"layer 3 \(Conv2d\): .* does not fit"):
        net.shapes((1, 10, 10))


def test_an_inner_layer_is_named_too() -> None:
    net = Sequential(ReLU(), Sequential(Flatten(), Linear(3, 1)))
    message = r"layer 1 \(Sequential\): layer 1 \(Linear\): expected 3 features, got 4"
    with pytest.raises(ValueError, match=message):
        net(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=message):
        net.shapes((1, 2, 2))


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    net = Sequential(
        Conv2d(1, 6, 5, padding=2), ReLU(), MaxPool2d(2),
        Sequential(Conv2d(6, 16, 3, 2, groups=2, bias=False), Flatten()), Linear(576, 10),
    )  # fmt: skip
    net.summary((1, 28, 28))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["layer", "output", "parameters", "multiply-adds"],
        ["0", "Conv2d", "6", "x", "28", "x", "28", "156", "117,600"],  # 6*25 + 6; 6*25*784
        ["1", "ReLU", "6", "x", "28", "x", "28", "0", "0"],
        ["2", "MaxPool2d", "6", "x", "14", "x", "14", "0", "0"],
        ["3", "Sequential", "576", "432", "15,552"],  # 16*3*9; times 6 x 6 pixels
        ["4", "Linear", "10", "5,770", "5,760"],
        ["total", "10", "6,358", "138,912"],
    ]
    assert net.multiply_adds((1, 28, 28)) == 138_912


def test_summary_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lenet(400).summary((1, 32, 32))
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert (
        len({line.index(name) for line, name in zip(lines, ["layer", "Conv2d"], strict=False)}) == 1
    )


# ----------------------------------------------------------------------------------- weights


def test_state_dict_holds_copies_under_pytorchs_names() -> None:
    net = all_kinds()
    state = net.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "2.gain", "3.0.weight", "3.0.bias", "4.weight", "9.weight", "9.bias",
        "11.weight",
    ]  # fmt: skip
    for parameter, array in zip(net.parameters(), state.values(), strict=True):
        assert not np.shares_memory(parameter.data, array)
        assert_array_equal(parameter.data, array)


def test_weights_move_to_another_network() -> None:
    x = normal("x", (3, 2, 7, 7), np.float64)
    one, other = all_kinds(0).eval(), all_kinds(1).eval()
    assert np.abs(one(x) - other(x)).max() > 1e-3
    other.load_state_dict(one.state_dict())
    assert_array_equal(other(x), one(x))
    other.load_state_dict({name: array.tolist() for name, array in one.state_dict().items()})
    assert_array_equal(other(x), one(x))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"0.weight": None}, KeyError, r"missing \['0.weight'\], unknown \[\]"),
        ({"7.weight": np.ones(1)}, KeyError, r"missing \[\], unknown \['7.weight'\]"),
        ({"5.weight": np.ones((3, 15))}, ValueError, r"5.weight: expected shape \(3, 16\)"),
        ({"5.bias": np.ones((3, 1))}, ValueError, r"5.bias: expected shape \(3,\), got \(3, 1\)"),
        ({"5.bias": np.array(["a", "b", "c"])}, TypeError, "5.bias: expected real numbers"),
        ({"5.bias": np.ones(3, complex)}, TypeError, "5.bias: expected real numbers"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = small()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()} | change
    with pytest.raises(error, match=message):
        net.load_state_dict({name: array for name, array in state.items() if array is not None})
    for name, array in net.state_dict().items():
        assert_array_equal(array, before[name])


def test_conversion_of_the_number_type() -> None:
    net = small()
    x = normal("x", (4, 1, 6, 6), np.float64)
    narrow = net(x)
    assert net.astype(np.float64) is net
    assert net.dtype == np.float64
    assert net(x).dtype == np.float64
    assert_allclose(net(x), narrow, rtol=1e-4, atol=1e-5)
    net.backward(np.ones((4, 3)))
    assert all(p.grad is not None and p.grad.dtype == np.float64 for p in net.parameters())
    net.astype("float32")
    assert all(p.grad is None and p.data.dtype == np.float32 for p in net.parameters())
    with pytest.raises(TypeError, match="dtype: expected float32 or float64, got float16"):
        net.astype("float16")


# ------------------------------------------------------------------------ layers of one's own


class Broken(Layer):
    """Returns whatever it was told to."""

    def __init__(self, answer: Any, error: Exception | None = None) -> None:
        self.answer, self.error = answer, error

    def forward(self, x: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


def test_an_own_layer_may_return_any_numbers() -> None:
    for answer in ([[1.0, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.uint8)):
        y = Sequential(Broken(answer), ReLU())(np.zeros((2, 3)))
        assert y.dtype == np.float64
        assert_array_equal(y, [[1, 2], [3, 4]])
    with pytest.raises(TypeError, match=r"layer 0 \(Broken\): output: expected real numbers"):
        Sequential(Broken(np.eye(2, dtype=complex)))(np.zeros((2, 3)))


def test_faults_of_an_own_layer_name_it() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"layer 1 \(Broken\): output: expected 2 images"):
        Sequential(ReLU(), Broken(np.zeros((3, 3))))(x)
    with pytest.raises(TypeError, match=r"layer 0 \(Broken\): output: expected real numbers"):
        Sequential(Broken(None))(x)
    unusual = UnicodeDecodeError("utf-8", b"x", 0, 1, "an error whose constructor is its own")
    with pytest.raises(ValueError, match=r"layer 0 \(Broken\): 'utf-8' codec .* its own"):
        Sequential(Broken(0, unusual))(x)


def test_an_own_layer_keeps_the_number_type_of_the_network() -> None:
    class Wide(Layer):
        def forward(self, x: Any) -> Any:
            return x.astype(np.float64) * 2

        def backward(self, dy: Any) -> Any:
            return dy.astype(np.float64) * 2

    net = Sequential(Linear(3, 2), Wide())
    assert net(np.ones((2, 3))).dtype == np.float32
    net.backward(np.ones((2, 2)))
    assert net.parameters()[0].grad.dtype == np.float32  # type: ignore[union-attr]
    trainer = cnn_ext.Trainer(net, "mse")
    assert np.isfinite(trainer.train_on_batch(np.ones((2, 3)), np.ones((2, 2))))
