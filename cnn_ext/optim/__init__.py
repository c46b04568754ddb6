"""Optimizers, clipping of gradients and the moving average of weights.

`OPTIMIZERS` are the rules by name, as `Trainer` and the command line know them.
"""

from ._calls import at_once
from ._names import OPTIMIZERS, optimizer_of
from .average import ExponentialMovingAverage
from .clipping import clip_grad_norm_, clip_grad_value_
from .optimizer import Optimizer
from .rules import SGD, Adam, AdamW, RMSprop

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Optimizer",
    "RMSprop",
    "at_once",
    "clip_grad_norm_",
    "clip_grad_value_",
    "optimizer_of",
]
