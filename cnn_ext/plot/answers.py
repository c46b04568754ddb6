"""Answers of a network beside the truth: images, mistakes, confusion, how sure guesses are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import _figure as fig
from ..data.batching import gather
from ..training import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG = "#c81e1e"


def guesses(
    images: Any,
    labels: ArrayLike,
    predictions: ArrayLike,
    classes: Sequence[str] | None = None,
    probabilities: ArrayLike | None = None,
    limit: int = 40,
) -> Figure:
    """Images with the network's guesses, the wrong ones in red with their true class.

    Parameters
    ----------
    images : array_like, shape (N, C, H, W)
        Shown in colour if C is 3, else in grey, as the mean over the channels.
    labels, predictions : array_like of int, shape (N,)
        True and guessed classes.
    classes : sequence of str, optional
        Names of the classes; their numbers by default.
    probabilities : array_like, shape (N, K), optional
        Of all classes, 0 to 1; the guess is then shown with its own.
    limit : int
        Most images to show, spread evenly over all.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    answers = _Answers(images, labels, predictions, classes, probabilities)
    count = min(check.whole(limit, "limit", 1), len(answers.true))
    order = np.arange(count) * len(answers.true) // count
    wrong = int(answers.wrong[order].sum())
    title = f"{count} of {len(answers.true):,} images, {wrong or 'none'} of them guessed wrong"
    return answers.show(order, title)


def mistakes(
    images: Any,
    labels: ArrayLike,
    predictions: ArrayLike,
    classes: Sequence[str] | None = None,
    probabilities: ArrayLike | None = None,
    limit: int = 40,
) -> Figure:
    """The images that the network gets wrong, with its guesses and their true classes.

    With `probabilities`, the mistakes of which the network was surest come first; else their order
    is that of the images. Parameters, result and errors are those of `guesses`.
    """
    answers = _Answers(images, labels, predictions, classes, probabilities)
    order = np.flatnonzero(answers.wrong)
    most = check.whole(limit, "limit", 1)
    title = f"{len(order):,} of {len(answers.true):,} images are guessed wrong"
    if answers.sure is not None:
        order = order[np.argsort(-answers.sure[order], kind="stable")]
        title += ", the surest guesses first" if len(order) > 1 else ""
    if most < len(order):
        title += f"; {most} shown"
    return answers.show(order[:most], title)


def confusion(
    matrix: ArrayLike, classes: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """A confusion matrix, each cell coloured by its part of the true class.

    Parameters
    ----------
    matrix : array_like of int, shape (K, K)
        Rows are true classes, columns guessed ones, as `metrics.confusion_matrix` returns.
    classes : sequence of str, optional
        Names of the classes; their numbers by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw, by default in a new figure.  The figure of `ax` is returned then.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    counts = check.real_array(matrix, "matrix")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"matrix: expected shape (K, K), got {counts.shape}")
    if counts.dtype.kind == "f" or counts.min() < 0:
        raise ValueError("matrix: expected whole numbers of 0 or more")
    K, total = len(counts), int(counts.sum())
    names = fig.short(range(K) if classes is None else classes)
    if len(names) != K:
        raise ValueError(f"classes: expected {K} names, got {len(names)}")
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = f"{np.trace(counts):,} of {total:,} guesses are right"
    title += f" ({100 * np.trace(counts) / total:.2f} %)" if total else ""
    ticks = range(0, K, math.ceil(K / 100))
    shown = [names[k] for k in ticks]
    longest = max(map(len, shown))
    size = max(4.0, min(9.0, 500 / K))
    side = max(4.0, min(12.0, 3 + 0.42 * K)) + 0.008 * size * longest
    figure, axes = fig.one_axes(ax, title, side + 0.8, side)
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    # the root shows rare mistakes too
    image = axes.imshow(parts, cmap="Blues", norm=PowerNorm(1 / 3, 0, 1))
    steep = 90 if 0.01 * size * longest > max(2.6 / K, 0.35) else 0  # inches of a name, a cell
    axes.set_xticks(ticks, shown, rotation=steep, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, shown, fontsize=size, parse_math=False)
    axes.set(xlabel="guessed class", ylabel="true class")
    percent = PercentFormatter(1.0, 0, " %")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 0.01, 0.1, 0.5, 1], format=percent)
    bar.set_label("part of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.minorticks_off()
    if K <= 25:
        for (i, k), count in np.ndenumerate(counts):
            if count:
                colour = "white" if parts[i, k] > 0.2 else "black"
                axes.text(k, i, str(count), color=colour, fontsize=8, ha="center", va="center")
    return figure


def reliability(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 10, ax: Axes | None = None
) -> Figure:
    """How often guesses are right, by how sure they are, and the expected calibration error.

    A reliability diagram, after Guo and others, "On calibration of modern neural networks" (2017);
    the figures are those of `metrics.calibration` and `metrics.expected_calibration_error`.  Below
    it stands how many of the images are in each bin.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True classes.
    probabilities : array_like, shape (N, K), or (N,) or (N, 1) for that of class 1 of two
        0 to 1.
    bins : int
        Of equal width, over 0 to 1.
    ax : matplotlib.axes.Axes, optional
        Where to draw the diagram alone, by default in a new figure.  The figure of `ax` is returned
        then.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    confidence, accuracy, count = metrics.calibration(labels, probabilities, bins)
    error = metrics.expected_calibration_error(labels, probabilities, bins)
    title = f"Reliability: expected calibration error {100 * error:.1f} %"
    if ax is None:
        figure = fig.figure(5.6, 6.2, title, "constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    else:
        figure, axes = fig.checked_axes(ax, "ax", title)
    from matplotlib.ticker import PercentFormatter

    percent = PercentFormatter(1.0, symbol=" %")
    edges, there = np.linspace(0, 1, bins + 1), count > 0
    axes.stairs(np.nan_to_num(accuracy), edges, fill=True, color=fig.COLOURS[4], alpha=0.5)
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="as sure as right")
    axes.plot(
        confidence[there], accuracy[there], "o", color=fig.COLOURS[0], label="mean of each bin"
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="guesses that are right")
    axes.yaxis.set_major_formatter(percent)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    lowest = axes
    if ax is None:
        below.stairs(count / count.sum(), edges, fill=True, color=fig.COLOURS[0])
        below.set(ylabel="images", ylim=(0, None))
        below.yaxis.set_major_formatter(percent)
        below.grid(alpha=0.3)
        lowest = below
    lowest.set_xlabel("probability of the guess")
    lowest.xaxis.set_major_formatter(percent)
    return figure


class _Answers:
    """Images with true and guessed classes, checked; arguments as for `guesses`."""

    def __init__(
        self,
        images: Any,
        labels: ArrayLike,
        predictions: ArrayLike,
        classes: Sequence[str] | None,
        probabilities: ArrayLike | None,
    ) -> None:
        if not len(images):
            raise ValueError("images: expected at least one, got none")
        self.images = images
        self.true = _class_numbers(labels, "labels", len(images))
        self.guessed = _class_numbers(predictions, "predictions", len(images))
        highest = int(max(self.true.max(), self.guessed.max()))
        self.names = list(range(highest + 1)) if classes is None else list(classes)
        if len(self.names) <= highest:
            raise ValueError(f"classes: expected a name for class {highest}, got {len(self.names)}")
        self.wrong = self.true != self.guessed
        self.sure: np.ndarray | None = None
        if probabilities is not None:
            p = check.real_array(probabilities, "probabilities")
            if p.ndim != 2 or len(p) != len(images) or p.shape[1] <= self.guessed.max():
                raise ValueError(
                    f"probabilities: expected ({len(images)}, K) with a column for each class, "
                    f"got shape {p.shape}"
                )
            if not (p.min() >= 0 and p.max() <= 1):
                raise ValueError(f"probabilities: expected 0 to 1, got {p.min():g} to {p.max():g}")
            self.sure = p[np.arange(len(p)), self.guessed]

    def show(self, order: np.ndarray, title: str) -> Figure:
        """The images of these indices, each with its guess above it."""
        columns, pitch, room = min(8, len(order)), 1.5, 0.42
        width = max(fig.NARROWEST, fig.MARGIN + pitch * columns)
        if not len(order):
            return fig.figure(width, 3 * fig.MARGIN, title)
        chosen = gather(self.images, order)
        if chosen.ndim != 4 or 0 in chosen.shape:
            raise ValueError(f"images: expected shape (N, C, H, W), got {chosen.shape}")
        tall, wide = fig.fitted(chosen.shape[2:], 1.2)
        lines = -(-len(order) // columns)
        figure = fig.figure(width, fig.MARGIN + lines * (tall + room) + fig.MARGIN / 2, title)
        pixels = fig.pixels(chosen)
        guessed = fig.short(self.names, 22 if self.sure is None else 14)  # as the pitch allows
        true = fig.short(self.names, 18)
        left = (width - pitch * columns + pitch - wide) / 2
        for place, (i, image) in enumerate(zip(order, pixels, strict=True)):
            line, column = divmod(place, columns)
            top = fig.MARGIN + line * (tall + room) + room
            axes = fig.place(figure, left + column * pitch, top, wide, tall)
            axes.imshow(
                image,
                interpolation="auto" if max(image.shape) > 90 else "nearest",
                aspect="auto",
            )
            axes.set(xticks=[], yticks=[])
            text = guessed[self.guessed[i]]
            if self.sure is not None:
                text += f"  {100 * self.sure[i]:.1f} %"
            if self.wrong[i]:
                text += f"\nnot {true[self.true[i]]}"
                for spine in axes.spines.values():
                    spine.set(color=WRONG, linewidth=3)
            colour = WRONG if self.wrong[i] else "black"
            axes.set_title(text, fontsize=8, color=colour, pad=4, parse_math=False)
        return figure


def _class_numbers(values: ArrayLike, name: str, count: int) -> np.ndarray:
    numbers = metrics.class_numbers(values, name)
    check.same_shape(numbers, name, (count,))
    if numbers.min(initial=0) < 0:
        raise ValueError(f"{name}: expected class numbers of 0 or more, got {numbers.min()}")
    return numbers
