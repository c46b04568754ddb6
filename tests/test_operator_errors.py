"""How far each operator is from float64: the table of the documentation is what is measured."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from operator_cases import CASES

ROOT = Path(__file__).parents[1]


def published() -> dict[str, list[str]]:
    """The cells of each operator."""
    text = (ROOT / "docs/precision.md").read_text("utf-8").partition("## Operator by operator")[2]
    text = text.partition("\n## ")[0]
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_table_in_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / "docs").exists() or not (ROOT / "benchmarks").exists():
        pytest.skip("no documentation or benchmarks beside the tests")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("errors")
    rows, found = published(), benchmark.errors()
    assert rows.keys() == found.keys() == {case.op for case in CASES}
    for op, cells in rows.items():
        cells += [""] * (6 - len(cells))
        for i, precision in enumerate(benchmark.PRECISIONS):
            parts = found[op].get(precision, np.zeros(0))
            assert bool(cells[2 * i]) == bool(parts.size), (op, precision)
            if parts.size:  # other instruction sets round elsewhere, and draw other shapes
                for cell, value in zip(cells[2 * i :], (parts.max(), parts.mean()), strict=False):
                    assert float(cell) / 4 - 1e-7 < value < 4 * float(cell) + 1e-7, (op, precision)
