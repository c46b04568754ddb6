"""A trained network as a list of nodes: what plans, ONNX files and C files are made from.

Values are what one image becomes on its way: (C, H, W) or (F,), float32, without the batch.  Every
node makes one value from values that were made before.  The operators are few; what other formats
know beside them is put together from these.

===========  ====================================================================================
operator     weights and attributes
===========  ====================================================================================
conv2d       weight (K, C / groups, R, S), bias (K,); stride, padding (top, bottom, left, right),
             dilation, groups: cross-correlation, as in PyTorch
linear       weight (K, F), bias (K,)
max_pool     kernel, stride, padding, dilation, ceil_mode
avg_pool     kernel, stride, padding, ceil_mode, count_include_pad
clip         low, high: min(max(x, low), high); ReLU is low 0 and high infinity
leaky_relu   negative_slope
sigmoid, tanh
softmax      over axis 0, for every pixel
log_softmax  likewise
add, mul     two values that broadcast as in NumPy, or one value and the weight "constant"
gather       index, of the output's shape: y.flat[i] = x.flat[index.flat[i]], where x is all
             inputs flattened and joined; -1 gives `fill`.  Padding, joining, transposing, slicing
reshape      shape
===========  ====================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..task import ENDINGS, Task

if TYPE_CHECKING:
    from .plan import Plan

Shape = tuple[int, ...]
CLIP_NONE = (-math.inf, math.inf)
LARGEST = 2**28  # numbers of one value of one image
LONGEST = 2**31 - 1  # of any kernel, stride, padding or dilation


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: the names of the values it takes and of the one it makes."""

    op: str
    inputs: tuple[str, ...]
    output: str
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Graph:
    """A feed-forward network with one input and one output.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W) or (F,).
    byte_scale : float, optional
        What bytes (uint8) at the input are multiplied by, see `cnn_ext.scale`; without it, whole
        numbers are refused.
    task : Task, optional
        What the network is for and what its outputs mean, as far as it is known.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they work.
    shapes : dict of str to tuple of int
        Of every value, without the batch.
    input, output : str
        Names of values; the output is the newest unless set otherwise.
    input_shape, output_shape : tuple of int
        As `shapes` has them, unless `outer_shapes` said how whoever calls sees these numbers.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        byte_scale: float | None = None,
        task: Task | None = None,
    ) -> None:
        self.nodes: list[Node] = []
        self.input = self._output = "x"
        self._outer: tuple[Shape | None, Shape | None] = (None, None)
        self.byte_scale = byte_scale
        self.task = task or Task()
        self.shapes: dict[str, Shape] = {self.input: _whole_shape(input_shape)}

    @property
    def output(self) -> str:
        return self._output

    @output.setter
    def output(self, name: str) -> None:
        self._output = name
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

        Raises
        ------
        ValueError
            If they have not as many numbers as the values of the graph.
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
            See the table above.
        *inputs : str
            Names of values.
        weights : mapping of str to array_like, optional
            Kept as float32.
        **attributes
            All that the operator has.

        Returns
        -------
        str
            The name of the new value.

        Raises
        ------
        ValueError
            If operator, inputs, weights and attributes do not fit together.
        """
        if op not in SHAPE_OF:
            raise ValueError(f"op: expected one of {', '.join(SHAPE_OF)}, got {op!r}")
        for name in inputs:
            if name not in self.shapes:
                raise ValueError(f"{op}: there is no value {name!r} yet")
        arrays = {
            key: np.ascontiguousarray(value, np.float32) for key, value in (weights or {}).items()
        }
        output = f"v{len(self.nodes)}"
        node = Node(op, inputs, output, arrays, dict(attributes))
        try:
            shape = SHAPE_OF[op](node, *(self.shapes[name] for name in inputs))
            self.shapes[output] = _whole_shape(shape)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{op}: {error}") from error
        self.nodes.append(node)
        self.output = output
        return output

    def compile(self, max_batch: int = 256, outputs: str | None = None) -> Plan:
        """Make it ready to answer, see `Plan`."""
        from .plan import Plan

        return Plan(self, max_batch, outputs)

    def meaning(self, outputs: str | None = None) -> Task:
        """The task, with what the outputs are: as given, as the last operators say, or as known.

        Parameters
        ----------
        outputs : str, optional
            "logits", "sigmoid", "probabilities", "log_probabilities" or "numbers"; for whoever
            knows it better than the graph.

        Raises
        ------
        ValueError
            If `outputs` is none of these, or the task does not fit the output.
        """
        task = replace(self.task, outputs=outputs or self._ending() or self.task.outputs)
        task.check(self.shapes[self.output])
        return task

    def _ending(self) -> str | None:
        # what the outputs are if softmax or sigmoid made them; a clip may keep logarithms finite
        makers = {node.output: node for node in self.nodes}
        node, clipped = makers.get(self.output), False
        while node is not None and node.op in ("reshape", "clip"):
            if node.op == "clip":
                clipped = True
                if not (node.attributes["low"] <= 1e-3 and node.attributes["high"] >= 0.999):
                    return None
            node = makers.get(node.inputs[0])
        if node is None or node.op not in ENDINGS or (clipped and node.op == "log_softmax"):
            return None
        same_classes = self.shapes[node.output][0] == self.shapes[self.output][0]
        return ENDINGS[node.op] if node.op == "sigmoid" or same_classes else None

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
        count[self.output] += 1
        return count


def _whole_shape(shape: Sequence[int]) -> Shape:
    sizes = tuple(int(size) for size in shape)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"expected a shape of whole numbers of at least 1, got {tuple(shape)}")
    if math.prod(sizes) > LARGEST:
        raise ValueError(f"a value of {sizes} is too large: one image may have {LARGEST} numbers")
    return sizes


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"expected an input of (C, H, W), got {shape}")
    return shape[0], shape[1], shape[2]


def _extent(
    size: int, before: int, after: int, kernel: int, stride: int, gap: int, ceil: bool
) -> int:
    # windows along one axis; one that would begin in the padding behind the input is dropped
    numbers = before, after, kernel, stride, gap
    if min(before, after) < 0 or min(kernel, stride, gap) < 1 or max(numbers) > LONGEST:
        raise ValueError(
            "expected padding of at least 0, kernel, stride and dilation of at least 1, all up to"
            f" 2**31 - 1, got {before} and {after}, {kernel}, {stride}, {gap}"
        )
    spare = size + before + after - gap * (kernel - 1) - 1
    count = -(-spare // stride) + 1 if ceil else spare // stride + 1
    if count < 1:
        raise ValueError(f"a window of {kernel} (dilation {gap}) does not fit into {size} pixels")
    return count - 1 if ceil and (count - 1) * stride >= size + before else count


def _bias_fits(node: Node, count: int) -> None:
    bias = node.weights.get("bias")
    if bias is not None and bias.shape != (count,):
        raise ValueError(f"bias: expected shape ({count},), got {bias.shape}")


def _conv2d(node: Node, x: Shape) -> Shape:
    C, H, W = _image(x)
    a, weight = node.attributes, node.weights["weight"]
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"weight: expected shape (K, C / groups, R, S), got {weight.shape}")
    K, C_group, R, S = weight.shape
    groups = a["groups"]
    if groups < 1 or K % groups or C != C_group * groups:
        raise ValueError(f"a weight of {weight.shape} in {groups} groups takes no {x}")
    _bias_fits(node, K)
    top, bottom, left, right = a["padding"]
    P = _extent(H, top, bottom, R, a["stride"][0], a["dilation"][0], False)
    Q = _extent(W, left, right, S, a["stride"][1], a["dilation"][1], False)
    return K, P, Q


def _linear(node: Node, x: Shape) -> Shape:
    weight = node.weights["weight"]
    if weight.ndim != 2 or len(x) != 1 or weight.shape[1] != x[0]:
        raise ValueError(f"a weight of {weight.shape} takes no {x}")
    _bias_fits(node, weight.shape[0])
    return (weight.shape[0],)


def _pool(node: Node, x: Shape) -> Shape:
    C, H, W = _image(x)
    a = node.attributes
    gaps = a["dilation"] if node.op == "max_pool" else (1, 1)
    (R, S), (step_h, step_w), (top, bottom, left, right) = a["kernel"], a["stride"], a["padding"]
    reach = (R - 1) * gaps[0], (S - 1) * gaps[1]
    if max(top, bottom) > reach[0] or max(left, right) > reach[1]:
        raise ValueError(f"padding {a['padding']}: a window of {R} x {S} may hold no pixel")
    P = _extent(H, top, bottom, R, step_h, gaps[0], a["ceil_mode"])
    Q = _extent(W, left, right, S, step_w, gaps[1], a["ceil_mode"])
    return C, P, Q


def _same(node: Node, x: Shape) -> Shape:
    return x


def _binary(node: Node, x: Shape, *others: Shape) -> Shape:
    if len(others) + len(node.weights) != 1:
        raise ValueError("expected two values, or one value and a constant")
    other = others[0] if others else node.weights["constant"].shape
    shape = np.broadcast_shapes(x, other)
    if not others and shape != x:
        raise ValueError(f"a constant of {other} would enlarge the value of {x}")
    return shape


def _gather(node: Node, *inputs: Shape) -> Shape:
    index = node.attributes["index"]
    size = sum(math.prod(shape) for shape in inputs)
    if index.size and not (-1 <= index.min() and index.max() < size):
        raise ValueError(f"index: expected -1 to {size - 1}, got {index.min()} to {index.max()}")
    return tuple(index.shape)


def _reshape(node: Node, x: Shape) -> Shape:
    shape = tuple(node.attributes["shape"])
    if math.prod(shape) != math.prod(x):
        raise ValueError(f"{x} cannot become {shape}")
    return shape


SHAPE_OF: dict[str, Callable[..., Shape]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "max_pool": _pool,
    "avg_pool": _pool,
    "clip": _same,
    "leaky_relu": _same,
    "sigmoid": _same,
    "tanh": _same,
    "softmax": _same,
    "log_softmax": _same,
    "add": _binary,
    "mul": _binary,
    "gather": _gather,
    "reshape": _reshape,
}
