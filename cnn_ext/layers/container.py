"""Modules that consist of a list of modules, and branches that come together again."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from ..graph.value import Value, joined
from ..parameter import Kept
from .module import Module
from .tracing import attributes_of, emit, found_in

if TYPE_CHECKING:
    from typing import Self

SAME = "Same"  # stands where a layer stands again: {"type": "Same", "layer": its first place}


class Container(Module):
    """A list of modules.

    Parameters
    ----------
    *layers : Module
    """

    keeps = ()

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"layer {i}: expected a Module, got {type(layer).__name__}")
        self.layers = list(layers)

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module:
        """A module, or some of them in a container of the same kind that shares them."""
        if not isinstance(index, slice):
            return self.layers[index]
        kinds = type(self).__mro__  # of which the first takes layers and nothing else
        kind: Any = next(k for k in kinds if k.__init__ is Container.__init__)  # type: ignore[misc]
        part: Module = kind(*self.layers[index])
        part.training = self.training
        return part

    def __setitem__(self, index: int, layer: Module) -> None:
        """Put another module in a place; with the last one goes the task."""
        number = range(len(self.layers))[operator.index(index)]
        if not isinstance(layer, Module):
            raise TypeError(f"layer {number}: expected a Module, got {type(layer).__name__}")
        self.layers[number] = layer
        if number == len(self.layers) - 1:
            self.task = None

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        # those of a subclass that has more of them come last
        for i, layer in enumerate(self.layers):
            yield str(i), layer
        for name, value in attributes_of(self):
            if name != "layers":
                yield from found_in(name, value, Module)

    def to_config(self) -> dict[str, Any]:
        config = super().to_config()
        if type(self).__init__ is Container.__init__:
            if more := self._more():
                raise ValueError(
                    f"net: no constructor of {type(self).__name__} makes its {', '.join(more)}; "
                    "make them in an __init__ of its own, so that a file can be read again"
                )
            config["layers"] = configs_of(self.layers)
        return config

    def _more(self) -> list[str]:
        # attributes beside the list in which there is something to save
        others = [pair for pair in attributes_of(self) if pair[0] != "layers"]
        return [pair[0] for pair in others if any(found_in(*pair, kind) for kind in (Kept, Module))]

    def __repr__(self) -> str:
        lines = "".join(f"  ({i}): {layer!r}\n" for i, layer in enumerate(self.layers))
        return f"{type(self).__name__}(\n{lines})"


class Concat(Container):
    """Branches side by side: what each makes of the input, joined along the channels.

    Parameters
    ----------
    *layers : Module
    """

    def forward(self, x: Any) -> Any:
        return joined(_branches(self, x))


class Add(Container):
    """Branches side by side: the sum of what each makes of the input.

    Parameters
    ----------
    *layers : Module
    """

    def forward(self, x: Any) -> Any:
        first, *others = _branches(self, x)
        for other in others:
            first = first + other
        return first


def _branches(module: Container, x: Value) -> list[Any]:
    if not module.layers:
        raise ValueError(f"expected at least one branch in {type(module).__name__}")
    return [emit(layer, (x,), f"layer {i}") for i, layer in enumerate(module.layers)]


class Residual(Module):
    """``body(x) + x``, or ``body(x) + shortcut(x)`` where the shapes differ.

    K. He et al., "Deep residual learning for image recognition", 2015.

    Parameters
    ----------
    body : Module
    shortcut : Module, optional
        A convolution of 1 x 1, as a rule.

    Raises
    ------
    TypeError
        If an argument is no module.
    """

    arguments = ("body", "shortcut")

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        if not isinstance(body, Module) or not isinstance(shortcut, Module | None):
            wrong = shortcut if isinstance(body, Module) else body
            raise TypeError(f"body, shortcut: expected a Module, got {type(wrong).__name__}")
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        other = x if self.shortcut is None else self.shortcut(x)
        if y.features != other.features:
            raise ValueError(
                f"body gives {y.shape} and what is added {other.shape}; a shortcut can change that"
            )
        return y + other


def configs_of(layers: Sequence[Module]) -> list[dict[str, Any]]:
    """What `layers_of` builds such layers from.

    Raises ValueError if two of them share a layer or a parameter further down, which cannot be
    described.
    """
    first: dict[int, int] = {}
    owner: dict[int, int] = {}
    configs = []
    for i, layer in enumerate(layers):
        if first.setdefault(id(layer), i) < i:
            configs.append({"type": SAME, "layer": first[id(layer)]})
            continue
        parts = [*layer.parameters(), *(inner for _, inner in layer.named_modules())]
        shared = next((p for p in parts if owner.setdefault(id(p), i) < i), None)
        if shared is not None:
            raise ValueError(
                f"layer {i} ({type(layer).__name__}): it shares a {type(shared).__name__} with "
                f"layer {owner[id(shared)]}, which a description cannot say"
            )
        configs.append(layer.to_config())
    return configs
