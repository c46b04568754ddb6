"""The optimizer that the options name, with groups where parameters have rates of their own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..layers import Sequential
from ..optim import OPTIMIZERS, Muon, Optimizer
from ..training.defaults import LEARNING_RATES, MOMENTUM, WEIGHT_DECAYS, Defaults
from ._options import UsageError


def settle(arguments: argparse.Namespace, defaults: Defaults) -> None:
    """Fill in the rates that the options leave open.

    Raises
    ------
    UsageError
        If the optimizer has no momentum.
    """
    name = arguments.optimizer
    if arguments.momentum is not None and name not in MOMENTUM:
        raise UsageError(f"argument --momentum: {name} has none")
    chosen = {
        "lr": LEARNING_RATES.get(name, defaults.lr),
        "weight_decay": WEIGHT_DECAYS.get(name, defaults.weight_decay),
        "momentum": MOMENTUM.get(name),
    }
    for option, value in chosen.items():
        if getattr(arguments, option) is None:
            setattr(arguments, option, value)


def optimizer(net: Sequential, arguments: argparse.Namespace) -> Optimizer:
    """The rule, whose first group has the weights of all layers but the last one."""
    rule = OPTIMIZERS[arguments.optimizer]
    options = {} if arguments.momentum is None else {"momentum": arguments.momentum}
    return rule(
        _groups(net, arguments, {"orthogonal": False} if rule is Muon else {}),
        lr=arguments.lr,
        weight_decay=arguments.weight_decay,
        decay_biases=arguments.decay_biases,
        max_norm=arguments.clip_norm,
        **options,
    )


def _groups(
    net: Sequential, arguments: argparse.Namespace, head: Mapping[str, Any]
) -> list[dict[str, Any]]:
    # the weights, the biases, and the last layer, as far as there are any
    layers = [layer for layer in net.walk() if list(layer.parameters())]
    last = {id(parameter) for layer in layers[-1:] for parameter in layer.parameters()}
    deep: list[Any] = []
    flat: list[Any] = []
    end: list[Any] = []
    for parameter in net.parameters():
        chosen = end if id(parameter) in last else deep if parameter.data.ndim > 1 else flat
        chosen.append(parameter)
    groups = [
        {"params": deep},
        {"params": flat, "lr": arguments.lr * arguments.bias_lr},
        {"params": end, "lr": arguments.lr * arguments.head_lr, **head},
    ]
    return [group for group in groups if group["params"]]
