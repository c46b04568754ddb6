"""Trained networks as files: safetensors, with the architecture as JSON in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from . import safetensors
from .layers import Layer, Sequential

ARCHITECTURE = "cnn_ext.architecture"
VERSION = "cnn_ext.format"
FORMAT = "1"


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
    own = {VERSION: FORMAT, ARCHITECTURE: json.dumps(net.to_config())}
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
    try:
        config: Any = json.loads(metadata[ARCHITECTURE])
        net = Sequential.from_config(config, custom)
        dtypes = {array.dtype for array in tensors.values()}
        if len(dtypes) > 1:
            raise ValueError(f"weights of several number types: {sorted(map(str, dtypes))}")
        if dtypes:
            net.astype(dtypes.pop())
        net.load_state_dict(tensors)
    except (TypeError, ValueError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}: not a network of this package: {error}") from error
    own = (ARCHITECTURE, VERSION)
    return net.eval(), {key: value for key, value in metadata.items() if key not in own}
