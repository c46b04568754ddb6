"""Networks as plain data that JSON can hold, and layers built from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..initializers import Initializer
from .built_in import BUILT_IN
from .layer import Layer, WeightedLayer

SAME = "Same"  # stands where a layer stands again: {"type": "Same", "layer": its first place}


def configs_of(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """What `layers_of` builds such layers from.

    Raises
    ------
    ValueError
        If two of them share a layer or a parameter further down, which cannot be described.
    """
    first: dict[int, int] = {}
    owner: dict[int, int] = {}
    configs = []
    for i, layer in enumerate(layers):
        if first.setdefault(id(layer), i) < i:
            configs.append({"type": SAME, "layer": first[id(layer)]})
            continue
        parts = [*layer.parameters(), *(inner for _, inner in layer.named_layers())]
        shared = next((p for p in parts if owner.setdefault(id(p), i) < i), None)
        if shared is not None:
            raise ValueError(
                f"layer {i} ({type(layer).__name__}): it shares a {type(shared).__name__} with "
                f"layer {owner[id(shared)]}, which a description cannot say"
            )
        configs.append(layer.to_config())
    return configs


def layers_of(
    config: Any,
    custom: Mapping[str, type[Layer]],
    rng: np.random.Generator | None,
    initializer: str | Initializer,
    network: Any,
) -> list[Layer]:
    """Layers from a list of descriptions, or a mapping that has one; `network` is `Sequential`.

    Raises
    ------
    TypeError, ValueError
        If there is an unknown layer or argument; the message names the layer.
    """
    descriptions = config.get("layers") if isinstance(config, Mapping) else config
    if isinstance(descriptions, (str, bytes, Mapping)) or not isinstance(descriptions, Sequence):
        raise TypeError("config: expected a list of layers, or a mapping with 'layers'")
    built: list[Layer] = []
    for i, description in enumerate(descriptions):
        if not isinstance(description, Mapping) or "type" not in description:
            raise TypeError(f"layer {i}: expected a mapping with a 'type', got {description!r:.99}")
        try:
            if description["type"] == SAME and SAME not in custom:
                built.append(_earlier(built, description))
            else:
                built.append(_build(description, custom, rng, initializer, network))
        except (TypeError, ValueError) as error:
            raise named(error, i, description["type"]) from error
    return built


def _earlier(built: list[Layer], description: Mapping[str, Any]) -> Layer:
    place = description.get("layer")
    if type(place) is not int or not 0 <= place < len(built) or len(description) != 2:
        raise ValueError(f"expected the place of a layer before it, got {place!r:.99}")
    return built[place]


def _build(
    description: Mapping[str, Any],
    custom: Mapping[str, type[Layer]],
    rng: np.random.Generator | None,
    initializer: str | Initializer,
    network: Any,
) -> Layer:
    arguments = dict(description)
    name = arguments.pop("type")
    known: dict[Any, Any] = {"Sequential": network, **BUILT_IN, **custom}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown type; known are {', '.join(sorted(known))}")
    kind = known[name]
    if issubclass(kind, network) and "layers" in arguments:
        built: Layer = kind.from_config(description, custom, rng, initializer)
        return built
    unknown = arguments.keys() - set(kind.arguments)
    if unknown:
        raise ValueError(f"unknown arguments {', '.join(sorted(unknown))}")
    if issubclass(kind, WeightedLayer) and kind in BUILT_IN.values():
        arguments.update(rng=rng, initializer=initializer)
    layer: Layer = kind(**arguments)
    return layer


def named(error: Exception, i: int, name: Any) -> Exception:
    """The same error with its layer in front."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"layer {i} ({name}): {error}")
