"""What a network's answers rest on, drawn over the images: see `cnn_ext.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import _figure as fig
from .. import explain
from ..data.batching import gather
from ..layers import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, PITCH, COLUMNS = 1.2, 1.35, 8  # the longer side of images, in inches, and how many in a line


def saliency(
    net: Sequential,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> Figure:
    """How much the score of a class changes with each pixel, below each image.

    The numbers are those of `explain.saliency`, which names the formula's source; all have one
    scale.

    Parameters
    ----------
    net : Sequential
        With outputs (N, K).
    images : array_like, shape (N, C, H, W)
    targets : array_like of int, shape (N,), optional
        Classes, by default those that the network guesses; they stand above the images.
    classes : sequence of str, optional
        Names of the classes; their numbers by default.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    shown, targets, names = _checked(net, images, targets, classes)
    maps = explain.saliency(net, shown, targets)
    title = "How much the score of the class above changes with each pixel"
    title += "\nper unit of the network's input, the largest channel; one scale for all"
    figure, below = _pairs(shown, [names[k] for k in targets], title)
    largest = fig.largest(maps) or 1.0
    for axes, values in zip(below, maps, strict=True):
        axes.imshow(values, cmap="viridis", vmin=0, vmax=largest, aspect="auto")
    _bar(figure, below[min(COLUMNS, len(below)) - 1], 0, largest)
    return figure


def grad_cam(
    net: Sequential,
    images: ArrayLike,
    targets: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    layer: int | None = None,
) -> Figure:
    """Where in each image the evidence for a class lies: Grad-CAM, over the image in grey.

    The numbers are those of `explain.grad_cam`, which names the formula's source; each image has
    its own scale, from nothing to its largest value, smoothed between the map's pixels.

    Parameters
    ----------
    net, images, targets, classes
        As for `saliency`.
    layer : int, optional
        Whose maps are taken, by default those of the last layer that has maps of some extent.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    shown, targets, names = _checked(net, images, targets, classes)
    maps = explain.grad_cam(net, shown, targets, layer)
    layers = list(net.walk())
    number = explain.layer_with_maps(layers, shown.shape[1:], layer)
    kind = type(layers[number]).__name__
    title = f"Where the evidence for the class above lies, by the maps of layer {number}, {kind}"
    title += "\n1 is the largest value of each image"
    figure, below = _pairs(shown, [names[k] for k in targets], title)
    H, W = shown.shape[2:]
    for axes, image, values in zip(below, fig.pixels(shown).mean(axis=3), maps, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect="auto")
        whole = (-0.5, W - 0.5, H - 0.5, -0.5)
        scaled = values / (fig.largest(values) or 1.0)
        over = axes.imshow(scaled, cmap="viridis", vmin=0, vmax=1, extent=whole, aspect="auto")
        over.set_alpha(0.65)
        over.set_interpolation("bilinear")
    _bar(figure, below[min(COLUMNS, len(below)) - 1], 0, 1)
    return figure


def exciting(
    net: Sequential, images: Any, layer: int | None = None, maps: int = 12, count: int = 8
) -> Figure:
    """The images that a layer's maps answer to most, a line for each map, the highest value first.

    The images are those of `explain.most_exciting`, which names the method's source; a frame is
    around the pixels that the value, which stands above, depends on.

    Parameters
    ----------
    net : Sequential
    images : array_like, shape (N, C, H, W), or what can be indexed as such
    layer : int, optional
        By default the last one that has maps of some extent.
    maps : int
        Most maps to show.
    count : int
        So many images for each map, at most N.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    ImportError
        If Matplotlib is not installed.
    """
    found = explain.most_exciting(net, images, layer, count, check.whole(maps, "maps", 1))
    layers, shape = list(net.walk()), gather(images, np.arange(1)).shape[1:]
    number = explain.layer_with_maps(layers, shape, layer)
    most, known = len(found.images), Sequential(*layers).shapes(shape)[number + 1][0]
    left_out = f", the first {most} of {known} maps" if most < known else ""
    title = f"What excites layer {number}, {type(layers[number]).__name__}, most{left_out}"
    title += "\nabove each image the map's largest value, framed the pixels on which it depends"
    columns, room, beside = found.images.shape[1], 0.25, 0.7
    width = max(fig.NARROWEST, beside + columns * PITCH + fig.MARGIN)
    pixels = fig.pixels(gather(images, found.images[:most].ravel()))
    tall, wide = fig.fitted(pixels.shape[1:3], SIDE)
    figure = fig.figure(width, fig.TITLE + most * (tall + room) + fig.MARGIN / 2, title)
    for place, image in enumerate(pixels):
        k, column = divmod(place, columns)
        top = fig.TITLE + k * (tall + room) + room
        axes = _image(fig.place(figure, beside + column * PITCH, top, wide, tall), image)
        axes.set_title(f"{found.values[k, column]:.3g}", fontsize=8, pad=3)
        if not column:
            axes.set_ylabel(f"map {k}", fontsize=9)
        y, x, last_y, last_x = found.boxes[k, column]
        if y >= 0:
            _frame(axes, x, y, last_x - x + 1, last_y - y + 1)
    return figure


def _checked(
    net: Sequential,
    images: ArrayLike,
    targets: ArrayLike | None,
    classes: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    # the images, the classes and their names
    shown = check.real_array(images, "images")
    if shown.ndim != 4 or 0 in shown.shape:
        raise ValueError(f"images: expected shape (N, C, H, W), got {shown.shape}")
    scores = explain.scores(net, shown)
    K = scores.shape[1]
    names = fig.short(range(K) if classes is None else classes, 18)
    if len(names) != K:
        raise ValueError(f"classes: expected {K} names, got {len(names)}")
    return shown, explain.target_classes(targets, scores), names


def _pairs(images: np.ndarray, texts: list[str], title: str) -> tuple[Figure, list[Any]]:
    # a figure of the images, with their texts above them, and the axes below each of them
    columns, room = min(COLUMNS, len(images)), 0.3
    tall, wide = fig.fitted(images.shape[2:], SIDE)
    pitch = 2 * tall + 0.08 + room
    width = max(fig.NARROWEST, columns * PITCH + 2 * fig.MARGIN + fig.BESIDE_BAR)
    height = fig.TITLE + -(-len(images) // columns) * pitch + fig.MARGIN / 2
    figure = fig.figure(width, height, title)
    start = (width - columns * PITCH + PITCH - wide - fig.BESIDE_BAR) / 2
    below = []
    for place, (image, text) in enumerate(zip(fig.pixels(images), texts, strict=True)):
        line, column = divmod(place, columns)
        left, top = start + column * PITCH, fig.TITLE + line * pitch + room
        axes = _image(fig.place(figure, left, top, wide, tall), image)
        axes.set_title(text, fontsize=8, pad=4, parse_math=False)
        below.append(fig.place(figure, left, top + tall + 0.08, wide, tall))
        below[-1].set(xticks=[], yticks=[])
    return figure, below


def _image(axes: Any, image: np.ndarray) -> Any:
    axes.imshow(image, interpolation="auto" if max(image.shape) > 90 else "nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    return axes


def _frame(axes: Any, x: int, y: int, width: int, height: int) -> None:
    # white between black, which is seen on every ground
    from matplotlib.patches import Rectangle

    for colour, thick in (("black", 3.0), ("white", 1.2)):
        box = Rectangle((x - 0.5, y - 0.5), width, height, edgecolor=colour, linewidth=thick)
        box.set_fill(False)
        axes.add_patch(box)


def _bar(figure: Figure, last: Any, low: float, high: float) -> None:
    # a colour bar to the right of these axes
    (W, H), box = figure.get_size_inches(), last.get_position()
    beside = fig.place(figure, box.x1 * W + 0.1, (1 - box.y1) * H, fig.BAR, box.height * H)
    fig.colour_bar(beside, "viridis", low, high, ends=box.height * H < 0.6)
