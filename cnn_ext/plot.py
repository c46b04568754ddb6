"""Pictures of what a network has learned and of what it does; needs Matplotlib.

Every function returns a ``matplotlib.figure.Figure`` that has no window and that nobody else keeps;
``figure.savefig("a.png")`` writes it, and a notebook shows it as the value of a cell.  An argument
that does not fit raises TypeError or ValueError, whose message names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import _check as check
from . import _figure as fig
from .data.batching import gather
from .layers import Conv2d, Dropout, Flatten, Module, Sequential
from .training.history import History
from .training.metrics import class_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_A_LINE = 20  # feature maps
WRONG = "#c81e1e"


def kernels(net: Sequential, layer: int | None = None, limit: int = 400) -> Figure:
    """The kernels of a convolution.

    Kernels over one channel are grey and kernels over three are in colour; of others there is a row
    for each kernel with a tile for each of its channels.

    Parameters
    ----------
    net : Sequential
    layer : int, optional
        Number of the layer, by default of the first convolution; the layers of an inner network
        count one by one.
    limit : int
        Most tiles to show; the title says what is left out.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or that layer is no `Conv2d`.
    ImportError
        If Matplotlib is not installed.
    """
    layers = _layers(net)
    found = [i for i, kind in enumerate(layers) if isinstance(kind, Conv2d)]
    number = check.whole((found or [0])[0] if layer is None else layer, "layer", 0)
    if number not in found:
        known = ", ".join(map(str, found)) or "no layer has any"
        raise ValueError(f"layer: expected the number of a convolution ({known}), got {number}")
    convolution: Any = layers[number]
    weight = convolution.weight.data
    K, C, R, S = weight.shape
    most = check.whole(limit, "limit", 1)
    largest = fig.largest(weight) or 1.0
    in_colour = convolution.in_channels == 3 == C
    title = f"Layer {number}, Conv2d: {K} kernels of {C} x {R} x {S}"
    scale = f"black {-largest:.2g}, grey 0, white {largest:.2g}"
    if in_colour or C == 1:
        shown = weight[:most]
        root = math.ceil(math.sqrt(len(shown)))
        columns = _even(len(shown), root, 2 * root)
        beside, below = [str(k) for k in range(0, len(shown), columns)], []
        left_out = f", the first {most} shown" if most < K else ""
        if in_colour:
            tiles = fig.opaque(shown.transpose(0, 2, 3, 1) / (2 * largest) + 0.5)
            scale = f"red, green and blue from {-largest:.2g} to {largest:.2g}, grey is 0"
        else:
            tiles = fig.coloured(shown[:, 0], "gray", largest)
    else:
        columns = min(C, 32, most)
        shown = weight[: most // columns, :columns]
        tiles = fig.coloured(shown.reshape(-1, R, S), "gray", largest)
        beside, below = [str(k) for k in range(len(shown))], [str(c) for c in range(columns)]
        scale = f"a row for each kernel, a column for each channel; {scale}"
        left_out = ""
        if shown.shape[:2] != (K, C):
            left_out = f", the first {len(shown)} with {columns} channels shown"
    row = fig.tiled("", tiles, columns, min(0.9, fig.WIDEST / columns))
    row.beside, row.below = beside, below
    return fig.page(f"{title}{left_out}\n{scale}", [row], gaps="#a9c4de")


def feature_maps(net: Sequential, image: ArrayLike, limit: int = 128) -> Figure:
    """What an image causes in every layer, in evaluation mode.

    The image comes first, then a row for each layer: a map for each channel, or a strip where the
    output is a vector. `Flatten` and `Dropout`, which pass on what they get, have no row.

    Parameters
    ----------
    net : Sequential
    image : array_like, shape (C, H, W)
        Real numbers, or bytes, which are divided by 255.
    limit : int
        Most channels of a layer to show; its label says how many are left out.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    ImportError
        If Matplotlib is not installed.
    """
    layers = _layers(net)
    most = check.whole(limit, "limit", 1)
    picture = check.real_array(image, "image")
    if picture.ndim != 3 or 0 in picture.shape:
        raise ValueError(f"image: expected shape (C, H, W), got {picture.shape}")
    outputs = Sequential(*layers).activations(picture[None])
    widest = max((len(y[0]) for y in outputs if y.ndim == 4), default=1)
    side = min(1.0, fig.WIDEST / min(widest, most, IN_A_LINE))
    extent = " x ".join(map(str, picture.shape))
    rows = [fig.tiled(f"image: {extent}", fig.opaque(fig.pixels(picture[None])), 1, max(side, 0.9))]
    for i, (layer, batch) in enumerate(zip(layers, outputs, strict=True)):
        if isinstance(layer, (Flatten, Dropout)):
            continue
        y = batch[0] if batch.ndim in (2, 4) else batch[0].ravel()
        extent = " x ".join(map(str, y.shape))
        label = f"{i} {type(layer).__name__}: {extent}, {y.min():.3g} to {y.max():.3g}"
        if y.ndim == 1:
            rows.append(fig.Row(label, fig.coloured(y[None], "RdBu_r"), fig.WIDEST, 0.3))
            if len(y) <= 20:
                rows[-1].below = [f"{k}\n{value:.3g}" for k, value in enumerate(y)]
            continue
        if len(y) > most:
            label += f", the first {most} shown"
        tiles = fig.coloured(y[:most], "RdBu_r", fig.largest(y))
        columns = _even(len(tiles), min(len(tiles), IN_A_LINE // 2), min(len(tiles), IN_A_LINE))
        rows.append(fig.tiled(label, tiles, columns, side))
        if len(tiles) > columns:
            rows[-1].beside = [str(k) for k in range(0, len(tiles), columns)]
    legend = "red above 0, white 0, blue below 0; each layer has its own scale"
    return fig.page(f"What an image causes in every layer\n{legend}", rows, gaps="#d0d0d0")


def history(history: History) -> Figure:
    """The cost and, where there is one, the accuracy over the epochs.

    Parameters
    ----------
    history : History
        What `Trainer.fit` returned.

    Raises
    ------
    TypeError, ValueError
        If `history` is no `History`, or has no epoch.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(history, History):
        raise TypeError(f"history: expected a History, got {type(history).__name__}")
    if not len(history):
        raise ValueError("history: expected at least one epoch, got none")
    figures = [name for name in ("cost", "accuracy") if _curve(history, name)[1]]
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    figure = fig.figure(5.5 * len(figures) + 1, 4.2, f"Training, {epochs}", "constrained")
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for axes, name in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        for prefix, label in (("", "training"), ("validation_", "validation")):
            numbers, values = _curve(history, prefix + name)
            if values:
                axes.plot(numbers, values, marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    return figure


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


def confusion(matrix: ArrayLike, classes: Sequence[str] | None = None) -> Figure:
    """A confusion matrix, each cell coloured by its part of the true class.

    Parameters
    ----------
    matrix : array_like of int, shape (K, K)
        Rows are true classes, columns guessed ones, as `metrics.confusion_matrix` returns.
    classes : sequence of str, optional
        Names of the classes; their numbers by default.

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
    names = _names(classes, K)
    if len(names) != K:
        raise ValueError(f"classes: expected {K} names, got {len(names)}")
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3 + 0.42 * K)
    right = f"{np.trace(counts):,} of {total:,} guesses are right"
    percent = f" ({100 * np.trace(counts) / total:.2f} %)" if total else ""
    figure = fig.figure(max(side, 4.5), max(side, 4.0), right + percent, "constrained")
    axes = figure.subplots()
    axes.imshow(np.cbrt(parts), cmap="Blues", vmin=0, vmax=1)  # the root shows rare mistakes too
    size = max(4.0, min(9.0, 500 / K))
    ticks = range(0, K, math.ceil(K / 100))
    shown = [names[k] for k in ticks]
    steep = 90 if max(map(len, shown)) > 3 or K > 25 else 0
    axes.set_xticks(ticks, shown, rotation=steep, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, shown, fontsize=size, parse_math=False)
    axes.set(xlabel="guessed class", ylabel="true class")
    if K <= 25:
        for (i, k), count in np.ndenumerate(counts):
            if count:
                colour = "white" if parts[i, k] > 0.2 else "black"
                axes.text(k, i, str(count), color=colour, fontsize=8, ha="center", va="center")
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
        self.names = _names(classes, highest + 1)
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
        columns, side, pitch, room = 8, 1.2, 1.5, 0.42
        lines = max(1, -(-len(order) // columns))
        width = max(fig.NARROWEST, fig.MARGIN + pitch * min(columns, len(order)))
        height = fig.MARGIN + lines * (side + room) + fig.MARGIN / 2
        figure = fig.figure(width, height, title)
        if not len(order):
            return figure
        chosen = gather(self.images, order)
        if chosen.ndim != 4 or 0 in chosen.shape:
            raise ValueError(f"images: expected shape (N, C, H, W), got {chosen.shape}")
        pixels = fig.pixels(chosen)
        left = (width - pitch * min(columns, len(order)) + pitch - side) / 2
        for place, (i, image) in enumerate(zip(order, pixels, strict=True)):
            line, column = divmod(place, columns)
            top = fig.MARGIN + line * (side + room) + room
            axes = fig.place(figure, left + column * pitch, top, side, side)
            axes.imshow(image, interpolation="auto" if max(image.shape) > 90 else "nearest")
            axes.set(xticks=[], yticks=[])
            text = self.names[self.guessed[i]]
            if self.sure is not None:
                text += f"  {100 * self.sure[i]:.1f} %"
            if self.wrong[i]:
                text += f"\nnot {self.names[self.true[i]]}"
                for spine in axes.spines.values():
                    spine.set(color=WRONG, linewidth=3)
            colour = WRONG if self.wrong[i] else "black"
            axes.set_title(text, fontsize=8, color=colour, pad=4, parse_math=False)
        return figure


def _layers(net: Sequential) -> list[Module]:
    if not isinstance(net, Sequential):
        raise TypeError(f"net: expected a Sequential, got {type(net).__name__}")
    return list(net.walk())


def _even(count: int, least: int, most: int) -> int:
    # how many tiles in a line leave the fewest places of the last line empty
    return min(range(least, most + 1), key=lambda columns: (-count % columns, -columns))


def _curve(history: History, name: str) -> tuple[list[int], list[float]]:
    # the epochs that have this figure, and the figure
    known = [(epoch.number, getattr(epoch, name)) for epoch in history]
    known = [(number, value) for number, value in known if value is not None]
    return [number for number, _ in known], [value for _, value in known]


def _class_numbers(values: ArrayLike, name: str, count: int) -> np.ndarray:
    numbers = class_numbers(values, name)
    check.same_shape(numbers, name, (count,))
    if numbers.min(initial=0) < 0:
        raise ValueError(f"{name}: expected class numbers of 0 or more, got {numbers.min()}")
    return numbers


def _names(classes: Sequence[str] | None, count: int) -> list[str]:
    # names as a figure can show them: short, and without characters that no font has
    names = [str(name) for name in (range(count) if classes is None else classes)]
    names = ["".join(c if c.isprintable() else "?" for c in name) for name in names]
    return [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
