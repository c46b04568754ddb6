"""Interrupts everywhere: KeyboardInterrupt before the nth line or instruction of some modules."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import cnn_ext

PACKAGE = str(Path(cnn_ext.__file__).parent)


class InterruptAt:
    """Raises KeyboardInterrupt inside a `with` block, before the nth event in these modules.

    Without modules it is the whole package.

    An event is a new line or, with `instructions`, an instruction of Python.  `place` says where it
    was; None if the block had fewer events.
    """

    def __init__(self, nth: int, *modules: ModuleType, instructions: bool = False) -> None:
        self.left = nth
        self.files = tuple(str(module.__file__) for module in modules) or (PACKAGE,)
        self.event = "opcode" if instructions else "line"
        self.place: str | None = None

    def __enter__(self) -> InterruptAt:
        self.before = sys.gettrace()
        if self.event == "opcode":  # Python 3.12 wants to know of instructions beforehand
            sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self.before)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.files):
            return None
        frame.f_trace_opcodes = self.event == "opcode"
        if event == self.event:
            self.left -= 1
            if self.left == 0:
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._trace


def everywhere(*modules: ModuleType, instructions: bool = False) -> Iterator[InterruptAt]:
    """Interrupts at the first event, the second and so on; the last one finds no event any more."""
    nth = 0
    while True:
        nth += 1
        interrupt = InterruptAt(nth, *modules, instructions=instructions)
        yield interrupt
        if interrupt.place is None:
            assert nth > 20, "there was hardly anything to interrupt"
            return


def every_interrupt(
    function: Callable[[], Any], instructions: bool = False, step: int = 1
) -> Iterator[int]:
    """Interrupt `function` at each event (or each so many) until it ends; yields after each."""
    nth = 1
    while True:
        interrupt = InterruptAt(nth, instructions=instructions)
        try:
            with interrupt:
                function()
        except KeyboardInterrupt:
            pass
        if interrupt.place is None:
            return
        yield nth - 1
        nth += step


@contextmanager
def timer_signals(handler: Any) -> Iterator[None]:
    """Let `handler` take the signals of timers, which come nowhere but in the code of the block.

    What other packages do while garbage is collected would keep an interrupt for itself.
    """
    before, callbacks = signal.signal(signal.SIGALRM, handler), gc.callbacks[:]
    gc.callbacks.clear()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.callbacks[:] = callbacks
        signal.signal(signal.SIGALRM, before)
