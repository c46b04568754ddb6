"""Cost, outputs and gradients of a batch: what a step of training begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from .._arrays import plain_array
from ..data.weights import class_weights
from ..graph.precision import FLOAT32
from ..lanes import Lanes
from ..layers import Module
from ..layers.running import start
from ..ops.loss import one_hot
from ..run.share import Share
from ..task import Task, kind_for, numbered
from .losses import Loss


@contextmanager
def called_y() -> Iterator[None]:
    """Errors of a cost that name its argument, "target", name that of the trainer."""
    try:
        yield
    except (TypeError, ValueError) as error:
        argument, found, rest = str(error).partition("target: ")
        if argument or not found:
            raise
        raise type(error)(f"y: {rest}") from error


class Head:
    """One output of a network: its loss, the weight of its cost, and what it is for.

    Parameters
    ----------
    loss : Loss
    weight : float
    task : Task
        Its `kind`, if it is None, is set by the first targets.
    """

    def __init__(self, loss: Loss, weight: float, task: Task) -> None:
        self.loss = loss
        self.kernel = loss.kernel  # what computes the cost, if it is one of the package
        self.weight = weight
        self.task = task
        self.examples: np.ndarray | None = None  # all targets that there are, where they are known

    def __reduce__(self) -> tuple[Any, ...]:
        return Head, (self.loss, self.weight, self.task)  # without the examples

    def targets(self, y: Any, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Task, Any]:
        """The task that it is, and the targets as the cost takes them."""
        targets, task = plain_array(y, "y"), self.task
        if targets.dtype.kind in "US":
            raise TypeError(
                "y: expected class numbers, got texts; numpy.unique(y, return_inverse=True) gives "
                "the names and the numbers"
            )
        if task.kind is None:
            known = targets if self.examples is None else self.examples
            task = replace(task, kind=kind_for(task.outputs, (len(known), *shape[1:]), known))
        return task, targets_for(task, self.loss, targets, shape, dtype)

    def by_class(self, class_weight: Any, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Weights of images, (N,), by their classes, for outputs of that shape, (N, K, ...)."""
        kind = self.task.kind or kind_for(self.task.outputs, shape, y)
        if kind not in ("classes", "probability"):
            raise ValueError(f"class_weight: expected None for a task of {kind}, not of classes")
        count = max(2, shape[1])
        numbers = y.reshape(len(y), -1)
        if kind == "classes" and y.shape == shape:
            numbers = numbers.argmax(axis=1)[:, None]
        if numbers.shape[1] != 1 or not np.isin(numbers, np.arange(count)).all():
            raise ValueError(
                f"class_weight: expected y with one class of {count} for each image, got shape "
                f"{y.shape}"
            )
        return class_weights(class_weight, numbers[:, 0].astype(np.int64), count)


class Backpropagation:
    """Cost, outputs and gradients of batches: by a recorded program, or kernel by kernel.

    Parameters
    ----------
    net : Module
    loss : Loss, or dict of str or int to Loss
        One for each output, by names or numbers, if there are several.
    task : Task, optional
        Of a single output.
    weights : mapping, optional
        Of the costs of several outputs, 1 where nothing is said.

    Attributes
    ----------
    heads : dict of str, int or None to Head
        By output; a single one has the name None.
    """

    def __init__(
        self,
        net: Module,
        loss: Loss | dict[Any, Loss],
        task: Task | None = None,
        weights: Mapping[Any, float] | None = None,
    ) -> None:
        self.net = net
        self.precision = FLOAT32  # of products
        self.heads: dict[Any, Head] = {}
        if isinstance(loss, Loss):
            self.heads[None] = Head(loss, 1.0, task or Task())
            return
        for name, each in loss.items():
            told = Task(each.kind, each.outputs)
            self.heads[name] = Head(each, (weights or {}).get(name, 1.0), told)

    @property
    def several(self) -> bool:
        """Whether there are several outputs."""
        return None not in self.heads

    @property
    def task(self) -> Task:
        """What a single output is for."""
        return Task() if self.several else self.heads[None].task

    def by_class(self, class_weight: Any, y: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Weights of images, (N,), by their classes; ValueError if there are several outputs."""
        if self.several:
            raise ValueError("class_weight: expected None for several outputs")
        return self.heads[None].by_class(class_weight, y, shape)

    def expect(self, targets: Any, kind_is_given: bool) -> None:
        """Look at all targets that will come; rows that are no classes need the task to be given.

        It does not go on with what earlier targets have told.  None where they are not known yet.
        """
        if targets is None:
            for head in self.heads.values():
                head.examples = None
            return
        if self.several:
            for name, head in self.heads.items():
                head.examples = targets.parts.get(name)
            return
        known = self.task
        rows = targets.ndim in (2, 4) and targets.shape[1] > 1
        if rows and known.kind in ("classes", "pictures") and not kind_is_given:
            kind = kind_for(known.outputs, targets.shape, targets)
            if kind != known.kind:
                raise ValueError(
                    f"y: expected targets of the network's task, {known.kind}, got rows of {kind}; "
                    f"Trainer(task={known.kind!r}) or task={kind!r} says which it is"
                )
        self.heads[None].examples = targets

    @called_y()
    def __call__(
        self, x: Any, y: Any, weights: np.ndarray | None = None, share: Share | None = None
    ) -> tuple[float, Any]:
        """The cost and the outputs, (N, K, ...), in training mode; parameters get gradients.

        Parameters
        ----------
        x : array_like, shape (N, ...), or Lanes; a tuple of them for several inputs
        y : array_like, shape (N,) of class numbers or (N, K) of targets
            A dictionary or a tuple of them for several outputs, which come in the same form.
        weights : ndarray, shape (N,), optional
            Of the images, which multiply their costs and gradients.
        share : Share, optional
            The images are those of this rank; cost and gradients are those of the whole batch.
        """
        begun = start(self.net, None, inputs_of(x), self.precision)
        if not begun.trace.in_training:
            self.net.train()
            begun = start(self.net, None, inputs_of(x), self.precision)
        if self.precision != FLOAT32 and begun.trace.graph is None:
            raise ValueError(
                f"precision: {self.precision} is for networks without layers of one's own on arrays"
            )
        heads = list(self.heads.values())
        kernels = [head.kernel for head in heads]
        if share is not None and None in kernels:
            raise ValueError("group: a loss of your own cannot be shared by several processes")
        if (begun.pays or share is not None) and None not in kernels:
            costs = tuple((kernel, h.weight) for kernel, h in zip(kernels, heads, strict=True))
            self._check(begun.trace.form)
            program = begun.program(costs)
            if program is not None:
                shapes = [(begun.images, *shape) for shape in program.outputs]
                tasks, targets = self._targets(y, shapes, begun.dtype)
                values, rows = program.train(begun.batches, targets, weights, share)
                return self._done(tasks, values), self._formed(rows)
        if share is not None:
            raise ValueError(
                "group: a network that is not recorded, with layers of your own on arrays or with "
                "recordings off, cannot be shared by several processes"
            )
        tape, outputs = begun.forward(back=True)
        self._check(tape.form)
        tasks, targets = self._targets(y, tape.shapes, begun.dtype)
        values, gradients = [], []
        for head, output, target in zip(heads, outputs, targets, strict=True):
            value, gradient = head.loss.weighted(output, target, weights)
            values.append(value)
            gradients.append(gradient if head.weight == 1 else weighted(gradient, head.weight))
        cost = self._done(tasks, values)
        tape.run.backward(gradients)
        tape.run.give()
        return cost, self._formed([output.unpack() for output in outputs])

    def _check(self, form: Any) -> None:
        # that there is a loss for each output and no other
        names = form if isinstance(form, list) else None
        if (form is None) is not (None in self.heads) or (
            names is not None and set(names) != set(self.heads)
        ):
            have = "one output" if form is None else f"outputs {names or 'in a tuple'}"
            raise ValueError(
                f"loss: expected a loss for each output, got {', '.join(map(str, self.heads))} for "
                f"a network with {have}"
            )
        if names is not None:
            self.heads = {name: self.heads[name] for name in names}

    def _targets(
        self, y: Any, shapes: Sequence[tuple[int, ...]], dtype: np.dtype
    ) -> tuple[list[Task], list[Any]]:
        if len(shapes) != len(self.heads):
            raise ValueError(f"loss: expected {len(shapes)} losses, got {len(self.heads)}")
        tasks, targets = [], []
        for (name, head), shape in zip(self.heads.items(), shapes, strict=True):
            task, target = head.targets(part_of(y, name), shape, dtype)
            tasks.append(task)
            targets.append(target)
        return tasks, targets

    def _done(self, tasks: Sequence[Task], values: Sequence[float]) -> float:
        # the weighted sum, and what targets have told
        for head, task in zip(self.heads.values(), tasks, strict=True):
            head.task = task
        pairs = zip(self.heads.values(), values, strict=True)
        return float(sum(head.weight * value for head, value in pairs))

    def _formed(self, rows: list[np.ndarray]) -> Any:
        if None in self.heads:
            return rows[0]
        return dict(zip(self.heads, rows, strict=True))


def inputs_of(x: Any) -> list[Any]:
    """The inputs of a network: a tuple has several."""
    return list(x) if isinstance(x, tuple) else [x]


def part_of(y: Any, name: Any) -> Any:
    """The targets of one output; TypeError or ValueError if there are none for it."""
    if name is None:
        return y
    if isinstance(name, int) and isinstance(y, (tuple, list)) and name < len(y):
        return y[name]
    if isinstance(y, Mapping) and name in y:
        return y[name]
    raise ValueError(f"y: expected targets for the output {name!r}, got {type(y).__name__}")


def weighted(gradient: Lanes, weight: float) -> Lanes:
    """A gradient times a number, in its own memory."""
    np.multiply(gradient.data, gradient.dtype.type(weight), out=gradient.data)
    return gradient


def targets_for(
    task: Task, loss: Loss, targets: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
) -> Any:
    """Targets as a cost takes them for outputs of that shape, (N, K, ...).

    Class numbers become one-hot rows; a single output may lack its axis in the targets.

    Raises ValueError if the task or the loss does not fit the outputs.
    """
    if shape[1] == 1 and loss.outputs == "logits":
        raise ValueError(
            f"loss: {loss.name} needs an output for each class, for the softmax of a single output "
            "is always 1; binary_cross_entropy takes one"
        )
    task.check(shape[1:])
    if task.kind in ("classes", "pictures") and numbered(targets, shape):
        return one_hot(targets, shape, dtype)
    if shape[1] == 1 and targets.shape == (shape[0], *shape[2:]):
        return targets[:, None]
    return targets
