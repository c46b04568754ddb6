"""The files that sub-commands read and write: data, models, and the check of output files."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import datasets
from ..data.dataset import Dataset
from ..data.folders import Mode
from ..io import load_with_metadata, save
from ..layers import Sequential
from ..losses import LOSSES
from ._options import UsageError

Shape = tuple[int, int, int]  # C, H, W
MODES: dict[int, Mode] = {1: "L", 3: "RGB"}  # how pictures are read for so many channels


@dataclass
class Model:
    """A network and what is kept with it: what it takes, what it tells apart, its loss."""

    net: Sequential
    input_shape: Shape | None = None
    classes: tuple[str, ...] | None = None
    loss: str = "cross_entropy"

    def save(self, path: str) -> None:
        """Write the model, whole or not at all."""
        metadata = {
            "input_shape": json.dumps(self.input_shape),
            "classes": json.dumps(self.classes),
            "loss": self.loss,
        }
        save(self.net, path, metadata)


def load_model(path: str) -> Model:
    """Read a model; one that was saved without a shape or classes has none.

    Raises
    ------
    ValueError, OSError
        If the file is missing or broken.
    """
    net, metadata = load_with_metadata(path)
    model = Model(net, loss=metadata.get("loss", "cross_entropy"))
    if model.loss not in LOSSES:
        raise ValueError(f"{path}: loss: expected one of {', '.join(LOSSES)}, got {model.loss!r}")
    shape, classes = (_json(path, metadata, key) for key in ("input_shape", "classes"))
    if shape is not None:
        if len(shape) != 3 or not all(type(extent) is int and extent > 0 for extent in shape):
            raise ValueError(f"{path}: input_shape: expected [C, H, W], got {shape!r}")
        model.input_shape = (shape[0], shape[1], shape[2])
        try:
            outputs = net.output_shape(model.input_shape)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: input_shape: {error}") from error
        if classes is not None and outputs != (len(classes),):
            raise ValueError(f"{path}: {len(classes)} classes for outputs of shape {outputs}")
    if classes is not None:
        if not all(isinstance(name, str) for name in classes):
            raise ValueError(f"{path}: classes: expected names, got {classes!r}")
        model.classes = tuple(classes)
    return model


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
    source: str, size: tuple[int, int] | None = None, channels: int | None = None
) -> Dataset:
    """The bundled digits or what a folder holds; `size` and `channels` are for pictures."""
    if source == "digits":
        return datasets.digits()
    return datasets.load(source, size, MODES.get(channels or 1, "L"))


def load_tested(path: str, source: str) -> tuple[Model, Dataset]:
    """A model, and data that have images for a test of it.

    Raises
    ------
    UsageError
        If the two do not fit together.
    ValueError, OSError
        If a file is missing or broken, or there are no images for a test.
    """
    model = load_model(path)
    if model.input_shape is None:
        data = load_data(source)
    else:
        channels, height, width = model.input_shape
        data = load_data(source, (height, width), channels)
    shape = data.x_test.shape[1:]
    if model.input_shape not in (None, shape):
        raise UsageError(f"{path} takes images of shape {model.input_shape}, {source} has {shape}")
    try:
        outputs = model.net.output_shape(shape)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} does not fit {source}: {error}") from error
    if outputs != (len(data.classes),) or model.classes not in (None, data.classes):
        raise UsageError(
            f"{path} tells {_names(model.classes or outputs)} apart, "
            f"{source} has the classes {_names(data.classes)}"
        )
    if not len(data.x_test):
        raise ValueError(f"{source}: no images for a test")
    return model, data


def _names(classes: tuple[object, ...]) -> str:
    shown = ", ".join(map(str, classes[:10]))
    return shown if len(classes) <= 10 else f"{shown}, ... ({len(classes)})"


def check_output(option: str, path: str) -> None:
    """Find out before long work whether a file can be written.

    Raises
    ------
    UsageError
        If it cannot.
    """
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
