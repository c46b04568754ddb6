"""The command ``cnn-ext``: one module for each sub-command, and what they have in common.

A sub-command is a module with `add_options(parser)` and `run(arguments)`, which returns the exit
status; its name and its docstring are those of the sub-command.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from .. import __version__
from . import bench, evaluate, export, filter, info, plot, predict, quantize, report, train, tune
from ._config import from_files
from ._options import Parser, UsageError, message_of, say
from ._signals import Signals

COMMANDS = (train, tune, evaluate, predict, plot, report, quantize, export, bench, filter, info)

OK, FAILED, BAD_USAGE = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line; the chosen module is then ``arguments.module``."""
    parser = Parser(
        prog="cnn-ext",
        description="Train and run convolutional neural networks on the CPU.",
        epilog="exit status: 0 done, 1 failed (a file is missing or broken, the cost is not "
        "finite), 2 bad usage, 130 interrupted, 143 terminated",
    )
    parser.add_argument("--version", action="version", version=f"cnn_ext {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        summary, _, details = (module.__doc__ or "").partition("\n\n")
        name = module.__name__.rpartition(".")[2]
        short = summary[:1].lower() + summary[1:].removesuffix(".")
        command = commands.add_parser(name, help=short, description=f"{summary} {details}")
        module.add_options(command)
        command.add_argument(
            "--debug", action="store_true", help="show the traceback of an error (default: no)"
        )
        command.set_defaults(module=module)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default, which is then taken
        to end with the run: once a signal has ended that, further ones are ignored.

    Returns
    -------
    int
        The exit status: 0, 1 (failed), 2 (bad usage), 130 (interrupted), or 128 and the number of
        another signal that has ended the run: 143 for SIGTERM.
    """
    with Signals(last=argv is None) as signals:
        return _main(argv, signals)


def _main(argv: Sequence[str] | None, signals: Signals) -> int:
    arguments = argparse.Namespace(command=None, debug=False, signals=signals)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that it cannot encode
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        _parse(words, arguments)
        if in_files := from_files(arguments):  # which the command line goes before
            _parse([words[0], *in_files, *words[1:]], arguments)
        status: int = arguments.module.run(arguments)
        flush = getattr(sys.stdout, "flush", None)
        if flush is not None:
            flush()
        return status
    except SystemExit as stop:  # of the parser: help, version, or an error that it has reported
        return stop.code if isinstance(stop.code, int) else OK
    except BrokenPipeError:  # who reads standard output has seen enough
        _drop(sys.stdout)
        return OK
    except KeyboardInterrupt as interrupt:
        return _report(arguments, f"interrupted {interrupt}", signals.status)
    except UsageError as error:
        return _report(arguments, str(error), BAD_USAGE)
    except Exception as error:
        return _report(arguments, message_of(error), FAILED)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except Exception:  # nobody reads it any more, it is closed, or it is no stream
                with suppress(Exception):
                    _drop(stream)


def _parse(words: Sequence[str], arguments: argparse.Namespace) -> None:
    _, unknown = build_parser().parse_known_args(words, arguments)
    if unknown:
        hint = _meant(unknown[0], vars(arguments))
        raise UsageError(f"unknown arguments: {' '.join(unknown)}{hint}; see --help")


def _meant(unknown: str, known: Mapping[str, Any]) -> str:
    # what an argument that is not known may stand for
    names = known.keys() - {"command", "module", "signals"}
    options = sorted(f"--{name.replace('_', '-')}" for name in names)
    if unknown.startswith("-"):
        close = get_close_matches(unknown.partition("=")[0], options, 1)
    else:
        close = [f"--data {unknown}"] if "data" in names and os.path.exists(unknown) else []
    return f"; did you mean {close[0]}?" if close else ""


def _report(arguments: argparse.Namespace, message: str, status: int) -> int:
    if arguments.debug:
        say(traceback.format_exc().rstrip())
    name = f"cnn-ext {arguments.command}" if arguments.command else "cnn-ext"
    say(f"{name}: {' '.join(message.split())}")
    return status


def _drop(stream: Any) -> None:
    # so that the interpreter, which flushes the streams at its end, does not fail again
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
