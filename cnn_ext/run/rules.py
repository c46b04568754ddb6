"""Which nodes of a graph are done together, and which way a convolution goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .. import _core
from ..graph.graph import Graph
from ..graph.node import Node, Shape
from ..graph.operator import OPERATORS
from ..operators.conv2d import sizes_of
from ..operators.elementwise import Elementwise
from .layout import MOST, MOST_BORDER, NO_BORDER, SIZE, Border, NoRoom, image

Value = TypeVar("Value")
KEEP_ZERO = {"add", "mul"}  # what makes zeros of zeros


def pixels_pay(node: Node, output_shape: Shape, lanes: int) -> bool:
    """Whether lanes over pixels have less to do than lanes over output channels."""
    a, (K, Q) = node.attributes, (output_shape[0], output_shape[2])
    if a["stride"] != (1, 1) or a["groups"] > 1:
        return False
    return K * -(-Q // lanes) < Q * -(-K // lanes)


def is_pairs(node: Node) -> bool:
    """Whether a pooling takes the maxima of 2 x 2 pixels, side by side."""
    a = node.attributes
    plain = a["padding"] == NO_BORDER and not a["ceil_mode"] and node.op == "max_pool"
    return plain and a["kernel"] == a["stride"] == (2, 2) and a["dilation"] == (1, 1)


def winograd_pays(graph: Graph, node: Node) -> bool:
    """Whether a convolution goes Winograd's way: where it does so for a block of images."""
    return bool(_core.winograd_pays(SIZE, conv_shape(graph, node)))


def conv_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    """The sizes of a convolution of one block of images, as `_core.conv2d` takes them."""
    return 1, *sizes_of(node, graph.shapes[node.inputs[0]])


def keeps_zero(node: Node) -> bool:
    """Whether zeros become zeros, so that a border stays one."""
    operator: Any = OPERATORS[node.op]
    return node.op in KEEP_ZERO or (isinstance(operator, Elementwise) and operator.keeps_zero(node))


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
    """The padding that the convolutions want around each value."""
    border = dict.fromkeys(graph.shapes, NO_BORDER)

    def want(name: str, sides: Border) -> None:
        top, bottom, left, right = map(max, border[name], sides)
        border[name] = top, bottom, left, right

    for node in reversed(graph.nodes):
        for name in node.inputs:
            if node.op == "conv2d":
                if winograd_pays(graph, node):
                    continue  # its transforms see to the edges
                want(name, node.attributes["padding"])
            elif keeps_zero(node) and graph.shapes[name] == graph.shapes[node.output]:
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
