"""The loop of `Trainer.fit`: epochs, batches, the callbacks between them, and how far it is."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..data.labelled import Batch, LabelledSet
from ..data.stream import Stream
from ..parameter import at_once
from ..run.share import Share, agreed, of_first, totals
from .accumulation import give_mean, summed
from .callbacks import Moments
from .descent import CostError
from .history import Epoch, History
from .place import Place
from .progress import Progress, duration
from .schedules import Pace
from .shares import with_shares

if TYPE_CHECKING:
    from ..augment import Compose
    from .trainer import Trainer


class Run:
    """One call of `fit`: what is trained on and how, the place where it is, and its history.

    Parameters
    ----------
    trainer : Trainer
    training : LabelledSet or Stream
    validation : LabelledSet or Stream, optional
    transforms : Compose, optional
    moments : Moments
    pace : Pace
    batch_size, accumulate : int
    shuffle, progress : bool
    checkpoint : str or path, optional
        Where to save the training,
    every : "epoch" or int
        and after how many steps.
    metrics
        Of the validation images, as `Evaluator.evaluate` takes them.
    """

    def __init__(
        self,
        trainer: Trainer,
        training: LabelledSet | Stream,
        validation: LabelledSet | Stream | None,
        transforms: Compose | None,
        moments: Moments,
        pace: Pace,
        batch_size: int,
        accumulate: int,
        shuffle: bool,
        progress: bool,
        checkpoint: str | os.PathLike[str] | None,
        every: str | int,
        metrics: Any,
    ) -> None:
        self.trainer = trainer
        self.training, self.validation, self.transforms = training, validation, transforms
        self.moments, self.pace = moments, pace
        self.batch_size, self.accumulate = batch_size, accumulate
        self.group = trainer.group
        self.shuffle = shuffle
        self.progress = progress and (self.group is None or self.group.rank == 0)
        self.checkpoint, self.every = checkpoint, every
        self.metrics = metrics
        self.batches = training.count(batch_size)  # in an epoch
        self.steps = -(-self.batches // accumulate)
        self.place = self.after = self._start(1)
        self.history = History()
        self.seconds = 0.0  # of the running epoch, before it was resumed
        self._since: float | None = None  # when it began, or was resumed
        self._saved: Place | None = None
        self._begun = False

    @cached_property
    def description(self) -> dict[str, Any]:
        """What it has in common with those that may go on with it."""
        from .identity import of_fit  # which most trainings do without

        return of_fit(self)

    def _start(self, epoch: int) -> Place:
        trainer = self.trainer
        return Place(trainer._rng.bit_generator.state, trainer.epochs_begun, epoch)

    # ------------------------------------------------------------------------------- the training

    def go(self) -> History:
        """Train to the end, or to what ends it before."""
        trainer, history = self.trainer, self.history
        trainer._has_good = False
        with _core.Restored([(trainer, name) for name in ("_run", "_stepping")]):
            try:
                for begin in self.moments.train_begin:
                    begin(trainer)
                self._begin()
                while self._goes_on():
                    if self._epoch() == "time":
                        history.stopped = "time"
                        break
                else:
                    history.stopped = self.place.reason
                    self._save()
            except KeyboardInterrupt:
                history.stopped = "interrupted"
                if trainer._is_finite():
                    self._leave()
                    self._save()
                else:
                    trainer._fall_back()
            except CostError:
                raise
            except Exception:
                if self.history.epochs or self.place.batches:
                    self._leave()
                raise
            finally:
                try:
                    if isinstance(self.training, Stream):
                        self.training.close()
                    trainer._unscale()
                    trainer._has_good = trainer.stop_training = False
                finally:  # whatever comes in between
                    trainer.net.eval()
        for end in self.moments.train_end if self._begun else ():
            end(trainer, history)
        return history

    def _begin(self) -> None:
        # where the training begins, or goes on
        trainer = self.trainer
        self.place = self._start(1)
        if trainer._resumed is not None:
            from .checkpoint import go_on  # which most trainings do without

            go_on(self, trainer._resumed)
        at_once([
            (setattr, trainer, "_resumed", None), (setattr, trainer, "_left", None),
            (setattr, trainer, "_run", self), (setattr, self, "_begun", True),
        ])  # fmt: skip

    def _goes_on(self) -> bool:
        place = self.place
        if place.moment == "epoch_end":  # some callbacks have not been told
            return True
        return place.epoch <= self.pace.epochs and place.reason is None

    def _epoch(self) -> str | None:
        # one pass over the images, and what follows it; "time" if there was none for all of it
        trainer, number, rng = self.trainer, self.place.epoch, self.trainer._rng
        if self.place.moment == "epoch_begin":
            if self._over():
                return self._out_of_time()
            self._tell(self.moments.epoch_begin, number)
        order = self.training.batches(self.batch_size, rng if self.shuffle else None)
        trainer.epochs_begun = self.place.begun + 1
        if self.place.moment != "epoch_end":
            self._pass(order)
        self._tell_end(self.history.epochs[-1])
        if self.place.batches < self.batches:
            return "time"
        self.place = self._start(number + 1)._replace(reason=self.place.reason)
        if self.every == "epoch":
            self._save()
        return None

    def _pass(self, order: Iterator[Any]) -> None:
        # the batches that are left, and validation
        number, done = self.place.epoch, self.place.batches
        epochs = self.pace.epochs
        with (
            Progress(f"epoch {number}/{epochs}", self.batches, self.progress, done) as bar,
            ExitStack() as reading,
        ):
            self._since = time.perf_counter()
            if self.place.moment == "batch_end":
                self._tell(self.moments.batch_end, done, self.place.cost)
            taken = with_shares(islice(order, done, None), self.trainer._share, self._taken)
            for batch, share in reading.enter_context(closing(taken)):
                if agreed(self.group, self.trainer.stop_training):
                    raise KeyboardInterrupt
                if self.pace.seconds is not None and self._cut():
                    break
                self._batch(batch, share)
                bar.advance(f"cost {self.place.costs / self.place.seen:.4f}")
                if self.every != "epoch":
                    self._save_step(int(self.every))
            record = self._record()
            if self.validation is not None:
                self._validate(record, self.validation)
            at_once([
                (self.history.epochs.append, record),
                (setattr, self, "place", self.place._replace(moment="epoch_end", told=0)),
                (setattr, self, "_since", None),
                (setattr, self, "seconds", 0.0),
            ])  # fmt: skip
            left = self.pace.seconds_left(number) if number < epochs else 0
            bar.close(record.text() + (f", {duration(left)} left" if left else ""))

    def _cut(self) -> bool:
        # whether the time is over before this step
        begins = self.place.batches % self.accumulate == 0
        if self.place.batches and begins and self._over():
            self._out_of_time()
            return True
        return False

    def _over(self) -> bool:
        return self.pace.seconds is not None and agreed(self.group, self.pace.over())

    def _out_of_time(self) -> str:
        self._leave()  # where more time goes on, before the epoch ends as it is
        self._save()
        return "time"

    def _taken(self, order: Iterator[Any]) -> Any:
        # the batches of an order, which may be read ahead of their use
        trainer, training = self.trainer, self.training
        if self.transforms is None:
            return training.taken(order)
        drawn_by = trainer._split_seed, self.place.begun
        if isinstance(training, Stream):
            from ..augment.training import changed

            return changed(self.transforms, order, drawn_by, trainer._threads)
        return self.transforms.batches(
            training, order, drawn_by, self._classes, trainer._threads
        )  # fmt: skip

    def _classes(self, images: np.ndarray) -> int:
        return self.trainer.net.output_shape(images.shape[1:])[0]

    def _batch(self, batch: Batch, share: Share | None) -> None:
        # the gradients of a batch, the step that they or several of them make, and its figures
        trainer = self.trainer
        number = self.place.batches + 1
        if self.moments.batch_begin:
            if self.place.moment != "batch_begin":
                self.place = self.place._replace(moment="batch_begin", told=0)
            self._tell(self.moments.batch_begin, number)
        before, count = self.place, len(batch.indices) if share is None else share.images
        done = before.batches // self.accumulate / self.steps
        factor = self.pace.factor(before.epoch - 1 + done)
        trainer._factor = factor if self.pace.seconds is None else of_first(self.group, factor)
        rate = trainer.optimizer.lr * trainer._factor
        if len(batch.indices):
            trainer._look_at(batch.images, "x")
        trainer._stepping = True
        with trainer._threads():
            try:
                cost, outputs = trainer._gradients(
                    batch.images, batch.targets, batch.weights, share
                )
            except CostError as error:
                raise CostError(
                    f"{error} in epoch {before.epoch}, batch {number} of {self.batches}, learning "
                    f"rate {rate:g}; the network has the last weights whose cost was finite"
                ) from None
            part, right = None, before.right
            if not trainer._backpropagate.several:
                hits = trainer.task.hits(outputs, np.asarray(batch.targets))
                hits = totals(self.group, hits)
                part = None if hits is None else hits[0] / hits[1]
            moves = number % self.accumulate == 0 or number == self.batches
            sums, images_of_step = before.sums, before.summed + count
            if sums or not moves:
                sums = summed(trainer.optimizer, sums, count)
            self.after = Place(
                before.order, before.begun, before.epoch, number, before.seen + count,
                before.costs + cost * count,
                None if part is None or right is None else right + part * count,
                rate, cost, () if moves else sums, 0 if moves else images_of_step, "batch_end",
            )  # fmt: skip
            if moves:
                if sums:
                    give_mean(trainer.optimizer, sums, images_of_step)
                trainer._move()
            at_once([(setattr, self, "place", self.after), (setattr, trainer, "_before", None)])
        trainer._stepping = False
        self._note_shape(batch.images)
        if self.moments.batch_end:
            self._tell(self.moments.batch_end, number, cost)

    def _note_shape(self, images: Any) -> None:
        net = self.trainer.net
        single = isinstance(images, np.ndarray)
        if single and net.input_shape is None and images.ndim in (2, 4):
            with suppress(Exception):  # of layers that do not know their shapes
                net.output_shape(images.shape[1:])
                net.input_shape = images.shape[1:]

    # ---------------------------------------------------------------------- callbacks and files

    def _tell(self, calls: Iterable[Callable[..., Any]], *arguments: Any) -> None:
        # call those callbacks of this moment that were not called yet
        for call in islice(calls, self.place.told, None):
            self.place = self.place._replace(told=self.place.told + 1, calling=True)
            call(self.trainer, *arguments)
            self.place = self.place._replace(calling=False)

    def _tell_end(self, record: Epoch) -> None:
        # the same at the end of an epoch; the last reason to stop is the one
        for callback in islice(self.moments.callbacks, self.place.told, None):
            self.place = self.place._replace(told=self.place.told + 1, calling=True)
            says = callback.on_epoch_end(self.trainer, record)
            stops = agreed(self.group, isinstance(says, (bool, np.bool_)) and bool(says))
            reason = callback.reason if stops else self.place.reason
            self.place = self.place._replace(calling=False, reason=reason)

    def _leave(self) -> None:
        # what `save` writes after a training that did not come to its end
        if not self._begun or self.trainer._left is not None:  # or it was left before
            return
        from .checkpoint import captured

        self.trainer._stepping = False
        self.settle()
        try:
            self.trainer._left = captured(self.trainer)
        except Exception as error:
            self.trainer._left = error  # for `save`, if it is wanted

    def settle(self) -> None:
        """Make the place that of the weights, where a step or a callback was broken off."""
        if self.trainer._settle():
            self.place = self.after
        if self.place.calling:  # it is told again
            self.place = self.place._replace(told=self.place.told - 1, calling=False)

    def _save_step(self, every: int) -> None:
        # after so many steps
        place = self.place
        steps = (place.epoch - 1) * self.steps - (-place.batches // self.accumulate)
        if not place.sums and steps % every == 0:
            self._save()

    def _save(self) -> None:
        if self.checkpoint is not None and self._begun and self._saved is not self.place:
            self._check_finite()
            self.trainer.save(self.checkpoint)
            self._saved = self.place

    def seconds_of_epoch(self) -> float:
        """How long the running epoch has taken so far, or 0."""
        return self.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    def _check_finite(self) -> None:
        trainer, place = self.trainer, self.place
        if not trainer._is_finite():
            trainer._fall_back()
            raise CostError(
                f"the last step of epoch {place.epoch}, learning rate {place.rate:g}, gave weights "
                "that are not finite; the network has those before it"
            )

    def _record(self) -> Epoch:
        # the figures of the epoch that ends, once its weights are known to be finite
        place, seconds = self.place, self.seconds_of_epoch()
        self._check_finite()
        accuracy = None if place.right is None else place.right / place.seen
        return Epoch(
            place.epoch, place.costs / place.seen, accuracy, place.rate, seconds,
            place.seen / seconds,
        )  # fmt: skip

    def _validate(self, record: Epoch, validation: LabelledSet | Stream) -> None:
        trainer = self.trainer
        if isinstance(validation, Stream):
            scores = trainer.evaluate(validation.given, metrics=self.metrics)
        else:
            if validation.indices is None:  # they are no part of the images trained on
                first = validation[np.arange(min(len(validation), 64))]
                trainer._look_at(first, "validation_data")
            scores = trainer.evaluate(
                validation.given(), validation.y, sample_weight=validation.weights,
                metrics=self.metrics,
            )  # fmt: skip
        record.validation_cost = scores["cost"]
        record.validation_metrics = {name: scores[name] for name in trainer.metrics}
        record.validation_accuracy = scores.get("accuracy")
        if not math.isfinite(record.validation_cost):
            trainer._fall_back()
            raise CostError(
                f"the cost of the validation images is {record.validation_cost} after epoch "
                f"{record.number}, learning rate {record.learning_rate:g}; the network has the "
                "weights before its last step"
            )
