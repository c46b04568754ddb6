"""Ranks that are threads of one process: what a group is, without any transport."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

SECONDS = 60  # before a rank that waits gives up


class Meeting:
    """What the ranks of one group share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.rounds: dict[int, dict[int, np.ndarray]] = {}
        self.gone: set[int] = set()
        self.bytes = 0  # that rank 0 has sent

    def leave(self, rank: int) -> None:
        with self.changed:
            self.gone.add(rank)
            self.changed.notify_all()


class ThreadGroup:
    """One rank of a group of threads."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.size = meeting, rank, meeting.size
        self.round = 0

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        meeting = self.meeting
        with meeting.changed:
            here = meeting.rounds.setdefault(self.round, {})
            self.round += 1
            here[self.rank] = array.copy()
            meeting.bytes += array.nbytes * (self.rank == 0)
            meeting.changed.notify_all()
            everyone = set(range(self.size))
            done = meeting.changed.wait_for(
                lambda: len(here) == self.size or bool((everyone - here.keys()) & meeting.gone),
                SECONDS,
            )
        if not done or len(here) < self.size:
            raise TimeoutError(f"no answer from {everyone - here.keys()}")
        assert {(each.shape, each.dtype) for each in here.values()} == {(array.shape, array.dtype)}
        return [here[rank] for rank in range(self.size)]

    def barrier(self) -> None:
        self.allgather(np.zeros(0))

    def __deepcopy__(self, memo: Any) -> ThreadGroup:
        return self  # of a trainer that is copied


def on_ranks(size: int, work: Callable[[ThreadGroup], Any]) -> list[Any]:
    """What `work` returns or raises on each of so many ranks."""
    meeting, found = Meeting(size), [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = work(ThreadGroup(meeting, rank))
        except BaseException as error:
            found[rank] = error  # type: ignore[call-overload]
        finally:
            meeting.leave(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
