"""Batches that come one after the other, from a generator or a loader, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from .. import _check as check
from .ahead import ahead
from .labelled import Batch, LabelledSet


class Stream:
    """An iterable of ``(x, y)`` or ``(x, y, sample_weight)``, a batch each.

    Parameters
    ----------
    batches : iterable
    name : str
        What messages call it.
    several : bool
        Whether targets are those of several outputs.
    steps : int, optional
        Batches of an epoch: then one epoch goes on where the one before ended, and the iterable
        begins anew when it is at its end, if it can.  Without it each epoch is all batches.

    Raises
    ------
    TypeError
        If it is no iterable of batches.
    ValueError
        If it does not say how many batches there are, nor `steps`.
    """

    def __init__(
        self, batches: Any, name: str, several: bool = False, steps: int | None = None
    ) -> None:
        if hasattr(batches, "shape") or isinstance(batches, (str, bytes, Mapping)) or not (
            hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")
        ):  # fmt: skip
            raise TypeError(
                f"{name}: expected {'targets with it' if name == 'x' else '(x, y)'}, or an "
                f"iterable of batches (x, y), got {type(batches).__name__} alone"
            )
        self.given, self.name, self.several = batches, name, several
        self.y, self.weights = None, None  # not before they come
        self.steps = None if steps is None else check.whole(steps, "steps_per_epoch", 1)
        self._iterator: Iterator[Any] | None = None

    @property
    def once(self) -> bool:
        """Whether one can go through it but once."""
        return iter(self.given) is self.given

    def __len__(self) -> int:
        """Batches of an epoch; ValueError if they are not known."""
        if self.steps is not None:
            return self.steps
        try:
            count = len(self.given)
        except TypeError:
            raise ValueError(
                "steps_per_epoch: expected the number of batches that are an epoch, for "
                f"{self.name} does not tell its length ({type(self.given).__name__})"
            ) from None
        if not count:
            raise ValueError(f"{self.name}: expected at least one batch, got none")
        return count

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch, each of which is checked."""
        if self.steps is None:
            self.close()
        first = 0
        for number in range(1, len(self) + 1):
            batch = self._batch(self._next(number), number, first)
            first += len(batch.indices)
            yield batch

    def all(self) -> Iterator[Batch]:
        """All batches to the end, once."""
        first = 0
        for number, given in enumerate(self.given, 1):
            batch = self._batch(given, number, first)
            first += len(batch.indices)
            yield batch
        if not first:
            raise ValueError(f"{self.name}: expected at least one batch, got none")

    def batches(self, batch_size: int, rng: Any) -> Iterator[Batch]:
        """The same; it has sizes and an order of its own."""
        return self.epoch()

    def taken(self, order: Iterator[Batch]) -> Iterator[Batch]:
        """The same."""
        yield from order

    def count(self, batch_size: int) -> int:
        """Batches of an epoch."""
        return len(self)

    def close(self) -> None:
        """Let go of the iterator; one that was made here ends."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None and iterator is not self.given and hasattr(iterator, "close"):
            iterator.close()

    def _next(self, number: int) -> Any:
        if self._iterator is not None:
            for batch in self._iterator:
                return batch
        if self._iterator is None or (self.steps is not None and not self.once):
            self._iterator = iter(self.given)
            for batch in self._iterator:
                return batch
        raise ValueError(
            f"{self.name}: ended after {number - 1} batches of the {len(self)} of an epoch"
        )

    def _batch(self, given: Any, number: int, first: int) -> Batch:
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(
                f"{self.name}: expected (x, y) or (x, y, sample_weight) in batch {number}, got "
                f"{given!r:.99}"
            )
        try:
            batch = LabelledSet(given[0], given[1], "x", "y", self.several, *given[2:])
            indices = np.arange(len(batch))
            images, targets = batch[indices], batch.y[indices]
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}, batch {number}: {error}") from error
        return Batch(first + indices, images, targets, batch.weights)


def set_of(
    x: Any, y: Any, several: bool, sample_weight: Any, steps: int | None, **others: Any
) -> LabelledSet | Stream:
    """Images and targets, or the batches that `x` is where there is no `y`.

    Raises
    ------
    TypeError, ValueError
        If they do not fit; if `steps` is given with targets, or, with batches, weights or one of
        the `others`.
    """
    if y is not None:
        if steps is not None:
            raise ValueError("steps_per_epoch: expected None with y, whose images all are an epoch")
        return LabelledSet(x, y, several=several, sample_weight=sample_weight)
    stream = Stream(x, "x", several, steps)
    for name, value in {"sample_weight": sample_weight, **others}.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected None with an iterable of batches, got {value!r:.99}; each has a "
                "size of its own, weights as third, (x, y, sample_weight), and cannot come again"
            )
    return stream


def divided(
    whole: LabelledSet | Stream, validation_data: Any, validation_split: float, seed: int
) -> tuple[LabelledSet | Stream, LabelledSet | Stream | None]:
    """The images to train on, and those to validate on: given, or a part that the seed chooses."""
    if not validation_split:
        if validation_data is None:
            return whole, None
        several = whole.several
        if not isinstance(validation_data, (tuple, list)):
            return whole, Stream(validation_data, "validation_data", several)
        if len(validation_data) not in (2, 3):
            raise TypeError(
                "validation_data: expected (x, y) or (x, y, sample_weight), got "
                f"{validation_data!r:.99}"
            )
        x, y, weights = (*validation_data, None)[:3]
        x_name, y_name, weight_name = (f"validation_data[{i}]" for i in range(3))
        return whole, LabelledSet(x, y, x_name, y_name, several, weights, weight_name)
    if validation_data is not None:
        raise ValueError("validation_split: expected 0 with validation_data")
    if isinstance(whole, Stream):
        raise ValueError("validation_split: expected 0 with an iterable of batches")
    kept = round(len(whole) * check.number(validation_split, "validation_split", 0, 1))
    if not 0 < kept < len(whole):
        raise ValueError(
            f"validation_split: expected a part that leaves images for both sets, got "
            f"{validation_split!r} of {len(whole)}"
        )
    order = np.random.default_rng([seed, len(whole)]).permutation(len(whole))
    return whole.part(np.sort(order[kept:])), whole.part(np.sort(order[:kept]))


class ReadAhead:
    """Batches of an iterable, of which a thread makes the next two meanwhile.

    ``Trainer.fit(ReadAhead(batches()), steps_per_epoch=100)``: all of the generator's own code runs
    in that thread, so it asks for batches that training may not come to.  The thread ends with
    the iteration.

    Parameters
    ----------
    batches : iterable
        Of anything.

    Raises
    ------
    TypeError
        If it is no iterable.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        iter(batches)
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        iterator, end = iter(self.batches), object()
        for batch in ahead(repeat(partial(next, iterator, end)), 1):
            if batch is end:
                return
            yield batch
