"""`Evaluator`: costs, accuracies and predictions of a network over a set of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import tee
from typing import Any

import numpy as np

from .. import _check as check
from .. import ops
from .._arrays import each_of
from .._dispatch import threads
from ..data.batching import batches, gather, read, source_of
from ..data.labelled import LabelledSet, refuse_no_images
from ..data.stream import Stream
from ..layers import Module
from ..layers.running import evaluation_mode, first_numbers
from ..run.share import Group, Share, shared
from ..scale import far_from_unit
from ..task import Task, kind_for, task_of
from .backpropagation import Backpropagation, called_y, inputs_of, part_of, targets_for
from .losses import LOSSES, Loss, loss_of
from .scoring import Score, scored_by, scores_of


class Evaluator:
    """What a `Trainer` does without learning; its parameters are those of the trainer."""

    def __init__(
        self,
        net: Module,
        loss: Any,
        num_threads: int | None,
        task: str | Task | None,
        loss_weights: Mapping[Any, float] | Sequence[float] | None = None,
        group: Group | None = None,
    ) -> None:
        if not isinstance(net, Module):
            raise TypeError(f"net: expected a Module, got {type(net).__name__}")
        dtypes = sorted({str(parameter.data.dtype) for parameter in net.parameters()})
        if len(dtypes) > 1:
            raise ValueError(f"net: expected one number type, got {dtypes}; astype converts all")
        self.net = net
        self.num_threads = num_threads
        self.group = None if group is None or group.size == 1 else group
        with self._threads():  # an error now rather than later
            pass
        self._evaluated: Task | None = None
        self._looked: set[str] = set()
        if isinstance(loss, (Mapping, list, tuple)):
            losses = {name: loss_of(each) for name, each in named(loss)}
            weights = {
                name: check.number(weight, f"loss_weights[{name!r}]")
                for name, weight in named(loss_weights or {})
            }
            if not losses or weights.keys() - losses.keys():
                raise ValueError(
                    f"loss_weights: expected weights of {sorted(map(str, losses))}, got "
                    f"{sorted(map(str, weights))}"
                )
            if task is not None:
                raise ValueError("task: expected None with several losses")
            self._backpropagate = Backpropagation(net, losses, None, weights)
            return
        if loss_weights is not None:
            raise ValueError("loss_weights: expected None with a single loss")
        self.loss = loss_of(loss)
        contained = {"logits": "Softmax", "sigmoid": "Sigmoid"}.get(self.loss.outputs or "")
        if contained is not None and net.ending == contained:
            raise ValueError(
                f"loss: {self.loss.name!r} takes logits and contains the last layer, {contained}; "
                "leave that layer out"
            )
        self._backpropagate = Backpropagation(net, self.loss, self._first_task(task))

    def _threads(self) -> AbstractContextManager[None]:
        return threads(self.num_threads)

    def _look_at(self, images: np.ndarray, name: str) -> None:
        # warn once of numbers that first weights and learning rates are not made for
        if name in self._looked or isinstance(images, tuple):
            return
        self._looked.add(name)
        size = far_from_unit(first_numbers(self.net, images))
        if size is not None:
            self._looked = {"x", "validation_data"}
            warnings.warn(
                f"{name}: numbers of root mean square {size:.3g}, as the network takes them, are "
                "far from unit range; let it begin with Normalize().fit(x), or scale them",
                stacklevel=7,  # where `fit` was called
            )

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

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 256,
        views: Any = None,
        sample_weight: Any = None,
        metrics: Any = None,
    ) -> dict[str, float]:
        """Mean cost and, unless the task is numbers, accuracy over a set; nothing is learned.

        Parameters
        ----------
        x, y
            As for `fit`; an iterable of batches is gone through to its end, without `batch_size`.
        batch_size : int
        views : str or sequence, optional
            As for `outputs`.
        sample_weight : array_like, shape (N,), optional
            As for `fit`; of the cost alone.
        metrics : sequence of str or function (targets, outputs) -> float, optional
            More figures: "error", "top_5_accuracy" (or another number), "precision", "recall",
            "f1", "roc_auc", "mean_absolute_error", "r2", or functions that take the targets as they
            were given and the outputs.  Of several classes or labels they are means over all of
            them, of a probability those of 1.  For several outputs a dictionary of lists.

        Returns
        -------
        dict
            "cost" and "accuracy" (0 to 1): the part of the classes, labels or pixels that is right;
            then the metrics.  Of several outputs the weighted sum, "cost", and all for each,
            "NAME_cost".

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit; the message names it.
        """
        back = self._backpropagate
        chosen = self._scores(metrics)
        if y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight: expected None with batches, which have their own")
            outputs, targets, weights = self._through(Stream(x, "x", back.several), views)
        else:
            given = LabelledSet(x, y, several=back.several, sample_weight=sample_weight)
            targets, weights = given.y.parts if back.several else given.y, given.weights
            outputs = self.outputs(x, batch_size, views)
        if not back.several:
            task = self._task_for(outputs, targets)
            scores = scored(self.loss, task, outputs, targets, batch_size, weights)
            self._evaluated = task
            return scores | scored_by(chosen[None], task, outputs, targets)
        scores = {"cost": 0.0}
        for name, head in back.heads.items():
            here, wanted = part_of(outputs, name), part_of(targets, name)
            task, _ = head.targets(wanted, here.shape, here.dtype)
            each = scored(head.loss, task, here, wanted, batch_size, weights)
            scores["cost"] += head.weight * each["cost"]
            each |= scored_by(chosen[name], task, here, wanted)
            scores |= {f"{name}_{key}": value for key, value in each.items()}
        return scores

    def _scores(self, metrics: Any) -> dict[Any, dict[str, Score]]:
        return scores_of(metrics, list(self._backpropagate.heads))

    def outputs(self, x: Any, batch_size: int = 256, views: Any = None) -> Any:
        """Outputs of the network in evaluation mode, (N, K, ...), batch by batch.

        Of several outputs a dictionary or a tuple of them.

        Parameters
        ----------
        x : array, or anything that `fit` takes
        batch_size : int
        views : "mirror", "translate", "mirror+translate" or sequence of transforms, optional
            Give the mean over several views of each image: it and its mirror image; it and what a
            move by one pixel in each direction makes of it; it and its mirror image, which weigh
            twice as much, and both moved by (-1, -1) and (1, 1) pixels; or what transforms, or
            lists of them, make of it (see `augment`).
        """
        inputs = [source_of(part) for part in inputs_of(x)]
        for part in inputs:
            refuse_no_images(part, "x")
        share = shared(self.group, len(inputs[0]), 1)
        own = slice(0, len(inputs[0])) if share is None else share.part
        numbers = (own.start + each for each in batches(own.stop - own.start, batch_size))
        order = tee(numbers, len(inputs))
        sets = [read(part, each) for part, each in zip(inputs, order, strict=True)]
        found = (([images for _, images in each], each[0][0]) for each in zip(*sets, strict=True))
        parts = self._answers(found, len(inputs), views)
        if not parts:
            none = [gather(part, np.zeros(0, np.intp)) for part in inputs]
            with self._threads(), self._weights(), evaluation_mode(self.net):
                parts = [self.net(*none)]
        return self._whole(parts, views, share)

    def _answers(
        self, found: Iterator[tuple[list[np.ndarray], np.ndarray]], inputs: int, views: Any
    ) -> list[Any]:
        # the outputs of batches of images and their numbers
        answer = self._answer if views is None else _over(views, self.net, inputs)
        with self._threads(), self._weights(), evaluation_mode(self.net):
            return [answer(images, indices) for images, indices in found]

    def _whole(self, parts: list[Any], views: Any, share: Share | None = None) -> Any:
        outputs = joined(parts)
        if share is not None:
            outputs = each_of(share.whole, outputs)
        if views is not None and self.task.outputs == "log_probabilities":
            return ops.log_softmax(outputs)  # means of logarithms have no sum of 1
        return outputs

    def _through(self, stream: Stream, views: Any) -> tuple[Any, Any, np.ndarray | None]:
        # outputs, targets and weights of all batches
        kept: list[tuple[Any, np.ndarray]] = []

        def found() -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
            for batch in stream.all():
                weights = np.ones(len(batch.indices)) if batch.weights is None else batch.weights
                kept.append((batch.targets, weights))
                yield inputs_of(batch.images), batch.indices

        parts = self._answers(found(), 1, views)
        targets, weights = (joined(list(each)) for each in zip(*kept, strict=True))
        return self._whole(parts, views), targets, weights

    def _answer(self, images: list[np.ndarray], indices: np.ndarray) -> Any:
        return self.net(*images)

    def predict_proba(self, x: Any, batch_size: int = 256, views: Any = None) -> np.ndarray:
        """Probabilities of the classes or labels, (N, K, ...); `views` as for `outputs`.

        Raises
        ------
        ValueError
            If the outputs are no probabilities, or it is not known how they become some; then say
            so, ``Trainer(task=Task(outputs="logits"))``.
        """
        return self.task.probabilities(self.outputs(x, batch_size, views))

    def predict(self, x: Any, batch_size: int = 256, views: Any = None) -> np.ndarray:
        """What the task predicts, see `Task`; `views` as for `outputs`.

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
        outputs = self.outputs(x, batch_size, views)
        return self._task_for(outputs, None).predictions(outputs)


def _over(views: Any, net: Module, inputs: int) -> Callable[[list[np.ndarray], np.ndarray], Any]:
    # the mean over views of some images
    from ..augment import mean_over, views_of  # which most programs do without

    chosen = views_of(views)
    if inputs > 1:
        raise ValueError("views: expected None for a network with several inputs")
    return lambda images, indices: mean_over(chosen, net, images[0], indices)


def joined(parts: list[Any]) -> Any:
    """Arrays of batches one behind the other, or dictionaries or tuples of them."""
    return each_of(lambda *arrays: np.concatenate(arrays), *parts)


def named(losses: Any) -> list[tuple[Any, Any]]:
    """Names or numbers of outputs, and what is given for each."""
    return list(losses.items()) if isinstance(losses, Mapping) else list(enumerate(losses))


@called_y()
def scored(
    loss: Loss,
    task: Task,
    outputs: np.ndarray,
    targets: np.ndarray,
    batch_size: int,
    weights: np.ndarray | None,
) -> dict[str, float]:
    """Mean cost and, unless the task is numbers, accuracy of one output."""
    cost = 0.0
    for indices in batches(len(outputs), batch_size):
        here = outputs[indices]
        wanted = targets_for(task, loss, targets[indices], here.shape, here.dtype)
        part, _ = loss.weighted(here, wanted, None if weights is None else weights[indices])
        cost += part * len(indices)
    scores = {"cost": cost / len(outputs)}
    right = task.right(outputs, targets)
    return scores if right is None else {**scores, "accuracy": right}
