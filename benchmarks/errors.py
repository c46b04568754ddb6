"""How far each operator is from float64, in float32, bfloat16 and int8: a table in Markdown.

    python benchmarks/errors.py

Each operator by itself, as a plan of a network has it, with the weights, attributes and random
inputs of `tests/operator_cases.py`; the truth is `tests/graph_reference.py`.  An error is the
difference by the largest number of the true result: the largest one, and the mean over all numbers.
In bfloat16 inputs and weights are rounded; in int8 inputs, weights and result are on grids of bytes
that reach the least and the greatest number.  An operator without a number there works in float32.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import cnn_ext
from cnn_ext.graph import OPERATORS, Graph
from cnn_ext.graph.precision import BFLOAT16, FLOAT32, INT8, PRODUCTS
from cnn_ext.quantization.calibration import grid_for
from cnn_ext.quantization.network import WEIGHTED, on_grids

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import graph_reference
from operator_cases import CASES, at_the_input

IMAGES = 8
PRECISIONS = FLOAT32, BFLOAT16, INT8


def on_bytes(graph: Graph, images: np.ndarray) -> Graph:
    """The graph with what its last node takes and gives on grids."""
    node = graph.nodes[-1]
    values = [graph_reference.run_one(graph, image) for image in images]
    grids = {}
    for name in (*node.inputs, node.output):
        numbers = [each[name] for each in values]
        grids[name] = grid_for(float(np.min(numbers)), float(np.max(numbers)))
    made = on_grids(graph, grids, [node.output] if node.op in WEIGHTED else [])
    made.output = made.nodes[-1].output
    made.outer_shapes(graph.input_shape, graph.output_shape)
    return made


def plan_of(graph: Graph, images: np.ndarray, precision: str) -> cnn_ext.Plan | None:
    """None if the operator does not work in that precision."""
    op = graph.nodes[-1].op
    if precision == FLOAT32:
        return cnn_ext.Plan(graph)
    if precision == BFLOAT16:
        return cnn_ext.Plan(graph, precision=BFLOAT16) if op in PRODUCTS else None
    plan = cnn_ext.Plan(on_bytes(graph, images))
    nodes = [node for node in plan.graph.nodes if node.op == op]
    return plan if any(map(OPERATORS[op].takes_bytes, nodes)) else None


def errors() -> dict[str, dict[str, np.ndarray]]:
    """Of each operator and precision: the errors of all numbers of its cases."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for case in CASES:
        for shape in case.shapes:
            graph = at_the_input(case, shape)
            images = case.draw((IMAGES, *shape), 0).astype(np.float32)
            truth = graph_reference.run(graph, images)
            for precision in PRECISIONS:
                plan = plan_of(graph, images, precision)
                if plan is not None:
                    parts = np.abs(plan(images) - truth).ravel() / np.abs(truth).max()
                    found.setdefault(case.op, {}).setdefault(precision, []).append(parts)
    return {
        op: {precision: np.concatenate(parts) for precision, parts in each.items()}
        for op, each in found.items()
    }


def table() -> str:
    """The largest and the mean error of each operator."""
    heads = [f"{precision}, {what}" for precision in PRECISIONS for what in ("largest", "mean")]
    lines = [f"| operator | {' | '.join(heads)} |", f"|{' --- |' * (1 + len(heads))}"]
    for op, each in sorted(errors().items()):
        cells = []
        for precision in PRECISIONS:
            parts = each.get(precision)
            cells += ["", ""] if parts is None else [f"{parts.max():.1e}", f"{parts.mean():.1e}"]
        lines.append(f"| `{op}` | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
