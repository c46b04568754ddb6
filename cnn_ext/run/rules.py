"""What holds for a graph as a whole: the order of its nodes, borders, what lives at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..graph.graph import Graph
from ..graph.layout import MOST, MOST_BORDER, NO_BORDER, Border, NoRoom, image
from ..graph.node import Node
from ..graph.operator import OPERATORS

Value = TypeVar("Value")


def in_order(graph: Graph, first: Value, step: Callable[[Node, list[Value]], Value]) -> Value:
    """Do all nodes, and give the value of the output; what nobody needs any more is let go."""
    uses = graph.uses()  # that are still to come
    values = {graph.input: first}
    del first  # its memory may go to others
    for node in graph.nodes:
        values[node.output] = step(node, [values[key] for key in node.inputs])
        for key in node.inputs:
            uses[key] -= 1
            if not uses[key]:
                values.pop(key, None)
    return values[graph.output]


def borders(graph: Graph) -> dict[str, Border]:
    """The padding that its users want around each value."""
    border = dict.fromkeys(graph.shapes, NO_BORDER)

    def want(name: str, sides: Border) -> None:
        top, bottom, left, right = map(max, border[name], sides)
        border[name] = top, bottom, left, right

    for node in reversed(graph.nodes):
        operator = OPERATORS[node.op]
        passed = operator.keeps_zero(node)
        for name in node.inputs:
            want(name, operator.padding(graph, node))
            if passed and graph.shapes[name] == graph.shapes[node.output]:
                want(name, border[node.output])
    return border


def most_at_once(graph: Graph, size: Callable[[str], int]) -> tuple[int, Node | None]:
    """The most that the values need which live at once, and the node at which they do.

    `size` says what a value needs.
    """
    uses = graph.uses()
    now = most = size(graph.input)
    worst = None
    for node in graph.nodes:
        now += size(node.output)
        if now > most:
            most, worst = now, node
        for name in node.inputs:
            uses[name] -= 1
            if not uses[name]:
                now -= size(name)
    return most, worst


def check_memory(graph: Graph, border: dict[str, Border], lanes: int) -> None:
    """Raise NoRoom if the values of one image, in blocks and within borders, need too much."""
    sizes = {}
    for name, shape in graph.shapes.items():
        C, H, W = image(shape)
        top, bottom, left, right = border[name]
        channels = C if name == graph.input else -(-C // lanes) * lanes
        sizes[name] = channels * (H + top + bottom) * (W + left + right)
        more = sizes[name] - channels * H * W
        if more > MOST_BORDER:
            node = next(node for node in graph.nodes if name in node.inputs)
            raise NoRoom(
                f"{graph.said(node)}: padding its input would take {more} numbers; a plan may have"
                f" {MOST_BORDER}"
            )
    most, worst = most_at_once(graph, sizes.__getitem__)
    if most > MOST:
        raise NoRoom(
            f"{graph.said(worst)}: {most} numbers of values would be needed at once; a plan may"
            f" have {MOST}"
        )
