"""What training begins with where nobody says otherwise."""

from __future__ import annotations

from typing import NamedTuple


class Defaults(NamedTuple):
    """What fits the data at hand."""

    arch: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    threads: int | None


# so small a network gains nothing from a second thread, and loses much on a busy machine
DIGITS = Defaults("tiny", 30, 32, 0.05, 1e-3, threads=1)
OTHERS = Defaults("", 5, 64, 0.05, 1e-4, threads=None)
# of the optimizers that are not SGD, for any data
LEARNING_RATES = {"adam": 0.003, "adamw": 0.003, "rmsprop": 0.003, "muon": 0.02}
WEIGHT_DECAYS = {"adam": 0.0, "adamw": 0.01, "rmsprop": 0.0, "muon": 0.0}
MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0, "muon": 0.95}  # of those that have it
