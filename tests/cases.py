"""The one case table: the shapes and options on which every kernel is held against the reference.

Every test of parity, gradients, threads and instruction sets runs over these same lists. The batch
sizes straddle the lanes of the kernels (1, 4, 8 and 16), so that blocks are empty, short and full.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from reference import Padding, Size

Array = NDArray[Any]


def generator(name: str) -> np.random.Generator:
    """A generator that depends on the name alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    return generator(name).standard_normal(shape).astype(dtype)


@dataclass(frozen=True)
class ConvCase:
    """One convolution: input (N, C, H, W), K output channels, an (R, S) kernel and its options."""

    id: str
    x_shape: tuple[int, int, int, int]
    K: int
    kernel: tuple[int, int]
    stride: Size = 1
    padding: Padding = 0
    dilation: Size = 1
    groups: int = 1
    bias: bool = True

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.K, self.x_shape[1] // self.groups, *self.kernel)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `conv2d` and `conv2d_backward`."""
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def arrays(self, dtype: DTypeLike = np.float64) -> tuple[Array, Array, Array | None]:
        """(x, weight, bias), the same at every call."""
        x = normal(self.id + ".x", self.x_shape, dtype)
        weight = normal(self.id + ".weight", self.weight_shape, dtype)
        return x, weight, normal(self.id + ".bias", (self.K,), dtype) if self.bias else None


@dataclass(frozen=True)
class PoolCase:
    """One pooling of an input (N, C, H, W); average pooling has no dilation."""

    id: str
    x_shape: tuple[int, int, int, int]
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    dilation: Size = 1
    ceil_mode: bool = False
    ties: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of both poolings; `dilation` of the maximum is apart."""
        names = ("kernel_size", "stride", "padding", "ceil_mode")
        return {name: getattr(self, name) for name in names}

    @property
    def max_options(self) -> dict[str, Any]:
        """Keyword arguments of `max_pool2d`."""
        return {**self.options, "dilation": self.dilation}

    def array(self, dtype: DTypeLike = np.float64) -> Array:
        """The input, the same at every call; with `ties`, of the values 0, 1 and 2 alone."""
        if self.ties:
            return generator(self.id).integers(0, 3, self.x_shape).astype(dtype)
        return normal(self.id, self.x_shape, dtype)


@dataclass(frozen=True)
class LinearCase:
    """One full connection of N rows of C inputs to K outputs."""

    id: str
    N: int
    C: int
    K: int
    bias: bool = True

    def arrays(self, dtype: DTypeLike = np.float64) -> tuple[Array, Array, Array | None]:
        """(x, weight, bias), the same at every call."""
        x = normal(self.id + ".x", (self.N, self.C), dtype)
        weight = normal(self.id + ".weight", (self.K, self.C), dtype)
        return x, weight, normal(self.id + ".bias", (self.K,), dtype) if self.bias else None


@dataclass(frozen=True)
class ShapeCase:
    """One input of an activation or a loss; `scale` sets how far it saturates."""

    id: str
    shape: tuple[int, ...]
    scale: float = 2.0

    def array(self, dtype: DTypeLike = np.float64) -> Array:
        """The input, the same at every call."""
        return (self.scale * normal(self.id, self.shape, np.float64)).astype(dtype)


CONV_CASES = [
    # batches: empty, one, short blocks, full blocks, one image over
    ConvCase("empty-batch", (0, 3, 6, 6), 4, (3, 3)),
    ConvCase("one-image", (1, 3, 6, 6), 4, (3, 3)),
    ConvCase("batch-2", (2, 2, 5, 6), 3, (3, 2)),
    ConvCase("batch-3", (3, 1, 6, 5), 5, (2, 3)),
    ConvCase("batch-5", (5, 2, 5, 5), 3, (3, 3), padding=1),
    ConvCase("batch-7", (7, 3, 5, 4), 2, (3, 3), padding="same"),
    ConvCase("batch-8", (8, 2, 6, 6), 4, (3, 3)),
    ConvCase("batch-9", (9, 2, 6, 6), 4, (3, 3)),
    ConvCase("batch-15", (15, 1, 7, 7), 3, (5, 5)),
    ConvCase("batch-16", (16, 3, 5, 5), 6, (3, 3)),
    ConvCase("batch-17", (17, 3, 5, 5), 6, (3, 3), padding=1),
    ConvCase("batch-33", (33, 2, 4, 5), 3, (2, 2)),
    # channels that leave every register tile a remainder
    ConvCase("channels-1-1", (4, 1, 5, 5), 1, (3, 3)),
    ConvCase("channels-5-7", (3, 5, 5, 5), 7, (3, 3)),
    ConvCase("channels-6-12", (3, 6, 5, 5), 12, (3, 3), padding=1),
    ConvCase("channels-7-8", (2, 7, 5, 5), 8, (3, 3)),
    ConvCase("channels-8-20", (2, 8, 4, 4), 20, (3, 3), padding=1),
    ConvCase("channels-12-5", (2, 12, 5, 5), 5, (3, 3)),
    ConvCase("channels-20-6", (2, 20, 4, 4), 6, (3, 3)),
    ConvCase("channels-33-33", (2, 33, 4, 3), 33, (3, 3), padding=1),
    # kernels
    ConvCase("1x1", (3, 5, 4, 4), 6, (1, 1)),
    ConvCase("1x1-stride-2", (3, 4, 5, 5), 3, (1, 1), stride=2),
    ConvCase("1x1-padded", (2, 3, 3, 4), 2, (1, 1), padding=1),
    ConvCase("1x1-on-one-pixel", (5, 33, 1, 1), 8, (1, 1)),
    ConvCase("kernel-1x5", (2, 2, 4, 8), 3, (1, 5), padding=(0, 2)),
    ConvCase("kernel-5x1", (2, 2, 8, 4), 3, (5, 1), padding=(2, 0)),
    ConvCase("kernel-4x4-same", (2, 2, 6, 5), 3, (4, 4), padding="same"),
    ConvCase("kernel-is-image", (3, 2, 5, 4), 6, (5, 4)),
    ConvCase("kernel-larger-than-image", (2, 2, 2, 3), 3, (4, 5), padding=2),
    ConvCase("kernel-7x7", (2, 1, 9, 8), 2, (7, 7), padding=3),
    # extents
    ConvCase("valid", (2, 3, 6, 7), 2, (3, 3), padding="valid"),
    ConvCase("same-2x3", (2, 2, 5, 6), 3, (2, 3), padding="same"),
    ConvCase("same-dilated", (2, 2, 7, 6), 3, (3, 2), padding="same", dilation=(2, 3)),
    ConvCase("full", (2, 3, 5, 4), 2, (3, 2), padding="full"),
    ConvCase("full-stride-2-dilated", (2, 2, 4, 5), 3, (2, 3), 2, "full", (2, 1)),
    ConvCase("padding-pair", (2, 2, 5, 4), 3, (3, 3), padding=(2, 1)),
    ConvCase("padding-four-sides", (2, 2, 5, 4), 3, (3, 3), padding=(0, 1, 2, 3)),
    ConvCase("padding-exceeds-kernel", (2, 2, 3, 3), 3, (2, 2), padding=4),
    ConvCase("padding-exceeds-kernel-stride", (2, 2, 4, 3), 2, (2, 2), 3, (5, 4)),
    # strides and dilation; some leave rows that no window reaches
    ConvCase("stride-2", (3, 3, 7, 7), 4, (3, 3), stride=2, padding=1),
    ConvCase("stride-2-unreached-edge", (2, 2, 8, 6), 3, (3, 3), stride=2),
    ConvCase("stride-1x3", (2, 2, 5, 9), 3, (2, 2), stride=(1, 3)),
    ConvCase("stride-exceeds-kernel", (2, 3, 9, 8), 2, (2, 1), stride=(4, 3)),
    ConvCase("dilation-2", (2, 2, 7, 7), 3, (3, 3), dilation=2),
    ConvCase("dilation-3x1-padded", (2, 2, 8, 5), 3, (3, 2), padding=(3, 1), dilation=(3, 1)),
    ConvCase("stride-dilation-padding", (5, 3, 9, 8), 4, (3, 2), (2, 3), (1, 2, 3, 0), (2, 3)),
    # groups
    ConvCase("groups-2", (3, 4, 5, 5), 6, (3, 3), padding=1, groups=2),
    ConvCase("groups-3-stride-dilation", (2, 6, 7, 7), 3, (2, 3), 2, 1, 2, 3),
    ConvCase("groups-4-of-5-channels", (2, 20, 4, 4), 12, (3, 3), padding=1, groups=4),
    ConvCase("depthwise", (3, 7, 5, 6), 7, (3, 3), padding=1, groups=7),
    ConvCase("depthwise-17-images", (17, 3, 5, 5), 3, (3, 3), stride=2, padding=1, groups=3),
    ConvCase("depthwise-doubled", (2, 5, 5, 5), 10, (2, 2), dilation=2, groups=5),
    # one or two output channels a group go in strips of 8 and 4 pixels
    ConvCase("depthwise-wide", (2, 2, 4, 21), 2, (3, 3), padding=1, groups=2),
    ConvCase("depthwise-wide-valid", (17, 2, 4, 18), 2, (3, 3), groups=2),
    ConvCase("depthwise-wide-stride-2", (2, 2, 5, 41), 2, (3, 3), stride=2, padding=1, groups=2),
    ConvCase("depthwise-wide-stride-3", (2, 2, 5, 40), 2, (3, 3), stride=3, padding=1, groups=2),
    ConvCase("depthwise-wide-dilated", (2, 2, 6, 19), 2, (3, 3), 1, (2, 2), (2, 2), groups=2),
    ConvCase("depthwise-wide-doubled", (2, 2, 4, 19), 4, (3, 3), padding=1, groups=2),
    ConvCase("depthwise-5x5", (3, 2, 7, 13), 2, (5, 5), padding=2, groups=2),
    ConvCase("depthwise-5x5-stride-2", (2, 2, 8, 24), 2, (5, 5), 2, (1, 2, 1, 2), groups=2),
    ConvCase("depthwise-7x7", (2, 2, 6, 12), 2, (7, 7), padding=3, groups=2),
    ConvCase("depthwise-10x4", (2, 2, 12, 5), 2, (10, 4), padding="same", groups=2),
    ConvCase("depthwise-no-bias", (2, 3, 2, 2), 3, (3, 3), padding=1, groups=3, bias=False),
    ConvCase("one-output-wide", (2, 3, 4, 20), 1, (3, 3), padding=1),
    ConvCase("two-outputs-1x1-stride-2", (2, 4, 3, 18), 2, (1, 1), stride=2),
    # the rest
    ConvCase("no-bias", (2, 3, 5, 5), 4, (3, 3), padding=1, bias=False),
    ConvCase("one-row", (3, 2, 1, 9), 3, (1, 3)),
    ConvCase("one-column-17-images", (17, 2, 8, 1), 3, (3, 1), padding=(1, 0)),
    ConvCase("lenet-row", (2, 1, 12, 12), 6, (5, 5)),
]

POOL_CASES = [
    PoolCase("2x2", (3, 2, 6, 6), 2),
    PoolCase("2x2-odd-edge-dropped", (3, 2, 5, 7), 2),
    PoolCase("2x2-ceil", (2, 3, 5, 5), 2, ceil_mode=True),
    PoolCase("2x2-ceil-divides", (2, 3, 4, 6), 2, ceil_mode=True),
    PoolCase("2x2-17-images", (17, 1, 6, 4), 2),
    PoolCase("2x2-16-images", (16, 2, 4, 4), 2),
    PoolCase("2x2-33-images-ceil", (33, 1, 3, 3), 2, ceil_mode=True),
    PoolCase("empty-batch", (0, 2, 6, 6), 2),
    PoolCase("one-image", (1, 5, 6, 6), 2),
    PoolCase("3x3-overlap", (5, 2, 7, 7), 3, 2),
    PoolCase("3x3-overlap-ceil", (2, 2, 8, 6), 3, 2, ceil_mode=True),
    PoolCase("3x3-overlap-padded", (2, 2, 7, 8), 3, 2, 1),
    PoolCase("3x3-overlap-padded-ceil", (2, 2, 6, 8), 3, 2, 1, ceil_mode=True),
    PoolCase("3x3-stride-1-padded", (9, 2, 4, 5), 3, 1, 1),
    PoolCase("2x3-window", (2, 3, 6, 7), (2, 3)),
    PoolCase("3x2-all-pairs-ceil", (2, 2, 8, 9), (3, 2), (2, 3), (1, 1), ceil_mode=True),
    PoolCase("stride-exceeds-window", (2, 2, 9, 10), 2, (3, 4)),
    PoolCase("stride-exceeds-window-ceil", (2, 2, 6, 9), 2, 4, ceil_mode=True),
    PoolCase("ceil-window-beyond-the-input", (2, 2, 5, 5), 2, 2, 1, ceil_mode=True),
    PoolCase("ceil-window-beyond-the-input-alone", (3, 2, 1, 1), 2, ceil_mode=True),
    PoolCase("ceil-window-larger", (2, 3, 2, 3), (3, 5), (2, 4), (0, 1), ceil_mode=True),
    PoolCase("ceil-window-larger-dilated", (2, 2, 3, 2), 2, 3, 0, (4, 3), ceil_mode=True),
    PoolCase("window-is-image", (7, 5, 5, 4), (5, 4)),
    PoolCase("window-1x1", (2, 3, 3, 4), 1),
    PoolCase("one-pixel", (3, 33, 1, 1), 1),
    PoolCase("ties", (5, 3, 6, 6), 2, ties=True),
    PoolCase("ties-overlap-padded", (2, 2, 6, 7), 3, 2, 1, ties=True),
    PoolCase("dilation-2", (3, 2, 7, 7), 2, 2, dilation=2),
    PoolCase("dilation-2x3-padded-ceil", (2, 2, 8, 9), (3, 2), 2, 1, (2, 3), ceil_mode=True),
]
AVG_POOL_CASES = [case for case in POOL_CASES if case.dilation == 1]

LINEAR_CASES = [
    LinearCase("one-of-all", 1, 1, 1),
    LinearCase("empty-batch", 0, 10, 3),
    LinearCase("3-to-10", 2, 3, 10),
    LinearCase("10-to-1", 3, 10, 1),
    LinearCase("1-to-17", 5, 1, 17),
    LinearCase("17-to-3", 7, 17, 3),
    LinearCase("17-to-17", 8, 17, 17),
    LinearCase("10-to-10", 9, 10, 10),
    LinearCase("100-to-10", 15, 100, 10),
    LinearCase("10-to-100", 16, 10, 100),
    LinearCase("100-to-17", 17, 100, 17),
    LinearCase("100-to-100", 1, 100, 100),
    LinearCase("33-rows", 33, 10, 3),
    LinearCase("no-bias", 5, 17, 10, bias=False),
]

# of rank 2 and 4, the classes or channels second: also for softmax over axis 1
ACTIVATION_CASES = [
    ShapeCase("one-number", (1, 1)),
    ShapeCase("one-row", (1, 10)),
    ShapeCase("rows", (5, 17)),
    ShapeCase("17-rows", (17, 3)),
    ShapeCase("long-rows", (3, 100)),
    ShapeCase("images", (3, 5, 4, 7)),
    ShapeCase("17-images", (17, 2, 3, 3)),
    ShapeCase("one-image", (1, 33, 5, 1)),
    ShapeCase("empty-batch", (0, 10)),
    ShapeCase("empty-batch-of-images", (0, 3, 4, 4)),
    ShapeCase("tiny", (3, 7), scale=1e-6),
    ShapeCase("saturated", (5, 10), scale=40.0),
    ShapeCase("beyond-exp", (5, 10), scale=1e4),
]

# of rank 2; a mean over no images is not defined, so none is empty
LOSS_CASES = [case for case in ACTIVATION_CASES if len(case.shape) == 2 and case.shape[0] > 0]
