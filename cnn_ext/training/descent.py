"""Steps of descent: gradients, the rule, and the last weights whose cost was finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import setitem
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..data.labelled import LabelledSet
from ..data.weights import sample_weights
from ..graph.precision import BFLOAT16, FLOAT32
from ..lanes import Lanes
from ..layers import Dropout, Module
from ..optim import ExponentialMovingAverage, Optimizer, optimizer_of
from ..optim.average import average_of
from ..parameter import Kept, at_once
from ..run.share import Group, Share, shared, wire_of
from ..task import Task
from .backpropagation import inputs_of
from .evaluator import Evaluator


class CostError(ArithmeticError):
    """The cost became NaN or infinite; the network has the last weights whose cost was finite."""


PRECISIONS = (FLOAT32, BFLOAT16)


class _Before(NamedTuple):
    # what tells whether the weights have moved since, and what a batch moves before them
    state: list[dict[str, Any]]
    updates: int
    draws: list[int]
    buffers: list[np.ndarray]


class Descent(Evaluator):
    """What a `Trainer` does with one batch; its parameters are those of the trainer."""

    def __init__(
        self,
        net: Module,
        loss: Any,
        num_threads: int | None,
        task: str | Task | None,
        loss_weights: Mapping[Any, float] | Sequence[float] | None,
        optimizer: str | Optimizer | None,
        average: float | ExponentialMovingAverage | None,
        group: Group | None,
        precision: str,
    ) -> None:
        super().__init__(net, loss, num_threads, task, loss_weights, group)
        if precision not in PRECISIONS:
            names = ", ".join(PRECISIONS)
            raise ValueError(f"precision: expected one of {names}, got {precision!r}")
        if precision != FLOAT32 and net.dtype != np.float32:
            raise ValueError(f"precision: {precision} is for a float32 network, got {net.dtype}")
        self.precision = self._backpropagate.precision = precision
        self.optimizer = optimizer_of(optimizer, net)
        self._check_optimizer()
        self.average = average_of(average, net)
        self._good = [np.empty_like(kept.data) for kept in self._moving]
        self._has_good = False  # whether `_good` holds weights whose cost was finite
        self._factor = 1.0  # of the schedule, in this step
        # of each group that has it: the learning rate, and with the factor
        self._scaled: list[tuple[dict[str, Any], float, float]] = []
        self._before: _Before | None = None  # the step that is being made, or was broken off
        self._stepping = False  # whether nothing can be saved
        self._run: Any = None  # the call of `fit` that is under way
        # of a training that did not come to its end: what `save` writes, or why it cannot; and
        # what the next `fit` goes on with, if it was resumed
        self._left: Any = None
        self._resumed: dict[str, Any] | None = None

    @property
    def _moving(self) -> list[Kept]:
        # all that training moves: what is learned, state such as running statistics, and averages
        averages = [] if self.average is None else self.average.kept
        return [*self.optimizer.parameters, *self._buffers, *averages]

    def _weights(self) -> AbstractContextManager[None]:
        averaged = self.average is not None and self.average.updates
        return self.average.applied() if self.average and averaged else nullcontext()

    def _check_optimizer(self) -> None:
        self._buffers = [buffer for _, buffer in self.net.named_buffers()]
        self._dropouts = [
            layer for _, layer in self.net.named_modules() if isinstance(layer, Dropout)
        ]
        own = set(map(id, self.net.parameters()))
        moved = set(map(id, self.optimizer.parameters))
        if own - moved and moved - own:
            raise ValueError(
                f"optimizer: {len(moved - own)} of its parameters are not of the network, which "
                f"has {len(own - moved)} that it does not move; was a layer replaced?"
            )

    def _check_learns(self) -> None:
        if not any(parameter.trainable for parameter in self.optimizer.parameters):
            raise ValueError("optimizer: expected at least one parameter that is trainable")

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One step of descent on one batch.

        A training that was resumed, or ended before its time, is given up by that.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W)
            Real numbers, or bytes, which are divided by 255.
        y : array_like, shape (N,) of class numbers or (N, K) of targets
        sample_weight : array_like, shape (N,), optional
            As for `fit`.

        Returns
        -------
        float
            The cost before the step.

        Raises
        ------
        CostError
            If the cost is NaN or infinite; the network gets back the last weights whose cost was
            finite.
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        self._check_learns()
        self._factor = 1.0
        weights = None
        first = inputs_of(x)[0]
        images = first.shape[0] if isinstance(first, Lanes) else len(first)
        if sample_weight is not None:
            weights = sample_weights(sample_weight, images)
        share = self._share(images)
        if share is not None:
            batch = LabelledSet(x, y, several=self._backpropagate.several, sample_weight=weights)
            own = np.arange(images)[share.part]
            x, y = batch[own], batch.y[own]
            weights = None if weights is None else weights[own]
        self._left = self._resumed = None
        try:
            with self._threads(), _core.Restored([(self, "_stepping")]):
                self._stepping = True
                cost, _ = self._gradients(x, y, weights, share)
                self._move()
        finally:
            self._settle()
        return cost

    def _share(self, images: int) -> Share | None:
        # this rank's part of a batch
        dtype = self.optimizer.parameters[0].data.dtype
        if wire_of(self.group) is not None and dtype != np.float32:
            raise ValueError(f"wire: expected a network of float32 with bfloat16, got {dtype}")
        return shared(self.group, images, _core.lanes(dtype.itemsize))

    def _gradients(
        self, x: Any, y: Any, weights: np.ndarray | None, share: Share | None = None
    ) -> tuple[float, Any]:
        # the cost and the outputs; the gradients stay with the parameters
        self._settle()
        if not self._has_good:  # a forward pass may move buffers
            self._remember()
        self._before = _Before(
            self.optimizer.state,
            0 if self.average is None else self.average.updates,
            [layer.draws.count for layer in self._dropouts],
            [buffer.data.copy() for buffer in self._buffers],
        )
        cost, outputs = self._backpropagate(x, y, weights, share)
        if not math.isfinite(cost):
            self._restore(self._good)
            cause = _cause(x, y) if share is None else ""  # every rank says the same
            raise CostError(f"the cost is {cost}{cause}")
        self._has_good = False
        self._remember()
        self._has_good = True
        return cost, outputs

    def _move(self) -> None:
        # the step of the optimizer, and what follows the weights
        if self._factor == 1:
            self.optimizer.step()
        else:
            groups = self.optimizer.param_groups
            self._scaled = [(group, group["lr"], group["lr"] * self._factor) for group in groups]
            try:
                at_once([(setitem, group, "lr", scaled) for group, _, scaled in self._scaled])
                self.optimizer.step()
            finally:
                self._unscale()
        if self.average is not None:
            self.average.update()
        if not self._backpropagate.several:
            self.net.task = self.task

    def _settle(self) -> bool:
        # finish a step that was broken off, or undo it; whether its weights have moved
        before = self._before
        if before is None:
            return False
        moved = self.optimizer.state is not before.state
        if not moved:
            layers = zip(self._dropouts, before.draws, strict=True)
            buffers = zip(self._buffers, before.buffers, strict=True)
            at_once([
                *[(setattr, layer.draws, "count", count) for layer, count in layers],
                *[(setitem, buffer.data, ..., saved) for buffer, saved in buffers],
            ])  # fmt: skip
        elif self.average is not None and self.average.updates == before.updates:
            self.average.update()
        self._before = None
        return moved

    def _unscale(self) -> None:
        # take the schedule's factor out of the learning rates that nobody has set meanwhile
        at_once([
            (setitem, group, "lr", lr)
            for group, lr, scaled in self._scaled
            if group["lr"] == scaled
        ])  # fmt: skip
        self._scaled = []

    def _remember(self) -> None:
        try:
            _core.copy_all([kept._data for kept in self._moving], self._good)
        except (TypeError, ValueError):  # the network was converted, or other weights are moved
            self._good = [kept.data.copy() for kept in self._moving]

    def _fall_back(self) -> None:
        if self._has_good:
            self._restore(self._good)

    def _restore(self, weights: list[np.ndarray]) -> None:
        self._before = None
        self.optimizer.reset()  # it was going somewhere else
        pairs = zip(weights, self._moving, strict=True)
        at_once([(setitem, kept.data, ..., saved) for saved, kept in pairs])

    def _is_finite(self) -> bool:
        return all(np.isfinite(kept.data).all() for kept in self._moving)


def _cause(x: Any, y: Any) -> str:
    # why the cost of these is not finite, if they are to blame
    for name, arrays in (("x", inputs_of(x)), ("y", [y])):
        for array in arrays:
            known = isinstance(array, np.ndarray) and array.dtype.kind == "f"
            if known and not np.isfinite(array).all():
                return f", as {name} has numbers that are not finite,"
    return ""
