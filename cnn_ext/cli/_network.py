"""The network that `--arch` names: an architecture of the package, or a file."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..architectures import ARCHITECTURES, build
from ..layers import Sequential
from ._files import Shape
from ._options import UsageError


def arch(text: str) -> str:
    """The type of the option."""
    if text in ARCHITECTURES or text.endswith((".py", ".json")):
        return text
    known = ", ".join(ARCHITECTURES)
    raise argparse.ArgumentTypeError(f"expected {known}, FILE.py or FILE.json, got {text!r}")


def network(
    arch: str, input_shape: Shape, classes: int, initializer: str, rng: np.random.Generator
) -> Sequential:
    """The network of a name or a file, which must fit the data and be such as a file can hold."""
    if arch in ARCHITECTURES:
        try:
            return build(arch, input_shape, classes, initializer, rng)
        except ValueError as error:
            raise UsageError(f"argument --arch: {arch} does not fit the data: {error}") from error
    described = _from_python if arch.endswith(".py") else _from_json
    net = Sequential.from_config(described(arch, input_shape, classes))
    net.initialize(initializer, rng)
    try:
        outputs = net.output_shape(input_shape)
    except (TypeError, ValueError) as error:
        raise UsageError(f"argument --arch: {arch} does not fit the data: {error}") from error
    if outputs != (classes,):
        raise UsageError(
            f"argument --arch: {arch} has outputs of shape {outputs}, "
            f"expected ({classes},) for the classes of the data"
        )
    return net


def _from_json(path: str, input_shape: Shape, classes: int) -> Any:
    try:
        config = json.loads(Path(path).read_text("utf-8"))
        Sequential.from_config(config)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a list of layers: {error}") from error
    return config


def _from_python(path: str, input_shape: Shape, classes: int) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: not a file")
    spec = importlib.util.spec_from_file_location("cnn_ext_architecture", path)
    assert spec is not None and spec.loader is not None  # as the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "build", None)):
            raise ValueError("expected a function build(input_shape, classes)")
        net = module.build(input_shape, classes)
        if not isinstance(net, Sequential):
            raise ValueError(f"build: expected a Sequential, got {type(net).__name__}")
        config = json.loads(json.dumps(net.to_config()))
        Sequential.from_config(config)  # as reading the model will
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    return config
