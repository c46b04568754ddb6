"""A training as a file: everything that the rest of it depends on, to go on bit for bit.

The file is of the safetensors format.  Arrays are its tensors; all else is one JSON text of its
metadata, in which ``{"dict": [[key, value], ...]}``, ``{"list": [...]}``, ``{"tuple": [...]}`` and
``{"array": name}`` stand for what their names say, and other values for themselves.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from operator import setitem
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _check as check
from .. import safetensors
from ..parameter import Call, at_once
from ..task import Task
from .callbacks import keys_are
from .history import FIGURES, Epoch
from .identity import independent_of_epochs, of_trainer, refuse_others
from .place import MOMENTS, Place

if TYPE_CHECKING:
    from .loop import Run
    from .trainer import Trainer

VERSION = "cnn_ext.checkpoint"
FORMAT = "1"
STATE = "state"

Captured = tuple[dict[str, np.ndarray], dict[str, str]]  # tensors and metadata


# ---------------------------------------------------------------------------------- what is saved


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write what the trainer is now, or the training that it left before its end."""
    left = trainer._left
    if isinstance(left, Exception):
        raise left
    if left is None:
        trainer._settle()
    safetensors.write(path, *(left or captured(trainer)))


def captured(trainer: Trainer) -> Captured:
    """The trainer as it is now, between two steps, and the training that it is in.

    Raises
    ------
    TypeError
        If the state of a callback is not of plain data and arrays.
    ValueError
        If a weight is not finite, or the average stands in the place of the weights.
    """
    net, average = trainer.net, trainer.average
    weights = net.state_dict()
    check.finite(weights)
    if average is not None and any(
        p.data is a.data for p, a in zip(average.parameters, average.averages, strict=True)
    ):
        raise ValueError("average: expected the weights themselves in the network, not the average")
    heads = trainer._backpropagate.heads.values()
    run = trainer._run
    going = trainer._resumed if run is None else state_of(run)
    state = {
        "trainer": json.dumps(of_trainer(trainer)),
        "weights": weights,
        "trainable": [parameter.trainable for parameter in net.parameters()],
        "modules": [layer.trainable for _, layer in net.named_modules()],
        "task": None if net.task is None else net.task.to_json(),
        "input_shape": None if net.input_shape is None else list(net.input_shape),
        "tasks": [head.task.to_json() for head in heads],
        "optimizer": trainer.optimizer.state_dict(),
        "average": None if average is None else average.state_dict(),
        "draws": [[layer.draws.seed, layer.draws.count] for layer in trainer._dropouts],
        "generator": trainer._rng.bit_generator.state,
        "split_seed": trainer._split_seed,
        "epochs_begun": trainer.epochs_begun,
        "run": going,
    }
    tensors: dict[str, np.ndarray] = {}
    text = json.dumps(_packed(state, "", tensors))
    return tensors, {VERSION: FORMAT, STATE: text}


def state_of(run: Run) -> dict[str, Any]:
    """What a call of `fit` needs to go on where it is."""
    place = run.place._replace(calling=False)  # who saves has been called
    return {
        "fit": json.dumps(run.description),
        "place": {**place._asdict(), "sums": list(place.sums)},
        "history": [asdict(epoch) for epoch in run.history],
        "spent": run.pace.gone(),
        "seconds": run.seconds_of_epoch(),
        "callbacks": copy.deepcopy([one.state_dict() for one in run.moments.callbacks]),
    }


def _packed(value: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    # plain data as JSON has it; arrays go to the tensors, by where they are
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        while name in tensors:  # a key has a slash, or is a number and a name
            name += "'"
        tensors[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        inner = [[key, _packed(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        if not all(isinstance(key, (str, int)) for key in value):
            raise TypeError(f"{name}: expected names or whole numbers as keys, got {value!r:.99}")
        return {"dict": inner}
    if isinstance(value, (list, tuple)):
        items = [_packed(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    raise TypeError(f"{name}: expected plain data and arrays, got {type(value).__name__}")


def _unpacked(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    # what `_packed` was given; each tensor is taken once
    if not isinstance(value, (dict, list)):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"expected a value with its kind, got {value!r:.99}")
    ((kind, inner),) = value.items()
    if kind == "array" and isinstance(inner, str) and inner in tensors:
        return tensors.pop(inner)
    if kind == "dict" and isinstance(inner, list):
        pairs = [(key, _unpacked(item, tensors)) for key, item in inner]
        if len(dict(pairs)) == len(pairs):
            return dict(pairs)
    if kind in ("list", "tuple") and isinstance(inner, list):
        items = [_unpacked(item, tensors) for item in inner]
        return items if kind == "list" else tuple(items)
    raise ValueError(f"expected an array, a dict, a list or a tuple, got {value!r:.99}")


# ---------------------------------------------------------------------------------- what is read


def resume(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Make a trainer what it was when the file was written, or leave it as it is."""
    tensors, metadata = safetensors.read(path)
    if VERSION not in metadata:
        raise ValueError(f"{path}: expected a checkpoint, which `Trainer.save` writes")
    if metadata[VERSION] != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {metadata[VERSION]!r:.99}")
    try:
        packed = json.loads(metadata[STATE], object_pairs_hook=safetensors.unique_keys)
        state = _unpacked(packed, tensors)
        if tensors:
            raise ValueError(f"nothing is known of the tensor {next(iter(tensors))!r:.99}")
        described = json.loads(state["trainer"])
    except Exception as error:  # whatever a hostile file brings about
        raise _damaged(path, error) from error
    try:
        refuse_others(described, of_trainer(trainer), "as the trainer that was saved has it")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        calls = _calls(trainer, state)
    except Exception as error:
        raise _damaged(path, error) from error
    at_once(calls)


def _damaged(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(f"{path}: not a checkpoint of this package: {error!s:.999}")


def _calls(trainer: Trainer, state: dict[str, Any]) -> list[Call]:
    # what makes the trainer that of the file, once all of it is known to fit
    net, heads = trainer.net, list(trainer._backpropagate.heads.values())
    weights, own = state["weights"], dict(net.named_state())
    keys_are(weights, own)
    for name, kept in own.items():
        if weights[name].dtype != kept.data.dtype:
            raise ValueError(f"{name}: expected {kept.data.dtype}, got {weights[name].dtype}")
        check.same_shape(weights[name], name, kept.data.shape)
    check.finite(weights)
    calls: list[Call] = [(setitem, kept.data, ..., weights[name]) for name, kept in own.items()]
    for parameter, trainable in zip(net.parameters(), state["trainable"], strict=True):
        calls.append((setattr, parameter, "trainable", _whether(trainable)))
    for (_, layer), trainable in zip(net.named_modules(), state["modules"], strict=True):
        calls.append((setattr, layer, "_frozen", not _whether(trainable)))
    calls += trainer.optimizer._loading(state["optimizer"])
    if trainer.average is not None:
        calls += trainer.average._loading(state["average"])
    for layer, (seed, count) in zip(trainer._dropouts, state["draws"], strict=True):
        calls.append((setattr, layer.draws, "seed", _counter(seed, "draws")))
        calls.append((setattr, layer.draws, "count", _counter(count, "draws")))
    for head, text in zip(heads, state["tasks"], strict=True):
        calls.append((setattr, head, "task", Task.from_json(text)))
    task, shape, going = state["task"], state["input_shape"], state["run"]
    generator = _generator(trainer, state["generator"])
    begun = _counter(state["epochs_begun"], "epochs_begun")
    if going is not None:
        _check_run(trainer, going)
        place = going["place"]
        generator = _generator(trainer, place["order"])
    return [
        *calls,
        (setattr, net, "task", None if task is None else Task.from_json(task)),
        (setattr, net, "input_shape", None if shape is None else check.image_shape(shape)),
        (setattr, trainer, "_rng", generator),
        (setattr, trainer, "_split_seed", _counter(state["split_seed"], "split_seed")),
        (setattr, trainer, "epochs_begun", begun),
        (setattr, trainer, "_has_good", False),
        (setattr, trainer, "_before", None),
        (setattr, trainer, "_left", None),
        (setattr, trainer, "_resumed", going),
    ]


def _whether(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r:.99}")
    return value


def _counter(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name}: expected a whole number from 0, got {value!r:.99}")
    return value


def _generator(trainer: Trainer, state: Any) -> np.random.Generator:
    made = type(trainer._rng.bit_generator)(0)
    made.state = state
    return np.random.Generator(made)


def _check_run(trainer: Trainer, going: dict[str, Any]) -> None:
    # raise an error unless it is what `state_of` gives
    place = Place(**going["place"])
    _generator(trainer, place.order)
    for name in ("begun", "epoch", "batches", "seen", "summed", "told"):
        _counter(getattr(place, name), name)
    for name in ("costs", "rate", "cost"):
        check.number(getattr(place, name), name, -np.inf, np.inf)
    if place.right is not None:
        check.number(place.right, "right")
    if place.sums:
        for total, parameter in zip(place.sums, trainer.optimizer.parameters, strict=True):
            if total is not None:
                check.same_shape(check.real_array(total, "sums"), "sums", parameter.data.shape)
    if place.moment not in MOMENTS or not isinstance(place.reason, (str, type(None))):
        raise ValueError(f"moment: expected one of {MOMENTS}, got {place.moment!r:.99}")
    epochs = [Epoch(**figures) for figures in going["history"]]
    for epoch in epochs:
        given = [name for name in FIGURES if getattr(epoch, name) is not None]
        for name in given:
            check.number(getattr(epoch, name), name, -np.inf, np.inf)
        if not all(isinstance(value, float) for value in epoch.validation_metrics.values()):
            raise ValueError(f"history: expected numbers, got {epoch.validation_metrics!r:.99}")
    done = [epoch.number for epoch in epochs]
    ended = place.epoch if place.moment == "epoch_end" else place.epoch - 1
    if done != list(range(1, ended + 1)):
        raise ValueError(f"history: expected the epochs before {place.epoch}, got {done!r:.99}")
    check.number(going["spent"], "spent")
    check.number(going["seconds"], "seconds")
    independent_of_epochs(json.loads(going["fit"]))
    list(going["callbacks"])


# --------------------------------------------------------------------------------- and goes on


def expect_same(run: Run, going: dict[str, Any]) -> None:
    """Raise ValueError unless `fit` is called as it was; other numbers of epochs may do."""
    described, own = json.loads(going["fit"]), run.description
    if independent_of_epochs(described) and independent_of_epochs(own):
        for name in ("epochs", "max_seconds"):
            described[name] = own[name]
    refuse_others(described, own, "as the training that is resumed has it")
    place = Place(**going["place"])
    begun = place.epoch - (place.moment == "epoch_begin")
    if run.pace.epochs < begun:
        raise ValueError(
            f"epochs: expected {begun} or more, which have begun, got {run.pace.epochs}"
        )
    if not place.batches <= min(run.batches, place.seen):
        raise ValueError(f"resume: {place.batches} batches have not {place.seen} images")


def go_on(run: Run, going: dict[str, Any]) -> None:
    """Put a new run where an old one was, and its callbacks in the state of theirs."""
    callbacks = run.moments.callbacks
    for i, (callback, state) in enumerate(zip(callbacks, going["callbacks"], strict=True)):
        try:
            callback.load_state_dict(state)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"callbacks[{i}]: {error!s:.999}") from error
    run.place = Place(**going["place"])
    run.history.epochs = [Epoch(**figures) for figures in going["history"]]
    run.pace.spent, run.seconds = going["spent"], going["seconds"]
