"""Train and run convolutional neural networks on the CPU at the speed of C."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _dispatch, graph, initializers, layers, ops
from ._dispatch import (
    get_num_threads,
    get_winograd,
    memory_use,
    release_memory,
    set_num_threads,
    set_winograd,
    show_config,
    threads,
)
from .initializers import seed
from .lanes import Lanes
from .layers import *  # noqa: F403
from .run.debug import get_debug, get_recording, set_debug, set_recording

if TYPE_CHECKING:
    from . import architectures, augment, filters, onnx, optim
    from .data import datasets
    from .head import new_head
    from .io import load, load_weights, save
    from .optim import SGD, Adam, AdamW, ExponentialMovingAverage, Muon, Optimizer, RMSprop
    from .quantization import quantize
    from .run.plan import Plan
    from .task import Task
    from .training import losses, metrics, schedules
    from .training.callbacks import Callback, EarlyStopping, ReduceLROnPlateau
    from .training.descent import CostError
    from .training.history import Epoch, History
    from .training.loggers import CSVLogger, JSONLogger, TensorBoard
    from .training.rate_finder import learning_rate_finder
    from .training.trainer import Trainer

__version__ = _dispatch.VERSION

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CSVLogger",
    "Callback",
    "CostError",
    "EarlyStopping",
    "Epoch",
    "ExponentialMovingAverage",
    "History",
    "JSONLogger",
    "Lanes",
    "Muon",
    "Optimizer",
    "Plan",
    "RMSprop",
    "ReduceLROnPlateau",
    "Task",
    "TensorBoard",
    "Trainer",
    "architectures",
    "augment",
    "datasets",
    "filters",
    "get_debug",
    "get_num_threads",
    "get_recording",
    "get_winograd",
    "graph",
    "initializers",
    "layers",
    "learning_rate_finder",
    "load",
    "load_weights",
    "losses",
    "memory_use",
    "metrics",
    "new_head",
    "onnx",
    "ops",
    "optim",
    "quantize",
    "release_memory",
    "save",
    "schedules",
    "seed",
    "set_debug",
    "set_num_threads",
    "set_recording",
    "set_winograd",
    "show_config",
    "threads",
]
__all__ += layers.__all__


# what a program that trains, or one that only predicts, may not need, and where it is
_AT_FIRST_USE = {
    **{name: name for name in ("architectures", "augment", "filters", "onnx", "optim")},
    **{name: f"training.{name}" for name in ("losses", "metrics", "schedules")},
    **dict.fromkeys(("Callback", "EarlyStopping", "ReduceLROnPlateau"), "training.callbacks"),
    **dict.fromkeys(("Epoch", "History"), "training.history"),
    **dict.fromkeys(("CSVLogger", "JSONLogger", "TensorBoard"), "training.loggers"),
    "learning_rate_finder": "training.rate_finder",
    **dict.fromkeys(("load", "load_weights", "save"), "io"),
    **dict.fromkeys(
        ("SGD", "Adam", "AdamW", "ExponentialMovingAverage", "Muon", "Optimizer", "RMSprop"),
        "optim",
    ),
    "CostError": "training.descent",
    "Trainer": "training.trainer",
    "Plan": "run.plan",
    "quantize": "quantization",
    "Task": "task",
    "new_head": "head",
    "datasets": "data.datasets",
}


if not TYPE_CHECKING:  # which would take any name then

    def __getattr__(name: str) -> Any:
        if name not in _AT_FIRST_USE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f".{_AT_FIRST_USE[name]}", __name__)
        found = globals()[name] = getattr(module, name, module)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
