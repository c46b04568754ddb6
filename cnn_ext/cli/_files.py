"""The files that sub-commands read and write: data, models, and the check of output files."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import datasets
from ..data.dataset import Dataset
from ..data.folders import pictures
from ..data.pictures import Mode, common_size, is_coloured
from ..io import load_with_metadata
from ..layers import Module
from ..run.share import Group, agreed
from ..task import Task
from ..training.history import Epoch, History
from ..training.losses import LOSSES
from ._options import UsageError, say

Shape = tuple[int, int, int]  # C, H, W
MODES: dict[int, Mode] = {1: "L", 3: "RGB"}  # how pictures are read for so many channels


def load_model(path: str) -> tuple[Module, Task]:
    """Read a network, and what it is for."""
    net, metadata = load_with_metadata(path)
    task = net.task = net.task or _older(path, metadata)
    if net.input_shape is not None:
        try:
            task.check(net.output_shape(net.input_shape))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return net, task


def image_shape(net: Module) -> Shape | None:
    """(C, H, W) of the images that a network takes, if it says so."""
    shape = net.input_shape
    return (shape[0], shape[1], shape[2]) if shape is not None and len(shape) == 3 else None


def _older(path: str, metadata: dict[str, str]) -> Task:
    # the task of a file of an older version, which has classes and loss in texts of their own
    classes = _json(path, metadata, "classes")
    loss = metadata.get("loss", None if classes is None else "cross_entropy")
    if loss is None:
        return Task()
    if loss not in LOSSES:
        raise ValueError(f"{path}: loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    kind = LOSSES[loss].kind or (None if classes is None else "classes")
    try:
        return Task(kind, LOSSES[loss].outputs, classes, loss)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def _json(path: str, metadata: dict[str, str], key: str) -> list[Any] | None:
    if key not in metadata:
        return None
    try:
        value = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {key}: {error}") from error
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{path}: {key}: expected a list, got {value!r}")
    return value


def load_data(
    arguments: Namespace,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    in_memory: bool = True,
) -> Dataset:
    """What the options of `add_data` name; `size` and `channels` are for pictures."""
    if arguments.data == "digits":
        return datasets.digits()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = datasets.load(
            arguments.data,
            size,
            MODES.get(channels or 1, "L"),
            layout=arguments.layout,
            split=arguments.split,
            on_error="skip" if arguments.skip_broken else "raise",
            in_memory=in_memory,
        )
    for warning in caught:
        say(f"cnn-ext {arguments.command}: {warning.message}")
    return data


def load_for_training(arguments: Namespace, group: Group | None = None) -> Dataset:
    """What the options name, with the pictures' own size and colours where these leave them open.

    They are filled in then, so that they say all.  Images of a group stay in their files, where
    these allow it, and its ranks look for colours together.
    """
    root = Path(arguments.data)
    files = pictures(root) if arguments.data != "digits" and root.is_dir() else []
    if files and arguments.size is None:
        arguments.size = common_size(files)
    if files and arguments.colour is None:
        own = files if group is None else files[group.rank :: group.size]
        arguments.colour = agreed(group, any(map(is_coloured, own)))
    return load_data(arguments, arguments.size, 3 if arguments.colour else 1, group is None)


def load_tested(arguments: Namespace) -> tuple[Module, Task, Dataset]:
    """The model of the command, and data that have images for a test of it.

    Raises
    ------
    UsageError
        If the two do not fit together.
    ValueError, OSError
        If a file is missing or broken, or there are no images for a test.
    """
    path, source = arguments.model, arguments.data
    net, task = load_model(path)
    wanted = image_shape(net)
    data = load_data(arguments, wanted and wanted[1:], wanted and wanted[0])
    shape = data.x_test.shape[1:]
    if wanted not in (None, shape):
        hint = "; --data names others" if source == "digits" else ""
        raise UsageError(f"{path} takes images of shape {wanted}, {source} has {shape}{hint}")
    try:
        outputs = net.output_shape(shape)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} does not fit {source}: {error}") from error
    names = task.names(outputs)
    if (
        len(outputs) != 1
        or len(names) != len(data.classes)
        or (task.classes is not None and names != data.classes)
    ):
        raise UsageError(
            f"{path} tells {_names(task.classes or outputs)} apart, "
            f"{source} has the classes {_names(data.classes)}"
        )
    if task.kind not in (None, "classes", "probability"):
        raise ValueError(f"{path}: its task is {task.kind}, but {source} has classes")
    if not len(data.x_test):
        raise ValueError(f"{source}: no images for a test")
    return net, task, data


def drawn(data: Dataset, count: int) -> np.ndarray:
    """So many training images, or all if there are fewer: always the same of a set."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(data.x_train), min(count, len(data.x_train)), replace=False)
    return np.asarray(data.x_train[np.sort(chosen)])


def _names(classes: Sequence[object]) -> str:
    shown = ", ".join(map(str, classes[:10]))
    return shown if len(classes) <= 10 else f"{shown}, ... ({len(classes)})"


def check_output(option: str, path: str) -> None:
    """Find out before long work whether a file can be written."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise UsageError(f"argument {option}: {path} is not a regular file")
    if not target.parent.is_dir():
        raise UsageError(f"argument {option}: {target.parent} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise UsageError(
            f"argument {option}: {target.parent} cannot be written: {error.strerror}"
        ) from error


def read_history(path: str) -> History:
    """Read what `train --history` wrote; ValueError if it is damaged or has no epoch."""
    try:
        epochs = json.loads(Path(path).read_text("utf-8"))["epochs"]
        history = History([Epoch(**epoch) for epoch in epochs])
        if not epochs:
            raise ValueError("no epochs")
        for name in ("number", "cost", "accuracy", "validation_cost", "validation_accuracy"):
            if not all(value is None or math.isfinite(value) for value in history[name]):
                raise ValueError(f"{name} is not finite")
        return history
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a history of training: {error}") from error
