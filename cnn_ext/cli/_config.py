"""Options in TOML files: what `--config` and `--recipe` read, and what a run writes to be repeated.

A key is a long option without its dashes, its value what the option takes: a text, a number, or
true or false for an option that takes nothing.  A recipe is such a file that the package brings.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from ._options import Parser, UsageError
from ._train_options import add_training

RECIPES = Path(__file__).parents[1] / "recipes"
_NOT_IN_FILES = frozenset(("config", "recipe"))


def add_config(parser: argparse.ArgumentParser) -> None:
    """The options --config and --recipe."""
    parser.add_argument(
        "--config",
        metavar="FILE.toml",
        help="file of options, long names without dashes, such as lr = 0.05; every run writes the "
        "one that repeats it beside its model; what the command line says goes first "
        "(default: none)",
    )
    known = recipes()
    parser.add_argument(
        "--recipe",
        choices=known,
        metavar="NAME",
        help=f"such a file that the package brings: {', '.join(known) or 'there is none'}; "
        "--config goes before it (default: none)",
    )


def recipes() -> list[str]:
    """The names of the files that the package brings."""
    return sorted(file.stem for file in RECIPES.glob("*.toml"))


def from_files(arguments: argparse.Namespace) -> list[str]:
    """What the files that `arguments` name stand for, as words of a command line.

    Raises
    ------
    UsageError
        If a key is no option, or its value is of a kind that no option takes.
    ValueError, OSError
        If a file is missing or is no TOML.
    """
    words: list[str] = []
    if getattr(arguments, "recipe", None) is not None:
        words += _words(arguments, RECIPES / f"{arguments.recipe}.toml")
    if getattr(arguments, "config", None) is not None:
        words += _words(arguments, Path(arguments.config))
    return words


def _words(arguments: argparse.Namespace, path: Path) -> list[str]:
    try:
        options = tomllib.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a file of TOML: {error}") from error
    parser = Parser(prog=f"cnn-ext {arguments.command}: {path}", add_help=False)
    arguments.module.add_options(parser)
    known = _options(parser)
    words: list[str] = []
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"{path}: unknown option {key!r}")
        words += _option(known[key], f"--{key}", value, path)
    parser.parse_args(words)  # ends the program where a value does not fit, and says whose it is
    return words


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    # by their names; of those with a negation the name that affirms
    actions = [action for action in parser._actions if action.option_strings]
    named = {action.option_strings[0].removeprefix("--"): action for action in actions}
    return {name: action for name, action in named.items() if name not in _NOT_IN_FILES}


def _option(action: argparse.Action, option: str, value: Any, path: Path) -> list[str]:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise UsageError(f"{path}: argument {option}: expected true or false, got {value!r}")
        return [option if value else f"--no-{option[2:]}"]
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{path}: argument {option}: expected a text or a number, got {value!r}")
    return [f"{option}={value}"]


def to_toml(arguments: argparse.Namespace) -> bytes:
    """The file with which `train` does what these arguments say."""
    parser = Parser(add_help=False)
    add_training(parser)
    values = {name: getattr(arguments, a.dest) for name, a in _options(parser).items()}
    lines = [
        f"{name} = {_value(value)}\n"
        for name, value in values.items()
        if value is not None and name != "threads"  # which changes no result
    ]
    return "".join(lines).encode(errors="surrogateescape")


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        value = "x".join(map(str, value))
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
