"""Types of the compiled module; its functions are described in `src/_core.pyx`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import CapsuleType, disjoint_base

_Array: TypeAlias = NDArray[Any]
_Sizes: TypeAlias = Sequence[int]
_Clip: TypeAlias = tuple[float, float] | None
_Table: TypeAlias = NDArray[np.intp]  # of offsets
_Tables: TypeAlias = Sequence[_Table]

OPS: Final[dict[str, int]]
SAVED: Final[dict[str, str]]  # "x" or "y"
LOSSES: Final[dict[str, int]]

def use_tables(float32: CapsuleType, float64: CapsuleType, /) -> None: ...
def use_bytes(table: CapsuleType, /) -> None: ...
def use_halves(table: CapsuleType | None, /) -> None: ...
def half_units(C: int, /) -> tuple[int, int]: ...
def channels_of_halves(itemsize: int, shape: _Sizes, /) -> int: ...
def ints() -> int: ...
def dot_offset() -> int: ...
def lanes(itemsize: int, /) -> int: ...
def set_num_threads(threads: int, /) -> None: ...
def set_cpus(cpus: int, /) -> None: ...
def get_num_threads() -> int: ...
def set_winograd(on: bool, /) -> None: ...
def get_winograd() -> bool: ...
def peak(itemsize: int, tasks: int, /) -> float: ...

# memory and recordings

@final
class Arrays: ...

@final
class Memory:  # a buffer, which no type can say before Python 3.12
    def __new__(cls, size: int) -> Memory: ...

def memory_use() -> tuple[int, int, int, int]: ...
def release_memory() -> None: ...

MOST_STREAMS: Final[int]

class RecordingError(RuntimeError): ...

@disjoint_base
class Steps:
    @property
    def memory(self) -> int: ...
    @property
    def kept_memory(self) -> int: ...
    def run(
        self, streams: Sequence[_Array], images: int, scale: float, share: Any = None
    ) -> None: ...

@final
class Recorder(Steps): ...

def record(
    function: Callable[[], Sequence[Any]],
    streams: Sequence[_Array],
    constants: Sequence[_Array],
    itemsize: int,
    images: int = 0,
    fixed: bool = False,
    /,
) -> Recorder: ...

# what ends with a block, whatever interrupts it

@final
class Threads:
    def __new__(cls, threads: int | None) -> Threads: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

@final
class Restored:
    def __init__(
        self,
        attributes: Iterable[tuple[Any, str]],
        enter: Callable[[], Any] | None = None,
        leave: Callable[[], Any] | None = None,
    ) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
    def __del__(self) -> None: ...

def first_fit(
    sizes: _Sizes, starts: _Sizes, ends: _Sizes, alignment: int, /
) -> tuple[list[int], int]: ...

# lanes over images

def pack(
    x: _Array, y: _Array, itemsize: int, images: int, pixels: int, scale: float, /
) -> None: ...
def unpack(x: _Array, y: _Array, itemsize: int, images: int, pixels: int, /) -> None: ...
def winograd_pays(itemsize: int, shape: _Sizes, /) -> bool: ...
def conv2d(
    x: _Array,
    w: _Array,
    bias: _Array | None,
    y: _Array,
    itemsize: int,
    shape: _Sizes,
    clip: _Clip = None,
    images: int | None = None,
    u: _Array | None = None,
    halves: bool = False,
    /,
) -> None: ...
def conv2d_input(
    dy: _Array,
    w: _Array,
    dx: _Array,
    itemsize: int,
    shape: _Sizes,
    images: int | None = None,
    halves: bool = False,
    /,
) -> None: ...
def conv2d_weight(
    dy: _Array,
    x: _Array,
    dw: _Array,
    itemsize: int,
    shape: _Sizes,
    images: int | None = None,
    halves: bool = False,
    /,
) -> None: ...
def block_sum(x: _Array, y: _Array, itemsize: int, N: int, count: int, /) -> None: ...
def channel_sum(
    dy: _Array,
    db: _Array,
    itemsize: int,
    N: int,
    K: int,
    pixels: int,
    images: int | None = None,
    /,
) -> None: ...

# normalisation: parts[n, 2, C] for each of N blocks, sums[2, C] of the batch

def batch_norm_statistics(
    x: _Array,
    parts: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    images: int | None = None,
    /,
) -> None: ...
def batch_norm_merge(
    parts: _Array,
    mean: _Array,
    squares: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    images: int,
    /,
) -> None: ...
def batch_norm_variance(
    squares: _Array, var: _Array, itemsize: int, C: int, pixels: int, images: int, /
) -> None: ...
def batch_norm(
    x: _Array,
    mean: _Array,
    var: _Array,
    weight: _Array | None,
    bias: _Array | None,
    y: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    eps: float,
    clip: _Clip = None,
    /,
) -> None: ...
def batch_norm_sums(
    dy: _Array,
    x: _Array,
    mean: _Array,
    var: _Array,
    parts: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    eps: float,
    images: int | None = None,
    weight: _Array | None = None,
    bias: _Array | None = None,
    clip: _Clip = None,
    /,
) -> None: ...
def batch_norm_input(
    dy: _Array,
    x: _Array | None,
    mean: _Array | None,
    var: _Array,
    weight: _Array | None,
    sums: _Array | None,
    dx: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    eps: float,
    images: int,
    bias: _Array | None = None,
    clip: _Clip = None,
    /,
) -> None: ...
def group_norm(
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    y: _Array,
    stats: _Array,
    itemsize: int,
    N: int,
    G: int,
    C: int,
    pixels: int,
    eps: float,
    across: bool = False,
    /,
) -> None: ...
def group_norm_input(
    dy: _Array,
    x: _Array,
    weight: _Array | None,
    stats: _Array,
    dx: _Array,
    itemsize: int,
    N: int,
    G: int,
    C: int,
    pixels: int,
    across: bool = False,
    /,
) -> None: ...
def group_norm_sums(
    dy: _Array,
    x: _Array,
    stats: _Array,
    parts: _Array,
    itemsize: int,
    N: int,
    G: int,
    C: int,
    pixels: int,
    images: int | None = None,
    across: bool = False,
    /,
) -> None: ...

DROPOUT: Final[dict[str, int]]

def dropout(
    x: _Array,
    key: NDArray[np.uint64],
    y: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    p: float,
    kind: int,
    first: int = 0,
    /,
) -> None: ...
def linear(
    x: _Array,
    w: _Array,
    bias: _Array | None,
    y: _Array,
    itemsize: int,
    N: int,
    C: int,
    K: int,
    clip: _Clip = None,
    halves: bool = False,
    /,
) -> None: ...
def linear_input(
    dy: _Array,
    w: _Array,
    dx: _Array,
    itemsize: int,
    N: int,
    C: int,
    K: int,
    halves: bool = False,
    /,
) -> None: ...
def linear_weight(
    dy: _Array,
    x: _Array,
    dw: _Array,
    itemsize: int,
    images: int,
    C: int,
    K: int,
    halves: bool = False,
    /,
) -> None: ...
def max_pool2d(
    x: _Array, y: _Array, argmax: _Array | None, itemsize: int, shape: _Sizes, /
) -> None: ...
def max_pool2d_input(
    dy: _Array, argmax: _Array, dx: _Array, itemsize: int, shape: _Sizes, /
) -> None: ...
def avg_pool2d(
    x: _Array, y: _Array, itemsize: int, shape: _Sizes, count_include_pad: bool, /
) -> None: ...
def avg_pool2d_input(
    dy: _Array, dx: _Array, itemsize: int, shape: _Sizes, count_include_pad: bool, /
) -> None: ...
def elementwise(
    op: str,
    a: _Array,
    b: _Array | None,
    y: _Array,
    itemsize: int,
    count: int,
    p: float = 0.0,
    q: float = 0.0,
    c: _Array | None = None,
    once: bool = False,
    /,
) -> None: ...
def affine(
    x: _Array,
    w: _Array | None,
    b: _Array | None,
    y: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    clip: _Clip = None,
    /,
) -> None: ...
def prelu(
    x: _Array, slope: _Array, y: _Array, itemsize: int, N: int, C: int, pixels: int, /
) -> None: ...
def prelu_back(
    dy: _Array, x: _Array, slope: _Array, dx: _Array, itemsize: int, N: int, C: int, pixels: int, /
) -> None: ...
def prelu_slope(
    dy: _Array,
    x: _Array,
    parts: _Array,
    itemsize: int,
    N: int,
    C: int,
    pixels: int,
    images: int | None = None,
    /,
) -> None: ...
def softmax(
    a: _Array,
    dy: _Array | None,
    y: _Array,
    itemsize: int,
    N: int,
    K: int,
    pixels: int,
    logarithm: bool = False,
    /,
) -> None: ...
def loss(
    op: str,
    z: _Array,
    target: _Array,
    weight: _Array,
    cost: _Array,
    dz: _Array,
    itemsize: int,
    images: int,
    K: int,
    scale: float,
    pixels: int = 1,
    value: float = 0.0,
    /,
) -> None: ...
def sgd(
    p: _Array,
    g: _Array,
    v: _Array | None,
    itemsize: int,
    count: int,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
    /,
) -> None: ...
def adam(
    p: _Array,
    g: _Array,
    m: _Array,
    v: _Array,
    itemsize: int,
    count: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    keep: float,
    root: float,
    /,
) -> None: ...
def rmsprop(
    p: _Array,
    g: _Array,
    v: _Array,
    b: _Array | None,
    a: _Array | None,
    itemsize: int,
    count: int,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    /,
) -> None: ...
def average(p: _Array, a: _Array, itemsize: int, count: int, weight: float, /) -> None: ...
def copy_all(arrays: Iterable[_Array], into: Iterable[_Array], /) -> None: ...
def shrink(g: _Array, y: _Array, itemsize: int, count: int, factor: float, /) -> None: ...
def sum_of_squares(g: _Array, itemsize: int, count: int, /) -> float: ...
def one_hot(
    numbers: _Array, y: _Array, itemsize: int, images: int, K: int, pixels: int, /
) -> int: ...
def total(costs: _Array, itemsize: int, images: int, /) -> float: ...

# one image, lanes over channels or pixels

def channel_conv(
    x: _Array,
    w: _Array,
    bias: _Array,
    y: _Array,
    itemsize: int,
    tables: _Tables,
    clip: _Clip = None,
    /,
) -> None: ...
def pixel_conv(
    x: _Array,
    w: _Array,
    bias: _Array,
    y: _Array,
    itemsize: int,
    tables: _Tables,
    clip: _Clip = None,
    /,
) -> None: ...
def depthwise(
    x: _Array,
    w: _Array,
    bias: _Array,
    y: _Array,
    itemsize: int,
    tables: _Tables,
    x_block: int,
    clip: _Clip = None,
    /,
) -> None: ...
def winograd_weights(w: _Array, u: _Array, itemsize: int, K: int, C: int, taps: int, /) -> None: ...
def channel_winograd(
    x: _Array,
    u: _Array,
    w: _Array,
    bias: _Array,
    y: _Array,
    itemsize: int,
    shape: _Sizes,
    steps: _Sizes,
    first: _Sizes,
    clip: _Clip = None,
    /,
) -> None: ...
def half_conv(
    x: _Array,
    w: _Array,
    bias: _Array,
    y: _Array,
    shape: _Sizes,
    steps: _Sizes,
    first: _Sizes,
    clip: _Clip = None,
    taps: bool = False,
    /,
) -> None: ...
def pool_channels(
    x: _Array,
    y: _Array,
    itemsize: int,
    shape: _Sizes,
    steps: _Sizes,
    first: _Sizes,
    count_include_pad: bool | None = None,
    /,
) -> None: ...
def pool_pairs(
    x: _Array, y: _Array, itemsize: int, sizes: _Sizes, x_steps: _Sizes, y_steps: _Sizes, /
) -> None: ...
def embed(
    x: _Array,
    y: _Array,
    itemsize: int,
    sizes: _Sizes,
    x_steps: _Sizes,
    y_steps: _Sizes,
    first: int,
    scale: float,
    /,
) -> None: ...
def move(
    x: _Array, y: _Array, itemsize: int, source: _Table, target: _Table, width: int, /
) -> None: ...
def fill(y: _Array, itemsize: int, value: float, /) -> None: ...
def border(
    y: _Array, itemsize: int, sizes: tuple[int, ...], steps: tuple[int, ...], first: int, /
) -> None: ...

# augmented images

PADDING_MODES: Final[dict[str, int]]

def draws(
    images: NDArray[np.uint64], y: _Array, seed: int, epoch: int, number: int, N: int, count: int, /
) -> None: ...
def augment(
    x: _Array,
    rows: _Array,
    y: _Array,
    itemsize: int,
    shape: _Sizes,
    mode: str,
    fill: float,
    value: float,
    noise: _Array | None,
    weights_h: _Array | None,
    weights_w: _Array | None,
    spacing: float,
    /,
) -> None: ...
def mix(
    x: _Array,
    other: _Array,
    rows: _Array,
    y: _Array,
    itemsize: int,
    N: int,
    C: int,
    H: int,
    W: int,
    /,
) -> None: ...

# networks of bytes

_Limits: TypeAlias = tuple[float, float, int]

def byte_conv(
    x: _Array,
    w: _Array,
    terms: _Array,
    y: _Array,
    tables: _Tables,
    K: int,
    limits: _Limits | None = None,
    clip: _Clip = None,
    y_step: int = 0,
    apart: bool = False,
    /,
) -> int: ...
def byte_window(
    op: str,
    x: _Array,
    y: _Array,
    shape: Iterable[int],
    steps: Iterable[int],
    zero_x: int,
    scale: float,
    limits: _Limits,
    counts: int = 0,
    /,
) -> int: ...
def byte_add(
    a_: _Array,
    b_: _Array,
    y: _Array,
    sizes: Iterable[int],
    steps: Iterable[int],
    zeros: tuple[int, int],
    scales: tuple[float, float],
    limits: _Limits,
    /,
) -> int: ...
def byte_cast(
    x: _Array,
    y: _Array,
    places: _Array,
    sizes: Iterable[int],
    steps: Iterable[int],
    scale: float,
    limits: _Limits,
    back: bool,
    odd: _Array | None = None,
    /,
) -> int: ...
def byte_fill(y: _Array, value: int, /) -> int: ...
