"""`Parameter` and `Buffer`, the arrays that a network keeps; changes of many of them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import starmap
from operator import call
from typing import Any, TypeAlias

import numpy as np

from . import _check as check
from ._arrays import is_masked

Call: TypeAlias = tuple[Any, ...]  # a function of C and its arguments


class Kept:
    """An array of a layer that travels with the network."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    @property
    def data(self) -> np.ndarray:
        """The array itself, in C order and writable."""
        return self._data

    @data.setter
    def data(self, data: np.ndarray) -> None:
        if is_masked(data) or not isinstance(data, np.ndarray):
            raise TypeError(f"data: expected an array of NumPy, got {type(data).__name__}")
        if data.dtype not in (check.FLOAT32, check.FLOAT64):  # of this machine's byte order
            raise TypeError(f"data: expected float32 or float64, got {data.dtype}")
        # whatever takes it may write to it and read it as one piece
        self._data = np.require(data, None, ("C", "A", "W"))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.data.shape}"


class Parameter(Kept):
    """An array that is learned, and the gradient of the cost with respect to it.

    Parameters
    ----------
    data : ndarray, float32 or float64

    Attributes
    ----------
    data : ndarray, float32 or float64
        In C order and writable: an array that is neither is copied when it is set.
    grad : ndarray of the same shape, or None before the first backward pass
        Each backward pass replaces it; gradients are not added up.
    trainable : bool
        If False, no gradient is computed for it, nor for what only leads to it.

    Raises
    ------
    TypeError
        If `data` is no array of native float32 or float64, at creation or when it is set.
    """

    trainable = True

    def __init__(self, data: np.ndarray) -> None:
        super().__init__(data)
        self.grad: np.ndarray | None = None


class Buffer(Kept):
    """An array that is state and not learned, such as running statistics.

    It is saved and loaded with the parameters.  What it admits is what `Parameter` admits.
    """


def at_once(calls: Iterable[Call]) -> None:
    """Call C functions, each given with its arguments, without a moment between for an interrupt.

    Python looks for signals between its own instructions, and there are none in here.
    """
    deque(starmap(call, list(calls)), maxlen=0)
