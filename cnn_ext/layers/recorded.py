"""A forward pass as a recorded program: all kernels of a block without Python between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..lanes import contiguous, empty

if TYPE_CHECKING:
    from .sequential import Sequential

ENOUGH_BLOCKS = 4  # to keep threads busy; of fewer, a large block is shared by the threads
SMALL_BLOCK = 100e6  # multiply-adds that are not worth sharing


def worth_it(images: int, lanes: int, multiply_adds: float) -> bool:
    """Whether so many images should go block by block, given the work for each.

    The answer does not depend on the number of threads, so neither do the results.
    """
    return images > (ENOUGH_BLOCKS - 1) * lanes or multiply_adds * lanes <= SMALL_BLOCK


def identity(net: Sequential, x: np.ndarray) -> tuple[Any, ...]:
    """What a recording of the network, of built-in layers, on such images depends on."""
    layers: list[Any] = []
    for layer in net._all_layers():
        kind, own = type(layer), vars(layer)
        layers += kind, layer.training, *[getattr(layer, name) for name in layer.arguments]
        layers += [id(own[name].data) for name in kind.keeps if own[name] is not None]
    return (x.shape[1:], x.dtype, _core.get_winograd(), layers)


class Program:
    """Batches of one kind of images, on the weights of a network as they were when it was recorded.

    Parameters
    ----------
    net : Sequential
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.
    """

    _recorder: Any

    def __init__(self, net: Sequential, x: np.ndarray) -> None:
        self.dtype = net.dtype
        self.lanes: int = _core.lanes(self.dtype.itemsize)
        self.parameters = net.parameters()
        self.constants = [parameter.data for parameter in self.parameters]
        self.multiply_adds = net.multiply_adds(x.shape[1:])
        self.fixed = [array for layer in net.walk() for array in layer.constants()]
        self.block = np.zeros((self.lanes, *x.shape[1:]), x.dtype)

    def check(self, x: np.ndarray) -> np.ndarray:
        """`x` in C order, if its images and the weights are those that were recorded.

        Raises
        ------
        TypeError, ValueError
            If the images are of another number type or shape.
        RuntimeError
            If the network has other arrays of weights now.
        """
        if x.dtype != self.block.dtype:
            raise TypeError(f"x: expected {self.block.dtype}, as recorded, got {x.dtype}")
        shape = self.block.shape[1:]
        if x.shape[1:] != shape:
            raise ValueError(f"x: expected images of {shape}, as recorded, got {x.shape[1:]}")
        for parameter, data in zip(self.parameters, self.constants, strict=True):
            if parameter.data is not data:
                raise RuntimeError("the network has other weights than when it was recorded")
        return contiguous(x)


class ForwardProgram(Program):
    """The outputs of a network of built-in layers for batches of one shape of images.

    Parameters
    ----------
    net : Sequential
        In evaluation mode.
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.

    Raises
    ------
    RecordingError
        If the network does something that cannot be recorded.
    """

    def __init__(self, net: Sequential, x: np.ndarray) -> None:
        super().__init__(net, x)
        self.features: tuple[int, ...] = ()

        def forward() -> list[np.ndarray]:
            rows = net._in_order(net._pack(self.block)).unpack()
            self.features = rows.shape[1:]
            return [rows]

        constants = [*self.constants, *self.fixed]
        self._recorder = _core.record(forward, [self.block], constants, self.dtype.itemsize)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs, (N, ...), of a batch; safe in many Python threads at once."""
        x = self.check(x)
        images = x.shape[0]
        blocks = -(-images // self.lanes)
        rows = empty((blocks * self.lanes, *self.features), self.dtype)
        self._recorder.run([x, rows], images, 1.0)
        return rows[:images]
