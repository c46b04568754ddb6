"""The optimizer that the options name, with groups where parameters have rates of their own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..layers import Sequential
from ..optim import OPTIMIZERS, Muon, Optimizer
from ._options import UsageError


def optimizer(net: Sequential, arguments: argparse.Namespace, lr: float) -> Optimizer:
    """The rule with that rate, whose first group has the weights of all layers but the last one."""
    rule = OPTIMIZERS[arguments.optimizer]
    options = {} if arguments.momentum is None else {"momentum": arguments.momentum}
    if arguments.keep_norms:
        if rule is not Muon:
            raise UsageError("argument --keep-norms: needs --optimizer muon")
        options["keep_norms"] = True
    rest = {} if arguments.rest_momentum is None else {"momentum": arguments.rest_momentum}
    if rest and not options.get("momentum"):
        raise UsageError("argument --rest-momentum: needs an --optimizer with --momentum")
    return rule(
        _groups(net, arguments, lr, rest, {"orthogonal": False} if rule is Muon else {}),
        lr=lr,
        weight_decay=arguments.weight_decay,
        decay_biases=arguments.decay_biases,
        max_norm=arguments.clip_norm,
        **options,
    )


def _groups(
    net: Sequential,
    arguments: argparse.Namespace,
    lr: float,
    rest: Mapping[str, Any],
    head: Mapping[str, Any],
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
    groups = [{"params": deep}]
    for chosen, factor, more in ((flat, arguments.bias_lr, {}), (end, arguments.head_lr, head)):
        decay = arguments.weight_decay / (factor if arguments.keep_norms else 1)
        groups.append({"params": chosen, "lr": lr * factor, "weight_decay": decay, **rest, **more})
    return [group for group in groups if group["params"]]
