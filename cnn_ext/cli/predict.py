"""Say which class each picture belongs to.

Pictures are read in grey or colour and resized, as the model takes them; one that cannot be read is
reported, the others are answered, and the exit status is 1. Needs Pillow.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from .._dispatch import threads
from ..augment import mean_over, views_of
from ..data._reading import Array
from ..data.folders import pictures
from ..data.pictures import Mode, read_image
from ..distributed import on_workers
from ..run.plan import Plan
from ..task import Task
from ._files import MODES, image_shape, load_model
from ._options import (
    UsageError,
    add_json,
    add_outputs,
    add_threads,
    add_views,
    message_of,
    say,
    whole,
)

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
    add_views(parser)
    add_outputs(parser)
    add_threads(parser)
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="let the workers of this Dask scheduler read the pictures, which they must see under "
        "the same names, and answer; each task on one thread (default: this process)",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    net, task = load_model(arguments.model)
    input_shape = image_shape(net)
    if input_shape is None:
        raise ValueError(f"{arguments.model}: no input_shape (C, H, W) in the metadata")
    if input_shape[0] not in MODES:
        raise ValueError(
            f"{arguments.model}: takes {input_shape[0]} channels, pictures have 1 or 3"
        )
    shape = net.output_shape(input_shape)
    if task.kind == "pictures" or (len(shape) > 1 and task.kind != "numbers"):
        raise ValueError(f"{arguments.model}: its outputs, {shape}, are pictures, not classes")
    if arguments.top > len(task.names(shape)):
        raise UsageError(f"argument --top: the model has {len(task.names(shape))} classes")
    paths = list(_files(arguments.pictures))
    plan = net.compile(input_shape, BATCH, arguments.outputs)
    if plan.task.outputs is None and plan.task.kind != "numbers":
        raise UsageError(f"{arguments.model} does not say what its outputs are: give --outputs")
    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    answer = partial(_answers, views=arguments.views)
    found: Iterable[list[Any]] = (answer(part, plan, arguments.threads) for part in parts)
    if arguments.dask is not None:
        whole = [[path.absolute() for path in part] for part in parts]
        found = on_workers(arguments.dask, answer, whole, plan)
    guess = _guesses(plan.task, shape, arguments.top)
    answers: list[dict[str, Any]] = []
    for part, rows in zip(parts, found, strict=True):
        for path, row in zip(part, rows, strict=True):
            answers.append({"picture": str(path)})
            if isinstance(row, str):
                answers[-1]["error"] = row
                say(f"cnn-ext predict: {row}")
                continue
            answers[-1].update(guess(row))
            if not arguments.json:
                print(f"{path}: {_text(answers[-1])}")
    if arguments.json:
        print(json.dumps(answers, allow_nan=False))
    return int(any("error" in answer for answer in answers))


def _answers(
    paths: Sequence[Path], plan: Plan, thread_count: int | None = 1, views: str | None = None
) -> list[Any]:
    """The outputs for each picture, or why it cannot be read."""
    channels, *size = plan.input_shape
    ask = _over_views(plan, views) if views else plan
    found: list[Any] = []
    with threads(thread_count):
        for path in paths:  # of which each has its own depth
            try:
                image = _read(path, (size[0], size[1]), MODES[channels])
            except (OSError, ValueError) as error:
                found.append(" ".join(message_of(error).split()))
            else:
                found.append(ask(image))
    return found


def _guesses(
    task: Task, shape: tuple[int, ...], top: int
) -> Callable[[np.ndarray], dict[str, Any]]:
    """What is said of the outputs of one picture: numbers, labels, or the likeliest classes."""
    if task.kind == "numbers" or task.outputs == "numbers":
        return lambda row: {"numbers": row.reshape(-1).tolist()}
    names = task.names(shape)

    def guesses(row: np.ndarray) -> dict[str, Any]:
        p = task.probabilities(row[None])[0].astype(np.float64)
        if task.kind == "labels":
            chosen = [i for i in range(len(p)) if p[i] > 0.5]
        else:
            p = np.array([1 - p[0], p[0]]) if len(p) == 1 else p
            chosen = np.argsort(-p, kind="stable")[:top].tolist()
        return {"guesses": [{"class": names[i], "probability": float(p[i])} for i in chosen]}

    return guesses


def _over_views(plan: Plan, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """What answers one picture by the mean over views of it."""
    views = views_of(name)

    def ask(image: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = mean_over(views, plan, image[None], np.arange(1))
        if plan.task.outputs == "log_probabilities":
            outputs = ops.log_softmax(outputs)  # means of logarithms have no sum of 1
        return outputs[0]

    return ask


def _text(answer: dict[str, Any]) -> str:
    if "numbers" in answer:
        return ", ".join(f"{number:.6g}" for number in answer["numbers"])
    texts = [f"{guess['class']} {100 * guess['probability']:.2f} %" for guess in answer["guesses"]]
    return ", ".join(texts) or "none of the labels"


def _files(names: Iterable[str]) -> Iterator[Path]:
    """The pictures, those of each folder in place of it, or the folder itself if it has none."""
    for path in map(Path, names):
        yield from (pictures(path) if path.is_dir() else ()) or (path,)


def _read(path: Path, size: tuple[int, int], mode: Mode) -> Array:
    if path.is_dir():
        raise ValueError(f"{path}: no pictures in this folder")
    return read_image(path, size, mode)
