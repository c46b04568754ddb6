"""Losses by name: the cost, what it takes the outputs for, and what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .. import _check as check
from .. import ops
from ..lanes import Lanes
from ..ops.loss import Kernel, kernel_of
from ..ops.loss import loss as loss_by

Cost = Callable[[Any, Any], tuple[float, Any]]


@dataclass(frozen=True)
class Loss:
    """A cost for training.

    Parameters
    ----------
    name : str
    cost : function (outputs, targets) -> (cost, gradient at the outputs)
        All of shape (N, K, ...), but for the cost, a number.  Class numbers come as one-hot rows.
    outputs : str, optional
        What `cost` takes the outputs for: "logits" or "sigmoid" if it contains softmax or sigmoid.
    kind : str, optional
        The only task that it is for, see `Task`; by default the targets tell.
    takes_lanes : bool
        Whether `cost` also takes and returns `Lanes`; one of your own works on plain arrays.
    """

    name: str
    cost: Cost
    outputs: str | None = None
    kind: str | None = None
    takes_lanes: bool = False

    @property
    def kernel(self) -> Kernel | None:
        """What computes the cost, if it is one of the package."""
        return kernel_of(self.cost)

    def weighted(self, outputs: Any, targets: Any, weights: np.ndarray | None) -> tuple[float, Any]:
        """What `cost` gives, with a weight for each image, (N,), that multiplies cost and gradient.

        Raises ValueError if there are weights for a cost of one's own.
        """
        if isinstance(self.cost, _Sum):
            return self.cost(outputs, targets, weights)
        if weights is None:
            return self.cost(outputs, targets)
        kernel = self.kernel
        if kernel is None:
            raise ValueError(
                f"sample_weight, class_weight: expected a loss of the package, one of "
                f"{', '.join(LOSSES)}, got {self.name}, which takes no weights"
            )
        return loss_by(kernel, outputs, targets, "outputs", weights)


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """`ops.cross_entropy`, with part of each target spread over all classes."""
    return _of("cross_entropy", ops.cross_entropy, "logits", label_smoothing=label_smoothing)


def focal(gamma: float = 2.0) -> Loss:
    """`ops.focal`, the cross-entropy with less weight on what is predicted well."""
    return _of("focal", ops.focal, "logits", gamma=gamma)


def hinge() -> Loss:
    """`ops.hinge`, of classes whose outputs are no probabilities."""
    return Loss("hinge", ops.hinge, "numbers", kind="classes", takes_lanes=True)


def huber(delta: float = 1.0) -> Loss:
    """`ops.huber`, for numbers with outliers."""
    return _of("huber", ops.huber, kind="numbers", delta=delta)


def weighted_sum(weights: Mapping[str | Loss, float]) -> Loss:
    """Several costs of the same outputs and targets, each times a number.

    It is computed layer by layer, without a recorded step.

    Parameters
    ----------
    weights : mapping of str or Loss to float
        ``{"cross_entropy": 1.0, losses.focal(3.0): 0.5}``; not costs that take the outputs for
        something else, as "cross_entropy" and "binary_cross_entropy" do.

    Raises
    ------
    TypeError, ValueError
        If a loss or a number is none, or losses do not go together.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise TypeError(f"weights: expected numbers by loss, got {weights!r:.99}")
    parts = [(loss_of(each), weight) for each, weight in weights.items()]
    made = tuple((loss, check.number(weight, loss.name)) for loss, weight in parts)
    outputs = {loss.outputs for loss, _ in made} - {None}
    kinds = {loss.kind for loss, _ in made} - {None}
    contains = outputs & {"logits", "sigmoid"}
    if len(outputs) > 1 or len(kinds) > 1 or (kinds == {"numbers"} and contains):
        names = ", ".join(loss.name for loss, _ in made)
        raise ValueError(f"weights: expected losses of the same outputs and targets, got {names}")
    name = " + ".join(f"{weight:g} {_told(loss)}" for loss, weight in made)
    return Loss(name, _Sum(made), next(iter(outputs), None), next(iter(kinds), None), True)


def _of(
    name: str, cost: Cost, outputs: str | None = None, kind: str | None = None, **option: float
) -> Loss:
    made = Loss(name, partial(cost, **option), outputs, kind, takes_lanes=True)
    assert made.kernel is not None  # which refuses a wrong option
    return made


LOSSES = {
    loss.name: loss
    for loss in (
        cross_entropy(),
        focal(),
        hinge(),
        Loss("binary_cross_entropy", ops.binary_cross_entropy, "sigmoid", takes_lanes=True),
        Loss("quadratic", ops.quadratic, takes_lanes=True),
        Loss("mse", ops.mse, kind="numbers", takes_lanes=True),
        huber(),
    )
}


def loss_of(loss: str | Loss | Cost) -> Loss:
    """A loss given as one of `LOSSES` by name, as such or as a cost function; it takes lanes.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or the name is unknown.
    """
    if isinstance(loss, Loss):
        return loss if loss.takes_lanes else replace(loss, cost=_OnLanes(loss.cost))
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
        return LOSSES[loss]
    if callable(loss):
        return Loss(getattr(loss, "__name__", "loss"), _OnLanes(loss))
    raise TypeError(f"loss: expected a name or a function, got {loss!r}")


def _told(loss: Loss) -> str:
    # the name with its option, so that sums that differ have other names
    kernel = loss.kernel
    option = f"({kernel.option}={kernel.value:g})" if kernel is not None and kernel.option else ""
    return loss.name + option


@dataclass(frozen=True)
class _Sum:
    # costs of the same outputs, and how much each counts
    parts: tuple[tuple[Loss, float], ...]

    def __call__(
        self, outputs: Any, targets: Any, weights: np.ndarray | None = None
    ) -> tuple[float, Any]:
        total, gradient = 0.0, 0.0
        for loss, factor in self.parts:
            cost, part = loss.weighted(outputs, targets, weights)
            total += factor * cost
            numbers = part.data if isinstance(part, Lanes) else part
            gradient = gradient + numbers * numbers.dtype.type(factor)
        if isinstance(part, Lanes):
            part.data[...] = gradient
            return total, part
        return total, gradient


@dataclass(frozen=True)
class _OnLanes:
    # a cost of plain arrays, for the trainer's lanes; a class, as a function in here has no pickle
    cost: Cost

    def __call__(self, outputs: Any, targets: Any) -> tuple[float, Any]:
        targets = targets.unpack() if isinstance(targets, Lanes) else targets
        if not isinstance(outputs, Lanes):
            return self.cost(outputs, targets)
        total, gradient = self.cost(outputs.unpack(), targets)
        gradient = check.real_array(gradient, "the gradient of the loss")
        check.same_shape(gradient, "the gradient of the loss", outputs.shape)
        return float(total), Lanes.pack(gradient, outputs.dtype)
