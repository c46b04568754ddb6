"""`Evaluator`: costs, accuracies and predictions of a network over a set of images."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from ._dispatch import threads
from .backpropagation import Backpropagation, targets_for
from .data.batching import batches, gather
from .data.labelled import LabelledSet, refuse_no_images
from .layers import Module
from .layers.modes import evaluation_mode
from .losses import LOSSES, Cost, Loss, loss_of
from .task import Task, kind_for, task_of


class Evaluator:
    """What a `Trainer` does without learning; its parameters are those of the trainer."""

    def __init__(
        self,
        net: Module,
        loss: str | Loss | Cost,
        num_threads: int | None,
        task: str | Task | None,
    ) -> None:
        if not isinstance(net, Module):
            raise TypeError(f"net: expected a Module, got {type(net).__name__}")
        dtypes = sorted({str(parameter.data.dtype) for parameter in net.parameters()})
        if len(dtypes) > 1:
            raise ValueError(f"net: expected one number type, got {dtypes}; astype converts all")
        self.net = net
        self.loss = loss_of(loss)
        ending = net.ending
        for last, name in (("Softmax", "cross_entropy"), ("Sigmoid", "binary_cross_entropy")):
            if ending == last and self.loss.name == name:
                raise ValueError(
                    f"loss: {name!r} takes logits and contains the last layer, {last}; leave that "
                    "layer out"
                )
        self.num_threads = num_threads
        with self._threads():  # an error now rather than later
            pass
        self._backpropagate = Backpropagation(net, self.loss, self._first_task(task))
        self._evaluated: Task | None = None

    def _threads(self) -> AbstractContextManager[None]:
        return threads(self.num_threads)

    def _weights(self) -> AbstractContextManager[None]:
        # the weights that are evaluated, inside a block
        return nullcontext()

    def _first_task(self, task: str | Task | None) -> Task:
        # what is known before there are targets
        loss = self.loss.name if self.loss.name in LOSSES else None
        known = task_of(task)
        if task is None and self.net.task is not None:
            known = self.net.task
            if known.loss not in (None, loss):  # what it was for need not be what it is for now
                known = Task(classes=known.classes)
        if known.kind == "labels" and self.loss.outputs == "logits":
            raise ValueError(
                f"task: {self.loss.name} takes one class of each image, not several labels; "
                "binary_cross_entropy takes them"
            )
        outputs = known.outputs or self.loss.outputs
        if outputs is None and self.net.ending is not None:
            outputs = "probabilities"
        return replace(known, kind=known.kind or self.loss.kind, outputs=outputs, loss=loss)

    @property
    def task(self) -> Task:
        """What the network is for, as far as training, or else the last evaluation, has told it."""
        known = self._backpropagate.task
        return self._evaluated if known.kind is None and self._evaluated else known

    def _task_for(self, outputs: np.ndarray, targets: np.ndarray | None) -> Task:
        # the task; where no training has told it, the one that these would make
        known = self._backpropagate.task if targets is not None else self.task
        if known.kind is not None:
            return known
        return replace(known, kind=kind_for(known.outputs, outputs.shape, targets))

    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> dict[str, float]:
        """Mean cost and, unless the task is numbers, accuracy over a set; nothing is learned.

        Parameters
        ----------
        x, y
            As for `fit`.
        batch_size : int

        Returns
        -------
        dict
            "cost" and "accuracy" (0 to 1): the part of the classes, labels or pixels that is right.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        targets = LabelledSet(x, y).y
        outputs = self.outputs(x, batch_size)
        task = self._task_for(outputs, targets)
        cost = 0.0
        for indices in batches(len(outputs), batch_size):
            here = outputs[indices]
            wanted = targets_for(task, self.loss, targets[indices], here.shape, here.dtype)
            part, _ = self.loss.cost(here, wanted)
            cost += part * len(indices)
        scores = {"cost": cost / len(outputs)}
        right = task.right(outputs, targets)
        self._evaluated = task
        return scores if right is None else {**scores, "accuracy": right}

    def outputs(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Outputs of the network in evaluation mode, (N, K, ...), batch by batch."""
        refuse_no_images(x, "x")
        with self._threads(), self._weights(), evaluation_mode(self.net):
            return np.concatenate(
                [self.net(gather(x, indices)) for indices in batches(len(x), batch_size)]
                or [self.net(np.asarray(x))]
            )

    def predict_proba(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Probabilities of the classes or labels, (N, K, ...).

        Raises
        ------
        ValueError
            If the outputs are no probabilities, or it is not known how they become some; then say
            so, ``Trainer(task=Task(outputs="logits"))``.
        """
        return self.task.probabilities(self.outputs(x, batch_size))

    def predict(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """What the task predicts, see `Task`.

        Returns
        -------
        ndarray
            Class numbers, (N,) of int; class maps, (N, P, Q); 0 or 1 for each label, (N, K); or the
            outputs, if the task is numbers.

        Raises
        ------
        ValueError
            If the task is not known yet, or needs probabilities that the outputs do not give.
        """
        outputs = self.outputs(x, batch_size)
        return self._task_for(outputs, None).predictions(outputs)
