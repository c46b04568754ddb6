"""A network as a list of nodes: what trains, infers, is exported and is read.

Values are what one image becomes on its way: (C, H, W) or (F,), without the batch.  Every node
makes one value from values that were made before.  The operators stand in `OPERATORS`; what other
formats know beside them is put together from these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _check as check
from ..parameter import Kept
from .node import Node, Shape
from .operator import OPERATORS

if TYPE_CHECKING:
    from ..task import Task

LARGEST = 2**28  # numbers of one value of one image


class Graph:
    """A feed-forward network.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W) or (F,).
    byte_scale : float, optional
        What bytes (uint8) at the input are multiplied by, see `cnn_ext.scale`; without it, whole
        numbers are refused.
    task : Task, optional
        What the network is for and what its outputs mean, as far as it is known.
    dtype : float32 or float64
        Of constants.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they work.
    shapes : dict of str to tuple of int
        Of every value, without the batch.
    input, output : str
        Names of values; the output is the newest unless set otherwise.
    inputs, outputs : tuple of str
        All of them, where there are more.
    input_shape, output_shape : tuple of int
        As `shapes` has them, unless `outer_shapes` said how whoever calls sees these numbers.
    """

    #: the graph as a network that can be trained; `cnn_ext.layers.from_graph` puts it here
    module: ClassVar[Callable[[Graph], Any]]

    def __init__(
        self,
        input_shape: Sequence[int],
        byte_scale: float | None = None,
        task: Task | None = None,
        dtype: np.dtype = check.FLOAT32,
    ) -> None:
        self.nodes: list[Node] = []
        self.dtype = dtype
        self.input = "x"
        self.inputs: tuple[str, ...] = (self.input,)
        self.outputs: tuple[str, ...] = (self.input,)
        self._outer: tuple[Shape | None, Shape | None] = (None, None)
        self.byte_scale = byte_scale
        self.precision = "float32"  # of products, see `precision.in_bfloat16`
        self.task = task
        self.shapes: dict[str, Shape] = {self.input: _whole_shape(input_shape)}

    def add_input(self, shape: Sequence[int]) -> str:
        """One more input; returns its name."""
        name = f"x{len(self.inputs)}"
        self.shapes[name] = _whole_shape(shape)
        self.inputs += (name,)
        return name

    @property
    def output(self) -> str:
        return self.outputs[0]

    @output.setter
    def output(self, name: str) -> None:
        self.outputs = (name,)
        self._outer = self._outer[0], None  # said of another value

    @property
    def input_shape(self) -> Shape:
        outer = self._outer[0]
        return self.shapes[self.input] if outer is None else outer

    @property
    def output_shape(self) -> Shape:
        outer = self._outer[1]
        return self.shapes[self.output] if outer is None else outer

    def outer_shapes(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Say which shapes, of any number of axes, input and output have outside the graph.

        Raises ValueError if they have not as many numbers as the values of the graph.
        """
        shapes = tuple(input_shape), tuple(output_shape)
        for outer, name in zip(shapes, (self.input, self.output), strict=True):
            if math.prod(outer) != math.prod(self.shapes[name]):
                raise ValueError(f"{outer} has not as many numbers as {self.shapes[name]}")
        self._outer = shapes

    def add(
        self,
        op: str,
        *inputs: str,
        weights: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> str:
        """Append a node; its value becomes the output.

        Parameters
        ----------
        op : str
            A name of `OPERATORS`.
        *inputs : str
            Names of values.
        weights : mapping of str to array_like or Parameter, optional
            Arrays are kept in the graph's number type.
        **attributes
            Those of the operator; what is not given is as its table says.

        Returns
        -------
        str
            The name of the new value.

        Raises
        ------
        ValueError
            If operator, inputs, weights and attributes do not fit together.
        """
        try:
            return self.emit(op, inputs, weights or {}, attributes)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{op}: {error}") from error

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        weights: Mapping[str, Any],
        attributes: Mapping[str, Any],
    ) -> str:
        """As `add`, with the errors as they are."""
        if op not in OPERATORS:
            raise ValueError(f"expected one of {', '.join(OPERATORS)}")
        for name in inputs:
            if name not in self.shapes:
                raise ValueError(f"there is no value {name!r} yet")
        kept = {
            key: value if isinstance(value, Kept) else np.ascontiguousarray(value, self.dtype)
            for key, value in weights.items()
        }
        operator = OPERATORS[op]
        filled = operator.filled(attributes)
        node = Node(op, tuple(inputs), f"v{len(self.nodes)}", kept, filled)
        return self.append(node, operator.shape(node, *(self.shapes[name] for name in inputs)))

    def append(self, node: Node, shape: Sequence[int]) -> str:
        """Take a node, whose value has that shape; its name, that of the newest."""
        self.shapes[node.output] = _whole_shape(shape)
        self.nodes.append(node)
        self.output = node.output
        return node.output

    def said(self, node: Node | None) -> str:
        """A node for a message: its place, its operator and the shapes of its values."""
        if node is None:
            return f"the input of {self.input_shape}"
        shapes = ", ".join(str(self.shapes[name]) for name in node.inputs)
        return f"node {node.output[1:]} ({node.op}, {shapes} to {self.shapes[node.output]})"

    def uses(self) -> dict[str, int]:
        """How many nodes take each value; the output counts as one more."""
        count = dict.fromkeys(self.shapes, 0)
        for node in self.nodes:
            for name in node.inputs:
                count[name] += 1
        for name in self.outputs:
            count[name] += 1
        return count

    def multiply_adds(self) -> int:
        """Multiplications with additions that one image costs."""
        return sum(
            OPERATORS[node.op].multiply_adds(node, self.shapes[node.output]) for node in self.nodes
        )


def _whole_shape(shape: Sequence[int]) -> Shape:
    sizes = tuple(int(size) for size in shape)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"expected a shape of whole numbers of at least 1, got {tuple(shape)}")
    if math.prod(sizes) > LARGEST:
        raise ValueError(f"a value of {sizes} is too large: one image may have {LARGEST} numbers")
    return sizes
