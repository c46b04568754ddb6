"""Weights that a network takes over by name, and the report of what did not fit."""

from __future__ import annotations

from collections.abc import Mapping
from operator import setitem
from typing import NamedTuple

import numpy as np

from ..parameter import Kept, at_once

Shape = tuple[int, ...]
MOST = 20  # names that a message lists


class LoadReport(NamedTuple):
    """What a network took of the arrays that it was given; printed, it says so in a few lines.

    Attributes
    ----------
    loaded_keys : tuple of str
        What the network has taken, in its order.
    missing_keys : tuple of str
        What the network has and was not given; it stays as it was.
    unexpected_keys : tuple of str
        What was given and the network has not.
    mismatched_keys : dict of str to (shape, shape)
        What has another shape, with the network's and the one that was given; it stays as it was.
    """

    loaded_keys: tuple[str, ...]
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    mismatched_keys: dict[str, tuple[Shape, Shape]]

    @property
    def complete(self) -> bool:
        """Whether every array had its place, and every place an array."""
        return not (self.missing_keys or self.unexpected_keys or self.mismatched_keys)

    def __repr__(self) -> str:
        own = len(self.loaded_keys) + len(self.missing_keys) + len(self.mismatched_keys)
        shapes = [f"{k:.60} {a}, given {b}" for k, (a, b) in self.mismatched_keys.items()]
        lines = [
            f"loaded {len(self.loaded_keys)} of {own} arrays",
            _line("missing", [f"{name:.60}" for name in self.missing_keys]),
            _line("of other shapes", shapes),
            _line("unexpected", [f"{name:.60}" for name in self.unexpected_keys]),
        ]
        return "\n".join(line for line in lines if line)


def compared(own: Mapping[str, Kept], given: Mapping[str, Shape]) -> LoadReport:
    """What a network takes of arrays of such names and shapes, if it takes what fits.

    Raises ValueError if nothing fits.
    """
    both = [name for name in own if name in given]
    fits = [name for name in both if own[name].shape == given[name]]
    report = LoadReport(
        tuple(fits),
        tuple(name for name in own if name not in given),
        tuple(name for name in given if name not in own),
        {name: (own[name].shape, given[name]) for name in both if name not in fits},
    )
    if own and not fits:
        raise ValueError(f"expected at least one array that fits, got none: {report!r}")
    return report


def take(own: Mapping[str, Kept], arrays: Mapping[str, np.ndarray]) -> None:
    """Copy arrays to their places, with no moment between for an interrupt."""
    at_once([(setitem, own[name].data, ..., array) for name, array in arrays.items()])


def listed(names: list[str]) -> str:
    """Names, not more than a message can hold."""
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    return ", ".join(names[:MOST] + more) or "nothing"


def _line(title: str, names: list[str]) -> str:
    return f"  {title}: {listed(names)}" if names else ""
