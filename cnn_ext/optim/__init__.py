"""Optimizers, groups of parameters, clipping of gradients and the moving average of weights.

`OPTIMIZERS` are the rules by name, as `Trainer` and the command line know them.  An argument
that does not fit raises TypeError or ValueError; the message names it.
"""

from ..parameter import at_once
from .average import ExponentialMovingAverage
from .by_name import OPTIMIZERS, optimizer_of
from .clipping import clip_grad_norm_, clip_grad_value_
from .grouping import layer_wise, param_groups
from .muon import Muon
from .optimizer import Optimizer
from .rules import SGD, Adam, AdamW, RMSprop

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Muon",
    "Optimizer",
    "RMSprop",
    "at_once",
    "clip_grad_norm_",
    "clip_grad_value_",
    "layer_wise",
    "optimizer_of",
    "param_groups",
]
