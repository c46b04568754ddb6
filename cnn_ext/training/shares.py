"""The part of each batch that this process has, if it is one of several that train together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import tee
from typing import Any

import numpy as np

from ..data.labelled import Batch
from ..run.share import Share


def with_shares(
    order: Iterator[Any],
    share_of: Callable[[int], Share | None],
    taken: Callable[[Iterator[Any]], Any],
) -> Generator[tuple[Batch, Share | None], None, None]:
    """Batches, and which part of the whole batch each of them is; None if it is all of it.

    Parameters
    ----------
    order : iterator of ndarray or Batch
        The numbers of the images of each batch, or the batch.
    share_of : function
        The share of this process in a batch of so many images.
    taken : function
        The batches of an order, read ahead and augmented; it is closed with this.
    """

    def shares() -> Iterator[tuple[Any, Share | None]]:
        for each in order:
            yield each, share_of(len(each.indices if isinstance(each, Batch) else each))

    first, second = tee(shares())
    with closing(taken(_own_of(each, share) for each, share in first)) as batches:
        for (_, share), batch in zip(second, batches, strict=True):
            yield batch if share is None or share.own else batch.part(slice(0)), share


def _own_of(batch: np.ndarray | Batch, share: Share | None) -> Any:
    # of a batch, or of the numbers of its images; one to look at, if there are none
    if share is None:
        return batch
    part = share.part if share.own else slice(1)
    return batch.part(part) if isinstance(batch, Batch) else batch[part]
