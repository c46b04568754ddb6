"""What training begins with where nobody says otherwise: network, steps and rate by the pictures.

::

    chosen = defaults_for(len(x), shape := x.shape[1:])
    net = normalized(architectures.build(chosen.arch, shape, classes), x)
    rate = first_rate(net, "sgd", chosen.batch_size)
    trainer = Trainer(net, optimizer=SGD(net, rate, momentum=0.9))
    trainer.optimizer.lr = tried_rate(trainer, x, y, chosen.batch_size)
    options = {"schedule": "one-cycle", "augment": mild(shape)}
    trainer.fit(x, y, chosen.epochs, chosen.batch_size, **options)
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.batching import forever, gather
from ..data.dataset import Selection
from ..layers import BatchNorm2d, Normalize, Sequential
from .descent import CostError

if TYPE_CHECKING:
    from ..augment import Transform
    from .trainer import Trainer

Shape = tuple[int, int, int]  # C, H, W

SEEN, FEW, GROWTH = 12_800, 200, 0.7  # pictures seen in all, of a set of so few; its power of more
LARGE = 64  # images of a batch
BATCHES = ((16, 1_000), (32, 5_000), (LARGE, None))  # up to so many pictures
SHARES = ((0.15, 2_000), (0.1, 20_000), (0.05, None))  # kept aside for validation
LEAST_WATCHED = 20  # pictures of a validation part
MANY = 10_000  # grey pictures of 20 to 36 pixels: letters and digits, which a quick network learns
TINY = 256  # pixels
SMALL = 12  # pixels of a side, below which one is too large a part to move by; half the steps do
PER_PIXEL = 0.08  # of the side, that pictures are shifted by

# highest rates of one cycle, with batch normalisation and without
RATES = {
    "sgd": (0.1, 0.05),
    "adam": (0.01, 0.003),
    "adamw": (0.01, 0.003),
    "rmsprop": (0.003, 0.001),
    "muon": (0.02, 0.02),
}
DECAYS = {"sgd": 5e-4, "adam": 0.0, "adamw": 0.01, "rmsprop": 0.0, "muon": 0.0}
MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0, "muon": 0.95}
STEPS, TRIALS, WORSE = 60, 5, 1.2  # of a trial; most of them; a cost above that of guessing


class Defaults(NamedTuple):
    """What fits the pictures at hand.

    Attributes
    ----------
    arch : str
        Of `architectures`.
    epochs, batch_size : int
    validation_split : float
        Part that is kept aside; 0 where there are too few.
    augment : bool
        Whether `mild` belongs to it.
    threads : int or None
        1 for images so small that a second one gains nothing, and loses much on a busy machine.
    """

    arch: str
    epochs: int
    batch_size: int
    validation_split: float
    augment: bool
    threads: int | None


def defaults_for(images: int, input_shape: Shape) -> Defaults:
    """What fits so many pictures to learn from, of this shape."""
    C, *sides = input_shape
    side = min(sides)
    share = _by_size(SHARES, images)
    batch_size = _by_size(BATCHES, images)
    if C == 1 and 20 <= side <= 36 and images >= MANY:
        return Defaults("quick", 2, 128, 0.0, augment=False, threads=None)
    arch = "plain2" if side < 20 else "plain3" if side < 64 else "plain4"
    seen = SEEN * max(1.0, images / FEW) ** GROWTH
    small = side < SMALL
    epochs = max(1, round(seen / images / (2 if small else 1)))
    if share * images < LEAST_WATCHED:
        share = 0.0
    threads = 1 if math.prod(sides) <= TINY else None
    return Defaults(arch, epochs, batch_size, share, augment=not small, threads=threads)


def _by_size(table: tuple[tuple[Any, int | None], ...], images: int) -> Any:
    return next(value for value, most in table if most is None or images <= most)


def normalized(net: Sequential, x: Any) -> Sequential:
    """The network behind a `Normalize` that has mean and deviation of these images.

    Whole numbers of 8 or 16 bits are taken as fractions of their range, and so are numbers of 0 to
    1, so that the network takes pictures of every depth.
    """
    some = x[:: -(-len(x) // 10_000)]
    unit = some.dtype in (np.bool_, np.uint8, np.uint16) or abs(some).max() <= 1
    return Sequential(Normalize(unit=unit).fit(some), *net.layers)


def mild(input_shape: Shape) -> list[Transform]:
    """Changes that leave almost any picture what it is: it is moved by a few pixels."""
    from ..augment import RandomShift  # which most programs do without

    return [RandomShift(max(1, round(PER_PIXEL * min(input_shape[1:]))), "edge")]


def first_rate(net: Sequential, optimizer: str, batch_size: int) -> float:
    """The highest learning rate of a cycle, before it is tried.

    That of SGD goes up with larger batches than the usual ones (Goyal et al. 2017, section 2.1).
    """
    batch_norm = any(isinstance(layer, BatchNorm2d) for _, layer in net.named_modules())
    rate = RATES[optimizer][0 if batch_norm else 1]
    return rate * max(1.0, batch_size / LARGE) if optimizer == "sgd" else rate


def tried_rate(trainer: Trainer, x: Any, y: Any, batch_size: int) -> float:
    """The learning rate of the trainer's optimizer, or a quarter, ... of it where that is too high.

    A copy of the trainer goes up to the rate and stays there for a while.  If its cost is then
    above that of guessing, or not finite, the rate is too high.  The trainer stays as it is, bit
    for bit.

    Parameters
    ----------
    trainer : Trainer
        For classes, with cross-entropy.
    x, y
        As for `Trainer.fit`; class numbers.
    batch_size : int
    """
    rate = float(trainer.optimizer.lr)
    guessing = math.log(len(np.unique(y)))
    for _ in range(TRIALS):
        if _cost_at(rate, copy.deepcopy(trainer), x, y, batch_size) <= WORSE * guessing:
            break
        rate /= 4
    return rate


def _cost_at(rate: float, trial: Trainer, x: Any, y: Any, batch_size: int) -> float:
    # the mean cost of the last third of a trial; infinity if it is not finite
    costs = []
    order = forever(len(y), batch_size, np.random.default_rng(0))
    for step, indices in zip(range(STEPS), order, strict=False):
        trial.optimizer.lr = rate * min(1.0, (step + 1) / (STEPS / 3))
        try:
            images = gather(x, indices) if trial.group is None else Selection(x, indices)
            costs.append(trial.train_on_batch(images, y[indices]))
        except CostError:
            return math.inf
    return float(np.mean(costs[-STEPS // 3 :]))
