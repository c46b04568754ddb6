"""A graph as calls of kernels for one image at a time, lanes over output channels.

An activation of (C, H, W) lies in blocks of LANES channels, (blocks, height, width, LANES), within
a border of zeros where a convolution wants padding.  What lies where is told by tables of places,
so that flattening costs nothing and everything else that only moves numbers is one kernel.  Every
sum is taken in the order of `by_batch`: the answers are the same, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import _core
from ..graph.bytes import Grid
from ..graph.graph import Graph
from ..graph.layout import (
    FLOAT,
    NO_BORDER,
    SIZE,
    Border,
    NoRoom,
    Packed,
    Placed,
    image,
    places,
    room,
)
from ..graph.node import Node, Shape
from ..graph.operator import OPERATORS
from ..operators.bytes import numbers_of, to_bytes
from ..scale import scale_of
from .rules import borders, check_memory, in_order


class ByImage:
    """Calls the kernels for one image, while a recorder listens.

    Parameters
    ----------
    graph : Graph
    packed : Packed
        Filled here, shared by all that record the same graph.
    """

    def __init__(self, graph: Graph, packed: Packed) -> None:
        self.graph = graph
        self.packed = packed
        self.kernels: Any = _core
        self.lanes: int = _core.lanes(SIZE)
        self.border = borders(graph)
        self._odd: list[np.ndarray] = []  # see `odd_room`

    def prepare(self) -> None:
        """Fill `packed`, without a call of a kernel but those that make constants.

        Raises ValueError if values, tables or constants would have more numbers than a plan may
        have.
        """
        graph = self.graph
        check_memory(graph, self.border, self.lanes)
        self.kernels = _Nothing(self.packed)
        self(np.zeros(graph.input_shape, FLOAT), np.empty(graph.output_shape, FLOAT))

    def __call__(self, x: np.ndarray, out: np.ndarray) -> None:
        """From plain `x`, of the graph's input shape, to plain `out`."""
        self._odd = []
        self._bring(numbers_of(self, in_order(self.graph, self._input(x), self._step)), out)
        for odd in self._odd:
            self.kernels.elementwise("add", out, odd, out, SIZE, out.size)

    def _bring(self, last: Placed, out: np.ndarray) -> None:
        with _named(f"the output of {self.graph.output_shape}"):
            C, H, W = image(last.shape)
            if last.lanes == self.lanes > 1 < H * W and last.border == NO_BORDER:
                self.kernels.unpack(last.data, out, SIZE, C, H * W)  # channels as if images
                return
            if last.lanes == 1:
                steps, data = (last.plane, last.row), last.data[last.first :]
                self.kernels.embed(data, out, SIZE, (C, H, W), steps, (H * W, W), 0, 1.0)
                return
            whole = self.packed.grid(0, (out.size, 1))
            self.kernels.move(last.data, out, SIZE, last.at(self.packed), whole, 1)

    def _step(self, node: Node, inputs: list[Any]) -> Any:
        operator, wanted = OPERATORS[node.op], node.attributes.get("quantize")
        with _named(self.graph.said(node)):
            if not operator.takes_bytes(node):
                inputs = [numbers_of(self, x) for x in inputs]
            value = operator.image(self, node, *inputs)
            if wanted is not None and isinstance(value, Placed):
                value = to_bytes(self, value, Grid(*wanted), self.border[node.output])
        return value

    def _input(self, x: np.ndarray) -> Placed:
        with _named(f"the input of {self.graph.input_shape}"):
            return self._placed(x)

    def _placed(self, x: np.ndarray) -> Placed:
        graph = self.graph
        shape = graph.shapes[graph.input]
        C, H, W = image(shape)
        border = self.border[graph.input]
        tight = border == NO_BORDER and not self._wide_input()
        if tight and x.dtype == FLOAT:
            return Placed(x.reshape(-1), shape, None, 1, 0, H * W, W)
        value = self._place(shape, border, 1)
        if tight:  # bytes go the way of numbers through the graph, since they share packed weights
            value = value._replace(data=value.data[: x.size])
        self.kernels.embed(
            x, value.data, SIZE, (C, H, W), (H * W, W), (value.plane, value.row), value.first,
            scale_of(x.dtype, graph.byte_scale),
        )  # fmt: skip
        return value

    def _wide_input(self) -> bool:
        # whether somebody reads whole vectors, also behind the last number of the input
        return any(
            OPERATORS[node.op].reads_beyond(self.graph, node, self.lanes)
            for node in self.graph.nodes
            if self.graph.input in node.inputs
        )

    # ------------------------------------------------------------- what operators may ask

    def odd_room(self) -> np.ndarray:
        """Room for what is added to the outputs in the end: NaN where bytes were made of NaN."""
        self._odd.append(room(math.prod(self.graph.output_shape)))
        return self._odd[-1]

    def make(
        self,
        shape: Shape,
        border: Border = NO_BORDER,
        lanes: int = 0,
        row: int = 0,
        moved: bool = False,
    ) -> Placed:
        """Room for an activation; zeros in its border.  Plain images have more room behind them.

        Where single numbers will be `moved` there, and not whole vectors, there are zeros beside
        them too.
        """
        value = self._place(shape, border, lanes, row)
        (C, H, W), L = image(shape), value.lanes
        beside = moved and C % L > 0
        if border != NO_BORDER and L > 1 and not beside:
            sizes, steps = (-(-C // L), H, W * L), (value.plane, value.row)
            self.kernels.border(value.data, SIZE, sizes, steps, value.first)
        elif border != NO_BORDER or beside:
            self.kernels.fill(value.data, SIZE, 0.0)
        return value

    def _place(
        self, shape: Shape, border: Border = NO_BORDER, lanes: int = 0, row: int = 0
    ) -> Placed:
        C, H, W = image(shape)
        L = lanes or self.lanes
        top, bottom, left, right = border
        row = row or (W + left + right) * L
        plane = (H + top + bottom) * row
        first = top * row + left * L
        data = room(-(-C // L) * plane + (2 * self.lanes if L == 1 else 0))
        return Placed(data, shape, None, L, first, plane, row, border)

    def regular(self, x: Placed, border: Border = NO_BORDER, lanes: int = 0) -> Placed:
        """`x` in blocks of LANES (or so many) channels, within such a border or more."""
        enough = all(has >= needs for has, needs in zip(x.border, border, strict=True))
        if x.lanes and enough and (not lanes or x.lanes == lanes):
            return x
        return self.spread(x, x.shape, border, lanes)

    def borderless(self, x: Placed) -> Placed:
        """`x` in blocks of LANES channels and nothing else."""
        return x if x.lanes > 1 and x.border == NO_BORDER else self.spread(x, x.shape, NO_BORDER)

    def broadcast(self, x: Placed, shape: Shape, border: Border) -> Placed:
        """`x` in a larger shape, by repetition; in the border if it is copied."""
        return x if x.lanes > 1 and x.shape == shape else self.spread(x, shape, border)

    def spread(self, x: Placed, shape: Shape, border: Border, lanes: int = 0) -> Placed:
        """A copy of `x`, repeated to the shape, within that border."""
        C, H, W = image(shape)
        value = self.make(shape, border, lanes, moved=True)
        if x.lanes == 1 and shape == x.shape and value.lanes > 1 and border == NO_BORDER:
            plain = x.data
            if (x.plane, x.row) != (H * W, W):
                plain, steps = room(C * H * W), (x.plane, x.row)
                data = x.data[x.first :]
                self.kernels.embed(data, plain, SIZE, (C, H, W), steps, (H * W, W), 0, 1.0)
            self.kernels.pack(plain, value.data, SIZE, C, H * W, 1.0)  # channels as if images
            return value
        source = x.at(self.packed)
        if x.shape != shape:
            self.packed.need(math.prod(shape))
            source = places(np.broadcast_to(source.reshape(x.shape), shape))
        self.kernels.move(x.data, value.data, SIZE, source, value.at(self.packed), 1)
        return value

    def rows(self, x: Placed) -> tuple[Placed, int]:
        """A copy with lanes over pixels, (C, vectors, LANES), as in a block; and the vectors."""
        C, pixels = x.shape[0], math.prod(x.shape[1:])
        vectors = -(-pixels // self.lanes)
        data = room(C * vectors * self.lanes)
        at = self.packed.grid(0, (C, vectors * self.lanes), (pixels, 1))
        self.kernels.fill(data, SIZE, 0.0)
        self.kernels.move(x.data, data, SIZE, x.at(self.packed), at, 1)
        return Placed(data, x.shape, at), vectors


class _Nothing:
    """Kernels that do nothing, but take note of the tables that a recording will keep."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._call

    def _call(self, *args: Any) -> None:
        tables = [array for arg in args for array in (arg if isinstance(arg, tuple) else [arg])]
        self._packed.need(sum(t.size for t in tables if getattr(t, "dtype", None) == np.intp))


@contextmanager
def _named(what: str) -> Iterator[None]:
    # that there is no room says for what
    try:
        yield
    except (NoRoom, MemoryError) as error:
        kind = NoRoom if isinstance(error, NoRoom) else MemoryError
        raise kind(f"{what}: {error}") from None
