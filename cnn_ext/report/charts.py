"""Charts as SVG whose colours are those of the page's style sheet, light or dark."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from .answers import Calibration

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 30, 44  # what is beside the plot
Line = Sequence[tuple[float, float]]


class Axes:
    """The frame of a chart: places of numbers, grid, ticks and labels."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str], percent: bool
    ) -> None:
        self.x, self.y = x, y
        self._labels, self._percent = labels, percent
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies."""
        wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        return LEFT + across * wide, TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * tall

    def text(self, x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            f"{f' class={kind!r}' if kind else ''}>{html.escape(text)}</text>"
        )

    def grid(self, x_ticks: Iterable[float], y_ticks: Iterable[float], x_percent: bool) -> None:
        for tick in y_ticks:
            x, y = self.at(self.x[0], tick)
            self.parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>')
            self.text(x - 6, y + 4, _number(tick, self._percent), "end")
        for tick in x_ticks:
            x, y = self.at(tick, self.y[0])
            self.text(x, y + 17, _number(tick, x_percent))
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, self._labels[0], kind="label")
        self.text(4, 14, self._labels[1], "start", kind="label")

    def svg(self, title: str, description: str) -> str:
        name = html.escape(f"{title}. {description}", quote=True)
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
            f"{''.join(self.parts)}</svg>"
        )


def curves(title: str, lines: Mapping[str, Line], label: str, percent: bool = False) -> str:
    """Lines over the epochs, by name; each has a point at least, all numbers are finite."""
    points = [point for line in lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    wide = (first, last) if last > first else (first - 0.5, last + 0.5)
    axes = Axes(wide, (ticks[0], ticks[-1]), ("epoch", label), percent)
    step = max(1, math.ceil((last - first) / 8))
    epochs = [x for x in range(int(first), int(last) + 1) if (x - int(first)) % step == 0]
    axes.grid(epochs, ticks, False)
    said = []
    for i, (name, line) in enumerate(lines.items()):
        places = [axes.at(x, y) for x, y in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        axes.parts.append(f'<polyline class="line s{i}" points="{joined}"/>')
        if len(places) <= 40:
            axes.parts += [
                f'<circle class="dot s{i}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places
            ]
        axes.text(WIDTH - RIGHT - 90 * (len(lines) - 1 - i), 14, name, "end", f"name s{i}")
        said.append(f"{name}: {_number(line[0][1], percent)} to {_number(line[-1][1], percent)}")
    return axes.svg(title, "; ".join(said))


def reliability(found: Calibration) -> str:
    """How often guesses are right, in bins of their probability, and how often they should be."""
    axes = Axes((0, 1), (0, 1), ("probability the network gives", "how often it is right"), True)
    fifths = [i / 5 for i in range(6)]
    axes.grid(fifths, fifths, True)
    bins, most = len(found.counts), max(int(found.counts.max()), 1)
    said = []
    for i, (count, confidence, accuracy) in enumerate(
        zip(found.counts, found.confidence, found.accuracy, strict=True)
    ):
        if not count:
            continue
        (left, top), (right, bottom) = axes.at(i / bins, accuracy), axes.at((i + 1) / bins, 0)
        faint = 0.35 + 0.65 * count / most  # few guesses say little
        axes.parts.append(
            f'<rect class="bar" x="{left + 2:.1f}" y="{top:.1f}" width="{right - left - 4:.1f}" '
            f'height="{max(bottom - top, 1):.1f}" fill-opacity="{faint:.2f}"><title>{count:,} '
            f"guesses of {100 * confidence:.1f} %, {100 * accuracy:.1f} % right</title></rect>"
        )
        axes.text((left + right) / 2, top - 5, f"{count:,}", kind="count")
        said.append(f"{count} guesses of {100 * confidence:.0f} %, {100 * accuracy:.0f} % right")
    (x0, y0), (x1, y1) = axes.at(0, 0), axes.at(1, 1)
    axes.parts.append(f'<path class="ideal" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>')
    return axes.svg("Reliability diagram", "; ".join(said))


def spark(values: Sequence[float]) -> str:
    """A line of numbers without axes, for pictures of one row."""
    low, high = min(values), max(values)
    tall, step = (high - low) or 1.0, 100 / max(len(values) - 1, 1)
    places = (f"{i * step:.1f},{38 - 36 * (v - low) / tall:.1f}" for i, v in enumerate(values))
    line = f'<polyline class="line s0" points="{" ".join(places)}"/>'
    return f'<svg class="spark" viewBox="0 0 100 40" aria-hidden="true">{line}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    # round numbers from below the least to above the greatest, four or so
    step = 10 ** math.floor(math.log10((high - low) / 4 or abs(high) / 10 or 1.0))
    step *= next(k for k in (1, 2, 5, 10) if k * step * 5 >= (high - low))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.4g} %" if percent else f"{value:.4g}"
