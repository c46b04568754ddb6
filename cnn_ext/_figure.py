"""Figures of Matplotlib without a window, pages of tiles, and numbers as colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# lengths in inches
WIDEST, NARROWEST, MARGIN = 11.0, 6.5, 0.4
TITLE, LABEL, TICKS = 0.6, 0.35, 0.4


def matplotlib() -> ModuleType:
    """The module; ImportError if Matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("figures need Matplotlib: pip install cnn_ext[plot]") from error
    return matplotlib


def figure(width: float, height: float, title: str, layout: Any = None) -> Figure:
    """An empty figure with a title at its top; without a `layout`, axes are put by `place`."""
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ._shown import ShownFigure

    empty = ShownFigure((width, height), layout=layout)
    FigureCanvasAgg(empty)
    if layout is None:
        empty.suptitle(title, fontsize=11, y=1 - 0.12 / height, va="top")
    else:
        empty.suptitle(title, fontsize=11)
    return empty


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes with their upper left corner at a place of the figure, all in inches."""
    W, H = figure.get_size_inches()
    return figure.add_axes((left / W, 1 - (top + height) / H, width / W, height / H))


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
    """A part of a page: a label, an image (H, W, 4) of bytes, its size, numbers at its lines."""

    label: str
    image: np.ndarray
    width: float
    height: float
    beside: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)


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
    width = max(NARROWEST, 2 * MARGIN + max(row.width for row in rows))
    above = [LABEL if row.label else 0.1 for row in rows]
    below = [TICKS if row.below else 0.0 for row in rows]
    height = TITLE + sum(above) + sum(below) + sum(row.height for row in rows) + MARGIN / 2
    whole = figure(width, height, title)
    top = TITLE
    for row, over, under in zip(rows, above, below, strict=True):
        left = MARGIN if row.label else (width - row.width) / 2
        axes = place(whole, left, top + over, row.width, row.height)
        shrunk = row.image.shape[1] > 80 * row.width
        axes.imshow(row.image, aspect="auto", interpolation="auto" if shrunk else "nearest")
        axes.set_facecolor(gaps)
        axes.set_title(row.label, fontsize=9, loc="left", pad=3)
        axes.set_yticks(_middles(row.image.shape[0], len(row.beside)), row.beside)
        axes.set_xticks(_middles(row.image.shape[1], len(row.below)), row.below)
        axes.tick_params(length=0, labelsize=7, pad=2)
        axes.spines[:].set_visible(False)
        top += over + row.height + under
    return whole


def _middles(extent: int, parts: int) -> list[float]:
    return [(i + 0.5) * extent / parts - 0.5 for i in range(parts)]
