"""What bytes cost: the loss of accuracy of each layer by itself."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..layers.module import Module
from .network import quantize

MOST_LOST = 0.5  # points of accuracy from which on a warning names the layer


class LayerLoss(NamedTuple):
    """A layer on bytes, all others as they were: points of accuracy that are lost, and its error.

    `error` is the root of the mean square of what changes at the output, by that of the output.
    """

    name: str
    points: float
    error: float


def loss_by_layer(
    net: Module, sample: ArrayLike, x: ArrayLike, y: ArrayLike, *, method: str = "minmax",
    percentile: float = 99.99,
) -> list[LayerLoss]:  # fmt: skip
    """What each layer loses by itself if it works on bytes, the costliest first.

    Parameters
    ----------
    net, sample, method, percentile
        As for `quantize`.
    x, y : array_like, shapes (N, ...) and (N,)
        Inputs and class numbers to measure on.

    Returns
    -------
    list of LayerLoss
        Where all layers together lose more than half a point, a warning names the costliest.

    Raises
    ------
    TypeError, ValueError
        As `quantize`; also if `y` is not of class numbers for `x`.
    """
    inputs, targets = np.asarray(x), np.asarray(y)
    if targets.shape != (len(inputs),) or targets.dtype.kind not in "iu":
        raise ValueError(f"y: expected {len(inputs)} class numbers, got shape {targets.shape}")
    whole = quantize(net, sample, method=method, percentile=percentile)
    plain = net.compile(inputs.shape[1:])
    truth = plain(inputs)
    names = [
        name.removesuffix(".weight_scale")
        for name, _ in whole.named_state()
        if name.endswith(".weight_scale")
    ]
    right = _right(truth, targets)
    found = []
    for name in names:
        others = [other for other in names if other != name]
        answers = quantize(
            net, sample, method=method, percentile=percentile, skip=others
        ).compile(inputs.shape[1:])(inputs)  # fmt: skip
        scale = float(np.sqrt(np.square(truth).mean())) or 1.0
        error = float(np.sqrt(np.square(answers - truth).mean())) / scale
        found.append(LayerLoss(name, 100 * (right - _right(answers, targets)), error))
    found.sort(key=lambda loss: (loss.points, loss.error), reverse=True)
    lost = 100 * (right - _right(whole.compile(inputs.shape[1:])(inputs), targets))
    if lost > MOST_LOST:
        warnings.warn(
            f"with bytes the network loses {lost:.2f} points of accuracy; the costliest layer is "
            f"{found[0].name} ({found[0].points:.2f} by itself): "
            f"quantize(skip=[{found[0].name!r}]) leaves it as it is",
            stacklevel=2,
        )
    return found


def _right(outputs: np.ndarray, targets: np.ndarray) -> float:
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(f"net: expected an output for each class, got {outputs.shape[1:]}")
    return float((outputs.argmax(axis=1) == targets).mean())
