"""`Sequential`: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _check as check
from ..graph.value import Value
from ..initializers import Initializer
from ..lanes import Lanes
from ..scale import BYTE_SCALE, as_numbers, scale_of
from .activation import Sigmoid, Softmax
from .built_in import WeightedLayer
from .config import layers_of
from .container import Container, configs_of
from .dropout import Dropout
from .linear import Flatten
from .module import Module
from .normalize import Normalize
from .running import evaluation_mode
from .tracing import emit, is_opaque, named


class Sequential(Container):
    """Layers one after the other.

    ``net(x)`` takes a batch (N, C, H, W) and returns the outputs of the last layer.  Real numbers
    are taken as they are, pictures of bytes (uint8) are divided by 255, those of uint16 by 65535; a
    network that begins with `Normalize` takes the numbers of every type as they are.  Inside, the
    batch is kept in the layout of the kernels; layers of your own get and return plain arrays.  A
    layer may stand more than once: its gradients are added up.

    Parameters
    ----------
    *layers : Module

    Raises
    ------
    TypeError
        If an argument is not a layer.
    """

    # ---------------------------------------------------------------------------------- running

    def __call__(self, *inputs: Any) -> Any:
        if inputs and not isinstance(inputs[0], (Value, Lanes)) and is_opaque(self):
            return self.forward(self._numbers(inputs[0]), *inputs[1:])
        return super().__call__(*inputs)

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self.layers):
            x = emit(layer, (x,), f"layer {i}")
        return x

    def _numbers(self, x: ArrayLike | Lanes) -> np.ndarray:
        # a plain batch of the network's number type, scaled
        batch: Any = check.batch(x, "x")
        if isinstance(batch, Lanes):
            return batch.unpack()
        x = as_numbers(batch, self.dtype, self.byte_scale)
        if x.dtype != np.uint8:
            return x
        return Lanes.pack(x, self.dtype, scale_of(x.dtype, self.byte_scale)).unpack()

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
        outputs: list[np.ndarray] = []
        with evaluation_mode(self):
            here = self._numbers(x)
            for i, layer in enumerate(self.layers):
                try:
                    here = layer(here)
                except (TypeError, ValueError) as error:
                    raise named(error, f"layer {i}", type(layer).__name__) from error
                outputs.append(here)
        return outputs

    @property
    def ending(self) -> str | None:
        """ "Softmax" or "Sigmoid", if the outputs are theirs; then they are probabilities."""
        layers = [type(layer) for layer in self.walk() if type(layer) not in (Flatten, Dropout)]
        return layers[-1].__name__ if layers and layers[-1] in (Softmax, Sigmoid) else None

    @property
    def byte_scale(self) -> float:
        """What bytes are multiplied by: 1/255, or what `Normalize` says if it comes first."""
        first = next(self.walk(), None)
        return first.byte_scale if isinstance(first, Normalize) else BYTE_SCALE

    # ------------------------------------------------------------------------------- parameters

    def initialize(
        self, initializer: str | Initializer, rng: np.random.Generator | None = None
    ) -> None:
        """Draw the parameters of all built-in layers anew, also of those within other layers."""
        for _, layer in self.named_modules():
            if isinstance(layer, WeightedLayer):
                layer.initialize(initializer, rng)

    def walk(self) -> Iterator[Module]:
        """All layers in order, those of inner networks in their place.

        A subclass of `Sequential` that has passes of its own is one layer.
        """
        for layer in self.layers:
            if isinstance(layer, Sequential) and is_chain(layer):
                yield from layer.walk()
            else:
                yield layer

    # ------------------------------------------------------------------------------- description

    def shapes(self, input_shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Shapes of the input and of every layer's output, without N.

        Raises
        ------
        TypeError
            If `input_shape` is no list of whole numbers.
        ValueError
            If the input of a layer does not fit; the message names the layer.
        """
        shapes = [check.image_shape(input_shape)]
        for i, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except (TypeError, ValueError) as error:
                raise named(error, f"layer {i}", type(layer).__name__) from error
        return shapes

    def to_config(self) -> dict[str, Any]:
        if is_chain(self) and not self._more():
            return {"type": "Sequential", "layers": configs_of(self.layers)}
        return super().to_config()

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        custom: Mapping[str, type[Module]] | None = None,
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
        net = module_of(config, custom, rng, initializer)
        if not isinstance(net, Sequential):
            raise TypeError(
                f"config: expected a list of layers or a Sequential, got a {type(net).__name__}"
            )
        return net


def module_of(
    config: Any,
    custom: Mapping[str, type[Module]] | None = None,
    rng: np.random.Generator | None = None,
    initializer: str | Initializer = "pytorch",
) -> Module:
    """The module that `to_config` described, or a `Sequential` of a list of layers; see there."""
    if not isinstance(config, Mapping) or config.get("type", "Sequential") == "Sequential":
        return Sequential.from_config(config, custom, rng, initializer)
    (module,) = layers_of([config], custom or {}, rng, initializer, Sequential)
    return module


def is_chain(module: Module) -> bool:
    """Whether it does its layers one after the other and nothing else."""
    kind = type(module)
    return (
        issubclass(kind, Sequential)
        and kind.forward is Sequential.forward
        and not is_opaque(module)
    )
