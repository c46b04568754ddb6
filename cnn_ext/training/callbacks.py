"""Callbacks: what is called at the moments of training, and those that watch a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _check as check
from ..parameter import Call, at_once
from .history import FIGURES, VALIDATION, Epoch, History, figure_of
from .scoring import rises

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """What `Trainer.fit` calls at the moments of training; derive from it and define some of them.

    A plain function (trainer, epoch) is called where `on_epoch_end` is.

    Attributes
    ----------
    reason : str
        What ``history.stopped`` is if `on_epoch_end` returns True.
    """

    #: names of the constructor's arguments, which are attributes too and change the training
    arguments: ClassVar[tuple[str, ...]] = ()
    reason = "callback"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch of a call of `fit`; what was seen in earlier calls is over."""

    def on_train_end(self, trainer: Trainer, history: History) -> None:
        """After the last one, also after an interrupt, but not if an error ends training.

        Nor if an interrupt came before `on_train_begin` had been called for all.
        """

    def on_epoch_begin(self, trainer: Trainer, number: int) -> None:
        """Before an epoch, from 1."""

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> Any:
        """After an epoch and its validation; returning True ends training."""

    def on_batch_begin(self, trainer: Trainer, number: int) -> None:
        """Before a step, from 1 in each epoch."""

    def on_batch_end(self, trainer: Trainer, number: int, cost: float) -> None:
        """After a step, with the cost before it; ``trainer.stop_training = True`` ends training."""

    def state_dict(self) -> dict[str, Any]:
        """What it has seen in this training, as plain data and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, after `on_train_begin`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it does not fit.
        """
        keys_are(state, self.state_dict())


class _Function(Callback):
    def __init__(self, function: Callable[[Any, Epoch], Any]) -> None:
        self.on_epoch_end = function  # type: ignore[assignment, method-assign]


class Moments:
    """The callbacks of one training; nothing is called that a callback does not define.

    Parameters
    ----------
    callbacks : iterable of Callback or function (trainer, epoch)
    first : Callback, optional
        One that comes before them.

    Raises
    ------
    TypeError
        If they are something else.
    """

    def __init__(self, callbacks: Iterable[Any], first: Callback | None = None) -> None:
        found = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
        fits = [isinstance(one, Callback) or _is_function(one) for one in found]
        if not isinstance(callbacks, Iterable) or not all(fits):
            raise TypeError(
                f"callbacks: expected functions in a list, got {callbacks!r:.99}; objects of "
                "classes that derive from Callback may be there too"
            )
        each = [one if isinstance(one, Callback) else _Function(one) for one in found]
        self.callbacks = [*([] if first is None else [first]), *each]
        self.train_begin = self._defined("on_train_begin")
        self.train_end = self._defined("on_train_end")
        self.epoch_begin = self._defined("on_epoch_begin")
        self.batch_begin = self._defined("on_batch_begin")
        self.batch_end = self._defined("on_batch_end")

    def _defined(self, name: str) -> list[Callable[..., Any]]:
        methods = [getattr(callback, name) for callback in self.callbacks]
        empty = getattr(Callback, name)
        return [method for method in methods if getattr(method, "__func__", None) is not empty]


def _is_function(one: Any) -> bool:
    return callable(one) and not (isinstance(one, type) and issubclass(one, Callback))


def keys_are(state: Any, expected: Mapping[str, Any]) -> None:
    """Raise KeyError unless a state has these keys."""
    if not isinstance(state, Mapping) or state.keys() != expected.keys():
        what = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise KeyError(f"state: expected {sorted(expected)}, got {what}")


# ------------------------------------------------------------------------------- watching a figure


class Watch(Callback):
    """What watches one figure of the epochs: whether it got better, and how long it has not.

    Parameters
    ----------
    patience : int
    min_delta : float
        What counts as better: by more than this.
    monitor : str
        A figure of `Epoch`, such as "validation_accuracy", or a metric of `fit`, "validation_f1".
    mode : "min", "max" or "auto"
        Which way is better; "auto" is "max" for accuracies, speeds and metrics that are to rise,
        "min" for others, and does not know functions of one's own.

    Attributes
    ----------
    reached : float or None
        The best value so far.
    waited : int
        Epochs since then.
    seen : int
        The number of the last epoch; it may be told again, after an interrupt.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments: ClassVar[tuple[str, ...]] = ("patience", "min_delta", "monitor", "mode")

    def __init__(self, patience: int, min_delta: float, monitor: str, mode: str) -> None:
        self.patience = check.whole(patience, "patience", 1)
        self.min_delta = check.number(min_delta, "min_delta")
        own = isinstance(monitor, str) and monitor.startswith(VALIDATION)
        if monitor not in FIGURES and not own:
            raise ValueError(
                f"monitor: expected one of {', '.join(FIGURES)} or validation_METRIC, got "
                f"{monitor!r}"
            )
        if mode not in ("min", "max", "auto"):
            raise ValueError(f"mode: expected 'min', 'max' or 'auto', got {mode!r}")
        self.monitor = monitor
        self.mode = mode if mode != "auto" else _better(monitor)
        self.start()

    def start(self) -> None:
        """Forget what was seen, before a new training."""
        self.reached: float | None = None
        self.waited = self.seen = 0

    def on_train_begin(self, trainer: Trainer) -> None:
        known = [*FIGURES, *(f"{VALIDATION}{name}" for name in trainer.metrics)]
        if self.monitor not in known:
            raise ValueError(f"monitor: expected one of {', '.join(known)}, got {self.monitor!r}")
        self.start()

    def judged(self, epoch: Epoch) -> tuple[float | None, int]:
        """What `reached` and `waited` become with this epoch."""
        value = figure_of(epoch, self.monitor)
        if self.reached is not None:
            gain = value - self.reached if self.mode == "max" else self.reached - value
            if not gain > self.min_delta:
                return self.reached, self.waited + 1
        return value, 0

    def become(self, *calls: Call, **attributes: Any) -> None:
        """Set attributes, and make calls of C, all before an interrupt or after it."""
        at_once([*[(setattr, self, name, value) for name, value in attributes.items()], *calls])

    def state_dict(self) -> dict[str, Any]:
        return {"reached": self.reached, "waited": self.waited, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        reached = state["reached"]
        if reached is not None:
            reached = check.number(reached, "reached", -np.inf, np.inf)
        self.waited = check.whole(state["waited"], "waited", 0)
        self.seen = check.whole(state["seen"], "seen", 0)
        self.reached = reached


def _better(monitor: str) -> str:
    # which way a figure gets better
    if monitor in FIGURES:
        more: bool | None = monitor.endswith("accuracy") or monitor == "images_per_second"
    else:
        more = rises(monitor.removeprefix(VALIDATION))
    if more is None:
        raise ValueError(f"mode: expected 'min' or 'max' for {monitor}, which it does not know")
    return "max" if more else "min"


class EarlyStopping(Watch):
    """Stops training when a figure, the validation cost, has not got better for some epochs.

    Parameters
    ----------
    patience : int
        How many epochs in a row may bring nothing.
    min_delta : float
        What counts as better: by more than this.
    restore_best : bool
        Whether the network gets the weights and buffers of its best epoch at the end.
    monitor : str
        A figure of `Epoch`, such as "validation_accuracy", or a metric of `fit`, "validation_f1".
    mode : "min", "max" or "auto"
        Which way is better; "auto" is "max" for accuracies, speeds and metrics that are to rise,
        "min" for others, and does not know functions of one's own.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    reason = "early"
    arguments = (*Watch.arguments, "restore_best")

    def __init__(
        self,
        patience: int = 3,
        min_delta: float = 0.0,
        restore_best: bool = True,
        monitor: str = "validation_cost",
        mode: str = "auto",
    ) -> None:
        super().__init__(patience, min_delta, monitor, mode)
        self.restore_best = restore_best

    def start(self) -> None:
        super().start()
        self.best: list[np.ndarray] | None = None

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> bool:
        if epoch.number != self.seen:
            reached, waited = self.judged(epoch)
            best = self.best if waited else [kept.data.copy() for kept in trainer._moving]
            self.become(reached=reached, waited=waited, best=best, seen=epoch.number)
        return self.waited >= self.patience

    def on_train_end(self, trainer: Trainer, history: History) -> None:
        if self.best is not None and self.restore_best:
            trainer._restore(self.best)

    def state_dict(self) -> dict[str, Any]:
        best = None if self.best is None else [array.copy() for array in self.best]
        return {**super().state_dict(), "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        best = state["best"]
        self.best = None if best is None else [np.array(check.real_array(a, "best")) for a in best]


def stopping_of(rule: int | EarlyStopping | None, validated: bool) -> EarlyStopping | None:
    """A rule given as such, as its patience, or as None for none."""
    if rule is None:
        return None
    stopping = rule if isinstance(rule, EarlyStopping) else EarlyStopping(rule)
    if not validated and stopping.monitor.startswith("validation"):
        raise ValueError("early_stopping: expected validation_data or validation_split with it")
    return stopping


class ReduceLROnPlateau(Watch):
    """Multiplies the learning rate by `factor` when a figure has not got better for some epochs.

    It sets ``trainer.optimizer.lr``, which a schedule multiplies further and which stays so after
    training.  Names and defaults are those of Keras.

    Parameters
    ----------
    factor : float
        Between 0 and 1.
    patience : int
        After how many epochs in a row that bring nothing.
    monitor, mode, min_delta
        As for `EarlyStopping`.
    cooldown : int
        Epochs after a change that do not count.
    min_lr : float
        The rate is not made lower than this.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    arguments = (*Watch.arguments, "factor", "cooldown", "min_lr")

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str = "validation_cost",
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(patience, min_delta, monitor, mode)
        self.factor = check.number(factor, "factor", 0, 1)
        if factor in (0, 1):
            raise ValueError(f"factor: expected a number between 0 and 1, got {factor!r}")
        self.cooldown = check.whole(cooldown, "cooldown", 0)
        self.min_lr = check.number(min_lr, "min_lr")

    def start(self) -> None:
        super().start()
        self.resting = 0

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> None:
        if epoch.number == self.seen:
            return
        (reached, waited), resting = self.judged(epoch), self.resting
        calls: list[Call] = []
        if resting:
            waited, resting = 0, resting - 1
        elif waited >= self.patience:
            rate = trainer.optimizer.lr
            if rate > self.min_lr:
                calls = trainer.optimizer._setting(max(rate * self.factor, self.min_lr))
            waited, resting = 0, self.cooldown
        self.become(*calls, reached=reached, waited=waited, resting=resting, seen=epoch.number)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "resting": self.resting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.resting = check.whole(state["resting"], "resting", 0)
