"""Checks of what an optimizer is to take over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _check as check
from ..parameter import Parameter

if TYPE_CHECKING:
    from .optimizer import Optimizer, State


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
