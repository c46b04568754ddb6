"""`World`: the processes that ``mpiexec`` has started, as a group that trains one network."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import _check as check
from .._dispatch import get_num_threads, set_num_threads
from ..run.share import wire_of

TIMEOUT = 300.0  # seconds
GRACE = 3.0  # seconds, of these, in which a rank answers when the others ask who is there
EAGER = 0.002  # seconds for which a rank that waits looks again at once
LONGEST = 0.002  # seconds that it sleeps between two looks after that
LAST_WORDS = 0.5  # seconds in which the launcher reads what a rank has said before it ends all
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")  # that launchers set


#: let others run, at once again if there are none; `time.sleep(0)` takes 60 microseconds
_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


class GroupError(RuntimeError):
    """A rank did not answer in time, or is gone."""


def launched() -> bool:
    """Whether a launcher, such as ``mpiexec -n 4``, has started several of this process."""
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in SIZES)


def world(timeout: float = TIMEOUT, wire: str | None = None) -> World:
    """The group of all processes that the launcher has started; see `World`."""
    return World(timeout, wire)


class World:
    """All processes of an MPI program, each of which is a rank.

    As a context manager it ends the other ranks if its block is left by an error, which otherwise
    would wait until their time is out.  Each process takes its share of the CPUs of its machine for
    threads, unless it has fewer already.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for the others in any one exchange.  Then it asks who is there,
        and raises `GroupError`, which names the ranks that do not answer.
    wire : "bfloat16", optional
        Round the sums of gradients that ranks send to each other, to 8 digits of base 2, which
        halves what travels.  All ranks have the same weights then too, but not those of another
        number of ranks.  For networks of float32.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and how many there are.
    timeout, wire

    Raises
    ------
    ImportError
        If mpi4py is not installed.
    ValueError
        If an argument does not fit.
    """

    def __init__(self, timeout: float = TIMEOUT, wire: str | None = None) -> None:
        self.timeout = check.number(timeout, "timeout", 1e-3)
        self.wire = wire
        wire_of(self)
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ImportError(
                f"training by several processes needs mpi4py: pip install 'cnn_ext[mpi]' ({error})"
            ) from None
        self._mpi = MPI
        self._comm = MPI.COMM_WORLD.Dup()
        self._roll = MPI.COMM_WORLD.Dup()  # where ranks ask who is there
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._left = False
        self._under_way: dict[int, Any] = {}  # memory that MPI may still read or write
        here = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
        set_num_threads(min(get_num_threads(), max(1, (os.cpu_count() or 1) // here.Get_size())))
        here.Free()
        atexit.register(self._end)

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        """The arrays of all ranks, in their order; they have one shape and number type.

        Raises
        ------
        GroupError
            If a rank does not answer in time.
        """
        return self.begin_allgather(array)()

    def begin_allgather(self, array: np.ndarray) -> Callable[[], list[np.ndarray]]:
        """Begin what `allgather` does; the function waits until it is done.

        The array must stay as it is until then.
        """
        own = np.ascontiguousarray(array)
        found = np.empty((self.size, *own.shape), own.dtype)
        sent, taken = ([each, own.nbytes, self._mpi.BYTE] for each in (own, found))
        request = self._begun(lambda: self._comm.Iallgather(sent, taken))
        self._under_way[id(request)] = request, own, found

        def wait() -> list[np.ndarray]:
            self._wait(request)
            self._under_way.pop(id(request), None)
            return list(found)

        return wait

    def barrier(self) -> None:
        """Wait until all ranks are here; GroupError as in `allgather`."""
        self._wait(self._begun(self._comm.Ibarrier))

    def leave(self) -> None:
        """End all ranks when this process ends: it cannot go on, and they cannot without it."""
        self._left = True

    def _begun(self, begin: Callable[[], Any]) -> Any:
        if self._left:
            raise GroupError(f"rank {self.rank} has left the group")
        with self._leaving():
            return begin()

    def _wait(self, request: Any) -> None:
        began, grace = time.monotonic(), min(GRACE, self.timeout / 2)
        with self._leaving():
            while not request.Test():
                waited = time.monotonic() - began
                if waited > self.timeout - grace:
                    raise GroupError(self._silent(grace))
                if waited < EAGER:
                    _give_way()
                else:
                    time.sleep(min(LONGEST, waited / 20))

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._left = True  # what others have sent or wait for fits no call to come
            if isinstance(error, self._mpi.Exception):
                raise GroupError(f"rank {self.rank}: {error}") from error
            raise

    def _silent(self, grace: float) -> str:
        # who does not answer, in words
        others = [rank for rank in range(self.size) if rank != self.rank]
        mine, theirs = np.zeros(1, np.uint8), np.zeros((self.size, 1), np.uint8)
        sent = [self._roll.Isend([mine, self._mpi.BYTE], rank) for rank in others]
        asked = [self._roll.Irecv([theirs[rank], self._mpi.BYTE], rank) for rank in others]
        missing, began = dict(zip(others, asked, strict=True)), time.monotonic()
        while missing and time.monotonic() - began < grace:
            missing = {rank: request for rank, request in missing.items() if not request.Test()}
            time.sleep(LONGEST)
        self._under_way[-1] = sent, asked, mine, theirs
        if not missing:
            return f"ranks wait for different things after {self.timeout:g} s, rank {self.rank} too"
        names = ", ".join(map(str, missing))
        return (
            f"rank {self.rank} had no answer from rank{'s' if len(missing) > 1 else ''} {names} "
            f"within {self.timeout:g} s"
        )

    def _end(self) -> None:
        if self._left and not self._mpi.Is_finalized():
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            time.sleep(LAST_WORDS)
            self._mpi.COMM_WORLD.Abort(1)

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.leave()

    def __deepcopy__(self, memo: Any) -> World:
        return self  # of a trainer that is copied

    def __reduce__(self) -> tuple[Any, ...]:
        return World, (self.timeout, self.wire)

    def __repr__(self) -> str:
        return f"World(rank {self.rank} of {self.size})"
