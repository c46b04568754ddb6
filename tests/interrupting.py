"""Interrupts everywhere: KeyboardInterrupt before the nth line or instruction of some modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any


class InterruptAt:
    """Raises KeyboardInterrupt inside a `with` block, before the nth event in these modules.

    An event is a new line or, with `instructions`, an instruction of Python.  `place` says where it
    was; None if the block had fewer events.
    """

    def __init__(self, nth: int, *modules: ModuleType, instructions: bool = False) -> None:
        self.left = nth
        self.files = {module.__file__ for module in modules}
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
        if frame.f_code.co_filename not in self.files:
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
