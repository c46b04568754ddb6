"""What the layers of the package have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from .. import _check as check
from ..initializers import Initializer, initial_bias, initial_weights
from ..parameter import Parameter
from ..scale import AS_THEY_ARE
from .module import Module


class BuiltIn(Module):
    """A layer of the package: by itself it takes numbers of all types as they are."""

    keeps: ClassVar[tuple[str, ...]] = ()

    @property
    def byte_scale(self) -> float:
        return AS_THEY_ARE


class WeightedLayer(BuiltIn):
    """A layer with `weight` and perhaps `bias`: what convolution and linear layers share."""

    keeps = ("weight", "bias")

    weight: Parameter
    bias: Parameter | None

    def new_parameters(
        self,
        shape: tuple[int, ...],
        bias: bool,
        initializer: str | Initializer,
        rng: np.random.Generator | None,
        dtype: DTypeLike,
        outputs: int | None = None,
    ) -> None:
        """Draw weights of that shape and, if asked for, a bias for each output channel."""
        dtype = check.float_dtype(dtype)
        self.weight = Parameter(initial_weights(initializer, shape, rng).astype(dtype))
        self.bias = None
        if bias:
            biases = initial_bias(initializer, shape, rng, outputs or shape[0])
            self.bias = Parameter(biases.astype(dtype))

    def initialize(
        self, initializer: str | Initializer, rng: np.random.Generator | None = None
    ) -> None:
        """Draw the parameters anew."""
        shape = self.weight.data.shape
        self.weight.data[...] = initial_weights(initializer, shape, rng)
        if self.bias is not None:
            self.bias.data[...] = initial_bias(initializer, shape, rng, self.bias.data.size)

    def to_config(self) -> dict[str, Any]:
        return {**super().to_config(), "bias": self.bias is not None}

    def _shown(self) -> dict[str, Any]:
        return {**super()._shown(), "bias": self.bias is not None}


def image_sizes(x: Any) -> tuple[int, int, int]:
    """(C, H, W) of the images that a value stands for; ValueError if it stands for none."""
    return check.image_axes(x.features)


def check_channels(x: Any, channels: int) -> None:
    """Raise ValueError unless a value has so many channels."""
    if x.features[0] != channels:
        raise ValueError(f"x: expected {channels} channels, got {x.features[0]}")
