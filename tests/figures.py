"""Helpers for tests of figures."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.testing import assert_allclose
from PIL import Image


def png(figure: Any) -> np.ndarray:
    """The figure as it is written, (H, W, 3); it has its size, and is neither blank nor flat."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    picture = np.asarray(Image.open(buffer).convert("RGB"))
    assert_allclose(picture.shape[1::-1], figure.get_size_inches() * 50, atol=1)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    return picture


def drawn(figure: Any) -> list[Any]:
    """The axes but for colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def texts(figure: Any) -> list[str]:
    return [axes.get_title() or axes.get_title("left") for axes in drawn(figure)]
