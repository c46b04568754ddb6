"""Groups of the parameters of a network: by names, and by how deep their layers lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

from .. import _check as check
from ..parameter import Parameter


class Named(Protocol):
    """A network that knows what its parameters and modules are called."""

    def named_parameters(self) -> Iterable[tuple[str, Parameter]]: ...

    def named_modules(self) -> Iterable[tuple[str, Any]]: ...


def param_groups(net: Named, options: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups with hyper-parameters for the parameters of some names.

    ``SGD(param_groups(net, {"*.bias": {"lr": 64 * lr, "weight_decay": decay / 64}}), lr)`` moves
    biases at another rate.

    Parameters
    ----------
    net : Module
    options : mapping of str to mapping
        By name: that of a parameter ("0.weight"), of a module for all below it ("blocks.0"), a
        pattern of such names ("*.bias"), or the class of a layer and what it calls the parameter
        ("BatchNorm2d.bias", "*Norm*.*").  The first that fits counts.

    Returns
    -------
    list of dict
        For an optimizer: first all other parameters, if there are any, so that `optimizer.lr` is
        theirs, then a group for each name.

    Raises
    ------
    TypeError, ValueError
        If `net` is no network, or there is no parameter for one of the names.
    """
    names, kinds = _named(net)
    if not isinstance(options, Mapping) or not all(
        isinstance(key, str) and isinstance(own, Mapping) for key, own in options.items()
    ):
        raise TypeError(f"options: expected hyper-parameters by name, got {options!r:.99}")
    groups: dict[str, list[Parameter]] = {key: [] for key in options}
    others: list[Parameter] = []
    for name, parameter in names.items():
        fits = [groups[key] for key in options if _is_called(key, name, kinds[name])]
        (fits[0] if fits else others).append(parameter)
    for key, group in groups.items():
        if not group:
            raise ValueError(
                f"options: expected names of parameters, such as {', '.join(list(names)[:20])}, "
                f"got {key!r}, which none has that is left"
            )
    first = [{"params": others}] if others else []
    return [*first, *({"params": groups[key], **options[key]} for key in options)]


def layer_wise(net: Named, lr: float, decay: float = 0.8) -> list[dict[str, Any]]:
    """Groups with a learning rate for each layer: the deeper it lies, the less it moves.

    Howard and Ruder 2018, section 3.2.

    Parameters
    ----------
    net : Module
        Its layers are those with weights of two axes or more, in the order of definition; what
        follows on one, such as a normalisation, belongs to it.
    lr : float
        Of the last layer.
    decay : float
        Above 0, up to 1: each layer has this much of the rate of the one behind it.

    Returns
    -------
    list of dict
        For an optimizer: the last layer first, so that `optimizer.lr` is its rate.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    names, _ = _named(net)
    lr = check.number(lr, "lr")
    if not check.number(decay, "decay", 0, 1):
        raise ValueError(f"decay: expected a number above 0, up to 1, got {decay!r}")
    layers: list[list[Parameter]] = []
    before, deep = "", False
    for name, parameter in names.items():
        layer, weighs = name.rpartition(".")[0], parameter.data.ndim > 1
        if not layers or (weighs and deep and layer != before):
            layers.append([])
            deep = False
        layers[-1].append(parameter)
        before, deep = layer, deep or weighs
    pairs = enumerate(reversed(layers))
    return [{"params": layer, "lr": lr * decay**behind} for behind, layer in pairs]


def _named(net: Any) -> tuple[dict[str, Parameter], dict[str, str]]:
    # parameters by name, and what each is called by the class of its layer
    if not callable(getattr(net, "named_parameters", None)):
        raise TypeError(f"net: expected a network, got {type(net).__name__}")
    modules = dict(net.named_modules())
    names = dict(net.named_parameters())
    return names, {name: _by_kind(name, modules) for name in names}


def _by_kind(name: str, modules: Mapping[str, Any]) -> str:
    module, own = name, ""
    while module not in modules or not own:
        module, _, part = module.rpartition(".")
        own = f"{part}.{own}" if own else part
    return f"{type(modules[module]).__name__}.{own}"


def _is_called(key: str, name: str, by_kind: str) -> bool:
    return name.startswith(f"{key}.") or fnmatchcase(name, key) or fnmatchcase(by_kind, key)
