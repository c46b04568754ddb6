"""The files that training writes, and those beside them that an interrupted run leaves."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from .._files import atomic_write
from ..io import save
from ..layers import Module
from ..training.history import History
from ._config import to_toml
from ._files import check_output
from ._options import UsageError


class Results:
    """The model, the options that repeat the run, and the history if it is wanted.

    Raises
    ------
    UsageError
        If one of them cannot be written, or two have the same name.
    OSError
        If the names beside them are too long.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        out, history = arguments.out, arguments.history
        self._arguments = arguments
        check_output("--out", out)
        home = os.path.realpath(out) if os.path.islink(out) else out
        self.files = [out, str(Path(home).with_suffix(".toml"))]
        if Path(out).suffix == ".toml":
            raise UsageError("argument --out: expected another suffix, as .toml has the options")
        check_output("--out", self.files[1])
        taken = {os.path.realpath(path) for path in self.files}
        for option, path in (("--history", history), ("--checkpoint", arguments.checkpoint)):
            if path is None:
                continue
            check_output(option, path)
            if os.path.realpath(path) in taken:
                raise UsageError(f"argument {option}: expected another file, {path} is taken")
            taken.add(os.path.realpath(path))
        if history is not None:
            self.files.append(history)
        _beside(self.files)  # an error now rather than when it is needed

    def write(self, net: Module, history: History) -> str:
        """Write all of them, beside if the run was interrupted; the name of the model's file."""
        files = _beside(self.files) if history.stopped == "interrupted" else self.files
        texts = [to_toml(self._arguments)]
        texts.append(json.dumps(history.as_dict(), indent=1).encode() + b"\n")
        with _named(files[0]):
            save(net, files[0])
        for path, text in zip(files[1:], texts, strict=False):
            with _named(path), atomic_write(path) as file:
                file.write(text)
        return files[0]


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors of the operating system name the file, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _beside(paths: Iterable[str]) -> list[str]:
    """Names of new files beside these."""
    files = [Path(os.path.realpath(path) if os.path.islink(path) else path) for path in paths]
    marks = chain([".interrupted"], (f".interrupted-{number}" for number in count(2)))
    choices = (
        [str(file.with_name(f"{file.stem}{mark}{file.suffix}")) for file in files] for mark in marks
    )
    return next(names for names in choices if not any(map(_is_there, names)))


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
