"""The table of operators as Markdown: ``python -m cnn_ext.operators > docs/operators.md``."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Any

from ..onnx.operators import READERS
from . import OPERATORS, Operator

START = """\
# The operators of networks

A network becomes a graph of these operators. Shapes are those of one image, (C, H, W) or (F,).
`python -m cnn_ext.operators > docs/operators.md` writes this table from `cnn_ext/operators/`, where
a file for each family has all that is known of it ([design.md](design.md#operators)).
"""
FROM_ONNX = """
## Read from ONNX files

What `cnn_ext.onnx.load` makes of these operators of other programs consists of those above
([onnx.md](onnx.md#reading)).

"""
COLUMNS = "name", "takes", "attributes", "weights", "formula", "the gradient reads"


def table() -> str:
    """All operators, a table for each family."""
    text = START
    for name, family in groupby(sorted(OPERATORS.values(), key=_module), _module):
        about = (sys.modules[name].__doc__ or "").partition("\n")[0]
        file = name.replace(".", "/") + ".py"
        text += f"\n## {name.rpartition('.')[2]}\n\n{about} Code: [`{file}`](../{file}).\n\n"
        text += _line(*COLUMNS) + _line(*["---"] * len(COLUMNS))
        for operator in family:
            text += _line(*_row(operator))
    text += FROM_ONNX + _line("operators of ONNX", "conditions") + _line("---", "---")
    names = sorted(READERS, key=lambda name: (READERS[name].__module__, name))
    for module, group in groupby(names, lambda name: READERS[name].__module__):
        about = (sys.modules[module].__doc__ or "").partition("\n")[0]
        text += _line(", ".join(group), about.rstrip("."))
    return text


def _module(operator: Operator) -> str:
    return type(operator).__module__


def _row(operator: Operator) -> tuple[str, ...]:
    given = operator.attributes.items()
    attributes = [f"`{key}`" if value is ... else f"`{key}={_said(value)}`" for key, value in given]
    weights = [f"`{key}`" for key in operator.weights]
    formula = operator.formula.replace("``", "`").rstrip(".")
    return (
        f"`{operator.name}`", operator.inputs, ", ".join(attributes), ", ".join(weights), formula,
        ", ".join(operator.reads),
    )  # fmt: skip


def _said(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    print(table(), end="")
