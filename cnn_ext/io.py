"""Trained networks as files: safetensors, with the architecture as JSON in the metadata."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from reprlib import repr as short
from typing import Any

import numpy as np

from . import _check as check
from . import safetensors
from .initializers import Initializer
from .layers import Module
from .layers.sequential import module_of
from .layers.state import LoadReport, compared, listed, take
from .parameter import Buffer, Kept
from .task import KEY as TASK
from .task import Task

ARCHITECTURE = "cnn_ext.architecture"
VERSION = "cnn_ext.format"
FORMAT = "1"
INPUT_SHAPE = "input_shape"
LONGEST = 1_000_000  # characters of a description: some ten thousand layers


def save(
    net: Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network to a safetensors file, whole or not at all.

    Parameters
    ----------
    net : Module
        Its `input_shape` and its `task`, which training sets, are written too.
    path : str or path
        Replaced only when the new file is complete and on the disk.
    metadata : mapping of str to str, optional
        More to keep with it. An ``input_shape`` here, ``"[1, 28, 28]"``, comes before the
        network's.

    Raises
    ------
    TypeError, ValueError, OSError
        If the network cannot be described as JSON, a weight is not finite, its input shape does
        not fit or the file cannot be written.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a Module, got {type(net).__name__}")
    text = json.dumps(net.to_config())
    if len(text) > LONGEST:
        raise ValueError(f"net: its description may have {LONGEST} characters, got {len(text)}")
    state = net.state_dict()
    kept = dict(metadata or {})
    if net.task is not None:
        kept[TASK] = net.task.to_json()
    if net.input_shape is not None:
        kept.setdefault(INPUT_SHAPE, json.dumps(net.input_shape))
    try:  # what `load` would refuse shall not replace an old file
        check.finite(state)
        if isinstance(kept.get(INPUT_SHAPE), str):
            _input_shape(net, kept[INPUT_SHAPE])
    except ValueError as error:
        raise ValueError(f"net: {error}") from error
    safetensors.write(path, net.stored(state), {**kept, VERSION: FORMAT, ARCHITECTURE: text})


def load(path: str | os.PathLike[str], custom: Mapping[str, type[Module]] | None = None) -> Module:
    """Read a network that `save` wrote; it is in evaluation mode and equal bit for bit.

    Parameters
    ----------
    path : str or path
    custom : mapping of names to classes, optional
        Layers of your own, and the network's class if that is one.

    Returns
    -------
    Module
        With its `input_shape` and its `task`, if the file has them.

    Raises
    ------
    ValueError
        If the file is damaged or not a network, or a weight is not finite; the message names the
        file and the fault.
    OSError
        If it cannot be read.
    """
    return load_with_metadata(path, custom)[0]


def load_with_metadata(
    path: str | os.PathLike[str], custom: Mapping[str, type[Module]] | None = None
) -> tuple[Module, dict[str, str]]:
    """As `load`, with the metadata that was saved beside the network."""
    tensors, metadata = safetensors.read(path)
    if ARCHITECTURE not in metadata:
        raise ValueError(f"{path}: no architecture in the metadata; saved by another program?")
    if metadata.get(VERSION) != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {short(metadata.get(VERSION))}")
    text = metadata[ARCHITECTURE]
    try:
        if len(text) > LONGEST:
            raise ValueError(f"the description may have {LONGEST} characters, got {len(text)}")
        config = json.loads(text, object_pairs_hook=safetensors.unique_keys)
        # nothing is drawn, so no generator, which would cost 10 ms of importing
        nobody: Any = object()
        net = module_of(config, custom, nobody, _room_for(tensors))
        tensors = net.restored(tensors)
        for name, kept in net.named_state():
            if name in tensors:
                kept.data = kept.data.astype(check.float_dtype(tensors[name].dtype))
        net.load_state_dict(tensors)
        check.finite(tensors)
        if INPUT_SHAPE in metadata:
            net.input_shape = _input_shape(net, metadata[INPUT_SHAPE])
        if TASK in metadata:
            net.task = Task.from_json(metadata[TASK])
    except Exception as error:  # a layer of one's own may raise anything on a hostile argument
        raise ValueError(f"{path}: not a network of this package: {error!s:.999}") from error
    own = (ARCHITECTURE, VERSION, TASK)
    return net.eval(), {key: value for key, value in metadata.items() if key not in own}


def load_weights(
    net: Module,
    path: str | os.PathLike[str],
    modules: Sequence[str] | None = None,
    strict: bool = True,
) -> LoadReport:
    """Take over the weights of any safetensors file, such as PyTorch's, into a network there is.

    Parameters
    ----------
    net : Module
        Gets all weights of the file, in its own number type, or none if anything does not fit.
    path : str or path
        Holds floating-point numbers; half precision and bfloat16 too.  What the network keeps as a
        buffer, such as the number of batches so far, may be whole numbers.
    modules : sequence of str, optional
        What the file calls the layers of `net` that have weights, in their order:
        ``["conv1", "conv2", "fc"]`` reads ``conv1.weight``, ``conv1.bias`` and so on. Without it
        the names are those of `net.state_dict()`, which are those of PyTorch's ``nn.Sequential``.
    strict : bool
        If False, those weights are taken whose name and shape fit, at least one, and the others
        stay as they are.

    Returns
    -------
    LoadReport
        What was taken and what not, by the names of the file.

    Raises
    ------
    TypeError
        If `net` is not a `Module`.
    ValueError
        If the file is damaged, its names and shapes are not those of `net`, or it holds integers
        or numbers that are not finite; the message names the file and the fault.
    OSError
        If it cannot be read.
    """
    if not isinstance(net, Module):
        raise TypeError(f"net: expected a Module, got {type(net).__name__}")
    state = dict(net.named_state())
    names = _names_in_file(state, modules)
    own = {names[name]: kept for name, kept in state.items()}
    tensors, _ = safetensors.read(path)
    wanted = {name: kept.data.shape for name, kept in own.items()}
    found = {name: array.shape for name, array in tensors.items()}
    try:
        if strict and wanted != found:
            missing = [item for item in wanted.items() if item not in found.items()]
            unknown = [item for item in found.items() if item not in wanted.items()]
            raise ValueError(
                f"the network takes {_listed(missing)}, which the file lacks; "
                f"the file has {_listed(unknown)}, which the network does not take"
            )
        report = compared(own, found)
        taken = {name: _numbers(tensors[name], name, own[name]) for name in report.loaded_keys}
        check.finite(taken)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    take(own, taken)
    return report


def _numbers(array: np.ndarray, name: str, kept: Kept) -> np.ndarray:
    # an array of a file in the number type of its place
    if array.dtype.kind not in ("iuf" if isinstance(kept, Buffer) else "f"):
        raise ValueError(f"{name}: expected floating-point numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # what becomes infinite is found afterwards
        return array.astype(kept.data.dtype)


def _names_in_file(names: Collection[str], modules: Sequence[str] | None) -> dict[str, str]:
    # what the file calls the network's parameters
    if modules is None:
        return {name: name for name in names}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if isinstance(modules, str) or not isinstance(modules, Sequence) or len(modules) != len(layers):
        raise ValueError(
            f"modules: expected {len(layers)} names, for the layers {', '.join(layers)}, "
            f"got {modules!r}"
        )
    theirs = dict(zip(layers, modules, strict=True))
    pairs = [(name, *name.rpartition(".")[::2]) for name in names]
    return {name: f"{theirs[layer]}.{last}".removeprefix(".") for name, layer, last in pairs}


def _listed(items: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return listed([f"{name:.60} {shape}" for name, shape in items])


def _input_shape(net: Module, text: str) -> tuple[int, ...] | None:
    # the shape that the metadata give, once `net` takes such inputs; null stands for none
    try:
        shape = json.loads(text)
        if shape is None:
            return None
        if not isinstance(shape, list) or len(shape) not in (1, 3):
            raise ValueError(f"expected [C, H, W], got {short(shape)}")
        net.output_shape(tuple(shape))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata input_shape {short(text)}: {error!s:.999}") from error
    return tuple(shape)


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
