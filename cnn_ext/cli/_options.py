"""The parser whose errors are one line, and the types of options that sub-commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from .._dispatch import MAX_THREADS
from ..augment.views import NAMED
from ..task import OUTPUTS
from ..training.progress import tell

SAMPLE = 512  # images that say how far bytes must reach


class UsageError(Exception):
    """The arguments cannot work, alone or together; exit status 2."""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that reports an error in one line and wants options spelled out."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {' '.join(message.split())}; see --help")
        self.exit(2)


def say(text: str) -> None:
    """Print a line on standard error, if anybody reads it."""
    tell(f"{text}\n")


def message_of(error: Exception) -> str:
    """What an error says of itself, without the numbers of the operating system."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (ArithmeticError, ImportError, OSError, ValueError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number."""
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")
        return number

    return parse


def real(limits: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    """The type of an option that is a finite real number; `limits` says which ones fit."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and fits(number)):
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text!r}")
        return number

    return parse


def size(text: str) -> tuple[int, int]:
    """The type of an option that is a picture's size, "28" or "24x32"."""
    sides = text.split("x") if "x" in text else [text, text]
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected SIDE or HEIGHTxWIDTH in pixels, got {text!r}")
    return int(sides[0]), int(sides[1])


def add_data(parser: argparse._ActionsContainer) -> None:
    """The option --data, and those that say how to read it."""
    parser.add_argument(
        "--data",
        metavar="FOLDER|FILE.npz",
        default="digits",
        help="the word digits for the bundled 8 x 8 digits, or a folder: the IDX files of MNIST "
        "and its relatives, also where torchvision leaves them, CIFAR-10 or CIFAR-100 in binary "
        "form, a .npz file with x_train, y_train, x_test and y_test (or x and y, or MedMNIST's "
        "names), train and test with one sub-folder of pictures for each class, or such "
        "sub-folders alone; where the data have no test part, a fixed fifth is kept aside for it "
        "(default: digits)",
    )
    parser.add_argument(
        "--layout",
        choices=("channels_first", "channels_last"),
        help="where a .npz file has the channels of images of four axes (default: first, or an "
        "error if the shape leaves a doubt)",
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="part of EMNIST, such as letters, where a folder has several (default: the only one)",
    )
    parser.add_argument(
        "--skip-broken",
        action=argparse.BooleanOptionalAction,
        help="leave out pictures that cannot be read, and say how many (default: an error)",
    )


def add_threads(parser: argparse.ArgumentParser, special: str = "") -> None:
    """The option --threads; `special` is a default of some data."""
    parser.add_argument(
        "--threads",
        type=whole(1, MAX_THREADS),
        metavar="N",
        help="threads of the kernels, which do not change the results "
        f"(default: {special}OMP_NUM_THREADS or the CPUs that this process may use)",
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The option --outputs."""
    parser.add_argument(
        "--outputs",
        choices=OUTPUTS,
        help="what the outputs of the model are (default: as last layer and training say)",
    )


def add_views(parser: argparse.ArgumentParser) -> None:
    """The option --views."""
    parser.add_argument(
        "--views",
        choices=NAMED,
        help="answer by the mean of what the model says of several views of each image: it and its "
        "mirror image, or also both moved by a pixel (default: the image alone)",
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    """The option of commands that show how a training went."""
    parser.add_argument(
        "--history",
        metavar="FILE",
        help="JSON file that train --history has written (default: none)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option --json."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of text (default: text)"
    )
