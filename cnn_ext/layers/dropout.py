"""Layers that leave something out by chance, in training alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check as check
from ..initializers import generator_of_its_own
from .built_in import BuiltIn


class Draws:
    """A seed, and how often a choice was made from it.

    Parameters
    ----------
    seed : int
        0 to 2**63 - 1.
    count : int
    """

    def __init__(self, seed: int, count: int = 0) -> None:
        self.seed = seed
        self.count = count

    def next(self) -> tuple[int, int]:
        """The seed, and the number of the next choice."""
        self.count += 1
        return self.seed, self.count


class Dropout(BuiltIn):
    """In training, sets each number to 0 with probability `p` and divides the rest by ``1 - p``.

    Which numbers follows from a seed, the number of the pass, of the image in its batch and of the
    number in its image alone.

    Parameters
    ----------
    p : float
        0 to 1.
    rng : numpy.random.Generator, optional
        Where the seed comes from, by default as `cnn_ext.seed` says; a `Trainer` gives one that
        follows its own seed.

    Attributes
    ----------
    draws : Draws
        The seed, and the number of passes so far.

    Raises
    ------
    TypeError, ValueError
        If `p` is no number from 0 to 1.
    """

    arguments = ("p",)
    kind = "elements"

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = check.number(p, "p", 0, 1)
        self.reseed(rng or generator_of_its_own())

    def reseed(self, rng: np.random.Generator) -> None:
        """Begin anew, with a seed from there."""
        self.draws = Draws(int(rng.integers(2**63)))

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        return x.emit("dropout", p=self.p, draws=self.draws, kind=self.kind)


class Dropout2d(Dropout):
    """As `Dropout`, for whole channels: all pixels of a channel of an image, or none."""

    arguments = ("p",)
    kind = "channels"


class DropPath(Dropout):
    """As `Dropout`, for whole images: in a `Residual`, the body is left out for some of them.

    G. Huang et al., "Deep networks with stochastic depth", 2016.
    """

    arguments = ("p",)
    kind = "images"
