"""Transforms from plain data, as `to_config` gives it and JSON keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .colour import ColorJitter
from .compose import Compose
from .elastic import ElasticTransform
from .erasing import Cutout, RandomErasing
from .geometry import (
    AlternatingFlip,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
    Shift,
)
from .mixing import CutMix, MixUp
from .transform import Transform

KNOWN: dict[str, type[Transform]] = {
    kind.__name__: kind
    for kind in (
        AlternatingFlip, ColorJitter, Compose, CutMix, Cutout, ElasticTransform, MixUp,
        RandomAffine, RandomCrop, RandomErasing, RandomHorizontalFlip, RandomRotation, RandomShift,
        RandomVerticalFlip, Shift,
    )
}  # fmt: skip


def from_config(config: Any, custom: Mapping[str, type[Transform]] | None = None) -> Transform:
    """The transform that `to_config` described; a list of descriptions is a `Compose`.

    Parameters
    ----------
    config : mapping, or sequence of them
        ``{"type": "RandomShift", "pixels": 2}``.
    custom : mapping, optional
        Transforms of your own, by name.

    Raises
    ------
    TypeError, ValueError
        If there is an unknown transform or argument; the message names it.
    """
    if isinstance(config, Sequence) and not isinstance(config, (str, bytes)):
        return Compose([from_config(each, custom) for each in config])
    if not isinstance(config, Mapping) or "type" not in config:
        raise TypeError(f"config: expected a mapping with a 'type', got {config!r:.99}")
    known = {**KNOWN, **(custom or {})}
    arguments = dict(config)
    name = arguments.pop("type")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"config: expected one of {', '.join(sorted(known))}, got {name!r:.99}")
    kind = known[name]
    unknown = {str(key) for key in arguments} - set(kind.arguments)
    if unknown:
        raise ValueError(f"{name}: unknown arguments {', '.join(sorted(unknown))}")
    if issubclass(kind, Compose):
        inner = arguments.get("transforms")
        if not isinstance(inner, Sequence) or isinstance(inner, (str, bytes)):
            raise TypeError(f"transforms: expected a list, got {inner!r:.99}")
        arguments["transforms"] = [from_config(each, custom) for each in inner]
    try:
        return kind(**arguments)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def augmentation(transforms: Any, name: str = "augment") -> Compose:
    """A transform, or a list of them, as a `Compose`.

    Raises
    ------
    TypeError, ValueError
        If it is neither.
    """
    if isinstance(transforms, Compose):
        return transforms
    listed = isinstance(transforms, Sequence) and not isinstance(transforms, (str, bytes))
    if not listed and not isinstance(transforms, Transform):
        raise TypeError(f"{name}: expected a transform or a list of them, got {transforms!r:.99}")
    return Compose(transforms if listed else [transforms])
