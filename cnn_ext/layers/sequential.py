"""`Sequential`: layers one after the other, the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..initializers import Initializer
from ..lanes import Lanes
from ..ops import _check as check
from . import activation, pool
from .activation import ReLU
from .conv import Conv2d
from .layer import Layer, Parameter, WeightedLayer
from .linear import Flatten, Linear
from .pool import MaxPool2d
from .recorded import ForwardProgram, identity, worth_it

if TYPE_CHECKING:
    from typing import Self

    from ..inference import Plan

BUILT_IN: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Conv2d, pool.MaxPool2d, pool.AvgPool2d, pool.GlobalAvgPool2d, activation.ReLU,
        activation.LeakyReLU, activation.Sigmoid, activation.Tanh, activation.Softmax, Flatten,
        Linear, activation.Dropout,
    )
}  # fmt: skip

BYTE_SCALE = 1 / 255


class Sequential(Layer):
    """Layers one after the other.

    ``net(x)`` takes a batch (N, C, H, W) of real numbers, or of bytes (uint8), which are divided by
    255, and returns the outputs of the last layer.  Inside, the batch is kept in the layout of the
    kernels; layers of your own get and return plain arrays.

    Parameters
    ----------
    *layers : Layer

    Raises
    ------
    TypeError
        If an argument is not a layer.
    """

    takes_lanes = True
    #: shape of one image, (C, H, W), where it is known: from a file, or from training
    input_shape: tuple[int, ...] | None = None
    _program: tuple[Any, ForwardProgram | None] = ((), None)

    def __init__(self, *layers: Layer) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layer {i}: expected a Layer, got {type(layer).__name__}")
        self.layers = list(layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    # ---------------------------------------------------------------------------------- running

    def forward(self, x: ArrayLike | Lanes) -> Any:
        """The outputs for a batch.

        Parameters
        ----------
        x : array_like, shape (N, ...), or Lanes

        Returns
        -------
        ndarray (or Lanes, if given lanes), shape (N, ...)

        Raises
        ------
        TypeError, ValueError
            If the input of a layer does not fit; the message names the layer.
        """
        if not isinstance(x, Lanes) and not self.training:
            x = self._input(x)
            program = self._find_program(x)
            if program is not None:
                return program(x)
        here: Any = x if isinstance(x, Lanes) else self._pack(x)
        for i, over in self._order():
            here = self._step(i, here, over)
        return here if isinstance(x, Lanes) else here.unpack()

    def activations(self, x: ArrayLike | Lanes) -> list[np.ndarray]:
        """What every layer gives for a batch, in evaluation mode.

        Parameters
        ----------
        x : array_like, shape (N, ...), or Lanes

        Returns
        -------
        list of ndarray, shape (N, ...) each
            One for each layer, in their order; the last one is the output of the network.  A
            network within the network is one layer.

        Raises
        ------
        TypeError, ValueError
            If the input of a layer does not fit; the message names the layer.
        """
        here: Any = x if isinstance(x, Lanes) else self._pack(x)
        outputs = []
        with evaluation_mode(self):
            for i in range(len(self)):
                here = self._step(i, here)
                outputs.append(here.unpack())
        return outputs

    def _step(self, i: int, here: Lanes, over: bool = False) -> Any:
        # one layer forward; `over` lets a ReLU write over its input
        layer = self.layers[i]
        try:
            if over and isinstance(layer, ReLU):
                return layer.forward(here, out=here)
            if layer.takes_lanes:
                return layer.forward(here)
            return _plainly(layer.forward, here)
        except (TypeError, ValueError) as error:
            raise _named(error, i, type(layer).__name__) from error

    def backward(self, dy: ArrayLike | Lanes, need_dx: bool = True) -> Any:
        """Gradients of all parameters, and the one at the input.

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
        here: Any = dy
        if not isinstance(dy, Lanes):
            here = Lanes.pack(check.real_array(dy, "dy"), self.dtype)
        order = [i for i, _ in self._order()]
        lowest = -1
        if not need_dx:
            lowest = next((i for i in order if self.layers[i].parameters()), len(self.layers))
            order = order[order.index(lowest) :] if lowest in order else []
        for i in reversed(order):
            layer = self.layers[i]
            if i == lowest and isinstance(layer, (Conv2d, Linear, Sequential)):
                layer.backward(here, need_dx=False)
            elif isinstance(layer, ReLU) and here is not dy:
                here = layer.backward(here, out=here)
            elif layer.takes_lanes:
                here = layer.backward(here)
            else:
                here = _plainly(layer.backward, here)
        if not need_dx:
            return None
        return here if isinstance(dy, Lanes) else here.unpack()

    def _order(self) -> list[tuple[int, bool]]:
        # The layers in the order in which they work, and which may write over their input.  A ReLU
        # before max pooling works after it, on fewer numbers: the positive part of the maximum is
        # the maximum of the positive parts.  A ReLU writes over an output that nobody keeps.
        order = list(range(len(self.layers)))
        for i in range(len(order) - 1):
            if type(self.layers[i]) is ReLU and type(self.layers[i + 1]) is MaxPool2d:
                order[i : i + 2] = i + 1, i
        over = []
        before: Layer | None = None
        for i in order:
            layer = self.layers[i]
            over.append(type(layer) is ReLU and type(before) in (Conv2d, Linear, MaxPool2d))
            before = layer
        return list(zip(order, over, strict=True))

    def _input(self, x: ArrayLike) -> np.ndarray:
        # a plain batch of the network's number type, or of bytes
        batch: Any = check.batch(x, "x")
        return batch if batch.dtype == np.uint8 else batch.astype(self.dtype, copy=False)

    def _pack(self, x: ArrayLike) -> Lanes:
        batch = self._input(x)
        scale = BYTE_SCALE if batch.dtype == np.uint8 else 1.0
        return Lanes.pack(batch, self.dtype, scale)

    def compile(self, input_shape: tuple[int, ...] | None = None, max_batch: int = 256) -> Plan:
        """The network as it is now, made ready to answer in one call into C.

        Parameters
        ----------
        input_shape : tuple of int, optional
            (C, H, W) or (F,) of one image; by default that of the network, where it is known.
        max_batch : int
            The most images of a call.

        Returns
        -------
        Plan
            Immutable: later changes of the network do not reach it.  It computes in float32.

        Raises
        ------
        TypeError, ValueError
            If the network has layers that are not built in, or an input does not fit.
        """
        from ..inference import graph_of

        shape = self.input_shape if input_shape is None else input_shape
        if shape is None:
            raise ValueError("input_shape: expected the shape of one image, (C, H, W)")
        return graph_of(self, shape).compile(max_batch)

    def _find_program(self, x: np.ndarray) -> ForwardProgram | None:
        # the recorded forward pass for such images; None if there is none or it is not worth it
        key = identity(self, x)
        known, program = self._program
        if key != known:
            try:
                recordable = all(type(layer) in BUILT_IN.values() for layer in self.walk())
                program = ForwardProgram(self, x) if recordable and self.layers else None
            except RuntimeError:
                program = None
            self._program = key, program
        if program is None or not len(x):
            return None
        return program if worth_it(len(x), program.lanes, program.multiply_adds) else None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_program", None)  # recorded anew where it is needed
        return state

    # ------------------------------------------------------------------------------- parameters

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for i, layer in enumerate(self.layers):
            for name, parameter in layer.named_parameters():
                yield f"{i}.{name}", parameter

    def initialize(
        self, initializer: str | Initializer, rng: np.random.Generator | None = None
    ) -> None:
        """Draw the parameters of all built-in layers anew."""
        for layer in self.walk():
            if isinstance(layer, WeightedLayer):
                layer.initialize(initializer, rng)

    def walk(self) -> Iterator[Layer]:
        """All layers in order, those of inner networks too."""
        for layer in self.layers:
            if isinstance(layer, Sequential):
                yield from layer.walk()
            else:
                yield layer

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for layer in self.layers:
            layer.train(mode)
        return self

    # ------------------------------------------------------------------------------- description

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.shapes(input_shape)[-1]

    def shapes(self, input_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Shapes of the input and of every layer's output, without N.

        Raises
        ------
        ValueError
            If the input of a layer does not fit; the message names the layer.
        """
        shapes = [tuple(check.whole(size, "input_shape", 1) for size in input_shape)]
        for i, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except (TypeError, ValueError) as error:
                raise _named(error, i, type(layer).__name__) from error
        return shapes

    def multiply_adds(self, input_shape: tuple[int, ...]) -> int:
        shapes = self.shapes(input_shape)
        return sum(layer.multiply_adds(s) for layer, s in zip(self.layers, shapes, strict=False))

    def summary(self, input_shape: tuple[int, ...]) -> None:
        """Print layers, output shapes, parameters and multiply-adds for inputs of that shape.

        Parameters
        ----------
        input_shape : tuple of int
            (C, H, W), without N.
        """
        shapes = self.shapes(input_shape)
        rows = [("", "layer", "output", "parameters", "multiply-adds")]
        for i, layer in enumerate(self.layers):
            count = sum(parameter.data.size for parameter in layer.parameters())
            shape = " x ".join(map(str, shapes[i + 1]))
            work = layer.multiply_adds(shapes[i])
            rows.append((str(i), type(layer).__name__, shape, f"{count:,}", f"{work:,}"))
        total = sum(parameter.data.size for parameter in self.parameters())
        work = self.multiply_adds(input_shape)
        shape = " x ".join(map(str, shapes[-1]))
        rows.append(("", "total", shape, f"{total:,}", f"{work:,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            texts = [cell.ljust(w) for cell, w in zip(row[:3], widths[:3], strict=True)]
            numbers = [cell.rjust(w) for cell, w in zip(row[3:], widths[3:], strict=True)]
            print("  ".join([*texts, *numbers]))

    def to_config(self) -> dict[str, Any]:
        return {"type": "Sequential", "layers": [layer.to_config() for layer in self.layers]}

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        custom: Mapping[str, type[Layer]] | None = None,
        rng: np.random.Generator | None = None,
        initializer: str | Initializer = "pytorch",
    ) -> Sequential:
        """Build a network from what `to_config` returned, or from a list of layers in that form.

        Parameters
        ----------
        config : mapping or sequence of mappings
            ``[{"type": "Conv2d", "in_channels": 1, ...}, {"type": "ReLU"}, ...]``.
        custom : mapping of names to classes, optional
            Layers of your own.
        rng : numpy.random.Generator, optional
        initializer : str or function (shape, rng) -> array
            Where the first values of the weights come from.

        Raises
        ------
        TypeError, ValueError
            If the description has an unknown layer or argument; the message names the layer.
        """
        layers = config.get("layers") if isinstance(config, Mapping) else config
        if isinstance(layers, (str, bytes, Mapping)) or not isinstance(layers, Sequence):
            raise TypeError("config: expected a list of layers, or a mapping with 'layers'")
        built = []
        for i, description in enumerate(layers):
            if not isinstance(description, Mapping) or "type" not in description:
                raise TypeError(
                    f"layer {i}: expected a mapping with a 'type', got {description!r:.99}"
                )
            try:
                built.append(_build(description, custom or {}, rng, initializer))
            except (TypeError, ValueError) as error:
                raise _named(error, i, description["type"]) from error
        return cls(*built)

    def __repr__(self) -> str:
        return (
            "Sequential(\n"
            + "".join(f"  ({i}): {layer!r}\n" for i, layer in enumerate(self.layers))
            + ")"
        )


@contextmanager
def evaluation_mode(net: Sequential) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every layer has the mode that it had."""

    def all_of(layer: Layer) -> Iterator[Layer]:  # an outer network before its layers
        yield layer
        for inner in layer if isinstance(layer, Sequential) else ():
            yield from all_of(inner)

    modes = [(layer, layer.training) for layer in all_of(net)]
    net.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.train(mode)


def _plainly(step: Callable[[np.ndarray], Any], here: Lanes) -> Lanes:
    # one pass of a layer that knows plain arrays alone
    y: Any = check.batch(step(here.unpack()), "output")
    if y.shape[0] != here.images:
        raise ValueError(f"output: expected {here.images} images, got shape {y.shape}")
    return Lanes.pack(y, here.dtype)


def _named(error: Exception, i: int, name: Any) -> Exception:
    # the same error with its layer in front
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"layer {i} ({name}): {error}")


def _build(
    description: Mapping[str, Any],
    custom: Mapping[str, type[Layer]],
    rng: np.random.Generator | None,
    initializer: str | Initializer,
) -> Layer:
    arguments = dict(description)
    name = arguments.pop("type")
    known = {**BUILT_IN, **custom}
    if name == "Sequential" and name not in custom:
        return Sequential.from_config(description, custom, rng, initializer)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown type; known are {', '.join(sorted(known))}")
    unknown = arguments.keys() - set(known[name].arguments)
    if unknown:
        raise ValueError(f"unknown arguments {', '.join(sorted(unknown))}")
    if known[name] in (Conv2d, Linear):
        arguments.update(rng=rng, initializer=initializer)
    return known[name](**arguments)
