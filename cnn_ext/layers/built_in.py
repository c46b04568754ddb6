"""The layers that there are, by name."""

from __future__ import annotations

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
from .module import BuiltIn, Module

_MODULES = conv, linear, pool, activation, dropout, norm, normalize, resize, container, from_graph

BUILT_IN: dict[str, type[Module]] = {
    kind.__name__: kind
    for module in _MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Module) and kind.__module__ == module.__name__
    if kind not in (BuiltIn, container.Container) and not kind.__name__.startswith("_")
}
