"""The compiled module; its functions are described in `src/_core.pyx`."""

from typing import Any

def __getattr__(name: str) -> Any: ...
