"""A table of the layers of a network, as text and for notebooks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..graph.operator import OPERATORS
from .tracing import trace

if TYPE_CHECKING:
    from .module import Module
    from .tracing import TracedGraph


HEADER = ("", "layer", "output", "parameters", "multiply-adds")


def summary_rows(graph: TracedGraph, net: Module) -> list[tuple[str, ...]]:
    """The modules that a network calls, output shapes, parameters and multiply-adds."""
    rows: list[tuple[str, ...]] = []
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
    fixed = sum(p.data.size for p in net.parameters() if not p.trainable)
    if fixed:
        rows.append(("", "not trainable", "", f"{fixed:,}", ""))
    return rows


def table(graph: TracedGraph, net: Module) -> str:
    """The rows as lines of text."""
    rows = [HEADER, *summary_rows(graph, net)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [cell.ljust(w) for cell, w in zip(row[:3], widths[:3], strict=True)]
        numbers = [cell.rjust(w) for cell, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*texts, *numbers]))
    return "\n".join(lines)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def html(net: Module) -> str:
    """The table for notebooks; without output shapes where the shape of an image is not known."""
    from .. import _html  # which notebooks alone need

    title = type(net).__name__
    with suppress(Exception):  # what cannot be traced is shown by its parts
        if net.input_shape is not None:
            graph = trace(net, None, [net.input_shape], net.dtype)
            title += f" for {_by(net.input_shape)}"
            return _html.table(HEADER, summary_rows(graph, net), title, numbers=(3, 4))
    rows = [
        (name, repr(child)[:200], f"{sum(p.data.size for p in child.parameters()):,}")
        for name, child in net.named_children()
    ]
    count = sum(p.data.size for p in net.parameters())
    own = len(rows) == 0
    rows.append(("", repr(net)[:200] if own else "total", f"{count:,}"))
    return _html.table(("", "layer", "parameters"), rows, title, numbers=(2,))
