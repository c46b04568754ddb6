"""Augmentation as an option: names of transforms, with their arguments as in Python."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from ..augment import Compose, Transform
from ..augment.config import KNOWN
from ..training.defaults import Shape, mild

NAMES = sorted(name for name, kind in KNOWN.items() if kind is not Compose)


def augment(text: str) -> str:
    """The type of the option, a text that `transforms` takes."""
    if text not in ("mild", "none"):
        try:
            _transforms(text)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def transforms(text: str, input_shape: Shape) -> Compose | None:
    """What the option means for images of that shape."""
    if text == "none":
        return None
    return Compose(mild(input_shape) if text == "mild" else _transforms(text))


def _transforms(text: str) -> list[Transform]:
    fault = (
        "expected mild, none, or transforms such as 'RandomHorizontalFlip, RandomShift(2)', of "
        f"{', '.join(NAMES)}, got {text!r:.99}"
    )
    try:
        parsed = ast.parse(f"[{text}]", mode="eval").body
        assert isinstance(parsed, ast.List)
        found = [_transform(node) for node in parsed.elts]
    except (SyntaxError, KeyError, AttributeError, RecursionError, MemoryError, AssertionError):
        raise ValueError(fault) from None
    if not found:
        raise ValueError(fault)
    Compose(found)  # which knows what may follow what
    return found


def _transform(node: ast.expr) -> Transform:
    called: Any = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    kind = KNOWN[called.func.id]
    if kind is Compose:
        raise KeyError
    try:
        positional = [ast.literal_eval(argument) for argument in called.args]
        by_name = {each.arg: ast.literal_eval(each.value) for each in called.keywords}
        return kind(*positional, **by_name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{called.func.id}: {error}") from error
