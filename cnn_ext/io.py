"""Trained networks as files: safetensors, with the architecture as JSON in the metadata."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping

import numpy as np

from . import safetensors
from .initializers import Initializer
from .layers import Layer, Sequential
from .layers.layer import float_dtype

ARCHITECTURE = "cnn_ext.architecture"
VERSION = "cnn_ext.format"
FORMAT = "1"
LONGEST = 1_000_000  # characters of a description: some ten thousand layers


def save(
    net: Sequential, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network to a safetensors file, whole or not at all.

    Parameters
    ----------
    net : Sequential
    path : str or path
        Replaced only when the new file is complete and on the disk.
    metadata : mapping of str to str, optional
        More to keep with it.

    Raises
    ------
    TypeError, ValueError, OSError
        If the network cannot be described as JSON or the file cannot be written.
    """
    if not isinstance(net, Sequential):
        raise TypeError(f"net: expected a Sequential, got {type(net).__name__}")
    text = json.dumps(net.to_config())
    if len(text) > LONGEST:
        raise ValueError(f"net: its description may have {LONGEST} characters, got {len(text)}")
    own = {VERSION: FORMAT, ARCHITECTURE: text}
    safetensors.write(path, net.state_dict(), {**(metadata or {}), **own})


def load(
    path: str | os.PathLike[str], custom: Mapping[str, type[Layer]] | None = None
) -> Sequential:
    """Read a network that `save` wrote; it is in evaluation mode and equal bit for bit.

    Parameters
    ----------
    path : str or path
    custom : mapping of names to classes, optional
        Layers of your own.

    Raises
    ------
    ValueError
        If the file is damaged or not a network; the message names the file and the fault.
    OSError
        If it cannot be read.
    """
    return load_with_metadata(path, custom)[0]


def load_with_metadata(
    path: str | os.PathLike[str], custom: Mapping[str, type[Layer]] | None = None
) -> tuple[Sequential, dict[str, str]]:
    """As `load`, with the metadata that was saved beside the network."""
    tensors, metadata = safetensors.read(path)
    if ARCHITECTURE not in metadata:
        raise ValueError(f"{path}: no architecture in the metadata; saved by another program?")
    if metadata.get(VERSION) != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {metadata.get(VERSION)!r}")
    text = metadata[ARCHITECTURE]
    try:
        if len(text) > LONGEST:
            raise ValueError(f"the description may have {LONGEST} characters, got {len(text)}")
        net = Sequential.from_config(json.loads(text), custom, initializer=_room_for(tensors))
        for name, parameter in net.named_parameters():
            if name in tensors:
                parameter.data = parameter.data.astype(float_dtype(tensors[name].dtype))
        net.load_state_dict(tensors)
    except (TypeError, ValueError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: not a network of this package: {error}") from error
    own = (ARCHITECTURE, VERSION)
    return net.eval(), {key: value for key, value in metadata.items() if key not in own}


def _room_for(tensors: Mapping[str, np.ndarray]) -> Initializer:
    # zeros for weights, and never more of them than the file holds, whatever its description says
    left = sum(array.size for array in tensors.values())

    def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        nonlocal left
        left -= math.prod(shape)
        if left < 0:
            raise ValueError(f"weights of shape {shape} are more than the file holds")
        return np.zeros(shape, np.float32)

    return zeros
