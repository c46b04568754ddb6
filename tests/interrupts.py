"""Interrupts at every step of the package's Python code: a trace function that raises once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import cnn_ext

PACKAGE = str(Path(cnn_ext.__file__).parent)


class Interrupt(BaseException):
    """What Ctrl-C would be."""


def interrupted_at(event: int, function: Callable[[], Any], opcodes: bool = False) -> bool:
    """Call `function` and raise at its so manyth line (or instruction) inside the package.

    Returns whether it got there.
    """
    count = 0

    def trace(frame: FrameType, kind: str, arg: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = opcodes
        if kind == ("opcode" if opcodes else "line"):
            if count == event:
                raise Interrupt
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def every_interrupt(
    function: Callable[[], Any], opcodes: bool = False, step: int = 1
) -> Iterator[int]:
    """Interrupt `function` at each event in turn until it comes to its end; yields after each."""
    event = 0
    while interrupted_at(event, function, opcodes):
        yield event
        event += step
