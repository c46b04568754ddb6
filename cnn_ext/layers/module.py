"""`Module`, the base class of all layers and networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import _check as check
from ..graph.node import Shape
from ..graph.precision import AUTO
from ..graph.value import Value
from ..parameter import Buffer, Kept, Parameter, at_once
from ..scale import BYTE_SCALE
from .running import go_back, run
from .state import LoadReport, compared, take
from .summary import html, table
from .tracing import Trace, attributes_of, emit, found_in, is_leaf, trace

if TYPE_CHECKING:
    from typing import Self

    from ..run.plan import Plan
    from ..task import Task


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `forward` on values, which also takes arrays: then what it makes of values is run."""

    @functools.wraps(function)
    def forward(self: Module, *inputs: Any) -> Any:
        if inputs and isinstance(inputs[0], Value):
            return function(self, *inputs)
        return run(self, function, inputs)

    return forward


class Module:
    """A layer or a network: parameters, buffers and modules in its attributes, and `forward`.

    To write one of your own, derive from this class, make the layers and parameters in `__init__`,
    and say in ``forward(self, x)`` what becomes of `x`, as in PyTorch: by calling the layers, by
    ``+``, ``-`` and ``*``, by slices of channels, `cnn_ext.ops` and the methods of `x`.  There `x`
    stands for a batch of which only the shape is known: ``forward`` is called once for each shape
    of images, mode and number type, and again where an attribute has changed; what it makes of `x`
    is then run as often as need be, and its gradient is known.  Parameters, buffers and modules are
    found among the attributes, and in lists, tuples and dictionaries there.  Name the constructor's
    arguments in `arguments` if the network shall be saved.

    What works on NumPy's arrays derives from `Layer`.
    """

    #: names of the constructor's arguments, which are attributes too
    arguments: ClassVar[tuple[str, ...]] = ()
    #: attributes in which there are parameters, where the class itself knows them (in this package
    #: it has them from its base); else all are searched
    keeps: ClassVar[tuple[str, ...]]
    #: whether the class says in `keeps` all that its modules keep, and has none below
    is_leaf_kind: ClassVar[bool] = False

    training = True
    #: shape of one image, (C, H, W), where it is known: from a file, or from training
    input_shape: tuple[int, ...] | None = None
    #: what the network is for, where it is known: from a file, or from training
    task: Task | None = None
    _frozen = False
    _saved: Any = None
    _traces: Mapping[Any, tuple[list[Any], Trace]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith(__package__) and hasattr(cls, "keeps"):
            cls.keeps = cls.keeps  # classes of one's own may have more than their bases say
        own = "keeps" in vars(cls)
        cls.is_leaf_kind = own and cls.named_children is Module.named_children
        if "forward" in vars(cls) and cls.has_gradient():
            cls.forward = traced(cls.forward)  # type: ignore[method-assign]

    @classmethod
    def has_gradient(cls) -> bool:
        """Whether the gradient of what `forward` makes of values is that of the module."""
        return cls.backward is Module.backward

    @property
    def byte_scale(self) -> float:
        """What bytes are multiplied by where the module is given them."""
        return BYTE_SCALE

    @property
    def ending(self) -> str | None:
        """ "Softmax" or "Sigmoid", where it is known that the outputs are theirs."""
        return None

    def forward(self, *inputs: Any) -> Any:
        """The output for a batch, (N, ...) -> (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """The gradient at the input of the last forward pass, given the one at its output.

        Those of the parameters are left with them.

        Parameters
        ----------
        dy : array_like, shape of the output, or Lanes
        need_dx : bool
            If False, the gradient at the input is left out and None is returned.

        Returns
        -------
        ndarray (or Lanes, if given lanes), shape of the input, or None

        Raises
        ------
        RuntimeError
            If there was no forward pass in training mode before.
        """
        return go_back(self, dy, need_dx)

    def __call__(self, *inputs: Any) -> Any:
        """What `forward` makes of batches, arrays (N, ...), or of values while it is traced."""
        if inputs and isinstance(inputs[0], Value):
            return emit(self, inputs)
        return self.forward(*inputs)

    def output_shape(self, *input_shapes: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for one input, both without N.

        Raises
        ------
        ValueError
            If an input of that shape does not fit.
        """
        graph = trace(self, None, _whole(input_shapes), check.FLOAT32)
        return graph.shapes[graph.output]

    def multiply_adds(self, *input_shapes: tuple[int, ...]) -> int:
        """Multiplications with additions that one input of that shape costs."""
        return trace(self, None, _whole(input_shapes), check.FLOAT32).multiply_adds()

    def summary(self, *input_shapes: tuple[int, ...]) -> None:
        """Print the modules, output shapes, parameters and multiply-adds for inputs of that shape.

        Parameters
        ----------
        *input_shapes : tuple of int
            (C, H, W) or (F,), without N.
        """
        print(table(trace(self, None, _whole(input_shapes), check.FLOAT32), self))

    def compile(
        self,
        input_shape: tuple[int, ...] | None = None,
        max_batch: int = 256,
        outputs: str | None = None,
        precision: str | None = None,
        *,
        sample: ArrayLike | None = None,
        tolerance: float | None = None,
    ) -> Plan:
        """The network as it is now, made ready to answer in one call into C.

        Parameters
        ----------
        input_shape : tuple of int, optional
            (C, H, W) or (F,) of one image; by default that of the network, where it is known.
        max_batch : int
            The most images that are done at once.
        outputs : str, optional
            What the outputs are, see `Plan`: for networks whose last layer and training do not say.
        precision : {"float32", "bfloat16", "int8", "auto"}, optional
            What convolutions and linear layers compute with, see `Plan`; by default int8 for a
            network that `quantize` made, which alone can have it, and float32 for all others.
            "auto" is what answers a single image soonest on this machine, of those within an error.
        sample : array_like, shape (N, ...), optional
            With "auto": some hundred inputs as those to come, see `quantize`.
        tolerance : float, optional
            With "auto": the most that the answers to the sample may change, see
            `quantization.fastest`; 0.02 is two per cent of their size.

        Returns
        -------
        Plan
            Immutable: later changes of the network do not reach it.

        Raises
        ------
        TypeError, ValueError
            If the network has layers of one's own on plain arrays, or an argument does not fit,
            or is missing; with "auto" also as `quantize`.
        """
        from ..run.plan import Plan
        from .as_graph import graph_of

        auto = precision == AUTO
        for name, value in (("sample", sample), ("tolerance", tolerance)):
            if (value is not None) != auto:
                lacks = "precision='auto' needs it" if auto else "precision='auto' alone takes it"
                raise ValueError(f"{name}: {lacks}")
        if auto:
            from ..quantization.fastest import fastest

            assert sample is not None and tolerance is not None
            got = np.shape(sample)[1:]
            if input_shape is not None and got != tuple(input_shape):
                raise ValueError(f"sample: expected inputs of {tuple(input_shape)}, got {got}")
            return fastest(self, sample, tolerance, max_batch=max_batch, outputs=outputs)
        return Plan(graph_of(self, input_shape), max_batch, outputs, precision)

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

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Names and modules directly below this one, in the order in which they were defined."""
        for name, value in attributes_of(self):
            yield from found_in(name, value, Module)

    def named_modules(self) -> list[tuple[str, Module]]:
        """This layer, named "", and all below it, each once."""
        if is_leaf(self):
            return [("", self)]
        layers: dict[int, tuple[str, Module]] = {}

        def collect(name: str, layer: Module) -> None:
            if id(layer) not in layers:
                layers[id(layer)] = name, layer
                for child_name, child in layer.named_children():
                    collect(f"{name}.{child_name}" if name else child_name, child)

        collect("", self)
        return list(layers.values())

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for module_name, layer in self.named_modules():
            for attribute, attribute_value in attributes_of(layer):
                for name, value in found_in(attribute, attribute_value, kind):
                    if id(value) not in seen:
                        seen.add(id(value))
                        yield f"{module_name}.{name}" if module_name else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters, also of the layers below, each once, in the order of definition."""
        return self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Names and buffers, likewise."""
        return self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        """All that is learned, in order."""
        return [parameter for _, parameter in self.named_parameters()]

    def learns(self) -> bool:
        """Whether there is anything to learn, here or below."""
        return any(parameter.trainable for parameter in self.parameters())

    @property
    def trainable(self) -> bool:
        """Whether training may change the module.

        Who sets it sets it for all parameters and modules below.  Given False, parameters stay as
        they are, and batch normalisation works as in evaluation mode, so that its running
        statistics stay too; dropout goes on.  A file does not keep it.
        """
        return not self._frozen

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        trainable = check.boolean(trainable, "trainable")
        modules = [layer for _, layer in self.named_modules()]
        parameters = self.parameters()
        at_once([
            *((setattr, layer, "_frozen", not trainable) for layer in modules),
            *((setattr, parameter, "trainable", trainable) for parameter in parameters),
            *((setattr, parameter, "grad", None) for parameter in parameters if not trainable),
        ])  # fmt: skip

    def named_state(self) -> Iterator[tuple[str, Kept]]:
        """Names and parameters, then names and buffers: all that a file keeps."""
        yield from self.named_parameters()
        yield from self.named_buffers()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by name, as in PyTorch ("0.weight", "0.bias", ...)."""
        return {name: kept.data.copy() for name, kept in self.named_state()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Take over parameters and buffers by name; all of them, or none if anything does not fit.

        Parameters
        ----------
        state : mapping of str to array_like
            A `state_dict` of this package or of PyTorch.
        strict : bool
            If False, those are taken whose name and shape fit, at least one.

        Returns
        -------
        LoadReport
            What was taken and what not.

        Raises
        ------
        KeyError
            If names are missing or unknown.
        ValueError, TypeError
            If an array has another shape or is not numeric, or none fits.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected arrays by name, got {type(state).__name__}")
        own = dict(self.named_state())
        missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
        if strict and (missing or unknown):
            raise KeyError(f"state: missing {sorted(missing)}, unknown {sorted(unknown)}")
        given = {name: check.real_array(state[name], name) for name in own if name in state}
        if strict:
            for name, array in given.items():
                check.same_shape(array, name, own[name].shape)
        shapes = {name: given[name].shape if name in given else () for name in state}
        try:
            report = compared(own, shapes)
        except ValueError as error:
            raise ValueError(f"state: {error}") from None
        take(own, {name: given[name] for name in report.loaded_keys})
        return report

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert parameters and buffers to float32 or float64, in place; returns the layer."""
        dtype = check.float_dtype(dtype)
        for _, kept in self.named_state():
            kept.data = kept.data.astype(dtype)
            if isinstance(kept, Parameter):
                kept.grad = None
        return self

    @property
    def dtype(self) -> np.dtype:
        """The number type of parameters and buffers; float32 if there are none."""
        first = self.first_kept()
        return check.FLOAT32 if first is None else first.data.dtype

    def first_kept(self) -> Kept | None:
        """The first parameter or buffer that is found, here or below."""
        for name, value in attributes_of(self):
            for _, kept in found_in(name, value, Kept):
                return kept
        if is_leaf(self):
            return None
        below = (child.first_kept() for _, child in self.named_children())
        return next((kept for kept in below if kept is not None), None)

    # ------------------------------------------------------------------------------------- modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode (or, given False, to evaluation) with all layers below."""
        self.training = mode
        if not mode:
            vars(self).pop("_saved", None)
        if not is_leaf(self):
            for _, layer in self.named_children():
                layer.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: dropout passes everything, nothing is kept for `backward`."""
        return self.train(False)

    # ------------------------------------------------------------------------------- description

    def stored(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a state as a file keeps them."""
        return state

    def restored(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The way back."""
        return tensors

    def to_config(self) -> dict[str, Any]:
        """Type and constructor arguments, as plain data that JSON can hold."""
        arguments = {name: _described(getattr(self, name)) for name in self.arguments}
        return {"type": type(self).__name__, **arguments}

    def __repr__(self) -> str:
        arguments = [f"{key}={value!r}" for key, value in self._shown().items()]
        return f"{type(self).__name__}({', '.join(arguments)})"

    def _repr_html_(self) -> str:
        return html(self)

    def _shown(self) -> dict[str, Any]:
        # the constructor's arguments, for a message
        return {name: getattr(self, name) for name in self.arguments}

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_traces", None)  # made anew where they are needed
        return state


def _whole(shapes: Sequence[Any]) -> list[Shape]:
    return [check.image_shape(shape) for shape in shapes]


def _described(value: Any) -> Any:
    # an argument as plain data: modules by what their constructors take
    if isinstance(value, Module):
        return value.to_config()
    if isinstance(value, (list, tuple)) and any(isinstance(item, Module) for item in value):
        return [_described(item) for item in value]
    return value
