"""What makes a training the one that it is: a description of trainer, data and arguments of `fit`.

A description is plain data of JSON; two that differ are not of the same training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.labelled import Columns, LabelledSet
from ..data.stream import Stream
from .callbacks import Callback

if TYPE_CHECKING:
    from .loop import Run
    from .trainer import Trainer

Description = dict[str, Any]
SAMPLES = 16  # images of a set that are looked at
POINTS = 32  # at which a schedule is


def of_trainer(trainer: Trainer) -> Description:
    """Network, cost, rule of descent, average and seed, without what training changes of them."""
    net, optimizer, average = trainer.net, trainer.optimizer, trainer.average
    heads = trainer._backpropagate.heads.items()
    try:
        layers = net.to_config()
    except Exception:  # of a class of one's own, which need not have a description
        layers = {"type": type(net).__name__}
    return _plain({
        "net": layers,
        "weights": {n: [str(k.data.dtype), k.data.shape] for n, k in net.named_state()},
        "loss": [
            [name, head.loss.name, head.kernel and head.kernel.value, head.weight]
            for name, head in heads
        ],
        "optimizer": {
            "type": type(optimizer).__name__,
            **optimizer.defaults,
            "max_norm": optimizer.max_norm,
            "max_value": optimizer.max_value,
            "groups": [len(group["params"]) for group in optimizer.param_groups],
        },
        "average": None if average is None else average.decay,
        "precision": trainer.precision,
        "seed": trainer._seed,
    })  # fmt: skip


def of_fit(run: Run) -> Description:
    """Arguments of `fit` that change what becomes of the weights."""
    pace, transforms, validation = run.pace, run.transforms, run.validation
    factors = [pace.schedule((i + 0.5) / POINTS) for i in range(POINTS)]
    return _plain({
        "epochs": pace.epochs,
        "max_seconds": pace.seconds,
        "schedule": factors,
        "batch_size": run.batch_size,
        "accumulate": run.accumulate,
        "shuffle": bool(run.shuffle),
        "metrics": list(run.trainer.metrics),
        "augment": None if transforms is None else transforms.to_config(),
        "callbacks": [_of_callback(callback) for callback in run.moments.callbacks],
        **_of_set(run.training),
        "validation": None if validation is None else _of_set(validation),
    })  # fmt: skip


def refuse_others(expected: Any, got: Description, why: str) -> None:
    """Raise ValueError where two descriptions differ; the message names all that does."""
    found = list(_differences("", expected, got))
    if found:
        told = "; ".join(f"{name}: expected {short(a)}, got {short(b)}" for name, a, b in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise ValueError(f"{told}{more} ({why})")


def independent_of_epochs(description: Mapping[str, Any]) -> bool:
    """Whether the schedule is the same for all numbers of epochs: a constant one."""
    return len(set(description["schedule"])) == 1


def _of_callback(callback: Callback) -> Description:
    return {
        "type": type(callback).__qualname__,
        **{name: getattr(callback, name) for name in callback.arguments},
    }


def _of_set(images: LabelledSet | Stream) -> Description:
    # number, type and shape of the images, and hashes of some of them and of all targets
    if isinstance(images, Stream):
        if images.name == "x":
            raise ValueError(
                "x: expected images and y, not an iterable of batches, in a training that is to be "
                "resumed in its midst"
            )
        return {"batches": type(images.given).__name__}
    few = np.unique(np.linspace(0, len(images) - 1, SAMPLES).astype(np.intp))
    some = images[few]
    parts = some if isinstance(some, tuple) else [some]
    targets = list(images.y.parts.values()) if isinstance(images.y, Columns) else [images.y]
    weights = images.weights
    return {
        "x": {
            "images": len(images),
            "each": [[str(part.dtype), part.shape[1:]] for part in parts],
            "values": _hash(parts),
        },
        "y": {"each": [[str(y.dtype), y.shape[1:]] for y in targets], "values": _hash(targets)},
        "sample_weight, class_weight": None if weights is None else _hash([weights]),
    }


def _hash(arrays: Any) -> str:
    made = blake2b(digest_size=16)
    for array in arrays:
        made.update(np.ascontiguousarray(array).view(np.uint8).data)
    return made.hexdigest()


def _plain(description: Description) -> Description:
    # as it comes out of a file; of what JSON does not know, its type
    def kind(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else type(value).__name__

    plain: Description = json.loads(json.dumps(description, default=kind))
    return plain


def _differences(name: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    # names of what is not the same in two descriptions, each as deep as it can be found
    if isinstance(a, dict) and isinstance(b, dict):
        if a.get("type") != b.get("type"):
            yield name, a.get("type"), b.get("type")
            return
        for key in [*a, *(key for key in b if key not in a)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(inner, a.get(key), b.get(key))
    elif _is_table(a) and _is_table(b) and len(a) != len(b):
        yield name, _types(a), _types(b)
    elif _is_table(a) and _is_table(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differences(f"{name}[{i}]", one, other)
    elif a != b:
        yield name, a, b


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)


def _types(table: list[Any]) -> list[Any]:
    return [item.get("type") if isinstance(item, dict) else item for item in table]
