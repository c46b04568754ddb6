"""`Layer`, the base class of all layers and of your own, and `Parameter`, what it learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ..initializers import Initializer, initial_bias, initial_weights
from ..lanes import Lanes
from ..ops import _check as check

if TYPE_CHECKING:
    from typing import Self


class Parameter:
    """An array that is learned, and the gradient of the cost with respect to it.

    Attributes
    ----------
    data : ndarray, float32 or float64
    grad : ndarray of the same shape, or None before the first backward pass
        Each backward pass replaces it; gradients are not added up.
    """

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.grad: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Parameter{self.data.shape}"


class Layer:
    """One step of a network: `forward` and its derivative, `backward`.

    To write a layer of your own, derive from this class and define `forward(x)` and `backward(dy)`
    on plain arrays (N, ...); `backward` gets the gradient at the output and returns the one at the
    input.  Keep learned arrays in attributes of type `Parameter` and set their `grad` in
    `backward`.  Define `output_shape` if it differs from the input's, name the constructor's
    arguments in `arguments` if the network shall be saved, and look at `training` where the two
    modes differ.
    """

    #: names of the constructor's arguments, which are attributes too
    arguments: ClassVar[tuple[str, ...]] = ()
    #: whether `forward` and `backward` also take and return `Lanes`
    takes_lanes: ClassVar[bool] = False

    training = True
    _saved: tuple[Any, ...] | None = None

    def forward(self, x: Any) -> Any:
        """The output for a batch, (N, ...) -> (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Any) -> Any:
        """The gradient at the input of the last forward pass, given the one at its output."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for one input, both without N.

        Raises
        ------
        ValueError
            If an input of that shape does not fit.
        """
        return input_shape

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        """Multiplications with additions that one input of that shape costs."""
        return 0

    def save_for_backward(self, *values: Any) -> None:
        """Keep what `backward` will need; in evaluation mode nothing is kept."""
        if self.training:
            self._saved = values

    def saved(self) -> tuple[Any, ...]:
        """What the last forward pass kept; given out once, so that its memory is free again.

        Raises
        ------
        RuntimeError
            If there was no forward pass in training mode since the last backward pass.
        """
        values, self._saved = self._saved, None
        if values is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}.backward: no forward pass in training mode before it")
        return values

    # ------------------------------------------------------------------------------- parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters, in the order in which they were defined."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value

    def parameters(self) -> list[Parameter]:
        """All that is learned, in order."""
        return [parameter for _, parameter in self.named_parameters()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all learned arrays by name, as in PyTorch ("0.weight", "0.bias", ...)."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over learned arrays by name; all of them, or none if anything does not fit.

        Raises
        ------
        KeyError
            If names are missing or unknown.
        ValueError, TypeError
            If an array has another shape or is not numeric.
        """
        parameters = dict(self.named_parameters())
        missing, unknown = parameters.keys() - state.keys(), state.keys() - parameters.keys()
        if missing or unknown:
            raise KeyError(f"state: missing {sorted(missing)}, unknown {sorted(unknown)}")
        arrays = {}
        for name, parameter in parameters.items():
            arrays[name] = check.real_array(state[name], name)
            check.same_shape(arrays[name], name, parameter.data.shape)
        for name, parameter in parameters.items():
            parameter.data[...] = arrays[name]

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters to float32 or float64, in place; returns the layer itself."""
        dtype = float_dtype(dtype)
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        return self

    @property
    def dtype(self) -> np.dtype:
        """The number type of the parameters; float32 if there are none."""
        for _, parameter in self.named_parameters():
            return parameter.data.dtype
        return check.FLOAT32

    # ------------------------------------------------------------------------------------- modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (or, given False, to evaluation); returns the layer itself."""
        self.training = mode
        if not mode:
            self._saved = None
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: dropout passes everything, nothing is kept for `backward`."""
        return self.train(False)

    # ------------------------------------------------------------------------------- description

    def to_config(self) -> dict[str, Any]:
        """Type and constructor arguments, as plain data that JSON can hold."""
        return {
            "type": type(self).__name__,
            **{name: getattr(self, name) for name in self.arguments},
        }

    def __repr__(self) -> str:
        arguments = self.to_config()
        name = arguments.pop("type")
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


class WeightedLayer(Layer):
    """A layer with `weight` and perhaps `bias`: what convolution and linear layers share."""

    takes_lanes = True
    weight: Parameter
    bias: Parameter | None

    def new_parameters(
        self,
        shape: tuple[int, ...],
        bias: bool,
        initializer: str | Initializer,
        rng: np.random.Generator | None,
        dtype: DTypeLike,
    ) -> None:
        """Draw weights of that shape and, if asked for, their biases."""
        dtype = float_dtype(dtype)
        self.weight = Parameter(initial_weights(initializer, shape, rng).astype(dtype))
        self.bias = Parameter(initial_bias(initializer, shape, rng).astype(dtype)) if bias else None

    def initialize(
        self, initializer: str | Initializer, rng: np.random.Generator | None = None
    ) -> None:
        """Draw the parameters anew."""
        shape = self.weight.data.shape
        self.weight.data[...] = initial_weights(initializer, shape, rng)
        if self.bias is not None:
            self.bias.data[...] = initial_bias(initializer, shape, rng)

    def to_config(self) -> dict[str, Any]:
        return {**super().to_config(), "bias": self.bias is not None}

    def own_dtype(self, x: Any) -> Any:
        """A plain input as an array of the weights' number type; lanes have it already."""
        if isinstance(x, Lanes) or getattr(x, "dtype", None) == self.weight.data.dtype:
            return x
        return check.real_array(x, "x").astype(self.weight.data.dtype)

    def take_gradients(self, gradients: tuple[Any, np.ndarray, np.ndarray]) -> Any:
        """Keep the gradients of the parameters and return the one at the input."""
        dx, self.weight.grad, dbias = gradients
        if self.bias is not None:
            self.bias.grad = dbias
        return dx


def float_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64 as a dtype.

    Raises
    ------
    TypeError
        If it is another number type.
    """
    chosen = np.dtype(dtype)
    if chosen not in (check.FLOAT32, check.FLOAT64):
        raise TypeError(f"dtype: expected float32 or float64, got {chosen}")
    return chosen
