"""A table of the layers of a network."""

from __future__ import annotations

from collections.abc import Sequence

from .layer import Layer


def table(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]]) -> str:
    """Layers, output shapes, parameters and multiply-adds; `shapes` begin with the input's."""
    rows = [("", "layer", "output", "parameters", "multiply-adds")]
    seen: set[int] = set()
    sums = [0, 0]
    for i, layer in enumerate(layers):
        parameters = {id(p): p.data.size for p in layer.parameters() if id(p) not in seen}
        seen.update(parameters)
        count, work = sum(parameters.values()), layer.multiply_adds(shapes[i])
        sums = [sums[0] + count, sums[1] + work]
        rows.append((str(i), type(layer).__name__, _by(shapes[i + 1]), f"{count:,}", f"{work:,}"))
    rows.append(("", "total", _by(shapes[-1]), f"{sums[0]:,}", f"{sums[1]:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [cell.ljust(w) for cell, w in zip(row[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(w) for cell, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*texts, *numbers]))
    return "\n".join(lines)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
