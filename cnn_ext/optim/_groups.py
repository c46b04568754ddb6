"""What optimizers are given: a network, parameters, or groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import setitem
from typing import Any, Protocol, TypeAlias

import numpy as np

from .. import _check as check
from ..parameter import Parameter, at_once


class Network(Protocol):
    """Anything that knows its parameters."""

    def parameters(self) -> Iterable[Parameter]: ...


Parameters: TypeAlias = Network | Iterable[Parameter]
Groups: TypeAlias = Network | Iterable[Parameter | Mapping[str, Any]]


class Shared:
    """A hyper-parameter as an attribute of the optimizer: of the first group; set, it is of all."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        return self if optimizer is None else optimizer.param_groups[0][self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        groups = [optimizer.checked({**g, self.name: value}) for g in optimizer.param_groups]
        pairs = zip(optimizer.param_groups, groups, strict=True)
        at_once([(setitem, group, self.name, checked[self.name]) for group, checked in pairs])


def parameters_of(given: Any, name: str = "parameters") -> list[Parameter]:
    """The parameters of a network an iterable or one alone, each once."""
    given = items_of(given, name)
    for parameter in given:
        if not isinstance(parameter, Parameter):
            kind = type(parameter).__name__
            raise TypeError(f"{name}: expected Parameter objects, got {kind}")
    return list({id(parameter): parameter for parameter in given}.values())


def items_of(given: Any, name: str = "parameters") -> list[Any]:
    """The parameters or groups themselves, as a list that was not looked at."""
    if isinstance(given, Parameter):
        return [given]
    if callable(getattr(given, "parameters", None)):
        given = given.parameters()
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping)):
        kind = type(given).__name__
        raise TypeError(f"{name}: expected a network or a list of parameters, got {kind}")
    return list(given)


def gradient_of(parameter: Parameter) -> np.ndarray:
    """The gradient as the kernels take it, of the shape and number type of the parameter.

    Raises TypeError or ValueError if it is not of real numbers, or of another shape.
    """
    data, gradient = parameter.data, np.asarray(parameter.grad)
    if gradient.shape != data.shape or gradient.dtype != data.dtype:
        gradient = check.real_array(gradient, "grad")
        check.same_shape(gradient, "grad", data.shape)
        gradient = gradient.astype(data.dtype, order="C")
    flags = gradient.flags
    return gradient if flags.c_contiguous and flags.aligned else gradient.copy()
