"""Tables and curves as HTML and SVG for notebooks, without a library; all texts are escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 24  # what is beside the curves
#: lines that colour-blind people tell apart: Okabe and Ito, "Color universal design" (2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str = "",
    numbers: Collection[int] = (),
) -> str:
    """A table; the columns of these numbers are set to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ["right" if i in numbers else "left" for i in range(len(cells))]
        texts = [
            f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        ]
        return f"<tr>{''.join(texts)}</tr>"

    above = f"<caption>{html.escape(title)}</caption>" if title else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{above}<thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str
) -> str:  # fmt: skip
    """An SVG of lines by name, each points (x, y) of finite numbers, at least one in all."""
    points = [point for line in lines.values() for point in line]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - left) / wide * (WIDTH - LEFT - RIGHT)
        return across, TOP + (high - y) / tall * (HEIGHT - TOP - BOTTOM)

    axis = 'stroke="currentColor" stroke-opacity="0.4"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" {axis}/>',
        _text(LEFT - 4, TOP + 4, f"{high:.4g}", "end"),
        _text(LEFT - 4, HEIGHT - BOTTOM, f"{low:.4g}" if high > low else "", "end"),
        _text(LEFT, HEIGHT - 8, f"{left:g}", "middle"),
        _text(WIDTH - RIGHT, HEIGHT - 8, f"{right:g}" if right > left else "", "end"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"),
        _text(4, 12, y_label, "start"),
    ]
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        places = [place(x, y) for x, y in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in places]
        parts.append(_text(WIDTH - RIGHT - 90 * (len(lines) - 1 - i), 12, name, "end", colour))
    return "".join(parts) + "</svg>"


def _text(x: float, y: float, text: str, anchor: str, colour: str = "currentColor") -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}">{html.escape(text)}</text>'
