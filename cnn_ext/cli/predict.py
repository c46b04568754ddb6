"""Say which class each picture belongs to.

Pictures are read in grey or colour and resized, as the model takes them. Needs Pillow.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .._dispatch import threads
from ..data.folders import pictures, read_image
from ..losses import loss_of
from ._files import MODES, load_model
from ._options import UsageError, add_json, add_threads, whole

BATCH = 256


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="+",
        help="picture, or folder of pictures, with its sub-folders",
    )
    parser.add_argument(
        "--top",
        type=whole(1),
        default=1,
        metavar="K",
        help="how many of the likeliest classes to print (default: 1)",
    )
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    model = load_model(arguments.model)
    if model.input_shape is None or model.classes is None:
        raise ValueError(f"{arguments.model}: no input_shape and classes in the metadata")
    channels, height, width = model.input_shape
    if channels not in MODES:
        raise ValueError(f"{arguments.model}: takes {channels} channels, pictures have 1 or 3")
    if arguments.top > len(model.classes):
        raise UsageError(f"argument --top: the model has {len(model.classes)} classes")
    loss = loss_of(model.loss)
    if loss.activation is None:
        raise ValueError(f"{arguments.model}: the loss {model.loss} gives no probabilities")
    paths = list(_files(arguments.pictures))
    plan = model.net.compile(model.input_shape, min(BATCH, len(paths)))
    answers = []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        images = [read_image(path, (height, width), MODES[channels]) for path in batch]
        with threads(arguments.threads):
            probabilities = loss.probabilities(plan(np.stack(images)))
        for path, row in zip(batch, probabilities, strict=True):
            likeliest = np.argsort(-row, kind="stable")[: arguments.top]
            guesses = [(model.classes[i], float(row[i])) for i in likeliest]
            if arguments.json:
                answers.append(
                    {
                        "picture": str(path),
                        "guesses": [{"class": name, "probability": p} for name, p in guesses],
                    }
                )
            else:
                text = ", ".join(f"{name} {100 * p:.2f} %" for name, p in guesses)
                print(f"{path}: {text}")
    if arguments.json:
        print(json.dumps(answers, allow_nan=False))
    return 0


def _files(names: Iterable[str]) -> Iterable[Path]:
    for path in map(Path, names):
        if path.is_dir():
            found = list(_within(path))
            if not found:
                raise ValueError(f"{path}: no pictures in this folder")
            yield from found
        else:
            yield path


def _within(folder: Path) -> Iterator[Path]:
    # the pictures of a folder, then those of its sub-folders
    yield from pictures(folder)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _within(path)
