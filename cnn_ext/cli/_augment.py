"""Transforms as the option --augment takes them: calls as Python writes them, and no more."""

from __future__ import annotations

import argparse
import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..augment import Transform

VIEWS = ("mirror", "mirror+translate")


def augment(text: str) -> str:
    """The type of the option, whose value stays a text, for the file that repeats the run."""
    try:
        transforms(text)
    except (SyntaxError, TypeError, ValueError) as error:
        what = "not what Python can read" if isinstance(error, SyntaxError) else error
        raise argparse.ArgumentTypeError(f"{what}; got {text!r:.99}") from error
    return text


def transforms(text: str) -> list[Transform]:
    """The transforms that a text names, with commas between.

    Raises
    ------
    SyntaxError, TypeError, ValueError
        If it is something else, or an argument of a transform does not fit.
    """
    parsed = ast.parse(f"[{text}\n]", mode="eval").body
    if not isinstance(parsed, ast.List):
        raise ValueError("expected transforms with commas between")
    return [_made(each) for each in parsed.elts]


def _made(call: ast.expr) -> Transform:
    from .. import augment as known  # which most programs do without

    name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else None
    kind = getattr(known, name) if name in known.__all__ else None
    if not isinstance(call, ast.Call) or not isinstance(kind, type):
        raise ValueError(f"expected transforms of cnn_ext.augment, got {ast.unparse(call)!r:.99}")
    positional = [ast.literal_eval(argument) for argument in call.args]
    named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    made = kind(*positional, **named)
    if not isinstance(made, known.Transform):
        raise ValueError(f"expected transforms of cnn_ext.augment, got {ast.unparse(call)!r:.99}")
    return made
