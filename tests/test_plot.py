"""Figures of networks: what they show, and what they refuse."""

from __future__ import annotations

import pickle
import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from cases import normal
from figures import drawn, png, texts
from networks import all_kinds, pooled, small, stripes
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import cnn_ext
from cnn_ext import (
    Conv1d,
    Conv2d,
    Epoch,
    History,
    Linear,
    MaxPool2d,
    Normalize,
    ReLU,
    Sequential,
    plot,
)

colormaps = pytest.importorskip("matplotlib").colormaps
Figure = pytest.importorskip("matplotlib.figure").Figure


# -------------------------------------------------------------------------------- activations


def test_activations_are_those_of_the_layers_one_by_one() -> None:
    for kind, shape in ((all_kinds, (3, 2, 7, 7)), (pooled, (3, 2, 6, 6))):
        net, x = kind(dtype=np.float32), normal("x", shape, np.float32)
        net.eval()
        here, outputs = x, net.activations(x)
        for layer, output in zip(net, outputs, strict=True):
            here = layer(here)
            assert type(output) is np.ndarray
            assert_allclose(output, here, rtol=1e-5, atol=1e-6)
        assert len(outputs) == len(net)
        assert_allclose(outputs[-1], net(x), rtol=1e-5, atol=1e-6)


def test_activations_before_max_pooling_are_in_the_written_order() -> None:
    net = Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), ReLU())
    x = normal("order", (5, 1, 9, 9), np.float32)
    raw, positive, pooled_, last = net.activations(x)
    assert raw.min() < 0
    assert_array_equal(positive, np.maximum(raw, 0))
    assert_array_equal(pooled_, cnn_ext.ops.max_pool2d(positive, 2))
    assert_array_equal(last, pooled_)


def test_activations_evaluate_and_keep_nothing() -> None:
    net = small(dropout=0.9).train()
    net[1].eval()
    x, _ = stripes(5)
    outputs = net.activations(x)
    assert_array_equal(outputs[3], outputs[2])  # dropout
    assert [layer.training for layer in net] == [True, False, True, True, True, True]
    with pytest.raises(RuntimeError, match="no forward pass in training mode"):
        net.backward(np.ones((5, 3), np.float32))
    bytes_ = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6)
    assert_allclose(net.activations(bytes_)[-1], net.eval()(bytes_), rtol=1e-5)
    with pytest.raises(ValueError, match=r"layer 0 \(Conv2d\)"):
        net.activations(np.ones((1, 2, 6, 6)))


# ------------------------------------------------------------------------------ learned things


def test_grey_kernels_have_their_values() -> None:
    net = Sequential(Conv2d(1, 4, 3))
    weight = np.zeros((4, 1, 3, 3), np.float32)
    weight[0, 0, 0, 0], weight[3, 0, 2, 2] = 2, -2
    net.load_state_dict({"0.weight": weight, "0.bias": np.zeros(4)})
    figure = plot.kernels(net)
    png(figure)
    [axes] = drawn(figure)
    title = "Layer 0, Conv2d: 4 kernels of 1 x 3 x 3\nweights, grey is 0"
    assert figure.get_suptitle() == title
    assert figure.axes[1].get_ylim() == (-2, 2)  # the colour bar
    shown = axes.images[0].get_array()  # four tiles in a line
    assert_array_equal(shown[0, 0], [255] * 4)
    assert_array_equal(shown[-1, -1], [0, 0, 0, 255])
    assert_array_equal(shown[-1, 0], [128, 128, 128, 255])


def test_kernels_are_those_of_the_first_convolution() -> None:
    net = Sequential(Normalize(0, 255), Conv2d(1, 2, 3), Conv2d(2, 3, 3))
    assert plot.kernels(net).get_suptitle().startswith("Layer 1, Conv2d: 2 kernels")


def test_kernels_in_colour_and_of_many_channels() -> None:
    net = Sequential(Conv2d(3, 5, 3), ReLU(), Sequential(Conv2d(5, 7, (2, 4))))
    weight = np.zeros((5, 3, 3, 3), np.float32)
    weight[0, 0, 0, 0] = 1
    net[0].load_state_dict({"weight": weight, "bias": np.zeros(5)})
    colour = plot.kernels(net)
    assert_array_equal(colour.axes[0].images[0].get_array()[0, 0], [255, 128, 128, 255])
    assert "red, green and blue" in colour.get_suptitle()
    inner = plot.kernels(net, 2)
    png(inner)
    title = inner.get_suptitle()
    assert title.startswith("Layer 2, Conv2d: 7 kernels of 5 x 2 x 4\na row for each kernel")
    [axes] = drawn(inner)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list("0123456")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list("01234")


@pytest.mark.parametrize(
    ("layer", "limit", "said"),
    [
        (0, 6, "8 kernels of 1 x 3 x 3, the first 6 shown\n"),
        (0, 8, "8 kernels of 1 x 3 x 3\n"),
        (1, 100, "6 kernels of 40 x 1 x 1, the first 3 with 32 channels shown\n"),
        (1, 5, "6 kernels of 40 x 1 x 1, the first 1 with 5 channels shown\n"),
    ],
)
def test_the_title_says_how_many_kernels_are_left_out(layer: int, limit: int, said: str) -> None:
    net = Sequential(Conv2d(1, 8, 3), Conv2d(40, 6, 1))
    assert said in plot.kernels(net, layer, limit).get_suptitle()


@pytest.mark.parametrize("kernels", [np.full((2, 1, 2, 2), np.nan), np.zeros((2, 1, 2, 2))])
def test_kernels_without_a_scale(kernels: np.ndarray) -> None:
    net = Sequential(Conv2d(1, 2, 2, bias=False))
    net.load_state_dict({"0.weight": kernels})
    figure = plot.kernels(net)
    figure.savefig(BytesIO(), format="png")
    shown = figure.axes[0].images[0].get_array()[0, 0, 3]
    assert shown == (0 if np.isnan(kernels).all() else 255)  # NaN is transparent


def test_feature_maps_have_a_row_for_every_layer() -> None:
    net = small(dropout=0.5)
    x, _ = stripes(1)
    figure = plot.feature_maps(net, x[0])
    assert png(figure).shape[0] > 150
    raw, positive, pooled_, *_, last = net.activations(x)
    expected = [
        f"{name}, {y.min():.3g} to {y.max():.3g}"
        for name, y in (
            ("0 Conv2d: 4 x 4 x 4", raw),
            ("1 ReLU: 4 x 4 x 4", positive),
            ("2 MaxPool2d: 4 x 2 x 2", pooled_),
            ("5 Linear: 3", last),
        )
    ]
    assert texts(figure) == ["image: 1 x 6 x 6", *expected]
    under = [tick.get_text() for tick in drawn(figure)[-1].get_xticklabels()]
    assert under == [f"{k}\n{value:.3g}" for k, value in enumerate(last[0])]
    tops = [axes.get_position().y1 for axes in drawn(figure)]
    assert tops == sorted(tops, reverse=True) and 0 < drawn(figure)[-1].get_position().y0
    ends = [axes.get_ylim() for axes in figure.axes if axes not in drawn(figure)]
    largest = [np.abs(y).max() for y in (raw, positive, pooled_, last)]
    assert_allclose(ends, [(-top, top) for top in largest], rtol=1e-6)
    named = drawn(plot.feature_maps(net, x[0], classes=["lying", "standing", "both"]))[-1]
    assert named.get_xticklabels()[1].get_text() == f"standing\n{last[0, 1]:.3g}"


def test_feature_maps_of_a_signal() -> None:
    net = Sequential(Conv1d(2, 3, 3), ReLU(), cnn_ext.Flatten(), Linear(18, 2))
    signal = normal("signal", (2, 8), np.float32)
    figure = plot.feature_maps(net, signal)
    png(figure)
    assert figure.get_suptitle().startswith("What a signal causes")
    first, channels, *_ = drawn(figure)
    assert_array_equal([line.get_ydata() for line in first.lines], signal)
    assert channels.get_title("left").startswith("0 Conv1d: 3 x 6")
    assert channels.images[0].get_array().shape == (3, 6, 4)
    kernels = plot.kernels(net)
    png(kernels)
    assert kernels.get_suptitle().startswith("Layer 0, Conv1d: 3 kernels of 2 x 3\na row for each")


def test_maps_of_one_pixel_are_a_strip() -> None:
    figure = plot.feature_maps(pooled(), np.ones((2, 6, 6)))
    png(figure)
    [strip] = [a for a in drawn(figure) if a.get_title("left").startswith("2 Global")]
    assert strip.get_title("left").startswith("2 GlobalAvgPool2d: 5 x 1 x 1")
    assert strip.images[0].get_array().shape == (1, 5, 4)
    y = pooled().activations(np.ones((1, 2, 6, 6)))[2].ravel()
    order = np.argsort(y)  # so that the largest is left out
    state = pooled().state_dict()
    state |= {"0.weight": state["0.weight"][order], "0.bias": state["0.bias"][order]}
    (net := pooled()).load_state_dict(state)
    part = plot.feature_maps(net, np.ones((2, 6, 6)), limit=2).axes
    [strip] = [a for a in part if a.get_title("left").startswith("2 Global")]
    bar = part[part.index(strip) + 1]
    assert_allclose(bar.get_ylim(), (-y.max(), y.max()))
    shade = colormaps["RdBu_r"](y[order[0]] / y.max() / 2 + 0.5, bytes=True)
    assert_array_equal(strip.images[0].get_array()[0, 0], shade)


def test_weights_are_counted() -> None:
    net = Sequential(Conv2d(1, 2, 2), ReLU(), Linear(2, 3))
    values = [-1, -1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1]
    net[0].load_state_dict({"weight": np.reshape(values, (2, 1, 2, 2)), "bias": [9, 9]})
    figure = plot.weights(net, bins=2)
    png(figure)
    assert texts(figure) == [
        "0.weight\n2 x 1 x 2 x 2, std 0.81",
        f"2.weight\n3 x 2, std {net[2].weight.data.std():.2g}",
    ]
    counted = figure.axes[0].patches[0].get_data()
    assert_allclose(counted.edges, [-1, 0, 1])
    assert_allclose(counted.values, [0.25, 0.75])
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_feature_maps_of_deep_networks() -> None:
    image = normal("deep", (2, 7, 7), np.float64)
    figure = plot.feature_maps(all_kinds(), image)
    png(figure)
    kinds = [text.split(":")[0] for text in texts(figure)]
    assert kinds[:5] == ["image", "0 Conv2d", "1 Tanh", "2 ChannelScale", "3 Conv2d"]
    assert kinds[-1] == "15 Linear"  # counted through the networks within
    wide = plot.feature_maps(Sequential(Conv2d(2, 50, 3)), image, limit=30)
    assert texts(wide)[1].endswith(", the first 30 shown")
    assert [tick.get_text() for tick in drawn(wide)[1].get_yticklabels()] == ["0", "15"]
    deep = Sequential(Conv2d(2, 20, 3), *[ReLU() for _ in range(30)])
    assert texts(plot.feature_maps(deep, image))[1].endswith(", the first 16 shown")


# ------------------------------------------------------------------------------------- refusals

NET = Sequential(Conv2d(1, 2, 3), ReLU())
X, Y = np.ones((2, 1, 4, 4)), [0, 1]
ONE = History([Epoch(1, 0.5, None, 0.1, 1, 9)])


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plot.kernels(NET[0]), TypeError, "net: expected a Sequential, got Conv2d"),
        (lambda: plot.kernels(NET, 1), ValueError, r"layer: .* a convolution \(0\), got 1"),
        (lambda: plot.kernels(NET, "0"), TypeError, "layer: expected a whole number"),
        (lambda: plot.kernels(Sequential(Linear(2, 2))), ValueError, r"\(no layer has any\)"),
        (lambda: plot.kernels(NET, limit=0), ValueError, "limit: expected 1"),
        (lambda: plot.feature_maps(NET, X), ValueError, r"image: expected shape \(C, H, W\)"),
        (lambda: plot.feature_maps(NET, X[0].repeat(2, 0)), ValueError, r"layer 0 \(Conv2d\)"),
        (lambda: plot.feature_maps(None, X[0]), TypeError, "net: expected a Sequential"),
        (lambda: plot.feature_maps(NET, X[0], classes="ab"), ValueError, "classes: expected 8 n"),
        (lambda: plot.weights(None), TypeError, "net: expected a network, got NoneType"),
        (lambda: plot.weights(Sequential(ReLU())), ValueError, "net: expected a network with"),
        (lambda: plot.weights(NET, 0), ValueError, "bins: expected 1"),
        (lambda: plot.learning_rates(3), TypeError, "found: expected LearningRates, got int"),
        (lambda: plot.reliability([0], [[2.0]]), ValueError, "y_prob: expected 0 to 1, got 2 to 2"),
        (lambda: plot.confusion([[1]], ax=3), TypeError, "ax: expected Matplotlib's Axes, got int"),
        (lambda: plot.history(ONE, []), ValueError, "ax: expected at most 1, for cost, got 0"),
        (lambda: plot.history({}), TypeError, "history: expected a History, got dict"),
        (lambda: plot.history(History()), ValueError, "history: expected at least one epoch"),
        (lambda: plot.guesses(X, [0], Y), ValueError, r"labels: expected shape \(2,\)"),
        (lambda: plot.guesses(X, Y, [0, 1, 2]), ValueError, r"predictions: expected shape"),
        (lambda: plot.guesses(X, Y, [0.0, 1.0]), TypeError, "predictions: expected class numbers"),
        (lambda: plot.guesses(X, [-1, 0], Y), ValueError, "labels: expected class numbers of 0"),
        (lambda: plot.guesses(X, Y, Y, ["a"]), ValueError, "classes: expected a name for class 1"),
        (lambda: plot.guesses(X[0], [0], [0]), ValueError, r"images: expected shape"),
        (lambda: plot.guesses(X[:0], [], []), ValueError, "images: expected at least one"),
        (lambda: plot.guesses(X, Y, Y, None, [0.5, 1]), ValueError, r"probabilities: .* \(2, K\)"),
        (lambda: plot.mistakes(X, Y, Y, None, [[1, 2], [0, 1]]), ValueError, "expected 0 to 1"),
        (lambda: plot.mistakes(X, Y, Y, limit=0), ValueError, "limit: expected 1"),
        (lambda: plot.confusion([1, 2]), ValueError, r"matrix: expected shape \(K, K\)"),
        (lambda: plot.confusion([[0.5]]), ValueError, "matrix: expected whole numbers"),
        (lambda: plot.confusion([[-1]]), ValueError, "matrix: expected whole numbers"),
        (lambda: plot.confusion([[1]], ["a", "b"]), ValueError, "classes: expected 1 names, got 2"),
    ],
)
def test_bad_arguments(draw: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        draw()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    x, y = stripes(2)
    for draw in (
        lambda: plot.kernels(small()),
        lambda: plot.feature_maps(small(), x[0]),
        lambda: plot.weights(small()),
        lambda: plot.history(ONE),
        lambda: plot.reliability([0], [0.3]),
        lambda: plot.saliency(small(), x),
        lambda: plot.grad_cam(small(), x),
        lambda: plot.exciting(small(), x),
        lambda: plot.guesses(x, y, y),
        lambda: plot.mistakes(x, y, y),
        lambda: plot.confusion([[1]]),
    ):
        with pytest.raises(ImportError, match=r"pip install 'cnn_ext\[plot\]'"):
            draw()


def test_matplotlib_loads_at_first_use_and_pyplot_never() -> None:
    code = (
        "import sys; from cnn_ext import plot; before = 'matplotlib' in sys.modules; "
        "plot.confusion([[1]]).savefig(sys.stdout.buffer, format='png'); "
        "sys.stderr.write(f\"{before} {'matplotlib.pyplot' in sys.modules}\")"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr.endswith(b"False False") and done.stdout.startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def every_figure() -> dict[str, Any]:
    x, y = stripes(9)
    epochs = [Epoch(i, 1 / i, 0.5, 0.1, 1.0, 9.0) for i in (1, 2)]
    return {
        "kernels": plot.kernels(small()),
        "feature_maps": plot.feature_maps(small(), x[0]),
        "weights": plot.weights(small()),
        "saliency": plot.saliency(small(), x),
        "grad_cam": plot.grad_cam(small(), x),
        "exciting": plot.exciting(small(), x),
        "reliability": plot.reliability(y, np.eye(3)[y]),
        "history": plot.history(History(epochs)),
        "guesses": plot.guesses(x, y, y),
        "mistakes": plot.mistakes(x, y, (y + 1) % 3),
        "no mistakes": plot.mistakes(x, y, y),
        "confusion": plot.confusion(np.eye(3, dtype=int)),
    }


def test_a_notebook_shows_every_figure(every_figure: dict[str, Any]) -> None:
    for name, figure in every_figure.items():
        for one in (figure, pickle.loads(pickle.dumps(figure))):
            picture = Image.open(BytesIO(one._repr_png_()))
            assert_allclose(picture.size, one.get_size_inches() * one.dpi, atol=1, err_msg=name)


def test_ipython_shows_every_figure(every_figure: dict[str, Any]) -> None:
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    for name, figure in every_figure.items():
        data, _ = formatter.format(figure)
        picture = Image.open(BytesIO(data["image/png"]))
        assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1, err_msg=name)
