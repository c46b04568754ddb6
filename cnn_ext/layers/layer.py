"""`Layer`, the base class of all layers, yours too; `Parameter` and `Buffer`, what it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ..initializers import Initializer, initial_bias, initial_weights
from ..lanes import Lanes
from ..ops import _check as check

if TYPE_CHECKING:
    from typing import Self


METHODS = ("forward", "backward", "__call__")  # what does the work of a layer
PASSING = ("_saved", "_program", "_pass")  # attributes of what is kept for a while


class Kept:
    """An array of a layer that travels with the network."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    @property
    def data(self) -> np.ndarray:
        """The array itself, in C order and writable."""
        return self._data

    @data.setter
    def data(self, data: np.ndarray) -> None:
        if isinstance(data, np.ma.MaskedArray) or not isinstance(data, np.ndarray):
            raise TypeError(f"data: expected an array of NumPy, got {type(data).__name__}")
        if data.dtype not in (check.FLOAT32, check.FLOAT64):  # of this machine's byte order
            raise TypeError(f"data: expected float32 or float64, got {data.dtype}")
        # whatever takes it may write to it and read it as one piece
        self._data = np.require(data, None, ("C", "A", "W"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.data.shape}"


class Parameter(Kept):
    """An array that is learned, and the gradient of the cost with respect to it.

    Parameters
    ----------
    data : ndarray, float32 or float64

    Attributes
    ----------
    data : ndarray, float32 or float64
        In C order and writable: an array that is neither is copied when it is set.
    grad : ndarray of the same shape, or None before the first backward pass
        Each backward pass replaces it; gradients are not added up.
    trainable : bool
        Whether optimizers move it, True unless it is set.

    Raises
    ------
    TypeError
        If `data` is no array of native float32 or float64, at creation or when it is set.
    """

    def __init__(self, data: np.ndarray) -> None:
        super().__init__(data)
        self.grad: np.ndarray | None = None
        self.trainable = True


class Buffer(Kept):
    """An array that is state and not learned, such as running statistics.

    It is saved and loaded with the parameters.  What it admits is what `Parameter` admits.
    """


class Layer:
    """One step of a network: `forward` and its derivative, `backward`.

    To write a layer of your own, derive from this class and define `forward(x)` and `backward(dy)`
    on plain arrays (N, ...); `backward` gets the gradient at the output and returns the one at the
    input.  Keep learned arrays in attributes of type `Parameter` and set their `grad` in
    `backward`; keep state in a `Buffer`.  Parameters, buffers and layers within the layer are found
    among its attributes, and in lists, tuples and dictionaries there.  Define `output_shape` if it
    differs from the input's, name the constructor's arguments in `arguments` if the network shall
    be saved, and look at `training` where the two modes differ.

    Whoever overrides `forward` or `backward` of a layer that takes lanes gets plain arrays, unless
    the new class says `takes_lanes` itself.
    """

    #: names of the constructor's arguments, which are attributes too
    arguments: ClassVar[tuple[str, ...]] = ()
    #: whether `forward` and `backward` also take and return `Lanes`
    takes_lanes: ClassVar[bool] = False
    #: attributes in which there are parameters, where the class itself knows them; else all are
    #: searched
    keeps: ClassVar[tuple[str, ...]]

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

    # ------------------------------------------------------------------------ what it consists of

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        """Names and layers directly below this one, in the order in which they were defined."""
        for name, value in attributes_of(self):
            yield from found_in(name, value, Layer)

    def named_layers(self) -> list[tuple[str, Layer]]:
        """This layer, named "", and all below it, each once."""
        if is_leaf(self):
            return [("", self)]
        layers: dict[int, tuple[str, Layer]] = {}

        def collect(name: str, layer: Layer) -> None:
            if id(layer) not in layers:
                layers[id(layer)] = name, layer
                for child_name, child in layer.named_children():
                    collect(f"{name}.{child_name}" if name else child_name, child)

        collect("", self)
        return list(layers.values())

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for layer_name, layer in self.named_layers():
            for attribute, attribute_value in attributes_of(layer):
                for name, value in found_in(attribute, attribute_value, kind):
                    if id(value) not in seen:
                        seen.add(id(value))
                        yield f"{layer_name}.{name}" if layer_name else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters, also of the layers below, each once, in the order of definition."""
        return self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Names and buffers, likewise."""
        return self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        """All that is learned, in order."""
        return [parameter for _, parameter in self.named_parameters()]

    def own_parameters(self) -> list[Parameter]:
        """Those that are not of a layer below."""
        known = known_names(self)
        if known is not None:
            return [value for name in known if (value := vars(self)[name]) is not None]
        return [p for pair in attributes_of(self) for _, p in found_in(*pair, Parameter)]

    def has_parameters(self) -> bool:
        """Whether there is anything to learn, here or below."""
        return any(layer.own_parameters() for _, layer in self.named_layers())

    def constants(self) -> list[np.ndarray]:
        """Arrays that a forward pass reads besides parameters, and that never change."""
        return []

    def named_state(self) -> Iterator[tuple[str, Kept]]:
        """Names and parameters, then names and buffers: all that a file keeps."""
        yield from self.named_parameters()
        yield from self.named_buffers()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by name, as in PyTorch ("0.weight", "0.bias", ...)."""
        return {name: kept.data.copy() for name, kept in self.named_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over parameters and buffers by name; all of them, or none if anything does not fit.

        Raises
        ------
        KeyError
            If names are missing or unknown.
        ValueError, TypeError
            If an array has another shape or is not numeric.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected arrays by name, got {type(state).__name__}")
        own = dict(self.named_state())
        missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
        if missing or unknown:
            raise KeyError(f"state: missing {sorted(missing)}, unknown {sorted(unknown)}")
        arrays = {}
        for name, kept in own.items():
            arrays[name] = check.real_array(state[name], name)
            check.same_shape(arrays[name], name, kept.data.shape)
        for name, kept in own.items():
            kept.data[...] = arrays[name]

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert parameters and buffers to float32 or float64, in place; returns the layer."""
        dtype = float_dtype(dtype)
        for _, kept in self.named_state():
            kept.data = kept.data.astype(dtype)
            if isinstance(kept, Parameter):
                kept.grad = None
        return self

    @property
    def dtype(self) -> np.dtype:
        """The number type of the parameters; float32 if there are none."""
        first = self._first_parameter()
        return check.FLOAT32 if first is None else first.data.dtype

    def _first_parameter(self) -> Parameter | None:
        for parameter in self.own_parameters():
            return parameter
        below = (child._first_parameter() for _, child in self.named_children())
        return next((parameter for parameter in below if parameter is not None), None)

    # ------------------------------------------------------------------------------------- modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (or, given False, to evaluation) with all layers below."""
        self.training = mode
        if not mode:
            self._saved = None
        if not is_leaf(self):
            for _, layer in self.named_children():
                layer.train(mode)
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


def known_names(layer: Layer) -> tuple[str, ...] | None:
    """Attributes in which alone there may be parameters; None if all must be searched.

    The class itself must say it: a subclass may have more, and so may a layer that was wrapped.
    """
    return None if is_wrapped(layer) else vars(type(layer)).get("keeps")


def is_leaf(layer: Layer) -> bool:
    """Whether it is known without a search that there is no layer below."""
    known = known_names(layer) is not None
    return known and type(layer).named_children is Layer.named_children


def attributes_of(layer: Layer) -> list[tuple[str, Any]]:
    """Names and values of the attributes in which something may be found."""
    own, known = vars(layer), known_names(layer)
    if known is not None:
        return [(name, own[name]) for name in known]
    return [(name, value) for name, value in own.items() if name not in PASSING]


def found_in(name: str, value: Any, kind: type[Any]) -> Sequence[tuple[str, Any]]:
    # the value itself, or what is of that kind in lists, tuples and dictionaries
    if isinstance(value, kind):
        return ((name, value),)
    if isinstance(value, dict):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return ()
    return [found for key, inner in pairs for found in found_in(f"{name}.{key}", inner, kind)]


def methods_of(kind: type[Layer]) -> tuple[Any, ...]:
    """The functions that do the work of such a layer."""
    return tuple([getattr(kind, name) for name in METHODS])


def is_wrapped(layer: Layer) -> bool:
    """Whether a layer has methods of its own in place of those of its class."""
    return not vars(layer).keys().isdisjoint(METHODS)


def sees_lanes(layer: Layer) -> bool:
    """Whether the layer is given lanes: those who define its passes must have said so."""
    if not layer.takes_lanes or is_wrapped(layer):
        return False
    for kind in type(layer).__mro__:
        if "takes_lanes" in vars(kind):
            return True
        if "forward" in vars(kind) or "backward" in vars(kind):
            return False
    return False


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
