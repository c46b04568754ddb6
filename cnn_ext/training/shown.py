"""A history as notebooks show it: the curves of its costs and a table of its figures."""

from __future__ import annotations

from .. import _html
from .history import Epoch, History

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
    columns = [name for name in COLUMNS if any(getattr(e, name) is not None for e in history)]
    rows = [_row(epoch, columns) for epoch in history]
    if count > MOST:
        rows[MOST // 2 : -MOST // 2] = [["…"] * len(columns)]
    header = ["epoch", *(name.replace("_", " ") for name in columns[1:])]
    return f"<div>{drawn}{_html.table(header, rows, title, range(len(columns)))}</div>"


def _row(epoch: Epoch, columns: list[str]) -> list[str]:
    values = [(name, getattr(epoch, name)) for name in columns]
    return ["" if value is None else COLUMNS[name].format(value) for name, value in values]
