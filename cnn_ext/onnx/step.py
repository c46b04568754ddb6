"""One node of an ONNX model, with its attributes and inputs checked as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .building import BATCH, Builder, Classes, OnGrid, Operand, Value
from .tensors import array_of

KINDS = {
    "f": 1,
    "i": 2,
    "s": 3,
    "t": 4,
    "g": 5,
    "floats": 6,
    "ints": 7,
}  # field: AttributeProto.Type


# what reads an operator, by its name; the readers stand beside the operators of the graph
READERS: dict[str, Callable[[Builder, Step], Operand | tuple[Operand, ...]]] = {}


def reads(*names: str) -> Callable[[Any], Any]:
    """Put a function into the table of what reads operators of ONNX, under these names."""

    def register(function: Any) -> Any:
        READERS.update(dict.fromkeys(names, function))
        return function

    return register


class Step:
    """A node and what its inputs became.

    Parameters
    ----------
    node : onnx.NodeProto
    opset : int
        The version of the operators.
    inputs : list of Value, array or None
        None where the node leaves an input out.
    folder : Path or None
        Where data outside the model may lie.
    """

    def __init__(
        self, node: Any, opset: int, inputs: list[Operand | None], folder: Path | None = None
    ) -> None:
        self.op = node.op_type
        self.opset = opset
        self.inputs = inputs
        self.outputs = len(node.output)
        self.folder = folder
        self._attributes = {attribute.name: attribute for attribute in node.attribute}

    def has(self, name: str) -> bool:
        return name in self._attributes

    def attribute(self, name: str, field: str, default: Any) -> Any:
        """The attribute of this name, of type "f", "i", "s", "t", "g", "floats" or "ints"."""
        if name not in self._attributes:
            return default
        found = self._attributes[name]
        if found.ref_attr_name or found.type not in (0, KINDS[field]):
            raise ValueError(f"attribute {name} has another type than expected")
        content = getattr(found, field)
        if field == "s":
            return content.decode()
        return tuple(content) if field in ("floats", "ints") else content

    def flag(self, name: str, default: int = 0) -> bool:
        flag = self.attribute(name, "i", default)
        if flag not in (0, 1):
            raise ValueError(f"attribute {name}: expected 0 or 1, got {flag}")
        return bool(flag)

    def number(self, name: str, default: float) -> float:
        number = float(self.attribute(name, "f", default))
        if math.isnan(number):
            raise ValueError(f"attribute {name} is not a number")
        return number

    def sizes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute that has one entry for every entry of `default`."""
        found = self.attribute(name, "ints", default)
        if len(found) != len(default):
            raise ValueError(f"attribute {name}: expected {len(default)} sizes, got {found}")
        return found

    def tensor(self, name: str, default: np.ndarray) -> np.ndarray:
        """An attribute that is a tensor."""
        if not self.has(name):
            return default
        return array_of(self.attribute(name, "t", None), self.folder)

    # ---------------------------------------------------------------------------------- inputs

    def given(self, i: int) -> bool:
        return i < len(self.inputs) and self.inputs[i] is not None

    def operand(self, i: int) -> Operand:
        if not self.given(i):
            raise ValueError(f"input {i} is missing")
        if isinstance(self.inputs[i], OnGrid):
            raise ValueError("what QuantizeLinear gives goes to DequantizeLinear alone")
        if isinstance(self.inputs[i], Classes):
            raise ValueError("nothing can follow ArgMax: output= can take the value before it")
        return self.inputs[i]  # type: ignore[return-value]

    def operands(self) -> list[Operand]:
        """All of them, where none may be left out."""
        return [self.operand(i) for i in range(len(self.inputs))]

    def value(self, i: int) -> Value:
        operand = self.operand(i)
        if not isinstance(operand, Value):
            raise ValueError(f"input {i} is a constant")
        return operand

    def constant(self, i: int) -> np.ndarray:
        operand = self.operand(i)
        if isinstance(operand, Value):
            raise ValueError(f"input {i} is not a constant")
        return operand

    def weight(self, i: int) -> np.ndarray:
        """A constant of floating point."""
        return real(self.constant(i))

    def integers(
        self, i: int, name: str, since: int, counting: bool = False
    ) -> tuple[int, ...] | None:
        """Whole numbers that are an attribute before opset `since` and an input from then on.

        Only if they may be `counting` images they may be multiples of `BATCH`.
        """
        if self.opset < since:
            return self.attribute(name, "ints", None)
        if not self.given(i):
            return None
        array = self.constant(i)
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
            raise ValueError(f"{name}: expected up to 64 whole numbers, got {array.shape}")
        numbers = tuple(int(number) for number in array.ravel())
        return numbers if counting else free(numbers, name)


def free(numbers: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The numbers themselves, if they do not depend on the number of images."""
    if any(number and number % BATCH == 0 for number in numbers):
        raise ValueError(f"{name} depends on the number of images")
    return numbers


def real(array: np.ndarray) -> np.ndarray:
    """The array itself if it is of floating point: whole numbers may depend on the batch."""
    if array.dtype.kind != "f":
        raise ValueError(f"expected numbers of floating point, got {array.dtype}")
    return array
