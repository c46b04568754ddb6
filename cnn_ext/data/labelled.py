"""Images together with their targets, a part of them too, without a copy of the images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _check as check
from .._arrays import plain_array, refuse_wrapped
from .batching import gather
from .weights import sample_weights


class LabelledSet:
    """Images and their targets, or a part of them.

    Parameters
    ----------
    x : anything that `gather` takes, (N, ...)
    y : array_like, (N, ...)
    name, y_name, weight_name : str
        What messages call images, targets and weights.
    several : bool
        Whether `y` is targets of several outputs.
    sample_weight : array_like, shape (N,), optional
        Weights of the images in the cost.

    Raises
    ------
    TypeError
        If one of them is masked or sparse.
    ValueError
        If there is no image, or not one target for each, or weights do not fit.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        name: str = "x",
        y_name: str = "y",
        several: bool = False,
        sample_weight: Any = None,
        weight_name: str = "sample_weight",
    ) -> None:
        if isinstance(x, tuple):
            x = Columns({i: part for i, part in enumerate(x)}, name, tuple)
        refuse_no_images(x, name)
        self.x: Any = x
        self.y: Any
        if isinstance(y, Columns):
            self.y = y
        elif several:
            keys = y.items() if isinstance(y, Mapping) else enumerate(y)
            arrays = {key: plain_array(part, f"{y_name}[{key!r}]") for key, part in keys}
            self.y = Columns(arrays, y_name, dict if isinstance(y, Mapping) else tuple)
        else:
            self.y = plain_array(y, y_name)
        self.indices: np.ndarray | None = None
        if not len(x):
            raise ValueError(f"{name}: expected at least one image, got none")
        if self.y.shape[:1] != (len(x),):
            raise ValueError(
                f"{y_name}: expected {len(x)} targets, one for each image, got shape {self.y.shape}"
            )
        self.weights = sample_weights(sample_weight, len(x), weight_name)

    def part(self, indices: np.ndarray) -> LabelledSet:
        """The images and targets of these indices alone."""
        part = copy.copy(self)
        part.indices = indices
        y = self.y
        part.y = y.part(indices) if isinstance(y, Columns) else y[indices]
        if self.weights is not None:  # each part needs some
            part.weights = sample_weights(self.weights[indices], len(indices))
        return part

    def given(self) -> Any:
        """The images as `fit` takes them: of several inputs a tuple of sets."""
        if not isinstance(self.x, Columns):
            return self
        sets = (LabelledSet(part, np.zeros(len(self.x))) for part in self.x.parts.values())
        return tuple(s if self.indices is None else s.part(self.indices) for s in sets)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: np.ndarray) -> Any:
        wanted = chosen if self.indices is None else self.indices[chosen]
        return self.x[wanted] if isinstance(self.x, Columns) else gather(self.x, wanted)


def divided(
    whole: LabelledSet, validation_data: Any, validation_split: float, seed: int
) -> tuple[LabelledSet, LabelledSet | None]:
    """The images to train on, and those to validate on: given, or a part that the seed chooses."""
    if not validation_split:
        if validation_data is None:
            return whole, None
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise TypeError(
                "validation_data: expected (x, y) or (x, y, sample_weight), got "
                f"{validation_data!r:.99}"
            )
        x, y, weights = (*validation_data, None)[:3]
        x_name, y_name, weight_name = (f"validation_data[{i}]" for i in range(3))
        several = isinstance(whole.y, Columns)
        return whole, LabelledSet(x, y, x_name, y_name, several, weights, weight_name)
    if validation_data is not None:
        raise ValueError("validation_split: expected 0 with validation_data")
    kept = round(len(whole) * check.number(validation_split, "validation_split", 0, 1))
    if not 0 < kept < len(whole):
        raise ValueError(
            f"validation_split: expected a part that leaves images for both sets, got "
            f"{validation_split!r} of {len(whole)}"
        )
    order = np.random.default_rng([seed, len(whole)]).permutation(len(whole))
    return whole.part(np.sort(order[kept:])), whole.part(order[:kept])


class Columns:
    """Several sets of images or targets that go together.

    Parameters
    ----------
    parts : dict
        Sets of one length, by name or number.
    name : str
        What messages call them.
    form : tuple or dict
        What a part of them is.
    """

    def __init__(self, parts: dict[Any, Any], name: str, form: type[Any]) -> None:
        if not parts:
            raise ValueError(f"{name}: expected at least one array, got none")
        for key, part in parts.items():
            refuse_no_images(part, f"{name}[{key!r}]")
        lengths = {key: len(part) for key, part in parts.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: expected as many images in each, got {lengths}")
        self.parts, self.name, self.form = parts, name, form

    def part(self, indices: np.ndarray) -> Columns:
        """Those of these indices alone."""
        parts = {key: part[indices] for key, part in self.parts.items()}
        return Columns(parts, self.name, self.form)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, indices: Any) -> Any:
        found = {key: gather(part, indices) for key, part in self.parts.items()}
        return found if self.form is dict else tuple(found.values())


def refuse_no_images(x: Any, name: str) -> None:
    """Raise `TypeError` where `x` is nothing that has images by number."""
    refuse_wrapped(x, name)
    if not hasattr(x, "__len__"):
        raise TypeError(f"{name}: expected images in an array, got {type(x).__name__}")
