"""The rules of descent in naive NumPy, float64, as the papers and PyTorch's pages write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import reference as ref
from cases import Array

State = dict[str, Any]
Step = Callable[..., Array]


def sgd(p: Array, g: Array, state: State, **options: Any) -> Array:
    p, state["v"] = ref.sgd_step(p, g, state.get("v"), **options)
    return p


def adam(
    p: Array, g: Array, state: State, lr: float, betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False,
) -> Array:  # fmt: skip
    t = state["t"] = state.get("t", 0) + 1
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    state["m"] = betas[0] * state.get("m", 0.0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0.0) + (1 - betas[1]) * g**2
    m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return p - lr * m / (np.sqrt(v) + eps)


def adamw(p: Array, g: Array, state: State, lr: float, weight_decay: float = 1e-2, **options: Any):
    return adam(p, g, state, lr, weight_decay=weight_decay, decoupled=True, **options)


def rmsprop(
    p: Array, g: Array, state: State, lr: float, alpha: float = 0.99, eps: float = 1e-8,
    weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
) -> Array:  # fmt: skip
    g = g + weight_decay * p
    state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * g**2
    state["a"] = alpha * state.get("a", 0.0) + (1 - alpha) * g if centered else 0.0
    state["b"] = momentum * state.get("b", 0.0) + g / (np.sqrt(state["v"] - state["a"] ** 2) + eps)
    return p - lr * state["b"]


def muon(
    p: Array, g: Array, state: State, lr: float, momentum: float = 0.95, nesterov: bool = True,
    weight_decay: float = 0.0, ns_steps: int = 3, keep_norms: bool = False,
) -> Array:  # fmt: skip
    """For matrices and the filters of convolutions."""
    state["v"] = momentum * state.get("v", 0.0) + g
    d = g + momentum * state["v"] if nesterov else state["v"]
    x = d.reshape(len(d), -1)
    rows, columns = x.shape
    x = x / (np.sqrt((x**2).sum()) + 1e-7)
    for _ in range(ns_steps):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    step = lr * np.sqrt(max(1, rows / columns))
    kept = np.sqrt(rows / (p**2).sum()) if keep_norms else 1 - lr * weight_decay
    return kept * p - step * x.reshape(p.shape)


RULES: dict[str, Step] = {"SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop}
#: options of each rule on which it is held against these and against PyTorch
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.0, 0.0), "eps": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.8, 0.99), "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "alpha": 0.8}),
]
