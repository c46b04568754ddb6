"""What `tune` tries: the options that are open, and who chooses the next ones."""

from __future__ import annotations

import argparse
import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..training.defaults import RATES, Shape

Options = dict[str, Any]  # by their names in a Namespace
Score = tuple[float, float]  # accuracy and -cost of the validation part; the larger the better


class Between(NamedTuple):
    """Numbers whose logarithms are spread evenly."""

    low: float
    high: float


Space = dict[str, Between | list[Any]]


def space_of(arguments: argparse.Namespace, shape: Shape) -> Space:
    """The options that nobody has given, and the values that each may have."""
    rate = RATES[arguments.optimizer][0]
    side = min(shape[1:])
    shifts = sorted({max(1, round(part * side)) for part in (0.04, 0.08, 0.16)})
    moved = [f"RandomShift({pixels}, 'edge')" for pixels in shifts]
    whole: Space = {
        "lr": Between(rate / 20, rate * 3),
        "weight_decay": Between(1e-5, 1e-2),
        "batch_size": [16, 32, 64, 128],
        "augment": ["none", *moved, *(f"RandomHorizontalFlip, {each}" for each in moved)],
        "label_smoothing": [0.0, 0.05, 0.1],
    }
    return {name: values for name, values in whole.items() if getattr(arguments, name) is None}


class Sampler(Protocol):
    """Who chooses."""

    def ask(self) -> tuple[int, Options]:
        """A number for the trial, and the options that it shall have."""

    def tell(self, number: int, score: Score | None) -> None:
        """How it went; None if it failed."""


class Random:
    """Chooses at random; the first trial leaves all options to the defaults."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = 0

    def ask(self) -> tuple[int, Options]:
        self._asked += 1
        if self._asked == 1:
            return 1, {}
        return self._asked, {name: self._draw(values) for name, values in self._space.items()}

    def _draw(self, values: Between | list[Any]) -> Any:
        if isinstance(values, list):
            return values[int(self._rng.integers(len(values)))]
        return _rounded(math.exp(self._rng.uniform(math.log(values.low), math.log(values.high))))

    def tell(self, number: int, score: Score | None) -> None:
        pass


class Optuna:
    """Lets Optuna choose by what the trials before have brought; the first one as `Random`.

    Raises ImportError if Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError(
                "--sampler optuna needs Optuna: pip install 'cnn_ext[tune]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        self._space = space
        self._trials: dict[int, Any] = {}
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked = 0

    def ask(self) -> tuple[int, Options]:
        self._asked += 1
        if self._asked == 1:
            return 1, {}
        trial = self._trials[self._asked] = self._study.ask()
        return self._asked, {
            name: trial.suggest_categorical(name, values)
            if isinstance(values, list)
            else _rounded(trial.suggest_float(name, values.low, values.high, log=True))
            for name, values in self._space.items()
        }

    def tell(self, number: int, score: Score | None) -> None:
        if number in self._trials:
            trial = self._trials.pop(number)
            if score is None:
                self._study.tell(trial, state=self._failed)
            else:  # accuracies have few values, so the cost tells those apart that are the same
                self._study.tell(trial, score[0] + 1e-3 * max(score[1], -10.0))


SAMPLERS: dict[str, type[Random] | type[Optuna]] = {"random": Random, "optuna": Optuna}


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")
