"""Optimizers by name, as `Trainer` and the command line know them."""

from __future__ import annotations

from ._groups import Network
from .muon import Muon
from .optimizer import Optimizer
from .rules import SGD, Adam, AdamW, RMSprop

OPTIMIZERS: dict[str, type[SGD] | type[Adam] | type[RMSprop] | type[Muon]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "muon": Muon,
}


def optimizer_of(optimizer: str | Optimizer | None, net: Network) -> Optimizer:
    """An optimizer given as one of `OPTIMIZERS` by name, itself, or as None (SGD with momentum)."""
    if optimizer is None:
        return SGD(net, lr=0.05, momentum=0.9)
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        kind = type(optimizer).__name__
        raise TypeError(f"optimizer: expected an Optimizer or a name, got {kind}")
    if optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise ValueError(f"optimizer: expected one of {known}, got {optimizer!r}")
    return OPTIMIZERS[optimizer](net)
