"""Calls into C that are made together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import starmap
from operator import call
from typing import Any, TypeAlias

Call: TypeAlias = tuple[Any, ...]  # a function of C and its arguments


def at_once(calls: Iterable[Call]) -> None:
    """Call C functions, each given with its arguments, without a moment between for an interrupt.

    Python looks for signals between its own instructions, and there are none in here.
    """
    deque(starmap(call, list(calls)), maxlen=0)
