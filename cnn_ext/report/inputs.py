"""What pictures a network is given: their range, their ground, and some of them as examples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..scale import AS_THEY_ARE, scale_of

SEEN = 2000  # pictures that are measured
EXAMPLES, EXAMPLE_BYTES = 20, 400_000  # most of them in a page
FAINT = 0.1  # ink that is none
SMALLEST = 4  # pixels of a side that can be drawn on
THINNEST, THICKEST = 1 / 20, 1 / 5  # of pens, in parts of the longer side


class Inputs(NamedTuple):
    """How the pictures of a set look.

    Attributes
    ----------
    shape : tuple of int
        Of one.
    factor : float
        What the network multiplies their numbers by first.
    low, high : float
        What black and white are then.
    ground : int or None
        0 or 1 if the corners of nearly all pictures are black or white.
    box : int or None
        Pixels of the longer side of what is on the ground, if nearly all pictures have its centre
        of mass at the same place: then a drawing is brought to the same.
    pen : float
        Pixels that a stroke is wide.
    """

    shape: tuple[int, ...]
    factor: float
    low: float
    high: float
    ground: int | None = None
    box: int | None = None
    pen: float = 1.0

    @property
    def drawable(self) -> bool:
        """Whether strokes make sense: one grey channel of some extent."""
        return len(self.shape) == 3 and self.shape[0] == 1 and min(self.shape[1:]) >= SMALLEST

    @property
    def pictures(self) -> bool:
        """Whether a file with a picture can be taken."""
        return len(self.shape) == 3 and self.shape[0] in (1, 3) and min(self.shape[1:]) >= SMALLEST

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """Images as the network takes them."""
        return x.astype(np.float32) * np.float32(self.factor)

    def described(self) -> dict[str, Any]:
        """As the page takes it."""
        C, H, W = self.shape if len(self.shape) == 3 else (1, 1, math.prod(self.shape))
        return {
            "channels": C, "height": H, "width": W, "low": self.low, "high": self.high,
            "ground": self.ground or 0, "box": self.box, "pen": self.pen,
            "drawable": self.drawable, "pictures": self.pictures,
        }  # fmt: skip


def inputs_of(x: np.ndarray, byte_scale: float | None) -> Inputs:
    """Measure images (N, ...) of any real type, as a network with that factor takes them."""
    scale = scale_of(x.dtype, byte_scale)
    some = x[:SEEN].astype(np.float64) * scale
    low, high = float(some.min()), float(some.max())
    if x.dtype.kind == "u":
        low = 0.0
        if byte_scale != AS_THEY_ARE or x.dtype == np.uint8:
            high = float(np.iinfo(x.dtype).max * scale)
    longest = max(x.shape[1:])
    thin = max(1.0, THINNEST * longest)
    found = Inputs(x.shape[1:], scale, low, high if high > low else low + 1, pen=thin)
    if not found.drawable:
        return found
    grey = (some[:, 0] - found.low) / (found.high - found.low)
    corners = grey[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    ground = round(float(np.median(corners)))
    ink: np.ndarray = np.abs(grey - ground)
    if (np.abs(corners - ground) < FAINT).mean() < 0.9:
        return found
    pen = max(thin, min(_stroke(ink), THICKEST * longest))
    return found._replace(ground=ground, box=_box(ink), pen=pen)


def _stroke(ink: np.ndarray) -> float:
    """Pixels that strokes are wide in the mean: twice their area by the length of their edges.

    The sum of all steps along rows and columns is that length times 4 / pi, if edges have all
    directions.
    """
    around = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    steps = sum(float(np.abs(np.diff(around, axis=axis)).sum()) for axis in (1, 2))
    return 2 * float(ink.sum()) / (steps * math.pi / 4) if steps else 0.0


def _box(ink: np.ndarray) -> int | None:
    """Pixels of the longer side of the ink, in the median, if all pictures have it alike."""
    _, H, W = ink.shape
    ink = ink[(ink > FAINT).any(axis=(1, 2))]
    there: np.ndarray = ink > FAINT
    if not len(ink):
        return None
    mass = ink.sum((1, 2))
    middles, extents = [], []
    for axis, size in ((2, H), (1, W)):
        lines: Any = there.any(axis)
        extents.append(size - lines.argmax(1) - lines[:, ::-1].argmax(1))
        middles.append((ink.sum(axis) @ (np.arange(size) + 0.5) / mass - size / 2) / size)
    if max(np.sqrt(np.mean(np.square(middle))) for middle in middles) > 1 / 12:
        return None
    return int(np.median(np.maximum(*extents)))


def examples(x: np.ndarray, y: np.ndarray) -> list[int]:
    """The first image of each class, in the order of the classes, as many as a page may have."""
    _, first = np.unique(y, return_index=True)
    each = max(1, x[0].size * 4)
    return [int(i) for i in first[: max(1, min(EXAMPLES, EXAMPLE_BYTES // each))]]
