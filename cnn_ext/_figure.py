"""Figures of Matplotlib without a window, pages of tiles, and numbers as colours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ._html import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# lengths in inches
WIDEST, NARROWEST, MARGIN = 11.0, 6.5, 0.4
TITLE, LABEL, TICKS = 0.6, 0.35, 0.4
BAR, BESIDE_BAR = 0.12, 0.75  # a colour bar, and the room that it takes with its numbers


def matplotlib() -> ModuleType:
    """The module; ImportError if Matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("figures need Matplotlib: pip install 'cnn_ext[plot]'") from error
    return matplotlib


def figure(width: float, height: float, title: str, layout: Any = None) -> Figure:
    """An empty figure with a title at its top; without a `layout`, axes are put by `place`."""
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ._shown import ShownFigure

    empty = ShownFigure((width, height))
    FigureCanvasAgg(empty)
    if layout is None:
        empty.suptitle(title, fontsize=11, y=1 - 0.12 / height, va="top")
    else:
        empty.suptitle(title, fontsize=11)
        empty.set_layout_engine(layout, w_pad=0.1, h_pad=0.1)
    return empty


def one_axes(ax: Axes | None, title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """The caller's axes with their figure, or those of a new one; with a title above them."""
    if ax is None:
        new = figure(width, height, title, "constrained")
        return new, new.subplots()
    return checked_axes(ax, "ax", title)


def checked_axes(ax: Any, name: str, title: str) -> tuple[Figure, Axes]:
    """Axes that a caller gave, and their figure; TypeError if they are something else."""
    matplotlib()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"{name}: expected Matplotlib's Axes, got {type(ax).__name__}")
    ax.set_title(title, fontsize=11)
    figure: Any = ax.figure
    return figure, ax


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes with their upper left corner at a place of the figure, all in inches."""
    W, H = figure.get_size_inches()
    return figure.add_axes((left / W, 1 - (top + height) / H, width / W, height / H))


def short(names: Iterable[object], most: int = 30) -> list[str]:
    """Names as a figure can show them: short, and without characters that no font has.

    The middle is left out, for names may differ at either end.
    """
    texts = ["".join(c if c.isprintable() else "?" for c in str(name)) for name in names]
    end = most // 3
    return [t if len(t) <= most else f"{t[: most - end - 1]}…{t[-end:]}" for t in texts]


def fitted(shape: tuple[int, ...], side: float) -> tuple[float, float]:
    """Height and width in inches of (H, W) pixels, `side` the larger one, neither very small."""
    (height, width), longest = shape, max(shape)
    return max(side * height / longest, side / 4), max(side * width / longest, side / 4)


# ------------------------------------------------------------------------------------- colours


def largest(values: np.ndarray) -> float:
    """The largest finite absolute value, 0 without any."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0))


def coloured(values: np.ndarray, colours: str, extreme: float | None = None) -> np.ndarray:
    """Numbers as colours (..., 4) of bytes, 0 in the middle of a colour map.

    `extreme` is at its ends, by default the largest absolute value; NaN is transparent.
    """
    scale = 2 * ((largest(values) if extreme is None else extreme) or 1.0)
    return np.asarray(
        matplotlib().colormaps[colours](values.astype(np.float64) / scale + 0.5, bytes=True)
    )


def opaque(rgb: np.ndarray) -> np.ndarray:
    """Colours (..., 3) from 0 to 1 as (..., 4) of bytes."""
    image = np.full((*rgb.shape[:-1], 4), 255, np.uint8)
    image[..., :3] = np.nan_to_num(rgb * 255).round().clip(0, 255)
    return image


def pixels(images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as colours (N, H, W, 3) from 0 to 1.

    Whole numbers of 8 and 16 bits without a sign and numbers from 0 to 1 are taken as they are,
    others from their least to their largest value. Unless C is 3, the mean over the channels is
    shown in grey.
    """
    finite = images[np.isfinite(images)].astype(np.float64)
    low, high = float(finite.min(initial=0)), float(finite.max(initial=1))
    if images.dtype in (np.uint8, np.uint16):
        low, high = 0.0, float(np.iinfo(images.dtype).max)
    scaled = ((images - low) / (high - low)).clip(0, 1).transpose(0, 2, 3, 1)
    if scaled.shape[-1] != 3:
        scaled = scaled.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    return scaled


# --------------------------------------------------------------------------------------- pages


@dataclass
class Row:
    """A part of a page: a label, an image (H, W, 4) of bytes, its size, numbers at its lines.

    `scale` is the colour map and what its ends are, for a colour bar beside the image; `signal`,
    (C, L), is drawn as lines in place of an image.
    """

    label: str
    image: np.ndarray
    width: float
    height: float
    beside: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    scale: tuple[str, float, float] | None = None
    signal: np.ndarray | None = None


def tiled(label: str, tiles: np.ndarray, columns: int, side: float) -> Row:
    """Tiles (T, H, W, 4) side by side, `columns` in a line, each `side` wide."""
    T, H, W, _ = tiles.shape
    finer = max(1, 20 // max(H, W))  # so that a gap is a small part of a tile
    tiles = tiles.repeat(finer, axis=1).repeat(finer, axis=2)
    lines, columns = -(-T // columns), min(T, columns)
    pitch_h, pitch_w = tiles.shape[1] + 1, tiles.shape[2] + 1
    image = np.zeros((lines * pitch_h, columns * pitch_w, 4), np.uint8)
    for t, tile in enumerate(tiles):
        y, x = t // columns * pitch_h, t % columns * pitch_w
        image[y : y + pitch_h - 1, x : x + pitch_w - 1] = tile
    tall = side * min(max(H / W, 0.25), 4.0)
    return Row(label, image[:-1, :-1], columns * side, lines * tall)


def page(title: str, rows: list[Row], gaps: str) -> Figure:
    """Rows one below the other, on a ground of the colour `gaps`."""
    bars = any(row.scale for row in rows)
    width = max(NARROWEST, 2 * MARGIN + max(row.width for row in rows) + bars * BESIDE_BAR)
    above = [LABEL if row.label else 0.1 for row in rows]
    below = [TICKS if row.below else 0.0 for row in rows]
    height = TITLE + sum(above) + sum(below) + sum(row.height for row in rows) + MARGIN / 2
    whole = figure(width, height, title)
    top = TITLE
    for row, over, under in zip(rows, above, below, strict=True):
        left = MARGIN if row.label else (width - row.width - bool(row.scale) * BESIDE_BAR) / 2
        axes = place(whole, left, top + over, row.width, row.height)
        axes.set_title(row.label, fontsize=9, loc="left", pad=3)
        if row.signal is None:
            shrunk = row.image.shape[1] > 80 * row.width
            axes.imshow(row.image, aspect="auto", interpolation="auto" if shrunk else "nearest")
            axes.set_facecolor(gaps)
            axes.set_yticks(_middles(row.image.shape[0], len(row.beside)), row.beside)
            axes.set_xticks(_middles(row.image.shape[1], len(row.below)), row.below)
            axes.spines[:].set_visible(False)
        else:
            for c, line in enumerate(row.signal):
                axes.plot(line, color=COLOURS[c % len(COLOURS)], linewidth=1, label=f"channel {c}")
            axes.margins(x=0)
            if 1 < len(row.signal) <= len(COLOURS):
                axes.legend(fontsize=7, loc="upper right")
        axes.tick_params(length=0, labelsize=7, pad=2)
        if row.scale is not None:
            bar = min(row.height, 1.5)
            beside = place(whole, left + row.width + 0.1, top + over, BAR, bar)
            colour_bar(beside, *row.scale, ends=bar < 0.6)
        top += over + row.height + under
    return whole


def colour_bar(axes: Axes, colours: str, low: float, high: float, ends: bool = False) -> None:
    """A colour bar in axes of its own, with few numbers at it, or with those of its ends alone."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes.set_label("<colorbar>")  # as Matplotlib calls its own
    shades = ScalarMappable(Normalize(low, high), colours)
    numbers = [low, high] if ends else [low, (low + high) / 2, high]
    bar = axes.figure.colorbar(shades, cax=axes, ticks=numbers)
    bar.ax.set_yticklabels([f"{number:.3g}" for number in numbers])
    bar.ax.tick_params(length=0, labelsize=7, pad=2)
    first, *_, last = bar.ax.get_yticklabels()
    first.set_verticalalignment("bottom")  # so that they do not reach into the rows beside it
    last.set_verticalalignment("top")
    bar.outline.set_linewidth(0.5)


def _middles(extent: int, parts: int) -> list[float]:
    return [(i + 0.5) * extent / parts - 0.5 for i in range(parts)]
