"""Fixed kernels for pictures, 3 x 3, each as `ops.correlate2d` and `ops.convolve2d` take it."""

from __future__ import annotations

import numpy as np


def _kernel(*rows: tuple[float, float, float]) -> np.ndarray:
    kernel = np.array(rows, np.float64)
    kernel.flags.writeable = False
    return kernel


SHARPEN = _kernel((0, -1, 0), (-1, 5, -1), (0, -1, 0))
BLUR = _kernel((1 / 9, 1 / 9, 1 / 9), (1 / 9, 1 / 9, 1 / 9), (1 / 9, 1 / 9, 1 / 9))
EDGE_ENHANCE = _kernel((0, 0, 0), (-1, 1, 0), (0, 0, 0))
EDGE_DETECT = _kernel((0, 1, 0), (1, -4, 1), (0, 1, 0))
EMBOSS = _kernel((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
SOBEL_X = _kernel((1, 0, -1), (2, 0, -2), (1, 0, -1))  # vertical edges
SOBEL_Y = _kernel((1, 2, 1), (0, 0, 0), (-1, -2, -1))  # horizontal edges

FILTERS = {
    "sharpen": SHARPEN,
    "blur": BLUR,
    "edge-enhance": EDGE_ENHANCE,
    "edge-detect": EDGE_DETECT,
    "emboss": EMBOSS,
    "sobel-x": SOBEL_X,
    "sobel-y": SOBEL_Y,
}
