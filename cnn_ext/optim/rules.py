"""The rules of descent: `SGD`, `Adam`, `AdamW` and `RMSprop`, each as PyTorch defines it.

A learning rate is above 0 at first; it may be changed later, to 0 too.  The other hyper-parameters
are attributes as well: of the first group, and who sets one sets it in all groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .. import _check as check
from .. import _core
from ..parameter import Call
from ._groups import Groups, Shared
from .optimizer import Optimizer, State


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.

    ``g += weight_decay p``; ``v = g`` on the first step, later ``momentum v + (1 - dampening) g``;
    ``p -= lr v``, or ``lr (g + momentum v)`` with Nesterov's look-ahead (Sutskever et al. 2013).

    Parameters
    ----------
    parameters, decay_biases, max_norm, max_value
        As for `Optimizer`.
    lr : float
        Learning rate, above 0.
    momentum, dampening, weight_decay : float
        0 or more.
    nesterov : bool
        Needs momentum and no dampening.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    slots = ("momentum_buffer",)
    momentum, dampening, weight_decay, nesterov = Shared(), Shared(), Shared(), Shared()

    def __init__(
        self,
        parameters: Groups,
        lr: float = 0.01,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov,
        }  # fmt: skip
        super().__init__(
            parameters, defaults,
            decay_biases=decay_biases, max_norm=max_norm, max_value=max_value,
        )  # fmt: skip

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        checked = super().checked(options)
        for name in ("momentum", "dampening"):
            checked[name] = check.number(options[name], name)
        checked["nesterov"] = bool(options["nesterov"])
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
            raise ValueError("nesterov: expected momentum above 0 and dampening 0 with it")
        return checked

    def slots_for(self, options: dict[str, Any]) -> tuple[str, ...]:
        return self.slots if options["momentum"] else ()

    def update(
        self, p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any]
    ) -> Iterable[Call]:
        return momentum_step(p, g, state, options, options["dampening"])


def momentum_step(
    p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any], dampening: float = 0.0
) -> list[Call]:
    """What `Optimizer.update` gives for `SGD`, and for what `Muon` moves in the same way."""
    momentum = options["momentum"]
    return [(
        _core.sgd, p, g, state["momentum_buffer"] if momentum else None, p.itemsize, p.size,
        options["lr"], momentum, dampening, options["weight_decay"], options["nesterov"],
        state["step"] == 1,
    )]  # fmt: skip


class Adam(Optimizer):
    """Steps of a size of their own for each number (Kingma and Ba 2015), as `torch.optim.Adam`.

    ``g += weight_decay p``; ``m = beta1 m + (1 - beta1) g``; ``v = beta2 v + (1 - beta2) g^2``;
    ``p -= lr m' / (sqrt(v') + eps)`` with ``m' = m / (1 - beta1^t)``, ``v' = v / (1 - beta2^t)`` in
    the step t, from 1.

    Parameters
    ----------
    parameters, decay_biases, max_norm, max_value
        As for `Optimizer`.
    lr : float
        Learning rate, above 0.
    betas : (float, float)
        beta1 and beta2, from 0 up to but not 1.
    eps, weight_decay : float
        0 or more.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    slots = ("exp_avg", "exp_avg_sq")
    betas, eps, weight_decay = Shared(), Shared(), Shared()
    decoupled: ClassVar[bool] = False  # whether weight decay goes past the means

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            parameters, defaults,
            decay_biases=decay_biases, max_norm=max_norm, max_value=max_value,
        )  # fmt: skip

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        checked, betas = super().checked(options), options["betas"]
        if not check.is_list(betas) or len(betas) != 2:
            raise ValueError(f"betas: expected two numbers, got {betas!r}")
        checked["betas"] = tuple([_part(beta, "betas") for beta in betas])
        checked["eps"] = check.number(options["eps"], "eps")
        return checked

    def update(
        self, p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any]
    ) -> Iterable[Call]:
        lr, decay, step, (beta1, beta2) = (
            options["lr"], options["weight_decay"], state["step"], options["betas"],
        )  # fmt: skip
        return [(
            _core.adam, p, g, state["exp_avg"], state["exp_avg_sq"], p.itemsize, p.size,
            lr / (1 - beta1**step), beta1, beta2, options["eps"], 0.0 if self.decoupled else decay,
            1 - lr * decay if self.decoupled else 1.0, math.sqrt(1 - beta2**step),
        )]  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`.

    ``p *= 1 - lr weight_decay`` in each step, and no decay in the gradient; else as `Adam`.

    Parameters
    ----------
    parameters, decay_biases, max_norm, max_value
        As for `Optimizer`.
    lr, betas, eps, weight_decay
        As for `Adam`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__(
            parameters, lr, betas, eps, weight_decay,
            decay_biases=decay_biases, max_norm=max_norm, max_value=max_value,
        )  # fmt: skip


class RMSprop(Optimizer):
    """Gradients over the root of their mean square (Tieleman and Hinton 2012), as PyTorch has it.

    ``g += weight_decay p``; ``v = alpha v + (1 - alpha) g^2``; if centered (Graves 2013)
    ``a = alpha a + (1 - alpha) g``, else a is 0; ``d = g / (sqrt(v - a^2) + eps)``;
    ``p -= lr d``, or with momentum ``b = momentum b + d`` and ``p -= lr b``.  Where rounding makes
    ``v - a^2`` negative it counts as 0.

    Parameters
    ----------
    parameters, decay_biases, max_norm, max_value
        As for `Optimizer`.
    lr : float
        Learning rate, above 0.
    alpha : float
        From 0 up to but not 1.
    eps, weight_decay, momentum : float
        0 or more.
    centered : bool

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    slots = ("square_avg", "momentum_buffer", "grad_avg")
    alpha, eps, weight_decay = Shared(), Shared(), Shared()
    momentum, centered = Shared(), Shared()

    def __init__(
        self,
        parameters: Groups,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered,
        }  # fmt: skip
        super().__init__(
            parameters, defaults,
            decay_biases=decay_biases, max_norm=max_norm, max_value=max_value,
        )  # fmt: skip

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        checked = {**super().checked(options), "alpha": _part(options["alpha"], "alpha")}
        for name in ("eps", "momentum"):
            checked[name] = check.number(options[name], name)
        checked["centered"] = bool(options["centered"])
        return checked

    def slots_for(self, options: dict[str, Any]) -> tuple[str, ...]:
        needed = (True, options["momentum"], options["centered"])
        return tuple([slot for slot, used in zip(self.slots, needed, strict=True) if used])

    def update(
        self, p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any]
    ) -> Iterable[Call]:
        needed = self.slots_for(options)
        arrays = [state[slot] if slot in needed else None for slot in self.slots]
        return [(
            _core.rmsprop, p, g, *arrays, p.itemsize, p.size, options["lr"], options["alpha"],
            options["eps"], options["weight_decay"], options["momentum"],
        )]  # fmt: skip


def _part(value: Any, name: str) -> float:
    # how much of a mean stays
    part = check.number(value, name, 0, 1)
    if part == 1:
        raise ValueError(f"{name}: expected less than 1, got {value!r}")
    return part
