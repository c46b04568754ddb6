"""A forward pass as a recorded program: all kernels of a block without Python between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..lanes import contiguous, empty

if TYPE_CHECKING:
    from .sequential import Sequential

ENOUGH_BLOCKS = 4  # to keep threads busy; of fewer, a large block is shared by the threads
SMALL_BLOCK = 100e6  # multiply-adds that are not worth sharing


@contextmanager
def recording(recorder: Any) -> Iterator[None]:
    """Record what this thread calls inside a `with` block."""
    recorder.start()
    try:
        yield
    finally:
        recorder.cancel()


def worth_it(images: int, lanes: int, multiply_adds: float) -> bool:
    """Whether so many images should go block by block, given the work for each.

    The answer does not depend on the number of threads, so neither do the results.
    """
    return images > (ENOUGH_BLOCKS - 1) * lanes or multiply_adds * lanes <= SMALL_BLOCK


def identity(net: Sequential, x: np.ndarray) -> tuple[Any, ...]:
    """What a recording of the network on such images depends on."""
    layers = [
        (
            type(layer), *[getattr(layer, name) for name in layer.arguments],
            *[id(parameter.data) for parameter in layer.own_parameters()],
        ) for layer in net.walk()
    ]  # fmt: skip
    return (x.shape[1:], x.dtype, _core.get_winograd(), layers)


class ForwardProgram:
    """The outputs of a network of built-in layers for batches of one shape of images.

    Parameters
    ----------
    net : Sequential
        In evaluation mode.
    x : ndarray, shape (N, ...)
        A batch, for the shape and number type of its images.

    Raises
    ------
    RuntimeError
        If the network does something that cannot be recorded.
    """

    def __init__(self, net: Sequential, x: np.ndarray) -> None:
        self.dtype = net.dtype
        self.lanes: int = _core.lanes(self.dtype.itemsize)
        self.constants = [parameter.data for parameter in net.parameters()]
        self.multiply_adds = net.multiply_adds(x.shape[1:])
        self._recorder = _core.Recorder(self.dtype.itemsize)
        block = np.zeros((self.lanes, *x.shape[1:]), x.dtype)
        with recording(self._recorder):
            rows = net.forward(net._pack(block)).unpack()
            self._recorder.stop([block, rows], self.constants)
        self.features = rows.shape[1:]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs, (N, ...), of a batch; safe in many Python threads at once."""
        images = x.shape[0]
        blocks = -(-images // self.lanes)
        rows = empty((blocks * self.lanes, *self.features), self.dtype)
        self._recorder.run([contiguous(x), rows], images, 1.0)
        return rows[:images]
