"""Passes of layers that know plain arrays alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..lanes import Lanes
from ..ops import _check as check


def plainly(step: Callable[[np.ndarray], Any], here: Lanes) -> Lanes:
    """One pass of a layer that knows plain arrays alone."""
    y: Any = check.batch(step(here.unpack()), "output")
    if y.shape[0] != here.images:
        raise ValueError(f"output: expected {here.images} images, got shape {y.shape}")
    return Lanes.pack(y, here.dtype)
