"""A graph as calls of kernels for a batch in lanes over the images: forward, and back if asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import setitem
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..graph.graph import Graph
from ..graph.layout import Packed, constant
from ..graph.node import Node
from ..graph.operator import OPERATORS, Operator
from ..graph.precision import BFLOAT16, PRODUCTS
from ..lanes import Lanes, empty
from ..parameter import Call, Parameter, at_once

EAGER_ROOM = 2**31  # numbers in tables and constants of a network that is not a plan


class Step(NamedTuple):
    """A node, whether it may write over its first input, and the values that nobody needs after."""

    node: Node
    over: bool
    last: tuple[str, ...]


class Done(NamedTuple):
    """What the way back needs of a node that was done."""

    node: Node
    x: tuple[Any, ...]
    y: Lanes | None
    kept: Any


class ByBatch:
    """One pass over a batch, eager or while a recorder listens.

    Parameters
    ----------
    graph : Graph
    back : bool
        Whether to keep what `backward` needs.
    packed : Packed, optional
        Constants and tables that passes share.
    """

    def __init__(self, graph: Graph, back: bool = False, packed: Packed | None = None) -> None:
        self.graph = graph
        self.back = back
        self.packed = Packed(EAGER_ROOM) if packed is None else packed
        self.tables = self.packed.tables
        self.done: list[Done] = []
        #: of each parameter, and whether it is that of all blocks or of those of this pass
        self.gradients: dict[int, tuple[Parameter, np.ndarray, bool]] = {}
        self.observed: list[tuple[Node, np.ndarray, np.ndarray]] = []  # statistics of the batch
        #: what makes values once more, if that is to be cheaper than to keep them for the way back
        self.again: dict[str, Callable[[], Lanes]] | None = None
        self.opaque: set[int] = set()  # layers of one's own that were called
        self._kept: Any = None
        self._over = False

    # ------------------------------------------------------------- what operators may ask

    def weight(self, node: Node, key: str) -> np.ndarray | None:
        """The array of a weight as it is now, in the precision of the graph's products."""
        array = node.weight(key)
        if key != "weight" or self.graph.precision != BFLOAT16 or node.op not in PRODUCTS:
            return array
        if array is None or not isinstance(node.weights[key], Parameter):
            return array
        rounded = empty(array.shape, array.dtype)
        _core.elementwise(
            "bfloat16", array, None, rounded, array.itemsize, array.size, 0.0, 0.0, None, True
        )
        return rounded

    def halves(self, node: Node, back: bool = False) -> bool:
        """Whether what a product takes, on the way `back` too, are numbers of bfloat16."""
        if back and node.output in self.graph.outputs:
            return False  # the gradient is the one of the cost
        return self.graph.precision == BFLOAT16

    def spread(self, node: Node, key: str, shape: tuple[int, ...]) -> np.ndarray:
        """A weight broadcast to the shape of an activation."""
        name = f"{node.output} {key}"
        learned = isinstance(node.weights[key], Parameter)
        if learned or name not in self.packed:
            array = np.broadcast_to(np.asarray(node.weight(key)), shape)
            if learned:
                return np.ascontiguousarray(array)
            self.packed.need(array.size)
            self.packed[name] = [constant(array)]
        return self.packed[name][0]

    def keep(self, value: Any) -> None:
        """Keep something for the gradient of this node."""
        self._kept = value

    def kept(self) -> Any:
        """What `keep` kept."""
        return self._kept

    def over(self, dy: Lanes) -> Lanes:
        """Room for a gradient like `dy`: its own memory, if nobody else needs it."""
        return dy if self._over else Lanes.empty(dy.shape, dy.dtype)

    def learns(self, node: Node, key: str) -> bool:
        """Whether the gradient of a weight is wanted."""
        weight = node.weights.get(key)
        return isinstance(weight, Parameter) and weight.trainable

    def observe(self, node: Node, mean: np.ndarray, var: np.ndarray) -> None:
        """Take note of mean and variance of a batch."""
        self.observed.append((node, mean, var))

    def learn(self, node: Node, key: str, gradient: np.ndarray, whole: bool = False) -> None:
        """Add to the gradient of a weight what the blocks of this pass give, or the batch."""
        self.learn_parameter(node.weights[key], gradient, whole)

    def learn_parts(self, node: Node, key: str, parts: np.ndarray) -> None:
        """Add the sum of parts, one for each block, (number, *shape of the weight)."""
        count, *shape = parts.shape
        gradient = empty(tuple(shape), parts.dtype)
        _core.block_sum(parts, gradient, parts.dtype.itemsize, count, gradient.size)
        self.learn_parameter(node.weights[key], gradient, True)

    def learn_whole(self, node: Node, key: str, gradient: np.ndarray) -> None:
        """Add what all blocks give, which may be a part of a larger array."""
        own = empty(gradient.shape, gradient.dtype)
        item, everything = gradient.dtype.itemsize, (-np.inf, np.inf)
        _core.elementwise("clip", gradient, None, own, item, own.size, *everything)
        self.learn_parameter(node.weights[key], own, True)

    def learn_parameter(
        self, parameter: Parameter, gradient: np.ndarray, whole: bool = False
    ) -> None:
        """Add to the gradient of a parameter."""
        known = self.gradients.get(id(parameter))
        if known is not None:
            _, before, was_whole = known
            if whole is not was_whole:
                before, gradient = (
                    array if done else whole_of(array)
                    for array, done in ((before, was_whole), (gradient, whole))
                )
                whole = True
            gradient = _sum(before, gradient, parameter.data)
        self.gradients[id(parameter)] = parameter, gradient, whole

    # ------------------------------------------------------------------------------- forward

    def prepare(self) -> None:
        """Make the constants, before a recording that must know them."""
        for node in self.graph.nodes:
            OPERATORS[node.op].prepare(self, node)

    def begin(self, images: int) -> None:
        """Tell the operators that a pass over so many images comes."""
        if "begin" not in self.tables:
            self.tables["begin"] = [
                node for node in self.graph.nodes
                if type(OPERATORS[node.op]).begin is not Operator.begin
            ]  # fmt: skip
        for node in self.tables["begin"]:
            OPERATORS[node.op].begin(node, self.graph.shapes[node.output], images)

    def settle(self, images: int) -> None:
        """Move the running statistics towards those of the batch, all at once."""
        settle(self.graph, self.observed, images)

    def forward(self, inputs: Sequence[Lanes]) -> list[Lanes]:
        """The outputs for inputs in lanes."""
        values = dict(zip(self.graph.inputs, inputs, strict=True))
        del inputs  # their memory may go to others
        for step in self._steps():
            x = [values[name] for name in step.node.inputs]
            for name in step.last:
                del values[name]
            values[step.node.output] = self.do(step.node, x, step.over)
        return [values[name] for name in self.graph.outputs]

    def _steps(self) -> list[Step]:
        key = "steps", self.back
        if key not in self.tables:
            self.tables[key] = schedule(self.graph, self.back)
        found: list[Step] = self.tables[key]
        return found

    def do(self, node: Node, x: list[Lanes], over: bool = False) -> Lanes:
        """The value of one node."""
        operator = OPERATORS[node.op]
        self._kept = None
        y: Lanes = operator.forward(self, node, *x, over=x[0] if over else None)
        if self.back:
            if node.attributes.get("clip") is not None and not operator.clips_back:
                raise ValueError(f"{node.op}: a clip in training is an operator of its own")
            seen = self._seen(node, x) if "x" in operator.reads else ()
            self.done.append(Done(node, seen, y if "y" in operator.reads else None, self._kept))
            if self.again is not None:
                again = operator.again(self, node, x, self._kept)
                if again is not None:
                    self.again[node.output] = again
            self._kept = None
        return y

    def _seen(self, node: Node, x: list[Lanes]) -> tuple[Any, ...]:
        again = self.again or {}
        return tuple(again.get(name, value) for name, value in zip(node.inputs, x, strict=True))

    # ------------------------------------------------------------------------------ backward

    def backward(
        self, gradients: Sequence[Lanes], need_dx: bool = False, own: bool = False
    ) -> list[Lanes | None]:
        """The gradients at the inputs; those of the parameters are left in `gradients`.

        Parameters
        ----------
        gradients : sequence of Lanes
            At the outputs.
        need_dx : bool
            Whether the gradients at the inputs are wanted.
        own : bool
            Whether those at the outputs may be written over.
        """
        wanted = self._wanted(need_dx)
        if self.again:
            self.again.clear()  # those that are needed have them
        at: dict[str, Lanes] = {}
        shared: set[str] = set()  # values whose gradient is also somebody else's
        for name, gradient in zip(self.graph.outputs, gradients, strict=True):
            _add(at, shared, name, gradient, not own)
        del gradients
        while self.done:
            node, x, y, self._kept = self.done.pop()
            if node.output not in at:
                continue
            dy = at.pop(node.output)
            alone = node.output not in shared
            if node.output not in wanted:
                continue
            self._over = alone
            wants = [name in wanted for name in node.inputs]
            x = tuple(value() if callable(value) else value for value in x)
            dxs = self.go_back(node, dy, x, y, wants)
            passed = sum(dx is not None and np.may_share_memory(dx.data, dy.data) for dx in dxs)
            for name, dx in zip(node.inputs, dxs, strict=False):
                if dx is not None:
                    same = passed > 0 and np.may_share_memory(dx.data, dy.data)
                    _add(at, shared, name, dx, same and (passed > 1 or not alone))
            del x, y, dy, dxs, dx
            self._kept = None
        return [at.get(name) if need_dx else None for name in self.graph.inputs]

    def go_back(
        self, node: Node, dy: Lanes, x: tuple[Any, ...], y: Lanes | None, wants: list[bool]
    ) -> Sequence[Lanes | None]:
        """The gradients at the inputs of one node."""
        dxs: Sequence[Lanes | None] = OPERATORS[node.op].backward(self, node, dy, x, y, wants)
        return dxs

    def _wanted(self, need_dx: bool) -> set[str]:
        # values whose gradient somebody needs: what something learned lies before
        wanted = set(self.graph.inputs) if need_dx else set()
        for node, *_ in self.done:
            if (
                not wanted.isdisjoint(node.inputs)
                or any(self.learns(node, key) for key in node.weights)
                or (node.op == "opaque" and node.attributes["layer"].learns())
            ):
                wanted.add(node.output)
        return wanted

    def give(self) -> None:
        """Leave the gradients of the parameters with them."""
        for parameter, gradient, _ in self.gradients.values():
            parameter.grad = gradient


def settle(graph: Graph, observed: Sequence[tuple[Node, Any, Any]], images: int) -> None:
    """Move running statistics towards those of a batch, with no moment between for an interrupt."""
    calls: list[Call] = []
    for node, mean, var in observed:
        operator: Any = OPERATORS[node.op]
        pairs = operator.settle(node, graph.shapes[node.output], images, mean, var)
        calls += [(setitem, array, ..., value) for array, value in pairs]
    at_once(calls)


def whole_of(part: np.ndarray) -> np.ndarray:
    """The sum over all blocks of what each gives, for a pass that may be recorded."""
    whole = empty(part.shape, part.dtype)
    _core.block_sum(part, whole, part.dtype.itemsize, 1, whole.size)
    return whole


def _add(
    at: dict[str, Lanes], shared: set[str], name: str, gradient: Lanes, is_shared: bool
) -> None:
    if name not in at:
        at[name] = gradient
        (shared.add if is_shared else shared.discard)(name)
        return
    first = at[name]
    total = Lanes.empty(first.shape, first.dtype) if name in shared else first
    size = first.dtype.itemsize
    _core.elementwise("add", first.data, gradient.data, total.data, size, first.data.size, 0.0)
    at[name] = total
    shared.discard(name)


def _sum(a: np.ndarray, b: np.ndarray, like: np.ndarray) -> np.ndarray:
    # of two gradients of one parameter, of the type of `like`
    first, second = (np.ascontiguousarray(part, like.dtype) for part in (a, b))
    if first.shape != second.shape:
        raise ValueError(f"grad: expected shape {first.shape}, got {second.shape}")
    total = empty(first.shape, like.dtype)
    _core.elementwise("add", first, second, total, like.itemsize, first.size, 0.0)
    return total


def schedule(graph: Graph, back: bool) -> list[Step]:
    """The nodes in order, with what each may write over and what is not needed after it."""
    uses = graph.uses()
    memory = {name: name for name in graph.shapes}  # of each value: itself, or whose it has

    def root(name: str) -> str:
        while memory[name] != name:
            name = memory[name]
        return name

    kept = {*graph.inputs, *graph.outputs}  # memory that somebody needs later
    for node in graph.nodes:
        operator = OPERATORS[node.op]
        if operator.same_memory:
            memory[node.output] = root(node.inputs[0])
        if back and "x" in operator.reads:
            kept.update(map(root, node.inputs))
        if back and "y" in operator.reads:
            kept.add(root(node.output))
    kept.update(map(root, graph.outputs))
    alive = dict.fromkeys(graph.shapes, 0)  # uses of the memory that are to come
    for name, count in uses.items():
        alive[root(name)] += count
    steps = []
    for node in graph.nodes:
        for name in node.inputs:
            uses[name] -= 1
            alive[root(name)] -= 1
        first = root(node.inputs[0])
        same = graph.shapes[node.inputs[0]] == graph.shapes[node.output]
        over = OPERATORS[node.op].in_place and same and first not in kept and not alive[first]
        if over:  # the memory lives on in the output
            memory[node.output] = first
            alive[first] = alive[node.output]
            if node.output in kept:
                kept.add(first)
        last = tuple(dict.fromkeys(name for name in node.inputs if not uses[name]))
        steps.append(Step(node, over, last))
    return steps
