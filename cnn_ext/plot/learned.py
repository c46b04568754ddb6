"""What a network has learned, and what an image causes in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from .. import _figure as fig
from ..layers import Conv1d, Conv2d, Dropout, Flatten, Module, Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IN_A_LINE = 20  # feature maps, or numbers that are named


def kernels(net: Sequential, layer: int | None = None, limit: int = 400) -> Figure:
    """The kernels of a convolution.

    Kernels over one channel are grey and kernels over three are in colour; of others there is a row
    for each kernel with a tile for each of its channels.  All have one scale.

    Parameters
    ----------
    net : Sequential
    layer : int, optional
        Number of the layer, a `Conv2d` or `Conv1d`, by default of the first one; the layers of an
        inner network count one by one.
    limit : int
        Most tiles to show; the title says what is left out.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or that layer is no convolution.
    ImportError
        If Matplotlib is not installed.
    """
    layers = _layers(net)
    found = [i for i, kind in enumerate(layers) if isinstance(kind, (Conv1d, Conv2d))]
    number = check.whole((found or [0])[0] if layer is None else layer, "layer", 0)
    if number not in found:
        known = ", ".join(map(str, found)) or "no layer has any"
        raise ValueError(f"layer: expected the number of a convolution ({known}), got {number}")
    convolution: Any = layers[number]
    weight = convolution.weight.data
    extent = _extent(weight[0])
    weight = weight if weight.ndim == 4 else weight[:, :, None]
    K, C, R, S = weight.shape
    most = check.whole(limit, "limit", 1)
    largest = fig.largest(weight) or 1.0
    in_colour = convolution.in_channels == 3 == C
    kernels = "1 kernel" if K == 1 else f"{K} kernels"
    title = f"Layer {number}, {type(convolution).__name__}: {kernels} of {extent}"
    meaning = "weights, grey is 0"
    if in_colour or C == 1:
        shown = weight[:most]
        root = math.ceil(math.sqrt(len(shown)))
        columns = _even(len(shown), root, 2 * root)
        beside, below = [str(k) for k in range(0, len(shown), columns)], []
        left_out = f", the first {most} shown" if most < K else ""
        if in_colour:
            tiles = fig.opaque(shown.transpose(0, 2, 3, 1) / (2 * largest) + 0.5)
            meaning = f"red, green and blue from {-largest:.2g} to {largest:.2g}, grey is 0"
        else:
            tiles = fig.coloured(shown[:, 0], "gray", largest)
    else:
        columns = min(C, 32, most)
        shown = weight[: most // columns, :columns]
        tiles = fig.coloured(shown.reshape(-1, R, S), "gray", largest)
        beside, below = [str(k) for k in range(len(shown))], [str(c) for c in range(columns)]
        meaning = f"a row for each kernel, a column for each channel; {meaning}"
        left_out = ""
        if shown.shape[:2] != (K, C):
            left_out = f", the first {len(shown)} with {columns} channels shown"
    row = fig.tiled("", tiles, columns, min(0.9, fig.WIDEST / columns))
    row.beside, row.below = beside, below
    if not in_colour:
        row.scale = "gray", -largest, largest
    return fig.page(f"{title}{left_out}\n{meaning}", [row], gaps="#a9c4de")


def feature_maps(
    net: Sequential,
    image: ArrayLike,
    limit: int | None = None,
    classes: Sequence[str] | None = None,
) -> Figure:
    """What an image or a signal causes in every layer, in evaluation mode.

    It comes first, then a row for each layer: a map for each channel, of a signal a line of pixels
    for each channel, or a strip where the output is a vector.  `Flatten` and `Dropout`, which pass
    on what they get, have no row.

    Parameters
    ----------
    net : Sequential
    image : array_like, shape (C, H, W), or (C, L) for a signal
        Real numbers, or bytes, which are divided by 255.
    limit : int, optional
        Most channels of a layer to show; its label says how many are left out.  By default 128, and
        16 in networks of more than 30 layers.
    classes : sequence of str, optional
        Names of the outputs; their numbers by default.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    ImportError
        If Matplotlib is not installed.
    """
    layers = _layers(net)
    most = check.whole(_most(layers) if limit is None else limit, "limit", 1)
    picture = check.real_array(image, "image")
    if picture.ndim not in (2, 3) or 0 in picture.shape:
        raise ValueError(f"image: expected shape (C, H, W) or (C, L), got {picture.shape}")
    outputs = Sequential(*layers).activations(picture[None])
    names = None if classes is None else fig.short(classes)
    if names is not None and len(names) != outputs[-1].size:
        raise ValueError(f"classes: expected {outputs[-1].size} names, got {len(names)}")
    widest = max((len(y[0]) for y in outputs if y.ndim == 4), default=1)
    side = min(1.0, fig.WIDEST / min(widest, most, IN_A_LINE))
    cause = "image" if picture.ndim == 3 else "signal"
    label = f"{cause}: {_extent(picture)}"
    if picture.ndim == 3:
        rows = [fig.tiled(label, fig.opaque(fig.pixels(picture[None])), 1, max(side, 0.9))]
    else:
        rows = [fig.Row(label, picture, fig.WIDEST, 1.2, signal=picture)]
    for i, (layer, batch) in enumerate(zip(layers, outputs, strict=True)):
        if isinstance(layer, (Flatten, Dropout)):
            continue
        y = batch[0]
        label = f"{i} {type(layer).__name__}: {_extent(y)}, {y.min():.3g} to {y.max():.3g}"
        if y.ndim > 1 and len(y) > most:
            label += f", the first {most} shown"
        last = i == len(layers) - 1
        rows.append(_row(label, y, most, side, names if last else None))
    legend = "red above 0, white 0, blue below 0; each layer has its own scale"
    title = f"What {'an' if cause == 'image' else 'a'} {cause} causes in every layer\n{legend}"
    return fig.page(title, rows, gaps="#d0d0d0")


def weights(net: Module, bins: int = 50) -> Figure:
    """How the weights of each layer are spread: a histogram for each, all over the same range.

    Biases and other parameters of one axis have none.

    Parameters
    ----------
    net : Module
    bins : int
        Over the whole range.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or `net` has no weights, or some that are not finite.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a network, got {type(net).__name__}")
    bins = check.whole(bins, "bins", 1)
    found = {name: p.data for name, p in net.named_parameters() if p.data.ndim > 1 and p.data.size}
    if not found:
        raise ValueError("net: expected a network with weights, but it has none")
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise ValueError(f"net: expected finite weights, but {name} has others")
    largest = max(map(fig.largest, found.values())) or 1.0
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    title = "How the weights are spread\nstd is their standard deviation; the dashed line is 0"
    figure = fig.figure(max(2.7 * columns, fig.NARROWEST), 1.7 * lines + 1.2, title, "constrained")
    grid = figure.subplots(lines, columns, sharex=True, squeeze=False)
    from matplotlib.ticker import PercentFormatter

    for axes, (name, values) in zip(grid.flat, found.items(), strict=False):
        parts, edges = np.histogram(values, bins, (-largest, largest))
        axes.stairs(parts / values.size, edges, fill=True, color=fig.COLOURS[0])
        axes.axvline(0, color="black", linestyle="--", linewidth=0.7)
        told = f"{name}\n{_extent(values)}, std {values.std():.2g}"
        axes.set_title(told, fontsize=8, parse_math=False)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.tick_params(labelsize=7)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, len(found) - columns) : len(found)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("weight", fontsize=9)
    figure.supylabel("part of the layer's weights", fontsize=9)
    return figure


def _most(layers: list[Module]) -> int:
    return 128 if len(layers) <= 30 else 16  # so that the page stays below some 80 inches


def _row(label: str, y: np.ndarray, most: int, side: float, names: list[str] | None) -> fig.Row:
    # maps (C, H, W), channels (C, L) of a signal, or a vector, also one of maps of one pixel
    largest = fig.largest(y) or 1.0
    shown = y if y.ndim == 1 else y[:most]
    if y.ndim == 3 and y.shape[1:] == (1, 1):
        shown = shown.ravel()
    colours = fig.coloured(shown, "RdBu_r", largest)
    count = len(shown)
    if shown.ndim == 3:
        columns = _even(count, min(count, IN_A_LINE // 2), min(count, IN_A_LINE))
        row = fig.tiled(label, colours, columns, side)
        if count > columns:
            row.beside = [str(k) for k in range(0, count, columns)]
    elif shown.ndim == 2:
        row = fig.Row(label, colours, fig.WIDEST, min(max(0.3, 0.1 * count), 3.0))
        row.beside = [str(k) for k in range(count)] if count <= 30 else []
    else:
        row = fig.Row(label, colours[None], fig.WIDEST, 0.3)
        if count <= IN_A_LINE:
            known = fig.short(names or range(count), 180 // count)
            row.below = [f"{name}\n{value:.3g}" for name, value in zip(known, shown, strict=True)]
    row.scale = "RdBu_r", -largest, largest
    return row


def _extent(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape))


def _layers(net: Sequential) -> list[Module]:
    if not isinstance(net, Sequential):
        raise TypeError(f"net: expected a Sequential, got {type(net).__name__}")
    return list(net.walk())


def _even(count: int, least: int, most: int) -> int:
    # how many tiles in a line leave the fewest places of the last line empty
    return min(range(least, most + 1), key=lambda columns: (-count % columns, -columns))
