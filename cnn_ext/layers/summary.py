"""A table of the layers of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph.operator import OPERATORS

if TYPE_CHECKING:
    from .module import Module
    from .tracing import TracedGraph


def table(graph: TracedGraph, net: Module) -> str:
    """The modules that a network calls, output shapes, parameters and multiply-adds."""
    rows = [("", "layer", "output", "parameters", "multiply-adds")]
    seen: set[int] = set()
    sums = [0, 0]
    for label, module, shape, nodes in graph.rows:
        parameters = {id(p): p.data.size for p in module.parameters() if id(p) not in seen}
        seen.update(parameters)
        count = sum(parameters.values())
        work = sum(OPERATORS[n.op].multiply_adds(n, graph.shapes[n.output]) for n in nodes)
        sums = [sums[0] + count, sums[1] + work]
        name = label.removeprefix("layer ")
        rows.append((name, type(module).__name__, _by(shape), f"{count:,}", f"{work:,}"))
    whole = {id(p): p.data.size for p in net.parameters()}
    output = graph.shapes[graph.output]
    work = graph.multiply_adds()
    rest = sum(whole.values()) - sums[0]
    if rest or work != sums[1]:
        rows.append(("", "its own", _by(output), f"{rest:,}", f"{work - sums[1]:,}"))
    rows.append(("", "total", _by(output), f"{sum(whole.values()):,}", f"{work:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [cell.ljust(w) for cell, w in zip(row[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(w) for cell, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*texts, *numbers]))
    return "\n".join(lines)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
