"""Layers built from what `to_config` says of them, plain data that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..initializers import Initializer
from . import (
    activation,
    container,
    conv,
    dropout,
    from_graph,
    linear,
    norm,
    normalize,
    pool,
    resize,
)
from .built_in import WeightedLayer
from .container import SAME, Container
from .from_graph import GraphModule
from .module import Module
from .tracing import named

_MODULES = conv, linear, pool, activation, dropout, norm, normalize, resize, container, from_graph

#: the layers that there are, by name
BUILT_IN: dict[str, type[Module]] = {
    kind.__name__: kind
    for module in _MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Module) and kind.__module__ == module.__name__
    if kind is not Container and not kind.__name__.startswith("_")
}


def layers_of(
    config: Any,
    custom: Mapping[str, type[Module]],
    rng: np.random.Generator | None,
    initializer: str | Initializer,
    network: Any,
) -> list[Module]:
    """Layers from a list of descriptions, or a mapping that has one; `network` is `Sequential`.

    Raises TypeError or ValueError if there is an unknown layer or argument; the message names the
    layer.
    """
    descriptions = config.get("layers") if isinstance(config, Mapping) else config
    if isinstance(descriptions, (str, bytes, Mapping)) or not isinstance(descriptions, Sequence):
        raise TypeError("config: expected a list of layers, or a mapping with 'layers'")
    built: list[Module] = []
    for i, description in enumerate(descriptions):
        if not isinstance(description, Mapping) or "type" not in description:
            raise TypeError(f"layer {i}: expected a mapping with a 'type', got {description!r:.99}")
        try:
            if description["type"] == SAME and SAME not in custom:
                built.append(_earlier(built, description))
            else:
                built.append(_build(description, custom, rng, initializer, network))
        except (TypeError, ValueError) as error:
            raise named(error, f"layer {i}", description["type"]) from error
    return built


def _earlier(built: list[Module], description: Mapping[str, Any]) -> Module:
    place = description.get("layer")
    if type(place) is not int or not 0 <= place < len(built) or len(description) != 2:
        raise ValueError(f"expected the place of a layer before it, got {place!r:.99}")
    return built[place]


def _build(
    description: Mapping[str, Any],
    custom: Mapping[str, type[Module]],
    rng: np.random.Generator | None,
    initializer: str | Initializer,
    network: Any,
) -> Module:
    arguments = dict(description)
    name = arguments.pop("type")
    known: dict[Any, Any] = {"Sequential": network, **BUILT_IN, **custom}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown type; known are {', '.join(sorted(known))}")
    kind = known[name]
    if "layers" in arguments and "layers" not in kind.arguments:
        if issubclass(kind, network):
            built: Module = kind.from_config(description, custom, rng, initializer)
            return built
        if issubclass(kind, Container) and len(arguments) == 1:
            return kind(*layers_of(description, custom, rng, initializer, network))
    unknown = arguments.keys() - set(kind.arguments)
    if unknown:
        raise ValueError(f"unknown arguments {', '.join(sorted(unknown))}")
    if issubclass(kind, (WeightedLayer, GraphModule)) and kind in BUILT_IN.values():
        arguments.update(rng=rng, initializer=initializer)
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "type" in value:
            (arguments[key],) = layers_of([value], custom, rng, initializer, network)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            arguments[key] = layers_of(value, custom, rng, initializer, network)
    layer: Module = kind(**arguments)
    return layer
