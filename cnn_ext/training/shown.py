"""A history as notebooks show it: the curves of its costs and a table of its figures."""

from __future__ import annotations

from .. import _html
from .history import FIGURES, History

MOST = 20  # epochs in a table: the first and the last of them
COLUMNS = {
    "number": "{}",
    "cost": "{:.4f}",
    "accuracy": "{:.2%}",
    "validation_cost": "{:.4f}",
    "validation_accuracy": "{:.2%}",
    "learning_rate": "{:.3g}",
    "seconds": "{:.1f}",
}


def history_html(history: History) -> str:
    """Curves and table of a history; only what its epochs have is shown."""
    count = len(history)
    title = "1 epoch" if count == 1 else f"{count} epochs"
    if history.stopped:
        title += f", stopped: {history.stopped}"
    if not count:
        return _html.table(["epoch"], [], title)
    named = {"training": "cost", "validation": "validation_cost"}
    lines = {
        label: [(float(e.number), float(v)) for e in history if (v := getattr(e, name)) is not None]
        for label, name in named.items()
    }
    drawn = _html.curves({k: line for k, line in lines.items() if line}, "epoch", "cost")
    figures = [epoch.figures() for epoch in history]
    there = {name for row in figures for name, value in row.items() if value is not None}
    more = [name for name in figures[-1] if name not in COLUMNS and name not in FIGURES]
    columns = [name for name in [*COLUMNS, *more] if name in there]
    rows = [_row(row, columns) for row in figures]
    if count > MOST:
        rows[MOST // 2 : -MOST // 2] = [["…"] * len(columns)]
    header = ["epoch", *(name.replace("_", " ") for name in columns[1:])]
    return f"<div>{drawn}{_html.table(header, rows, title, range(len(columns)))}</div>"


def _row(figures: dict[str, float | None], columns: list[str]) -> list[str]:
    values = [(COLUMNS.get(name, "{:.4f}"), figures.get(name)) for name in columns]
    return ["" if value is None else form.format(value) for form, value in values]
