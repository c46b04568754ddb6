"""`Value`: what stands for a batch while a network is traced; Python's operators become nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _check as check
from ..parameter import Kept
from .graph import Graph
from .node import Shape


class Images:
    """The number of images, the first size of every value: it is not known while one traces."""

    def __repr__(self) -> str:
        return "N"


N = Images()


class Value:
    """A batch of which only the shape is known, (N, C, H, W) or (N, F).

    ``+``, ``-``, ``*`` and ``/`` take another value that broadcasts, or numbers; an index leaves
    out channels, rows or columns.

    Parameters
    ----------
    graph : Graph
    name : str
        Of the value in the graph.
    lanes : Lanes, optional
        The numbers themselves, where a network is run as it is traced.
    """

    __slots__ = ("graph", "lanes", "name")
    __array_ufunc__ = None  # NumPy leaves arithmetic to the methods below

    def __init__(self, graph: Graph, name: str, lanes: Any = None) -> None:
        self.graph = graph
        self.name = name
        self.lanes = lanes

    @property
    def shape(self) -> tuple[Any, ...]:
        """(N, C, H, W) or (N, F), where N stands for the number of images."""
        return N, *self.features

    @property
    def features(self) -> Shape:
        """The shape of one image."""
        return self.graph.shapes[self.name]

    @property
    def ndim(self) -> int:
        return 1 + len(self.features)

    @property
    def dtype(self) -> np.dtype:
        return self.graph.dtype

    def emit(
        self,
        op: str,
        *others: Value,
        weights: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Value:
        """The value that an operator makes of this one, and of others.

        Raises
        ------
        TypeError
            If something else than a value of the same network is among them.
        ValueError
            If operator, inputs, weights and attributes do not fit together.
        """
        for other in others:
            if not isinstance(other, Value) or other.graph is not self.graph:
                raise TypeError(f"{op}: expected values of one network, got {type(other).__name__}")
        graph: Any = self.graph
        names = [self.name, *(other.name for other in others)]
        made = Value(graph, graph.emit(op, names, weights or {}, attributes))
        if self.lanes is not None:
            graph.run_now(made, (self, *others))
        return made

    # ------------------------------------------------------------------------------- arithmetic

    def _with(self, op: str, other: Any) -> Any:
        if isinstance(other, Value):
            return self.emit(op, other)
        if isinstance(other, Kept):
            return self.emit(op, weights={"constant": other})
        constant = check.real_array(other, "a constant")
        if constant.ndim > len(self.features):
            if constant.shape[0] != 1 or constant.ndim > self.ndim:
                raise ValueError(
                    f"{op}: a constant of {constant.shape} is not the same for every image of "
                    f"{self.shape}"
                )
            constant = constant[0]
        return self.emit(op, weights={"constant": constant})

    def __add__(self, other: Any) -> Any:
        return self._with("add", other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self._with("mul", other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self._with("mul", -1.0)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Value):
            return self.emit("sub", other)
        if isinstance(other, Kept):
            return -(-self + other)
        return self + -check.real_array(other, "a number")

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Value):
            return self.emit("div", other)
        return self * (1 / check.real_array(other, "a divisor").astype(np.float64))

    # ------------------------------------------------------------------------------------ shapes

    def flatten(self, start_dim: int = 1) -> Any:
        """(N, ...) -> (N, features)."""
        if start_dim != 1:
            raise ValueError(f"start_dim: expected 1, got {start_dim!r}: images stay apart")
        return self.reshape(-1, math.prod(self.features))

    def reshape(self, *shape: Any) -> Any:
        """The same numbers of each image in another shape; its first size is N or -1.

        Raises
        ------
        ValueError
            If the images would be mixed, or have not as many numbers.
        """
        first, *rest = shape[0] if len(shape) == 1 and check.is_list(shape[0]) else shape
        if first is not N and first != -1:
            raise ValueError(f"shape: expected x.shape[0] or -1 for the images, got {first!r}")
        sizes, size = [int(s) for s in rest], math.prod(self.features)
        if sizes.count(-1) == 1 and first is N:
            known = -math.prod(sizes)
            sizes[sizes.index(-1)] = size // known if known > 0 else 0
        if math.prod(sizes) != size or min(sizes, default=0) < 1:
            raise ValueError(f"shape: {self.shape} cannot become {shape}")
        return self if tuple(sizes) == self.features else self.emit("reshape", shape=tuple(sizes))

    view = reshape

    def mean(self, dim: Any, keepdim: bool = False) -> Any:
        """Means over axes, ``x.mean((2, 3))`` for those of each channel.

        Raises
        ------
        ValueError
            If the axes are not neighbours behind the first.
        """
        axes = sorted(axis + self.ndim * (axis < 0) for axis in check.listed(dim))
        count = len(axes)
        if not axes or axes[0] < 1 or axes != list(range(axes[0], axes[0] + count)):
            raise ValueError(f"dim: expected neighbouring axes of {self.shape} from 1, got {dim!r}")
        before, over = self.features[: axes[0] - 1], self.features[axes[0] - 1 : axes[-1]]
        after = self.features[axes[-1] :]
        planes = (N, math.prod(before), math.prod(over), math.prod(after))
        window = {"kernel": (math.prod(over), 1), "stride": (1, 1)}
        y = self.reshape(*planes).emit("avg_pool", **window)
        kept = (*before, *([1] * count if keepdim else ()), *after)
        return y.reshape(N, *(kept or (1,)))

    def __getitem__(self, index: Any) -> Any:
        """Slices of channels, rows and columns: ``x[:, :8]``."""
        parts = index if isinstance(index, tuple) else (index,)
        first, *rest = parts
        if first not in (slice(None), Ellipsis):
            raise ValueError(f"index: expected [:, ...], since images stay apart, got {index!r}")
        table = np.arange(math.prod(self.features)).reshape(self.features)
        try:
            picked = table[(Ellipsis, *rest) if first is Ellipsis else tuple(rest)]
        except (IndexError, TypeError) as error:
            raise ValueError(f"index: {error}") from None
        if not picked.size:
            raise ValueError(f"index: nothing is left of {self.shape}")
        if picked.ndim == 0:
            picked = picked.reshape(1)
        return self.emit("gather", index=np.ascontiguousarray(picked))

    def __iter__(self) -> Any:
        raise TypeError("a value that is being traced has no images to go through")

    def __bool__(self) -> bool:
        raise TypeError(
            "what a value that is being traced will be is not known: no branch can depend on it"
        )

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(
            "a value that is being traced has no numbers yet, for NumPy's functions: use those of "
            "cnn_ext.ops, or derive the layer from Layer and give it a backward"
        )

    def __repr__(self) -> str:
        return f"Value{self.shape}"


def joined(values: Sequence[Value], axis: int = 1) -> Value:
    """Values joined along an axis, that of channels by default.

    Raises TypeError or ValueError if they are none, or differ in another axis.
    """
    values = list(values)
    if not values or not all(isinstance(value, Value) for value in values):
        raise TypeError(f"values: expected values in a list, got {values!r:.99}")
    ndim = values[0].ndim
    place = axis + ndim if axis < 0 else axis
    if not 1 <= place < ndim:
        raise ValueError(f"dim: expected an axis from 1 to {ndim - 1}, got {axis!r}")
    once = {value.name: value for value in values}  # the inputs of the gather
    end, places = 0, {}
    for name, value in once.items():
        count = math.prod(value.features)
        places[name] = np.arange(end, end + count).reshape(value.features)
        end += count
    try:
        index = np.concatenate([places[value.name] for value in values], place - 1)
    except ValueError as error:
        raise ValueError(f"values: {error}") from None
    here, *others = once.values()
    return here.emit("gather", *others, index=index)
