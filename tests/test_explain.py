"""What answers rest on: gradients against differences, Grad-CAM and maps against their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from networks import all_kinds, normalised, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import (
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Normalize,
    ReLU,
    Sequential,
    Softmax,
    explain,
    metrics,
    plot,
)


def numerical(net: Sequential, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The gradient of the targets' scores by central differences, in evaluation mode."""
    net.eval()
    found, step = np.zeros_like(x), 1e-6
    for place in np.ndindex(x.shape[1:]):
        up, down = x.copy(), x.copy()
        up[(slice(None), *place)] += step
        down[(slice(None), *place)] -= step
        change = (net(up) - net(down)) / (2 * step)
        found[(slice(None), *place)] = change[np.arange(len(x)), targets]
    return found


@pytest.mark.parametrize(("kind", "shape"), [(all_kinds, (2, 7, 7)), (normalised, (3, 8, 8))])
def test_saliency_is_the_gradient_in_evaluation_mode(kind: Any, shape: tuple[int, ...]) -> None:
    net, x = kind(), normal("x", (3, *shape), np.float64)
    net.train()
    before = {name: array.copy() for name, array in net.state_dict().items()}
    given = explain.saliency(net, x, [2, 0, 1])
    assert all(layer.training for _, layer in net.named_modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, array in net.state_dict().items():
        assert_array_equal(array, before[name])
    expected = np.abs(numerical(net, x, np.array([2, 0, 1]))).max(axis=1)
    assert_allclose(given, expected, rtol=1e-5, atol=1e-8)
    assert_allclose(explain.saliency(net, x), explain.saliency(net, x, net(x).argmax(axis=1)))


def test_dropout_passes_everything() -> None:
    net = small(dropout=0.9)
    x, _ = stripes(3)
    assert_array_equal(explain.saliency(net, x), explain.saliency(net, x))
    without = Sequential(*[layer for layer in net if not isinstance(layer, Dropout)])
    assert_allclose(explain.saliency(net, x), explain.saliency(without, x), rtol=1e-5)


def test_the_score_is_before_a_softmax() -> None:
    net, (x, _) = small(), stripes(4)
    ended = Sequential(*net, Softmax())
    assert_allclose(explain.saliency(ended, x), explain.saliency(net, x), rtol=1e-5)
    assert_allclose(explain.scores(ended, x), net.eval()(x), rtol=1e-5)


def test_bytes_are_scaled_as_the_network_does() -> None:
    picture = normal("bytes", (2, 1, 6, 6), np.float64) * 40 + 120
    as_bytes, net = picture.clip(0, 255).astype(np.uint8), small()
    expected = explain.saliency(net, as_bytes.astype(np.float32) / 255)
    assert_allclose(explain.saliency(net, as_bytes), expected, rtol=1e-4)
    begun = Sequential(Normalize(120, 40), *net)
    assert_allclose(
        explain.saliency(begun, as_bytes), explain.saliency(begun, as_bytes.astype(np.float32)),
        rtol=1e-4,
    )  # fmt: skip


def test_grad_cam_is_its_formula() -> None:
    # behind the mean over each map the linear layer's weights by P Q are the gradients
    net = Sequential(Conv2d(1, 4, 3), ReLU(), GlobalAvgPool2d(), Flatten(), Linear(4, 3)).eval()
    x, _ = stripes(5)
    maps = net.activations(x)[1]
    targets = np.array([0, 1, 2, 2, 0])
    weights = net[4].weight.data[targets] / 16
    expected = np.maximum((weights[:, :, None, None] * maps).sum(axis=1), 0)
    assert 0 < expected.max() and (expected == 0).any()
    given = explain.grad_cam(net, x, targets)
    assert_allclose(given, expected, rtol=1e-4, atol=1e-7)
    assert_allclose(explain.grad_cam(net, x, targets, 1), given)
    assert explain.grad_cam(net, x, targets, 0).shape == (5, 4, 4)


def test_the_images_that_excite_a_map_most() -> None:
    net, (x, _) = small(), stripes(300)
    found = explain.most_exciting(net, x, 0, 4)
    maps = net.activations(x)[0]
    largest = maps.max(axis=(2, 3))
    assert_array_equal(found.images, np.argsort(-largest, axis=0, kind="stable")[:4].T)
    for k, (images, values) in enumerate(zip(found.images, found.values, strict=True)):
        assert_allclose(values, largest[images, k], rtol=1e-6)
        for image, box in zip(images, found.boxes[k], strict=True):
            row, column = np.unravel_index(maps[image, k].argmax(), (4, 4))
            assert_array_equal(box, [row, column, row + 2, column + 2])  # of a 3 x 3 kernel
    pooled = explain.most_exciting(net, x, count=2, maps=1)
    assert pooled.images.shape == (1, 2) and explain.most_exciting(net, x[:1]).values.shape == (
        4,
        1,
    )


def test_a_map_that_is_always_0_has_no_box() -> None:
    net, (x, _) = Sequential(Conv2d(1, 2, 3), ReLU()), stripes(5)
    net[0].load_state_dict({"weight": np.zeros((2, 1, 3, 3)), "bias": [-1, -1]})
    assert (explain.most_exciting(net, x, count=2).boxes == -1).all()


# ----------------------------------------------------------------------------------- as pictures


def test_figures_show_the_numbers() -> None:
    pytest.importorskip("matplotlib")
    net, (x, _) = small(), stripes(10)
    names = ["lying", "standing", "both"]
    figure = plot.saliency(net, x, classes=names)
    axes = [a for a in figure.axes if a.get_label() != "<colorbar>"]
    assert [a.get_title() for a in axes[::2]] == [names[k] for k in net.eval()(x).argmax(axis=1)]
    shown = np.array([a.images[0].get_array() for a in axes[1::2]])
    assert_allclose(shown, explain.saliency(net, x))
    assert {a.images[0].get_clim() for a in axes[1::2]} == {(0, shown.max())}
    cam = explain.grad_cam(net, x, np.full(10, 2))
    axes = [a for a in plot.grad_cam(net, x, np.full(10, 2)).axes if a.get_label() != "<colorbar>"]
    shown = np.array([a.images[1].get_array() for a in axes[1::2]])
    top = cam.max(axis=(1, 2), keepdims=True)
    assert_allclose(shown, np.divide(cam, top, out=np.zeros_like(cam), where=top > 0))
    figure = plot.exciting(net, x, 0, maps=2, count=3)
    assert "the first 2 of 4 maps" in figure.get_suptitle()
    found = explain.most_exciting(net, x, 0, 3)
    titles = [f"{value:.3g}" for value in found.values[:2].ravel()]
    assert [a.get_title() for a in figure.axes] == titles
    y, x0, last, _ = found.boxes[0, 0]
    frame = figure.axes[0].patches[0]
    assert (frame.get_y(), frame.get_x(), frame.get_height()) == (y - 0.5, x0 - 0.5, last - y + 1)


# ------------------------------------------------------------------------------------ calibration


def test_calibration() -> None:
    y, sure = [0, 1, 1, 0, 1], [0.9, 0.2, 0.75, 0.5, 1.0]
    confidence, accuracy, count = metrics.calibration(y, sure, 4)
    # guesses 1, 0, 1, 0 and 1 with 0.9, 0.8, 0.75, 0.5 and 1; an edge belongs to the lower bin
    assert_array_equal(count, [0, 1, 1, 3])
    assert_allclose(confidence, [np.nan, 0.5, 0.75, 0.9])
    assert_allclose(accuracy, [np.nan, 1, 1, 1 / 3])
    expected = (0.5 + 0.25 + 3 * (0.9 - 1 / 3)) / 5
    assert_allclose(metrics.expected_calibration_error(y, sure, 4), expected)
    rows = np.stack([1 - np.array(sure), sure], 1)
    assert_allclose(metrics.expected_calibration_error(y, rows, 4), expected)
    assert metrics.expected_calibration_error([0, 1], np.eye(2)) == 0


# ------------------------------------------------------------------------------------ refusals

NET = small()
FLAT = Sequential(Flatten(), Linear(36, 3))
X = np.ones((2, 1, 6, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: explain.saliency(None, X), TypeError, "net: expected a Sequential, got NoneType"),
        (lambda: explain.saliency(NET, X[0, 0]), ValueError, r"images: expected shape \(N"),
        (lambda: explain.saliency(NET, X, [0]), ValueError, r"targets: expected shape \(2,\)"),
        (lambda: explain.saliency(NET, X, [0, 3]), ValueError, "targets: .* 0 to 2, got 3"),
        (lambda: explain.saliency(NET, X, [0.0, 1.0]), TypeError, "targets: expected class"),
        (lambda: explain.saliency(NET[:2], X), ValueError, "net: expected outputs of"),
        (lambda: explain.grad_cam(NET, X, layer=5), ValueError, r"layer: .* \(0, 1, 2, 3\), got 5"),
        (lambda: explain.grad_cam(NET, X, layer="0"), TypeError, "layer: expected a whole number"),
        (lambda: explain.grad_cam(NET[:2], X), ValueError, "net: expected outputs of shape"),
        (lambda: explain.most_exciting(NET, X[:0]), ValueError, "images: expected at least one"),
        (lambda: explain.most_exciting(NET, X, count=0), ValueError, "count: expected 1"),
        (lambda: explain.most_exciting(FLAT, X), ValueError, "net: expected a layer with maps"),
        (lambda: plot.saliency(NET, X, classes=["a"]), ValueError, "classes: expected 3 names"),
        (lambda: plot.exciting(NET, X, maps=0), ValueError, "maps: expected 1"),
        (lambda: metrics.calibration([2], [[1, 0]]), ValueError, "y_true: .* 0 to 1, got 2"),
        (lambda: metrics.calibration([0], [[1.5]]), ValueError, "y_prob: expected 0 to 1"),
        (lambda: metrics.calibration([0, 1], [[1.0]]), ValueError, r"y_prob: .* \(2, K\)"),
        (lambda: metrics.calibration([0], [1.0], 0), ValueError, "bins: expected 1"),
    ],
)  # fmt: skip
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
