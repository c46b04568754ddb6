"""`Optimizer`: groups of parameters, slots, and steps that an interrupt never halves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_, setitem
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import _check as check
from ..parameter import Call, Parameter, at_once
from ._groups import Groups, gradient_of, items_of, parameters_of
from .clipping import clipped

State = dict[str, Any]  # the slots of one parameter, and "step", the number of its steps


class _Checked(NamedTuple):
    # a group whose hyper-parameters fit
    group: dict[str, Any]  # as it was given
    options: dict[str, Any]
    of_biases: dict[str, Any]  # and of whatever has fewer than two axes
    slots: tuple[str, ...]


class Optimizer:
    """What all rules of descent share; a rule of your own is a class with `slots` and `update`.

    Parameters
    ----------
    parameters : network, iterable of Parameter, or iterable of groups
        A group is a dictionary with the key "params" (a network, parameters or one of them) and
        hyper-parameters of its own; what it does not say is taken from the arguments.  A parameter
        that comes twice is moved once, and may be in one group only.
    defaults : dict
        The hyper-parameters by name, "lr" among them.
    decay_biases : bool
        False keeps weight decay from parameters with fewer than two axes: biases, and the weights
        of normalisation.  A hyper-parameter of groups too.
    max_norm : float, optional
        Before each step the gradients of all groups together are clipped to this norm, as
        `clip_grad_norm_` does it; ``Parameter.grad`` stays as it is.
    max_value : float, optional
        Or to numbers of at most this size, as `clip_grad_value_`; both at once are refused.

    Attributes
    ----------
    param_groups : list of dict
        "params" and the hyper-parameters of each group, which may be changed between steps.
    state : list of dict
        For each parameter in the order of the groups the slots, and "step", how many steps they
        have seen; empty before the first step.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """

    #: names of the arrays that are kept for each parameter
    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        parameters: Groups,
        defaults: Mapping[str, Any],
        *,
        decay_biases: bool = True,
        max_norm: float | None = None,
        max_value: float | None = None,
    ) -> None:
        self.defaults = self.checked({**defaults, "decay_biases": decay_biases})
        if self.defaults["lr"] == 0:
            raise ValueError(f"lr: expected a number above 0, got {defaults['lr']!r}")
        if max_norm is not None and max_value is not None:
            raise ValueError("max_value: expected None with max_norm")
        self.max_norm = None if max_norm is None else check.number(max_norm, "max_norm")
        self.max_value = None if max_value is None else check.number(max_value, "max_value")
        self.param_groups: list[dict[str, Any]] = []
        self.state: list[State] = []
        self._known: dict[int, _Checked] = {}
        items = items_of(parameters)
        grouped = bool(items) and all(isinstance(item, Mapping) for item in items)
        for group in items if grouped else [{"params": items}]:
            self.add_param_group(group)

    # ---------------------------------------------------------------------- what a rule defines

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """The hyper-parameters of a group as plain numbers; a rule checks its own here."""
        checked = {**options, "lr": check.number(options["lr"], "lr")}
        if "weight_decay" in options:
            checked["weight_decay"] = check.number(options["weight_decay"], "weight_decay")
        return {**checked, "decay_biases": check.boolean(options["decay_biases"], "decay_biases")}

    def slots_for(self, options: dict[str, Any]) -> tuple[str, ...]:
        """Which of `slots` a group with these hyper-parameters needs; by default all."""
        return self.slots

    def update(
        self, p: np.ndarray, g: np.ndarray, state: State, options: dict[str, Any]
    ) -> Iterable[Call]:
        """The calls that move one parameter: tuples of a function of C and its arguments.

        They are made later, with those of all other parameters and without a moment between for an
        interrupt; `update` itself changes no array.

        Parameters
        ----------
        p, g : ndarray
            The parameter, to be changed in place, and its gradient, of the same shape and type.
        state : dict
            The slots by name, arrays like `p`, all 0 at first, to be changed in place; and "step",
            the number of this step, from 1.
        options : dict
            The hyper-parameters of its group; "weight_decay" is 0 where `decay_biases` says so.
        """
        raise NotImplementedError(f"{type(self).__name__}.update")

    # ------------------------------------------------------------------------------- parameters

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group of parameters that are not moved yet.

        Raises
        ------
        TypeError, ValueError
            If it does not fit; the message names what.
        """
        number = len(self.param_groups)
        if not isinstance(group, Mapping) or "params" not in group:
            raise ValueError(f'param_groups[{number}]: expected a dictionary with "params"')
        chosen = parameters_of(group["params"])
        options = self._options(number, {**self.defaults, **group})
        if set(map(id, chosen)) & set(map(id, self.parameters)):
            raise ValueError(f"param_groups[{number}]: a parameter is in another group already")
        entry = {"params": chosen, **options}
        at_once([
            (self.state.extend, [{} for _ in chosen]), (self.param_groups.append, entry)
        ])  # fmt: skip

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters of all groups, in order."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first group.

        Who sets it changes the rates of all groups in the same proportion; from 0 they all become
        what is set.
        """
        return check.number(self.param_groups[0]["lr"], "lr")

    @lr.setter
    def lr(self, lr: float) -> None:
        at_once(self._setting(lr))

    def _setting(self, lr: float) -> list[Call]:
        # the calls that set the rates of all groups
        lr, before = check.number(lr, "lr"), self.lr
        rates = [lr * (group["lr"] / before) if before else lr for group in self.param_groups]
        rates = [lr, *[check.number(rate, "lr") for rate in rates[1:]]]
        pairs = zip(self.param_groups, rates, strict=True)
        return [(setitem, group, "lr", rate) for group, rate in pairs]

    def _options(self, number: int, group: Mapping[str, Any]) -> dict[str, Any]:
        # the hyper-parameters of a group, which must be known and fit
        options = {name: value for name, value in group.items() if name != "params"}
        if options.keys() != self.defaults.keys():
            missing, unknown = (
                sorted(map(str, a - b))
                for a, b in (
                    (self.defaults.keys(), options.keys()), (options.keys(), self.defaults.keys()),
                )
            )  # fmt: skip
            raise ValueError(f"param_groups[{number}]: missing {missing}, unknown {unknown}")
        try:
            return self.checked(options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"param_groups[{number}]: {error}") from None

    # ------------------------------------------------------------------------------------- steps

    def step(self) -> None:
        """Move every parameter that is trainable and has a gradient, in place.

        An interrupt comes before the step or after it, never between two parameters or slots.

        Raises
        ------
        TypeError, ValueError
            If a gradient is not of real numbers or has not the shape of its parameter, a parameter
            cannot be written to, or a hyper-parameter does not fit; then nothing has moved.
        """
        moved: list[tuple[int, np.ndarray, _Checked]] = []
        gradients: list[np.ndarray] = []
        number = 0
        for i, group in enumerate(self.param_groups):
            checked = self._checked_group(i, group)
            for parameter in group["params"]:
                if parameter.trainable and parameter.grad is not None:
                    data = parameter._data
                    if not data.flags.writeable:
                        raise ValueError(
                            "data: expected an array that can be written to, got a read-only one"
                        )
                    gradients.append(gradient_of(parameter))
                    moved.append((number, data, checked))
                number += 1
        gradients = clipped(gradients, self.max_norm, self.max_value)
        states = list(self.state)
        calls: list[Call] = []
        for (number, data, checked), gradient in zip(moved, gradients, strict=True):
            state = states[number] = _next_state(states[number], data, checked.slots)
            options = checked.options if data.ndim > 1 else checked.of_biases
            calls += self.update(data, gradient, state, options)
        at_once([*calls, (setattr, self, "state", states)])

    def _checked_group(self, number: int, group: dict[str, Any]) -> _Checked:
        # a group that has the very objects that it had is as it was, if none of them can change
        known = self._known.get(number)
        same = known is not None and known.group.keys() == group.keys()
        if known is not None and same and all(map(is_, known.group.values(), group.values())):
            return known
        options = self._options(number, group)
        biases = options if options["decay_biases"] else {**options, "weight_decay": 0.0}
        checked = _Checked(dict(group), options, biases, self.slots_for(options))
        given = [value for name, value in group.items() if name != "params"]
        if all(map(_is_fixed, given)):
            self._known[number] = checked
        return checked

    def reset(self) -> None:
        """Forget the slots: the next step is as the first."""
        self.state = [{} for _ in self.parameters]

    # ------------------------------------------------------------------------------------- files

    def state_dict(self) -> dict[str, Any]:
        """Slots, counts and hyper-parameters, laid out as PyTorch does it.

        Returns
        -------
        dict
            "state" has by number of the parameter a dictionary of copies of its slots, and "step";
            "param_groups" is a list of the hyper-parameters of each group, with the numbers of its
            parameters under "params".  All but the arrays is what JSON can hold.
        """
        numbers = iter(range(len(self.state)))
        groups = [
            {**group, "params": [next(numbers) for _ in group["params"]]}
            for group in self.param_groups
        ]
        states = {
            i: {key: value.copy() if key != "step" else value for key, value in state.items()}
            for i, state in enumerate(self.state)
            if state
        }
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; all of it, or nothing if anything does not fit.

        Raises
        ------
        KeyError, TypeError, ValueError
            If groups, hyper-parameters or slots do not fit; the message names what.
        """
        at_once(self._loading(state))

    def _loading(self, state: Any) -> list[Call]:
        # the calls that take over a state, all of which fits
        groups, states = checked_state(self, state)
        pairs = zip(self.param_groups, groups, strict=True)
        calls: list[Call] = [(dict.update, group, options) for group, options in pairs]
        return [*calls, (setattr, self, "state", states)]


def _is_fixed(value: Any) -> bool:
    return isinstance(value, (float, int)) or (
        isinstance(value, tuple) and all(map(_is_fixed, value))
    )


def _next_state(before: State, data: np.ndarray, slots: tuple[str, ...]) -> State:
    # the slots in the shape and number type of the parameter, which may have changed; the count
    # begins anew with new ones
    state = {**before, "step": before.get("step", 0) + 1}
    for name in slots:
        array = state.get(name)
        if array is None or array.shape != data.shape:
            state[name], state["step"] = np.zeros_like(data), 1
        elif array.dtype != data.dtype:
            state[name] = array.astype(data.dtype)
    return state


def checked_state(
    optimizer: Optimizer, given: Any
) -> tuple[list[dict[str, Any]], list[State]]:  # fmt: skip
    """Hyper-parameters of each group and slots of each parameter, in copies of its number type."""
    if not isinstance(given, Mapping) or given.keys() != {"state", "param_groups"}:
        what = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise KeyError(f"state: expected 'param_groups' and 'state', got {what}")
    groups, states = given["param_groups"], given["state"]
    if not check.is_list(groups) or len(groups) != len(optimizer.param_groups):
        found = f"{len(groups)}" if check.is_list(groups) else type(groups).__name__
        raise ValueError(
            f"param_groups: expected a list of {len(optimizer.param_groups)}, got {found}"
        )
    options: list[dict[str, Any]] = []
    owners: list[tuple[Parameter, dict[str, Any]]] = []
    for i, (own, group) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        numbers = list(range(len(owners), len(owners) + len(own["params"])))
        if not isinstance(group, Mapping) or list(group.get("params", ())) != numbers:
            got = group.get("params") if isinstance(group, Mapping) else group
            raise ValueError(f"param_groups[{i}]: expected params {numbers}, got {got!r:.99}")
        options.append(optimizer._options(i, group))
        owners += [(parameter, options[-1]) for parameter in own["params"]]
    if not isinstance(states, Mapping):
        raise TypeError(f"state: expected slots by number, got {type(states).__name__}")
    unknown = [key for key in states if type(key) is not int or not 0 <= key < len(owners)]
    if unknown:
        raise KeyError(f"state: expected numbers below {len(owners)}, got {unknown!r:.99}")
    slots = [
        _checked_slots(f"state[{i}]", states.get(i, {}), parameter.data, optimizer, own)
        for i, (parameter, own) in enumerate(owners)
    ]
    return options, slots


def _checked_slots(
    name: str, given: Any, data: np.ndarray, optimizer: Optimizer, options: dict[str, Any]
) -> State:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}: expected slots by name, got {type(given).__name__}")
    if not given:
        return {}
    missing = {"step", *optimizer.slots_for(options)} - given.keys()
    unknown = given.keys() - {"step", *optimizer.slots}
    if missing or unknown:
        raise KeyError(
            f"{name}: missing {sorted(missing)}, unknown {sorted(map(str, unknown))}"
        )  # fmt: skip
    state: State = {"step": check.whole(given["step"], f"{name}['step']", 1)}
    for slot in [slot for slot in optimizer.slots if slot in given]:
        array = check.real_array(given[slot], f"{name}[{slot!r}]")
        check.same_shape(array, f"{name}[{slot!r}]", data.shape)
        state[slot] = np.array(array, data.dtype, order="C")
    return state
