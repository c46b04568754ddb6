"""`Node`, one operator in a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..parameter import Kept

Shape = tuple[int, ...]


class Node:
    """One operator: the names of the values it takes and of the one it makes.

    `names` is what a file that the node was read from calls the weights.
    """

    __slots__ = ("attributes", "inputs", "names", "op", "output", "weights")

    def __init__(
        self,
        op: str,
        inputs: tuple[str, ...],
        output: str,
        weights: Mapping[str, Any],
        attributes: dict[str, Any],
        names: dict[str, str] | None = None,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.output = output
        self.weights = weights
        self.attributes = attributes
        self.names = names or {}

    def replaced(self, **changes: Any) -> Node:
        """This node with other values of some of its attributes."""
        return Node(**{name: getattr(self, name) for name in self.__slots__} | changes)

    def weight(self, key: str) -> np.ndarray | None:
        """The array of a weight as it is now, or None if there is none."""
        weight = self.weights.get(key)
        array: np.ndarray | None = weight.data if isinstance(weight, Kept) else weight
        return array
