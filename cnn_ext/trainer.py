"""`Trainer`: gradient descent over a set of images, with a watch on a validation set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from . import ops
from ._dispatch import threads
from .data.batching import batches, gather
from .history import EarlyStopping, Epoch, History
from .layers import Dropout, Sequential, Sigmoid, Softmax
from .losses import Cost, Loss, loss_of
from .metrics import accuracy
from .optim import SGD
from .ops.loss import one_hot
from .progress import Progress
from .schedules import Schedule, schedule_of

Callback = Callable[["Trainer", Epoch], Any]


class CostError(ArithmeticError):
    """The cost became NaN or infinite; the network has the last weights whose cost was finite."""


class Trainer:
    """Trains and evaluates a network.

    Parameters
    ----------
    net : Sequential
    loss : str, Loss or function (outputs, targets) -> (cost, gradient)
        "cross_entropy" and "binary_cross_entropy" (both take logits, the outputs before softmax or
        sigmoid), "quadratic" or "mse".
    optimizer : SGD, optional
        By default ``SGD(net.parameters(), lr=0.05, momentum=0.9)``.
    seed : int or None
        For the order of the images, the split and dropout; the same seed gives the same weights,
        bit for bit, at any number of threads.
    num_threads : int, optional
        Threads of the kernels while the trainer works; what is set for the process by default.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    def __init__(
        self,
        net: Sequential,
        loss: str | Loss | Cost = "cross_entropy",
        optimizer: SGD | None = None,
        seed: int | None = 0,
        num_threads: int | None = None,
    ) -> None:
        if not isinstance(net, Sequential):
            raise TypeError(f"net: expected a Sequential, got {type(net).__name__}")
        self.net = net
        self.loss = loss_of(loss)
        last = list(net.walk())[-1:]
        for kind, name in ((Softmax, "cross_entropy"), (Sigmoid, "binary_cross_entropy")):
            if last and isinstance(last[0], kind) and self.loss.name == name:
                raise ValueError(
                    f"loss: {name!r} takes logits and contains the last layer, "
                    f"{kind.__name__}; leave that layer out"
                )
        self.optimizer = optimizer or SGD(net.parameters(), lr=0.05, momentum=0.9)
        self.num_threads = num_threads
        with self._threads():  # an error now rather than later
            pass
        self._rng = np.random.default_rng(seed)
        for layer in net.walk():
            if isinstance(layer, Dropout):
                layer.rng = np.random.default_rng(self._rng.integers(2**63))
        self._good = [np.empty_like(p.data) for p in self.optimizer.parameters]

    def _threads(self) -> AbstractContextManager[None]:
        return threads(self.num_threads)

    # --------------------------------------------------------------------------------- training

    def train_on_batch(self, x: Any, y: Any) -> float:
        """One step of descent on one batch.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W)
            Real numbers, or bytes, which are divided by 255.
        y : array_like, shape (N,) of class numbers or (N, K) of targets

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
        return self._step(x, y)[0]

    def _step(self, x: Any, y: Any) -> tuple[float, np.ndarray]:
        # the cost and the outputs
        with self._threads():
            net = self.net.train()
            outputs = net.forward(net._pack(x))
            cost, gradient = self.loss.cost(outputs, self._targets(y, outputs.shape))
            if not math.isfinite(cost):
                if self.optimizer_has_stepped:
                    self._restore(self._good)
                raise CostError(f"the cost is {cost}")
            for good, parameter in zip(self._good, self.optimizer.parameters, strict=True):
                np.copyto(good, parameter.data)
            net.backward(gradient, need_dx=False)
            self.optimizer.step()
            self.optimizer_has_stepped = True
            return cost, outputs.unpack()

    optimizer_has_stepped = False

    def _restore(self, weights: list[np.ndarray]) -> None:
        for saved, parameter in zip(weights, self.optimizer.parameters, strict=True):
            np.copyto(parameter.data, saved)

    def _targets(self, y: Any, shape: tuple[int, ...]) -> Any:
        # class numbers become one-hot rows where the cost wants rows; (N,) is (N, 1) for one output
        targets = np.asarray(y)
        if targets.ndim == 1 and len(shape) == 2:
            if shape[1] == 1:
                return targets[:, None]
            if targets.dtype.kind in "iu" and self.loss.classifies:
                return one_hot(targets, shape[0], shape[1], self.net.dtype)
        return targets

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 1,
        batch_size: int = 64,
        validation_data: tuple[Any, Any] | None = None,
        validation_split: float = 0.0,
        schedule: str | Schedule | None = None,
        early_stopping: int | EarlyStopping | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = True,
    ) -> History:
        """Train for some epochs, each one pass over all images in a new random order.

        Ctrl-C ends the training after the step at hand: the history so far is returned, with
        `stopped` "interrupted".

        Parameters
        ----------
        x : array, memmap or anything that gives a batch for an array of indices, (N, C, H, W)
        y : array_like, shape (N,) of class numbers or (N, K) of targets
        epochs, batch_size : int
        validation_data : (x, y), optional
            Images that are never trained on, evaluated after each epoch.
        validation_split : float
            Or the part of the images, chosen at random, that is kept aside for that.
        schedule : "constant", "step", "cosine", "one-cycle" or a function, optional
            What to multiply the learning rate by, see `schedules`.
        early_stopping : int or EarlyStopping, optional
            Stop after so many epochs without a lower validation cost, and take the best weights.
        callbacks : functions (trainer, epoch), optional
            Called after each epoch; training stops if one returns True.
        progress : bool
            Show how far training is, on standard error.

        Returns
        -------
        History

        Raises
        ------
        CostError
            If the cost becomes NaN or infinite; see `train_on_batch`.
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        targets = np.asarray(y)
        if len(x) != len(targets):
            raise ValueError(f"y: expected {len(x)} targets, one for each image, got {len(targets)}")
        if epochs < 1:
            raise ValueError(f"epochs: expected at least 1, got {epochs!r}")
        chosen = np.arange(len(x))
        validation = _Subset(*validation_data) if validation_data is not None else None
        if validation_split:
            if validation is not None:
                raise ValueError("validation_split: expected no validation_data with it")
            if not 0 < validation_split < 1:
                raise ValueError(f"validation_split: expected 0 to 1, got {validation_split!r}")
            order = self._rng.permutation(len(x))
            kept = round(len(x) * validation_split)
            validation, chosen = _Subset(x, targets, order[:kept]), np.sort(order[kept:])
        if not len(chosen) or (validation is not None and not len(validation)):
            raise ValueError(f"x: expected images to train and to validate on, got {len(x)}")
        stopping = early_stopping
        if isinstance(stopping, int):
            stopping = EarlyStopping(stopping)
        if stopping is not None:
            if validation is None:
                raise ValueError("early_stopping: expected validation_data or validation_split")
            stopping.start()
        factor = schedule_of(schedule)
        lr = self.optimizer.lr
        steps = -(-len(chosen) // batch_size) if batch_size > 0 else 0
        history = History()
        try:
            for epoch in range(epochs):
                started = time.perf_counter()
                bar = Progress(f"epoch {epoch + 1}/{epochs}", steps, progress)
                costs, right = 0.0, 0
                for step, indices in enumerate(batches(len(chosen), batch_size, self._rng)):
                    self.optimizer.lr = lr * factor((epoch * steps + step) / (epochs * steps))
                    picked = chosen[indices]
                    try:
                        cost, outputs = self._step(gather(x, picked), targets[picked])
                    except CostError as error:
                        bar.close()
                        raise CostError(
                            f"{error} in epoch {epoch + 1}, batch {step + 1} of {steps}, learning "
                            f"rate {self.optimizer.lr:g}; the network has the last weights whose "
                            "cost was finite"
                        ) from None
                    costs += cost * len(picked)
                    right += self._count_right(outputs, targets[picked])
                    bar.advance(f"cost {costs / (step * batch_size + len(picked)):.4f}")
                seconds = time.perf_counter() - started
                record = Epoch(
                    number=epoch + 1,
                    cost=costs / len(chosen),
                    accuracy=right / len(chosen) if self.loss.classifies else None,
                    learning_rate=self.optimizer.lr,
                    seconds=seconds,
                    images_per_second=len(chosen) / seconds,
                )
                if validation is not None:
                    scores = self.evaluate(validation, validation.y)
                    record.validation_cost = scores["cost"]
                    record.validation_accuracy = scores.get("accuracy")
                history.append(record)
                bar.close(record.text())
                stop = [callback(self, record) for callback in callbacks]
                if any(answer is True for answer in stop):
                    history.stopped = "callback"
                elif stopping is not None and stopping.seen_enough(record, self.optimizer.parameters):
                    history.stopped = "early"
                if history.stopped:
                    break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
        finally:
            self.optimizer.lr = lr
            self.net.eval()
        if stopping is not None and stopping.best is not None and stopping.restore_best:
            self._restore(stopping.best)
        return history

    # ------------------------------------------------------------------------------- evaluation

    def _count_right(self, outputs: np.ndarray, targets: np.ndarray) -> int:
        if not self.loss.classifies:
            return 0
        return int((self.loss.predictions(outputs) == _classes(targets)).sum())

    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> dict[str, float]:
        """Mean cost and, if the loss classifies, accuracy over a set; nothing is learned.

        Parameters
        ----------
        x, y
            As for `fit`.
        batch_size : int

        Returns
        -------
        dict
            "cost" and "accuracy" (0 to 1).

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        targets = np.asarray(y)
        if len(x) != len(targets) or not len(targets):
            raise ValueError(f"y: expected {len(x)} targets, at least one, got {len(targets)}")
        outputs = self.outputs(x, batch_size)
        cost = 0.0
        for indices in batches(len(outputs), batch_size):
            here = outputs[indices]
            part, _ = self.loss.cost(here, self._targets(targets[indices], here.shape))
            cost += part * len(indices)
        scores = {"cost": cost / len(outputs)}
        if self.loss.classifies:
            scores["accuracy"] = accuracy(_classes(targets), self.loss.predictions(outputs))
        return scores

    def outputs(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Outputs of the network in evaluation mode, (N, K), batch by batch."""
        mode = self.net.training
        self.net.eval()
        try:
            with self._threads():
                return np.concatenate(
                    [self.net(gather(x, indices)) for indices in batches(len(x), batch_size)]
                    or [self.net(np.asarray(x))]
                )
        finally:
            self.net.training = mode

    def predict_proba(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Probabilities of the classes, (N, K); plain outputs for "quadratic" and "mse"."""
        return self.loss.probabilities(self.outputs(x, batch_size))

    def predict(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Classes, (N,) of int; the outputs, (N, K), for "mse"."""
        return self.loss.predictions(self.outputs(x, batch_size))


def _classes(targets: np.ndarray) -> np.ndarray:
    if targets.ndim == 2 and targets.shape[1] > 1:
        return targets.argmax(axis=1)
    return (targets.reshape(len(targets)) > 0.5).astype(np.int64) if targets.dtype.kind == "f" else (
        targets.reshape(len(targets))
    )


class _Subset:
    """Some images of a set and their targets, without copying the set."""

    def __init__(self, x: Any, y: Any, indices: np.ndarray | None = None) -> None:
        self.x = x
        self.indices = np.arange(len(x)) if indices is None else indices
        self.y = np.asarray(y) if indices is None else np.asarray(y)[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, chosen: np.ndarray) -> Any:
        return gather(self.x, self.indices[chosen])
