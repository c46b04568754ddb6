"""The loop of `Trainer.fit`: epochs, batches, the callbacks between them, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.batching import batches
from ..data.labelled import LabelledSet
from ..parameter import at_once
from .callbacks import Moments
from .descent import CostError
from .history import Epoch, History
from .progress import Progress, duration
from .schedules import Pace

if TYPE_CHECKING:
    from ..augment import Compose
    from .trainer import Trainer


class Place(NamedTuple):
    """How far a training is, in one piece, so that an interrupt finds all of it as it was or is.

    Parameters
    ----------
    epoch : int
        The one that runs or comes next, from 1.
    begun : int
        `Trainer.epochs_begun` before it.
    batches, seen : int
        Batches and images that it has done.
    costs : float
        The sum of the costs of these images.
    right : float or None
        How many of them were right; None for a task that has no accuracy.
    rate, cost : float
        The learning rate and the cost of the last batch.
    moment : str
        What was reached last: "epoch_begin", "batch_begin", "batch_end" or "epoch_end".
    told : int
        How many callbacks have been called at that moment.
    """

    epoch: int = 1
    begun: int = 0
    batches: int = 0
    seen: int = 0
    costs: float = 0.0
    right: float | None = 0.0
    rate: float = 0.0
    cost: float = 0.0
    moment: str = "epoch_begin"
    told: int = 0


class Run:
    """One call of `fit`: what is trained on and how, the place where it is, and its history.

    Parameters
    ----------
    trainer : Trainer
    training : LabelledSet
    validation : LabelledSet, optional
    transforms : Compose, optional
    moments : Moments
    pace : Pace
    epochs, batch_size : int
    shuffle, progress : bool
    """

    def __init__(
        self,
        trainer: Trainer,
        training: LabelledSet,
        validation: LabelledSet | None,
        transforms: Compose | None,
        moments: Moments,
        pace: Pace,
        epochs: int,
        batch_size: int,
        shuffle: bool,
        progress: bool,
    ) -> None:
        self.trainer = trainer
        self.training, self.validation, self.transforms = training, validation, transforms
        self.moments, self.pace = moments, pace
        self.epochs, self.batch_size = epochs, batch_size
        self.shuffle, self.progress = shuffle, progress
        self.batches = -(-len(training) // batch_size)  # in an epoch
        self.place = Place(begun=trainer.epochs_begun)
        self.history = History()
        self._started = 0.0  # when the running epoch did

    def go(self) -> History:
        """Train to the end, or to what ends it before."""
        trainer, history = self.trainer, self.history
        trainer._has_good = False
        try:
            for begin in self.moments.train_begin:
                begin(trainer)
            while self.place.epoch <= self.epochs and history.stopped is None:
                self._epoch()
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            if not trainer._is_finite():
                trainer._fall_back()
        finally:
            try:
                trainer._unscale()
                trainer._has_good = trainer.stop_training = False
            finally:  # whatever comes in between
                trainer.net.eval()
        for end in self.moments.train_end:
            end(trainer, history)
        return history

    def _tell(self, calls: Iterable[Callable[..., Any]], *arguments: Any) -> None:
        # call those callbacks of this moment that were not called yet
        for call in islice(calls, self.place.told, None):
            self.place = self.place._replace(told=self.place.told + 1)
            call(self.trainer, *arguments)

    def _reach(self, moment: str) -> None:
        if self.place.moment != moment:
            self.place = self.place._replace(moment=moment, told=0)

    def _epoch(self) -> None:
        # one pass over the images, and what follows it
        trainer, history, number = self.trainer, self.history, self.place.epoch
        if self.pace.over():
            history.stopped = "time"
            return
        self._tell(self.moments.epoch_begin, number)
        with Progress(f"epoch {number}/{self.epochs}", self.batches, self.progress) as bar:
            self._started = time.perf_counter()
            rng = trainer._rng if self.shuffle else None
            order = batches(len(self.training), self.batch_size, rng)
            trainer.epochs_begun = self.place.begun + 1
            for indices, images, targets in self._taken(order):
                if trainer.stop_training:
                    raise KeyboardInterrupt
                if self.place.batches and self.pace.over():
                    break
                self._batch(indices, images, targets)
                bar.advance(f"cost {self.place.costs / self.place.seen:.4f}")
            record = self._record()
            if self.validation is not None:
                self._validate(record, self.validation)
            at_once([
                (history.epochs.append, record),
                (setattr, self, "place", self.place._replace(moment="epoch_end", told=0)),
            ])  # fmt: skip
            left = self.pace.seconds_left(number) if number < self.epochs else 0
            bar.close(record.text() + (f", {duration(left)} left" if left else ""))
        history.stopped = self.moments.epoch_end(trainer, record)
        if self.place.batches < self.batches:
            history.stopped = "time"
        self.place = Place(number + 1, trainer.epochs_begun)

    def _taken(self, order: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Any, Any]]:
        # indices, images and targets of each batch
        trainer, training = self.trainer, self.training
        if self.transforms is None:
            return ((each, training[each], training.y[each]) for each in order)
        drawn_by = trainer._split_seed, self.place.begun
        return self.transforms.batches(
            training, order, drawn_by, self._classes, trainer._threads
        )  # fmt: skip

    def _classes(self, images: np.ndarray) -> int:
        return self.trainer.net.output_shape(images.shape[1:])[0]

    def _batch(self, indices: np.ndarray, images: Any, targets: Any) -> None:
        # one step of descent, and the figures of its batch
        trainer, before = self.trainer, self.place
        if self.moments.batch_begin:
            self._reach("batch_begin")
            self._tell(self.moments.batch_begin, before.batches + 1)
        done = before.batches / self.batches
        trainer._factor = self.pace.factor(before.epoch - 1 + done)
        rate = trainer.optimizer.lr * trainer._factor
        trainer._look_at(images, "x")
        weights = self.training.weights
        try:
            cost, outputs = trainer._step(
                images, targets, None if weights is None else weights[indices]
            )
        except CostError as error:
            raise CostError(
                f"{error} in epoch {before.epoch}, batch {before.batches + 1} of {self.batches}, "
                f"learning rate {rate:g}; the network has the last weights whose cost was finite"
            ) from None
        self._note_shape(images)
        part = None
        if not trainer._backpropagate.several:
            part = trainer.task.right(outputs, np.asarray(targets))
        right, count = before.right, len(indices)
        self.place = Place(
            before.epoch, before.begun, before.batches + 1, before.seen + count,
            before.costs + cost * count,
            None if part is None or right is None else right + part * count,
            rate, cost, "batch_end",
        )  # fmt: skip
        if self.moments.batch_end:
            self._tell(self.moments.batch_end, before.batches + 1, cost)

    def _note_shape(self, images: Any) -> None:
        net = self.trainer.net
        single = isinstance(images, np.ndarray)
        if single and net.input_shape is None and images.ndim in (2, 4):
            with suppress(Exception):  # of layers that do not know their shapes
                net.output_shape(images.shape[1:])
                net.input_shape = images.shape[1:]

    def _record(self) -> Epoch:
        # the figures of the epoch that ends, once its weights are known to be finite
        trainer, place = self.trainer, self.place
        seconds = time.perf_counter() - self._started
        if not trainer._is_finite():
            trainer._fall_back()
            raise CostError(
                f"the last step of epoch {place.epoch}, learning rate {place.rate:g}, gave weights "
                "that are not finite; the network has those before it"
            )
        accuracy = None if place.right is None else place.right / place.seen
        return Epoch(
            place.epoch, place.costs / place.seen, accuracy, place.rate, seconds,
            place.seen / seconds,
        )  # fmt: skip

    def _validate(self, record: Epoch, validation: LabelledSet) -> None:
        trainer = self.trainer
        if validation.indices is None:  # they are no part of the images trained on
            first = validation[np.arange(min(len(validation), 64))]
            trainer._look_at(first, "validation_data")
        scores = trainer.evaluate(
            validation.given(), validation.y, sample_weight=validation.weights
        )  # fmt: skip
        record.validation_cost = scores["cost"]
        record.validation_accuracy = scores.get("accuracy")
        if not math.isfinite(record.validation_cost):
            trainer._fall_back()
            raise CostError(
                f"the cost of the validation images is {record.validation_cost} after epoch "
                f"{record.number}, learning rate {record.learning_rate:g}; the network has the "
                "weights before its last step"
            )
