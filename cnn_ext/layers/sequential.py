"""`Sequential`: layers one after the other, the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from ..initializers import Initializer
from ..lanes import Lanes
from ..ops import _check as check
from ..scale import AS_THEY_ARE, BYTE_SCALE, as_numbers, scale_of
from ..task import Task
from .activation import Dropout, ReLU, Sigmoid, Softmax
from .built_in import BUILT_IN
from .config import configs_of, layers_of, named
from .conv import Conv2d
from .layer import (
    Kept,
    Layer,
    WeightedLayer,
    attributes_of,
    found_in,
    is_wrapped,
    methods_of,
    sees_lanes,
)
from .linear import Flatten, Linear
from .modes import evaluation_mode
from .normalize import Normalize
from .plain import plainly
from .pool import MaxPool2d
from .recorded import ForwardProgram, identity, worth_it
from .shared import gradient_sum, take_saved, used_again
from .summary import table

if TYPE_CHECKING:
    from typing import TypeGuard

    from ..inference import Plan


class Sequential(Layer):
    """Layers one after the other.

    ``net(x)`` takes a batch (N, C, H, W) and returns the outputs of the last layer.  Real numbers
    are taken as they are, pictures of bytes (uint8) are divided by 255, those of uint16 by 65535; a
    network that begins with `Normalize` takes the numbers of every type as they are.  Inside, the
    batch is kept in the layout of the kernels; layers of your own get and return plain arrays.  A
    layer may stand more than once: its gradients are added up.

    Parameters
    ----------
    *layers : Layer

    Raises
    ------
    TypeError
        If an argument is not a layer.
    """

    takes_lanes = True
    keeps = ()
    #: shape of one image, (C, H, W), where it is known: from a file, or from training
    input_shape: tuple[int, ...] | None = None
    #: what the network is for, where it is known: from a file, or from training
    task: Task | None = None
    _program: tuple[Any, ForwardProgram | None] = ((), None)
    #: of the last forward pass in training mode: the order of the layers, what stands again
    _pass: tuple[list[tuple[int, bool]], set[int]] | None = None

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

    def __call__(self, x: Any) -> Any:
        if not isinstance(x, Lanes) and not sees_lanes(self):
            x = self._input(x)  # passes of its own get numbers that are scaled
            if x.dtype == np.uint8:
                x = self._pack(x).unpack()
        return self.forward(x)

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
        here = self._in_order(x if isinstance(x, Lanes) else self._pack(x))
        return here if isinstance(x, Lanes) else here.unpack()

    def _in_order(self, here: Lanes) -> Any:
        # the outputs, in lanes, for a batch in lanes: layer by layer
        order, again = self._order(), set()
        saved: dict[int, list[tuple[Layer, Any]]] = {}
        if self.training:
            again = used_again(self.layers)
            self._pass = order, again
        for i, over in order:
            here = self._step(i, here, over)
            if again:
                saved[i] = take_saved(self.layers[i], i, again)
        if again:
            self.save_for_backward(saved)
        return here

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
            return layer(here) if sees_lanes(layer) else plainly(layer, here)
        except (TypeError, ValueError) as error:
            raise named(error, i, type(layer).__name__) from error

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
        last_order, again = self._pass or (self._order(), used_again(self.layers))
        saved = self.saved()[0] if again else {}
        given: set[int] = set()  # parameters that have a gradient from this pass
        order = [i for i, _ in last_order]
        lowest = -1
        if not need_dx:
            lowest = next((i for i in order if self.layers[i].has_parameters()), len(self.layers))
            order = order[order.index(lowest) :] if lowest in order else []
        for i in reversed(order):
            for layer, values in saved.get(i, ()):
                layer._saved = values
            shared = [p for p in self.layers[i].parameters() if id(p) in again] if again else []
            before = [p.grad if id(p) in given else None for p in shared]
            here = self._step_back(self.layers[i], here, here is not dy, i != lowest)
            for parameter, gradient in zip(shared, before, strict=True):
                if gradient is not None and parameter.grad is not None:
                    parameter.grad = gradient_sum(gradient, parameter.grad, parameter.data)
            given.update(map(id, shared))
        if not need_dx:
            return None
        return here if isinstance(dy, Lanes) else here.unpack()

    def _step_back(self, layer: Layer, dy: Lanes, over: bool, need_dx: bool) -> Any:
        # one layer back; `over` lets a ReLU write over the gradient
        kind = type(layer) if is_own(layer) else None
        if not need_dx and (kind in (Conv2d, Linear) or is_chain(layer)):
            plain: Any = layer
            return plain.backward(dy, need_dx=False)
        if over and kind is ReLU and isinstance(layer, ReLU):
            return layer.backward(dy, out=dy)
        return layer.backward(dy) if sees_lanes(layer) else plainly(layer.backward, dy)

    def _order(self) -> list[tuple[int, bool]]:
        # The layers in the order in which they work, and which may write over their input.  A ReLU
        # before max pooling works after it, on fewer numbers: the positive part of the maximum is
        # the maximum of the positive parts.  A ReLU writes over an output that nobody keeps.
        kinds = [type(layer) if is_own(layer) else None for layer in self.layers]
        order = list(range(len(self.layers)))
        for i in range(len(order) - 1):
            if kinds[i] is ReLU and kinds[i + 1] is MaxPool2d:
                order[i : i + 2] = i + 1, i
        over = []
        before: Any = None
        for i in order:
            over.append(kinds[i] is ReLU and before in (Conv2d, Linear, MaxPool2d))
            before = kinds[i]
        return list(zip(order, over, strict=True))

    @property
    def ending(self) -> str | None:
        """ "Softmax" or "Sigmoid", if the outputs are theirs; then they are probabilities."""
        layers = [type(layer) for layer in self.walk() if type(layer) not in (Flatten, Dropout)]
        return layers[-1].__name__ if layers and layers[-1] in (Softmax, Sigmoid) else None

    @property
    def byte_scale(self) -> float:
        """What bytes are multiplied by: 1/255, or 1 in a network that begins with `Normalize`."""
        first = next(self.walk(), None)
        return AS_THEY_ARE if isinstance(first, Normalize) else BYTE_SCALE

    def _input(self, x: ArrayLike) -> np.ndarray:
        # a plain batch of the network's number type, or of bytes
        batch: Any = check.batch(x, "x")
        return as_numbers(batch, self.dtype, self.byte_scale)

    def _pack(self, x: ArrayLike) -> Lanes:
        batch = self._input(x)
        return Lanes.pack(batch, self.dtype, scale_of(batch.dtype, self.byte_scale))

    def compile(
        self,
        input_shape: tuple[int, ...] | None = None,
        max_batch: int = 256,
        outputs: str | None = None,
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
        return graph_of(self, shape).compile(max_batch, outputs)

    def _find_program(self, x: np.ndarray) -> ForwardProgram | None:
        # the recorded forward pass for such images; None if there is none or it is not worth it
        if not len(x) or not self.layers or not self._is_plain(itself=False):
            return None
        key = identity(self, x)
        known, program = self._program
        if program is None or key != known:
            try:
                program = ForwardProgram(self, x)
            except _core.RecordingError:  # something else used its arrays meanwhile
                return None
            self._program = key, program
        return program if worth_it(len(x), program.lanes, program.multiply_adds) else None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_program", None)  # recorded anew where it is needed
        state.pop("_pass", None)  # of objects that are others in a copy
        return state

    # ------------------------------------------------------------------------------- parameters

    def named_children(self) -> Iterator[tuple[str, Layer]]:
        # those of a subclass that has more of them come last
        for i, layer in enumerate(self.layers):
            yield str(i), layer
        for name, value in attributes_of(self):
            if name != "layers":
                yield from found_in(name, value, Layer)

    def initialize(
        self, initializer: str | Initializer, rng: np.random.Generator | None = None
    ) -> None:
        """Draw the parameters of all built-in layers anew, also of those within other layers."""
        for _, layer in self.named_layers():
            if isinstance(layer, WeightedLayer):
                layer.initialize(initializer, rng)

    def walk(self) -> Iterator[Layer]:
        """All layers in order, those of inner networks in their place.

        A subclass of `Sequential` that has passes of its own is one layer.
        """
        for layer in self.layers:
            if is_chain(layer):
                yield from layer.walk()
            else:
                yield layer

    def _all_layers(self) -> list[Layer]:
        # the network itself and all layers in order, inner networks before their layers
        layers: list[Layer] = [self]
        for layer in self.layers:
            if isinstance(layer, Sequential):
                layers += layer._all_layers()
            else:
                layers.append(layer)
        return layers

    def _is_plain(self, itself: bool = True) -> bool:
        # Whether all layers are built in and do what their classes say, so far without chance;
        # `itself` False leaves the network's own methods out of the question.
        layers = self._all_layers()[0 if itself else 1 :]
        kinds = set(map(type, layers))
        return (
            all(map(is_own_kind, kinds))
            and not any(map(is_wrapped, layers))
            and not (
                Dropout in kinds
                and any(layer.training for layer in layers if type(layer) is Dropout)
            )
        )

    # ------------------------------------------------------------------------------- description

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.shapes(input_shape)[-1]

    def shapes(self, input_shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shapes of the input and of every layer's output, without N.

        Raises
        ------
        TypeError
            If `input_shape` is no list of whole numbers.
        ValueError
            If the input of a layer does not fit; the message names the layer.
        """
        if not check.is_list(input_shape):
            raise TypeError(f"input_shape: expected (C, H, W) or (F,), got {input_shape!r:.99}")
        shapes = [tuple(check.whole(size, "input_shape", 1) for size in input_shape)]
        for i, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except (TypeError, ValueError) as error:
                raise named(error, i, type(layer).__name__) from error
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
        print(table(self.layers, self.shapes(input_shape)))

    def to_config(self) -> dict[str, Any]:
        others = [pair for pair in attributes_of(self) if pair[0] != "layers"]
        more = [pair[0] for pair in others if any(found_in(*pair, kind) for kind in (Kept, Layer))]
        if is_chain(self) and not more:
            return {"type": "Sequential", "layers": configs_of(self.layers)}
        config = super().to_config()
        if type(self).__init__ is Sequential.__init__:
            if more:
                raise ValueError(
                    f"net: no constructor of {type(self).__name__} makes its {', '.join(more)}; "
                    "make them in an __init__ of its own, so that a file can be read again"
                )
            config["layers"] = configs_of(self.layers)
        return config

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
        kind = config.get("type", "Sequential") if isinstance(config, Mapping) else "Sequential"
        if cls is not Sequential or kind == "Sequential":
            return cls(*layers_of(config, custom or {}, rng, initializer, Sequential))
        (net,) = layers_of([config], custom or {}, rng, initializer, Sequential)
        if not isinstance(net, Sequential):
            raise TypeError(
                f"config: expected a list of layers or a Sequential, got a {type(net).__name__}"
            )
        return net

    def __repr__(self) -> str:
        return (
            "Sequential(\n"
            + "".join(f"  ({i}): {layer!r}\n" for i, layer in enumerate(self.layers))
            + ")"
        )


OWN = {kind: methods_of(kind) for kind in (*BUILT_IN.values(), Sequential)}


def is_own_kind(kind: type[Layer]) -> bool:
    """Whether layers of a class work by the methods that built-in ones were written with.

    Those of a class of one's own do not, but for a `Sequential` with no other of these.
    """
    own = OWN.get(Sequential if issubclass(kind, Sequential) else kind)
    return own is not None and methods_of(kind) == own


def is_own(layer: Layer) -> bool:
    """Whether a layer is built in and neither it nor its class was changed."""
    return is_own_kind(type(layer)) and not is_wrapped(layer)


def is_chain(layer: Layer) -> TypeGuard[Sequential]:
    """Whether it is a network that does its layers one after the other and nothing else.

    A subclass of `Sequential` with passes of its own does something that its layers do not tell.
    """
    return isinstance(layer, Sequential) and is_own(layer)
