"""Test-time augmentation: the mean of what a network makes of several views of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._arrays import each_of
from .compose import Compose
from .config import augmentation
from .geometry import RandomHorizontalFlip, Shift
from .transform import Transform

Views = list[tuple[float, Compose]]  # with what each weighs

_MIRROR = RandomHorizontalFlip(1.0)
_UP, _DOWN = Shift(-1, -1, "reflect"), Shift(1, 1, "reflect")
_STEPS = (0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)
NAMED: dict[str, list[tuple[float, list[Transform]]]] = {
    "mirror": [(0.5, []), (0.5, [_MIRROR])],
    "translate": [(0.2, [Shift(*by)] if any(by) else []) for by in _STEPS],
    "mirror+translate": [
        (0.25, []), (0.25, [_MIRROR]), (0.125, [_UP]), (0.125, [_UP, _MIRROR]), (0.125, [_DOWN]),
        (0.125, [_DOWN, _MIRROR]),
    ],
}  # fmt: skip


def views_of(views: Any) -> Views:
    """Views as given by a name, or as a list of transforms, or lists of them, that weigh the same.

    Raises
    ------
    TypeError, ValueError
        If they are none, or one of them mixes images.
    """
    if isinstance(views, str):
        if views not in NAMED:
            raise ValueError(f"views: expected one of {', '.join(NAMED)}, got {views!r:.99}")
        return [(weight, Compose(transforms)) for weight, transforms in NAMED[views]]
    if not isinstance(views, Sequence) or not views:
        raise TypeError(
            f"views: expected one of {', '.join(NAMED)} or a list of transforms, got {views!r:.99}"
        )
    found = [augmentation(view, "views") for view in views]
    for view in found:
        if view.mixing is not None:
            raise ValueError(f"views: expected transforms of one image, got {view.mixing!r}")
    return [(1 / len(found), view) for view in found]


def mean_over(
    views: Views, net: Callable[[np.ndarray], Any], images: np.ndarray, indices: np.ndarray
) -> Any:
    """The weighted mean of the outputs, in their form: an array, a dictionary or a tuple.

    Chance in view number v is that of seed 0, epoch v.

    Raises
    ------
    ValueError
        If outputs have pixels, which would have to move back.
    """
    total: Any = None
    for number, (weight, view) in enumerate(views):
        outputs = net(view(images, 0, number, indices))
        part = each_of(
            lambda output, weight=weight: _flat(output) * output.dtype.type(weight), outputs
        )
        total = part if total is None else each_of(np.add, total, part)
    return total


def _flat(output: np.ndarray) -> np.ndarray:
    if output.ndim > 2:
        raise ValueError(
            f"views: expected a network with outputs (N, K), got {output.shape}, whose pixels move "
            "with the images"
        )
    return output
