"""`ExponentialMovingAverage`: the mean of the weights along the way, which often does better."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from operator import setitem
from typing import Any

import numpy as np

from .. import _check as check
from .. import _core
from ..parameter import Buffer, Call, at_once
from ._groups import Network, Parameters, parameters_of


class ExponentialMovingAverage:
    """The mean of the weights after each step so far, those of k steps ago with weight decay^k.

    ``a += (p - a) (1 - decay) / (1 - decay^t)`` after the step t, from 1: Polyak's average with a
    memory of about ``1 / (1 - decay)`` steps, its bias corrected as in Adam (Kingma and Ba 2015,
    section 3), so that the first weights do not linger.  Buffers are not averaged.

    Parameters
    ----------
    parameters : network or iterable of Parameter
    decay : float
        From 0 up to but not 1.

    Attributes
    ----------
    parameters : list of Parameter
    averages : list of Buffer
        In the same order; the weights themselves before the first update.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    def __init__(self, parameters: Parameters, decay: float = 0.999) -> None:
        self.decay = check.number(decay, "decay", 0, 1)
        if self.decay == 1:
            raise ValueError(f"decay: expected less than 1, got {decay!r}")
        self.parameters = parameters_of(parameters)
        self.reset()

    def reset(self) -> None:
        """Begin anew with the weights as they are."""
        # the count is an array like the averages, so that who restores these restores it too
        self._count = Buffer(np.zeros(()))
        self.averages = [Buffer(parameter.data.copy()) for parameter in self.parameters]

    @property
    def updates(self) -> int:
        """How many steps were averaged."""
        return int(self._count.data)

    @property
    def kept(self) -> list[Buffer]:
        """All that an update changes, in arrays of their own: the averages and their count."""
        return [*self.averages, self._count]

    def update(self) -> None:
        """Take in the weights as they are, after a step; an interrupt finds it done or not done."""
        count = self.updates + 1
        weight = (1 - self.decay) / (1 - self.decay**count)
        calls: list[Call] = [(setitem, self._count.data, ..., count)]
        arrays = self._arrays()
        for parameter, average, array in zip(self.parameters, self.averages, arrays, strict=True):
            data = parameter.data
            if weight == 1:
                calls.append((setitem, array, ..., data))
            else:
                calls.append((_core.average, data, array, data.itemsize, data.size, weight))
            calls.append((setattr, average, "_data", array))
        at_once(calls)

    def _arrays(self) -> list[np.ndarray]:
        # the averages in the shape and number type of the parameters, which may have changed
        arrays = []
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            array, data = average.data, parameter.data
            if array.shape != data.shape:
                array = data.copy()
            elif array.dtype != data.dtype:
                array = array.astype(data.dtype)
            arrays.append(array)
        return arrays

    def applied(self) -> AbstractContextManager[None]:
        """The averages in place of the weights inside a `with` block, for evaluation.

        After it, whatever interrupts it, the parameters have their own arrays again.
        """
        arrays = self._arrays()

        def put_in() -> None:
            for parameter, array in zip(self.parameters, arrays, strict=True):
                parameter.data = array

        # the attribute behind `data`, which C sets back without a line of Python
        return _core.Restored([(parameter, "_data") for parameter in self.parameters], put_in)

    def copy_to(self, parameters: Parameters | None = None) -> None:
        """Write the averages into the parameters, or into those of another network alike.

        Raises
        ------
        TypeError, ValueError
            If there are not as many, of the same shapes; then nothing has changed.
        """
        chosen = self.parameters if parameters is None else parameters_of(parameters)
        if len(chosen) != len(self.averages):
            raise ValueError(f"parameters: expected {len(self.averages)}, got {len(chosen)}")
        for i, (parameter, average) in enumerate(zip(chosen, self.averages, strict=True)):
            check.same_shape(parameter.data, f"parameters[{i}]", average.data.shape)
        pairs = zip(chosen, self.averages, strict=True)
        at_once([(setitem, parameter.data, ..., average.data) for parameter, average in pairs])

    def state_dict(self) -> dict[str, Any]:
        """Copies of the averages by number of the parameter, with "decay" and "updates"."""
        averages = {i: average.data.copy() for i, average in enumerate(self.averages)}
        return {"averages": averages, "decay": self.decay, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; all of it, or nothing if anything does not fit.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything does not fit; the message names it.
        """
        at_once(self._loading(state))

    def _loading(self, state: Any) -> list[Call]:
        # the calls that take over a state, all of which fits
        if not isinstance(state, Mapping) or state.keys() != {"averages", "decay", "updates"}:
            what = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise KeyError(f"state: expected 'averages', 'decay' and 'updates', got {what}")
        averages, numbers = state["averages"], range(len(self.parameters))
        if not isinstance(averages, Mapping) or averages.keys() != set(numbers):
            raise KeyError(f"averages: expected arrays for the numbers below {len(numbers)}")
        decay = ExponentialMovingAverage([], state["decay"]).decay
        count = check.whole(state["updates"], "updates", 0)
        arrays = []
        for i, parameter in enumerate(self.parameters):
            array = check.real_array(averages[i], f"averages[{i}]")
            check.same_shape(array, f"averages[{i}]", parameter.data.shape)
            arrays.append(np.array(array, parameter.data.dtype, order="C"))
        pairs = zip(self.averages, arrays, strict=True)
        return [
            *[(setattr, average, "_data", array) for average, array in pairs],
            (setitem, self._count.data, ..., count),
            (setattr, self, "decay", decay),
        ]


def average_of(
    average: float | ExponentialMovingAverage | None, net: Network
) -> ExponentialMovingAverage | None:
    """An average of a network's weights given as such, as its decay, or as None for none."""
    if average is None:
        return None
    if not isinstance(average, ExponentialMovingAverage):
        return ExponentialMovingAverage(net, check.number(average, "average", 0, 1))
    strangers = set(map(id, average.parameters)) - set(map(id, net.parameters()))
    if strangers:
        raise ValueError(f"average: {len(strangers)} of its parameters are not of the network")
    return average
