"""Figures of answers and of training: what they show."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from figures import drawn, png, texts
from numpy.testing import assert_allclose

from cnn_ext import Epoch, History, metrics, plot
from cnn_ext.training.rate_finder import LearningRates

colors = pytest.importorskip("matplotlib.colors")
Figure = pytest.importorskip("matplotlib.figure").Figure

# ------------------------------------------------------------------------------------ answers

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 4)).astype(np.uint8)
TRUE = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
GUESSED = np.array([0, 1, 2, 1, 1, 0, 0, 2, 2])
SURE = np.full((9, 3), 0.25)
SURE[np.arange(9), GUESSED] = [0.5, 0.5, 0.5, 0.61, 0.5, 0.83, 0.5, 0.74, 0.5]
NAMES = ["cat", "a$b_{$", "a very long name\n"]


def test_guesses_are_in_the_titles_and_wrong_ones_are_marked() -> None:
    figure = plot.guesses(COLOURS, TRUE, GUESSED)
    png(figure)
    assert figure.get_suptitle() == "9 of 9 images, 3 of them guessed wrong"
    assert texts(figure) == ["0", "1", "2", "1\nnot 0", "1", "0\nnot 2", "0", "2\nnot 1", "2"]
    for axes, image, wrong in zip(figure.axes, COLOURS, TRUE != GUESSED, strict=True):
        assert_allclose(axes.images[0].get_array(), image.transpose(1, 2, 0) / 255)
        edge, colour = axes.spines["top"].get_edgecolor(), axes.title.get_color()
        assert colors.same_color(colour, plot.WRONG) == colors.same_color(edge, plot.WRONG) == wrong


def test_guesses_with_names_and_probabilities() -> None:
    figure = plot.guesses(COLOURS, TRUE, GUESSED, NAMES, SURE)
    png(figure)
    assert texts(figure)[3:6] == ["a$b_{$  61.0 %\nnot cat", "a$b_{$  50.0 %",
                                  "cat  83.0 %\nnot a very long name?"]  # fmt: skip


def test_guesses_are_spread_over_all_images() -> None:
    images = np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1).repeat(2, 2)
    figure = plot.guesses(list(images), np.arange(100), np.arange(100), limit=5)
    assert texts(figure) == ["0", "20", "40", "60", "80"]
    assert figure.get_suptitle() == "5 of 100 images, none of them guessed wrong"
    shades = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert_allclose(shades, [0, 0.25, 0.5, 0.75, 1])


def test_mistakes_come_with_the_surest_first() -> None:
    figure = plot.mistakes(COLOURS, TRUE, GUESSED, None, SURE)
    png(figure)
    assert texts(figure) == ["0  83.0 %\nnot 2", "2  74.0 %\nnot 1", "1  61.0 %\nnot 0"]
    assert figure.get_suptitle() == "3 of 9 images are guessed wrong, the surest guesses first"
    assert_allclose(figure.axes[0].images[0].get_array(), COLOURS[5].transpose(1, 2, 0) / 255)
    two = plot.mistakes(COLOURS, TRUE, GUESSED, limit=2)
    assert texts(two) == ["1\nnot 0", "0\nnot 2"] and two.get_suptitle().endswith("; 2 shown")
    none = plot.mistakes(COLOURS, TRUE, TRUE)
    assert not none.axes and none.get_suptitle() == "0 of 9 images are guessed wrong"


def test_long_names_lose_their_middle() -> None:
    names = [f"a long name that ends in {k}" for k in range(3)]
    assert texts(plot.guesses(COLOURS, TRUE, GUESSED, names))[3] == (
        "a long name th…ds in 1\nnot a long name…s in 0"
    )


def test_confusion() -> None:
    figure = plot.confusion([[3, 1, 0], [0, 0, 0], [0, 2, 6]], NAMES)
    png(figure)
    [axes] = drawn(figure)
    assert figure.get_suptitle() == "9 of 12 guesses are right (75.00 %)"
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2", "6"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (1, 2), (2, 2)]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "a$b_{$", "a very long name?"]
    assert_allclose(axes.images[0].get_array()[0], [0.75, 0.25, 0])
    assert_allclose(axes.images[0].norm([0, 0.001, 1]), [0, 0.1, 1], rtol=1e-6)
    large = plot.confusion(np.eye(150, dtype=int))
    png(large)
    assert len(large.axes[0].get_xticklabels()) <= 100 and not large.axes[0].texts


@pytest.mark.parametrize("classes", [2, 10, 26, 100])
def test_names_of_classes_do_not_overlap(classes: int) -> None:
    names = [f"class number {k} of these" for k in range(classes)]
    figure = plot.confusion(np.eye(classes, dtype=int), names)
    png(figure)
    axes = drawn(figure)[0]
    for labels, side in ((axes.get_xticklabels(), "x"), (axes.get_yticklabels(), "y")):
        boxes = [label.get_window_extent() for label in labels]
        ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
        assert all(a[1] <= b[0] + 0.5 for a, b in pairwise(ends))
        whole = figure.get_window_extent()
        assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= whole.x1 for b in boxes)


def test_reliability_is_that_of_the_metrics() -> None:
    y, p = [0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.3, 0.7]]
    figure = plot.reliability(y, p, bins=4)
    png(figure)
    error = (0.15 * 2 + abs(0 - 0.625) * 2) / 4  # (0.9, 0.8) are right, (0.55, 0.7) wrong
    told = metrics.expected_calibration_error(y, p, 4)
    assert_allclose(told, error)
    assert figure.get_suptitle() == f"Reliability: expected calibration error {100 * told:.1f} %"
    assert_allclose(figure.axes[0].lines[1].get_xydata(), [[0.625, 0], [0.85, 1]])
    assert_allclose(figure.axes[1].patches[0].get_data().values, [0, 0, 0.5, 0.5])


def test_figures_in_axes_of_ones_own() -> None:
    own = Figure()
    grid = own.subplots(2, 3).ravel()
    assert plot.confusion([[3, 1], [0, 2]], ax=grid[0]) is own
    assert plot.reliability([0, 1], [0.2, 0.9], ax=grid[1]) is own
    rates = LearningRates(np.geomspace(0.1, 10, 3), np.array([3.0, 2.0, 5.0]), 1.0)
    assert plot.learning_rates(rates, ax=grid[2]) is own
    epochs = History([Epoch(n, 1 / n, n / 9, 0.1 / n, 1, 9) for n in (1, 2)])
    assert plot.history(epochs, ax=grid[3:]) is own
    png(own)
    assert texts(own) == [
        "5 of 6 guesses are right (83.33 %)",
        "Reliability: expected calibration error 15.0 %",
        "Cost by learning rate, 1 is suggested",
        *["Training, 2 epochs"] * 3,
    ]
    assert own.get_suptitle() == ""
    assert [axes.get_ylabel() for axes in grid[3:]] == ["cost", "accuracy", "learning rate"]


def test_learning_rates() -> None:
    found = LearningRates(np.geomspace(0.1, 10, 3), np.array([3.0, 2.0, 5.0]), 1.0)
    figure = plot.learning_rates(found)
    png(figure)
    [axes] = figure.axes
    assert axes.get_xscale() == "log"
    assert_allclose(axes.lines[0].get_xydata(), [[0.1, 3], [1, 2], [10, 5]])
    assert_allclose(axes.lines[1].get_xdata(), [1, 1])
    none = plot.learning_rates(LearningRates(found.rates, found.costs, None))
    assert len(none.axes[0].lines) == 1 and "none is suggested" in none.get_suptitle()


def test_history_has_metrics_and_learning_rates() -> None:
    epochs = [Epoch(n, 1 / n, None, 0.1 / n, 1, 9) for n in (1, 2)]
    epochs[0].validation_metrics, epochs[1].validation_metrics = {"f1": 0.25}, {"f1": 0.5}
    figure = plot.history(History(epochs))
    png(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["cost", "f1", "learning rate"]
    assert_allclose(figure.axes[1].lines[0].get_xydata(), [[1, 0.25], [2, 0.5]])
    assert_allclose(figure.axes[2].lines[0].get_xydata(), [[1, 0.1], [2, 0.05]])


def test_history() -> None:
    known = History([Epoch(n, 1 / n, 0.0, 0.1, 1, 9, 2 / n, n / 4) for n in (1, 2, 3)])
    figure = plot.history(known)
    png(figure)
    cost, accuracy = figure.axes
    assert (cost.get_ylabel(), accuracy.get_ylabel()) == ("cost", "accuracy")
    for axes, curves in ((cost, ([1, 1 / 2, 1 / 3], [2, 1, 2 / 3])),
                         (accuracy, ([0, 0, 0], [0.25, 0.5, 0.75]))):  # fmt: skip
        assert [line.get_label() for line in axes.lines] == ["training", "validation"]
        for line, curve in zip(axes.lines, curves, strict=True):
            assert_allclose(line.get_xydata(), np.stack([[1, 2, 3], curve], 1))
    alone = plot.history(History([Epoch(1, 0.5, None, 0.1, 1, 9)]))
    png(alone)
    assert len(alone.axes) == 1 and len(alone.axes[0].lines) == 1
    assert alone.get_suptitle() == "Training, 1 epoch"
