"""The compiled module; its functions are described in `src/_cpu.pyx`."""

from typing import Any

def __getattr__(name: str) -> Any: ...
