"""`Node`, one operator in a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..parameter import Kept

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: the names of the values it takes and of the one it makes."""

    op: str
    inputs: tuple[str, ...]
    output: str
    weights: Mapping[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    #: what a file that the node was read from calls the weights
    names: dict[str, str] = field(default_factory=dict)

    def weight(self, key: str) -> np.ndarray | None:
        """The array of a weight as it is now, or None if there is none."""
        weight = self.weights.get(key)
        array: np.ndarray | None = weight.data if isinstance(weight, Kept) else weight
        return array
