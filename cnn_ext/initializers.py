"""First values of weights: He, Glorot, LeCun, normal, zeros, PyTorch's default, Dirac; their seed.

An initialiser is a function (shape, rng) -> array; the names in `INITIALIZERS` stand for those
here.  Shapes are (K, C, R, S) or (K, C); the fan-in is the number of inputs that meet in an output.
"""

from __future__ import annotations

import math
from _thread import allocate_lock
from collections.abc import Callable

import numpy as np

# in quotes, because NumPy loads `numpy.random` when it is first named
Initializer = Callable[[tuple[int, ...], "np.random.Generator"], np.ndarray]

_lock = allocate_lock()  # without the module threading, which takes a millisecond to import
_seeds: np.random.Generator | None = None  # of layers that get no generator


def seed(number: int | None) -> None:
    """Make repeatable what layers draw that get no `rng`: their first weights, and dropout.

    From here on these layers, and `initialize` without `rng`, draw one after the other in the order
    of the calls: the same program makes the same network.  It is one order for the whole process;
    threads may make layers at the same time, but which of them comes first is then left to chance.
    The order of the images is not drawn from here, see `Trainer`, which also gives dropout another
    generator.

    Parameters
    ----------
    number : int or None
        0 or more; None means another one each time, as before the first call.

    Raises
    ------
    TypeError, ValueError
        If `number` is no whole number, or negative.
    """
    global _seeds
    if number is not None:
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
            raise TypeError(f"number: expected a whole number or None, got {number!r}")
        if number < 0:
            raise ValueError(f"number: expected 0 or more, got {number}")
    with _lock:
        _seeds = None if number is None else np.random.default_rng(number)


def generator_of_its_own() -> np.random.Generator:
    """The next generator for a layer that gets none, which nobody else draws from."""
    with _lock:
        return np.random.default_rng(None if _seeds is None else _seeds.integers(2**63))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs of each output and outputs of each input of weights of that shape."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def he(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with variance 2 / fan-in, for ReLU (He et al. 2015)."""
    return rng.normal(0, math.sqrt(2 / fans(shape)[0]), shape)


def glorot(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform with variance 2 / (fan-in + fan-out), for tanh (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-bound, bound, shape)


def lecun(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with variance 1 / fan-in (LeCun et al. 1998)."""
    return rng.normal(0, math.sqrt(1 / fans(shape)[0]), shape)


def normal(std: float = 0.01, mean: float = 0.0) -> Initializer:
    """An initialiser that draws from a normal distribution."""
    return lambda shape, rng: rng.normal(mean, std, shape)


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All zeros."""
    return np.zeros(shape)


def pytorch(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform in +-1/sqrt(fan-in), what PyTorch's convolution and linear layers start from."""
    bound = 1 / math.sqrt(fans(shape)[0])
    return rng.uniform(-bound, bound, shape)


def dirac(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """As `pytorch`, but the first filters of a convolution pass on one channel each.

    Where nothing follows that mixes them, an image comes through (Zagoruyko and Komodakis 2017).
    """
    weights = pytorch(shape, rng)
    if len(shape) > 2:
        middle = tuple(side // 2 for side in shape[2:])
        for channel in range(min(shape[:2])):
            weights[channel] = 0
            weights[(channel, channel, *middle)] = 1
    return weights


INITIALIZERS: dict[str, Initializer] = {
    "he": he,
    "glorot": glorot,
    "lecun": lecun,
    "normal": normal(),
    "zeros": zeros,
    "pytorch": pytorch,
    "dirac": dirac,
}


def initial_weights(
    initializer: str | Initializer, shape: tuple[int, ...], rng: np.random.Generator | None
) -> np.ndarray:
    """Weights of that shape drawn by an initialiser or one of `INITIALIZERS` by name."""
    if isinstance(initializer, str):
        if initializer not in INITIALIZERS:
            raise ValueError(
                f"initializer: expected one of {', '.join(INITIALIZERS)}, got {initializer!r}"
            )
        initializer = INITIALIZERS[initializer]
    if not callable(initializer):
        raise TypeError(f"initializer: expected a name or a function, got {initializer!r}")
    weights = np.asarray(initializer(shape, rng or generator_of_its_own()))
    if weights.shape != shape:
        raise ValueError(f"initializer: expected weights of shape {shape}, got {weights.shape}")
    return weights


def initial_bias(
    initializer: str | Initializer,
    shape: tuple[int, ...],
    rng: np.random.Generator | None,
    count: int,
) -> np.ndarray:
    """So many biases that go with weights of that shape: zeros, but for PyTorch's default."""
    if initializer in ("pytorch", pytorch):
        bound = 1 / math.sqrt(fans(shape)[0])
        return (rng or generator_of_its_own()).uniform(-bound, bound, count)
    return np.zeros(count)
