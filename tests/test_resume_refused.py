"""Checkpoints of another training, or not whole, are refused by name and change nothing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resuming
from networks import small
from resuming import WEIGHTS, At, X, Y, fit, left_by, trainer

import cnn_ext
from cnn_ext import (
    SGD,
    Adam,
    Callback,
    EarlyStopping,
    ReduceLROnPlateau,
    Sequential,
    Trainer,
    losses,
    safetensors,
    schedules,
)
from cnn_ext.augment import RandomShift


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training in the middle of its second epoch."""
    path = tmp_path_factory.mktemp("resume") / "training.safetensors"
    one = trainer()
    fit(one, At("batch_end", 6, lambda one: one.save(path)))
    return path


def refused(one: Trainer, path: Path, message: str) -> None:
    one.train_on_batch(X, Y)
    before, rng = left_by(one), one._rng.bit_generator.state
    with pytest.raises(ValueError, match=message) as caught:
        one.resume(path)
    assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 1500
    assert left_by(one) == before and one._rng.bit_generator.state == rng and one._resumed is None


# ------------------------------------------------------------------------------ of another trainer


def network(**changes: Any) -> Sequential:
    """That of the checkpoint, but for some of its layers."""
    layers = list(trainer().net.layers)
    for number, layer in changes.items():
        layers[int(number[1:])] = layer
    return Sequential(*layers)


def like(net: Sequential, **options: Any) -> Trainer:
    return Trainer(net, **{"optimizer": Adam(net, 0.4), "average": 0.8, "seed": 39, **options})


TRAINERS: dict[str, tuple[Callable[[], Trainer], str]] = {
    "dropout": (
        lambda: like(network(_4=cnn_ext.Dropout(0.4))),
        r"net.layers\[4\].p: expected 0.3, got 0.4 \(as the trainer that was saved has it\)",
    ),
    "layer": (
        lambda: like(network(_2=cnn_ext.Tanh())), r"net.layers\[2\]: expected 'ReLU', got 'Tanh'",
    ),
    "classes": (
        lambda: like(network(_6=cnn_ext.Linear(16, 4))), "out_features: expected 3, got 4",
    ),
    "number type": (
        lambda: like(network().astype("float64")),
        r"weights.0.weight\[0\]: expected 'float32', got 'float64'",
    ),
    "rule": (lambda: like(net := network(), optimizer=SGD(net)), "optimizer: expected 'Adam', got"),
    "rate": (
        lambda: like(net := network(), optimizer=Adam(net, 0.3)), "optimizer.lr: expected 0.4, got",
    ),
    "clipping": (
        lambda: like(net := network(), optimizer=Adam(net, 0.4, max_norm=1.0)),
        "optimizer.max_norm: expected None, got 1.0",
    ),
    "groups": (
        lambda: like(net := network(), optimizer=Adam([{"params": p} for p in net.parameters()])),
        r"optimizer.groups: expected \[6\], got \[1, 1",
    ),
    "average": (lambda: like(network(), average=None), "average: expected 0.8, got None"),
    "decay": (lambda: like(network(), average=0.9), "average: expected 0.8, got 0.9"),
    "seed": (lambda: trainer(seed=3), "seed: expected 39, got 3"),
    "no seed": (lambda: like(network(), seed=None), "seed: expected 39, got 'NoneType'"),
    "loss": (
        lambda: like(network(), loss="focal"), r"loss\[0\]: expected .*'cross_entropy'.*'focal'",
    ),
    "option of the loss": (
        lambda: like(network(), loss=losses.cross_entropy(0.1)), r"loss\[0\]: expected .*0.1",
    ),
    "all": (
        lambda: Trainer(small()),
        "net.layers: .*; weights.*; optimizer: expected 'Adam', got 'SGD'; average|and . more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINERS)
def test_of_another_trainer(name: str, checkpoint: Path) -> None:
    make, message = TRAINERS[name]
    refused(make(), checkpoint, message)


def test_a_trainer_without_a_seed_takes_over_the_one_of_the_file(tmp_path: Path) -> None:
    one, other = like(network(), seed=None), like(network(), seed=None)
    one.net.load_state_dict(other.net.state_dict())
    fit(one, At("batch_end", 6, lambda one: one.save(tmp_path / "a")))
    other.resume(tmp_path / "a")
    fit(other, At())
    assert left_by(one) == left_by(other)


# ---------------------------------------------------------------------------- with other arguments

ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 13}, "batch_size: expected 12, got 13"),
    ({"shuffle": False}, "shuffle: expected True, got False"),
    ({"accumulate": 2}, "accumulate: expected 1, got 2"),
    ({"schedule": "cosine"}, r"schedule: expected \[1.0, 1.0, .*, got \[0.99"),
    ({"schedule": schedules.step(3)}, r"schedule: expected \[1.0, 1.0, "),
    ({"augment": None}, "augment: expected {'transforms': .*}, got None"),
    ({"augment": [RandomShift(2)]}, "augment.transforms: expected"),
    ({"validation_split": 0.25}, "x.images: expected 48, got 45; .*validation.x.images: expected"),
    ({"validation_split": 0, "early_stopping": None}, r"callbacks: expected \['Early.*; x.im"),
    ({"validation_data": (X[:4], Y[:4]), "validation_split": 0}, "n.x.images: expected 12, got 4"),
    ({"early_stopping": EarlyStopping(9)}, r"callbacks\[0\].patience: expected 2, got 9"),
    ({"early_stopping": None}, r"callbacks: expected \['Early.*, got \['Reduce.*', 'At'\]"),
    (
        {"callbacks": [ReduceLROnPlateau(0.1, patience=1, min_delta=0.01), At()]},
        r"callbacks\[1\].factor: expected 0.5, got 0.1",
    ),
    (
        {"callbacks": [ReduceLROnPlateau(0.5, patience=1, min_delta=0.01), Callback()]},
        r"callbacks\[2\]: expected 'At', got 'Callback'",
    ),
    ({"sample_weight": WEIGHTS[::-1]}, "sample_weight, class_weight: expected '.*', got '"),
    ({"class_weight": None}, "sample_weight, class_weight: expected '.*', got '"),
    ({"class_weight": None, "sample_weight": None}, "sample_weight, class_weight: .* got None"),
    ({"x": X.astype(np.float64)}, r"x.each\[0\]\[0\]: expected 'float32', got"),
    ({"x": -X}, "x.values: expected"),
    ({"x": X[:48], "y": Y[:48], "sample_weight": WEIGHTS[:48]}, "x.images: expected 48, got 38"),
    ({"y": np.roll(Y, 1)}, "y.values: expected"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_other_arguments_of_fit(options: dict[str, Any], message: str, checkpoint: Path) -> None:
    one = trainer()
    one.resume(checkpoint)
    before = left_by(one)
    calls = At()
    with pytest.raises(ValueError, match=message) as caught:
        fit(one, calls, **options)
    assert "as the training that is resumed has it" in str(caught.value)
    assert left_by(one) == before and not calls.calls
    whole = trainer()
    assert left_by(one, fit(one, At())) == left_by(whole, fit(whole))  # it still goes on


def test_a_callback_may_refuse_its_state(checkpoint: Path) -> None:
    class Refusing(At):
        def load_state_dict(self, state: Any) -> None:
            raise ValueError("not mine")

    Refusing.__qualname__ = "At"
    one = trainer()
    one.resume(checkpoint)
    with pytest.raises(ValueError, match=r"callbacks\[2\]: not mine"):
        fit(one, Refusing())
    whole = trainer()
    assert left_by(one, fit(one, At())) == left_by(whole, fit(whole))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"accumulate": 0}, ValueError, "accumulate: expected 1 to"),
        ({"every": 3}, ValueError, "every: expected 'epoch' without a checkpoint, got 3"),
        ({"checkpoint": "a", "every": "step"}, ValueError, "every: expected 'epoch' or a number"),
        ({"checkpoint": "a", "every": 0}, ValueError, "every: expected 1 to"),
        ({"checkpoint": "a", "every": 1.5}, TypeError, "every: expected a whole number"),
        ({"checkpoint": 3}, TypeError, "checkpoint: expected a path, got int"),
        (
            {"checkpoint": "/none/a"},
            ValueError,
            "checkpoint: expected a file in a folder that there",
        ),
        ({"checkpoint": "."}, ValueError, "checkpoint: expected a file in a folder that"),
    ],
)
def test_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    one = trainer()
    before = left_by(one)
    with pytest.raises(error, match=message):
        fit(one, **options)
    assert left_by(one) == before


# --------------------------------------------------------------------------------- not whole


def test_what_is_no_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    one = trainer()
    cnn_ext.save(one.net, tmp_path / "net")
    refused(one, tmp_path / "net", "expected a checkpoint, which `Trainer.save` writes")
    tensors, metadata = safetensors.read(checkpoint)
    safetensors.write(tmp_path / "new", tensors, {**metadata, "cnn_ext.checkpoint": "2"})
    refused(one, tmp_path / "new", "expected format 1, got '2'")
    (tmp_path / "text").write_text("a")
    refused(one, tmp_path / "text", "not a safetensors file")
    with pytest.raises(FileNotFoundError):
        one.resume(tmp_path / "none")


def test_a_file_that_is_cut_short(tmp_path: Path, checkpoint: Path) -> None:
    content, one = checkpoint.read_bytes(), trainer()
    for size in range(0, len(content), len(content) // 20 + 1):
        (tmp_path / "cut").write_bytes(content[:size])
        refused(one, tmp_path / "cut", "not a safetensors file")


ODD: list[Any] = [
    None,
    True,
    -1,
    2**70,
    0.5,
    "a",
    [],
    {},
    {"list": [1]},
    {"array": "x"},
    {"dict": [3]},
]


def test_hostile_files(tmp_path: Path, checkpoint: Path) -> None:
    """Every value in the tree is replaced by others; what is taken can be trained, or says no."""
    tensors, metadata = safetensors.read(checkpoint)
    tree = json.loads(metadata["state"])
    rng, outcomes = np.random.default_rng(0), {"refused": 0, "refused by fit": 0, "taken": 0}
    places = list(_places(tree))
    for number in rng.permutation(len(places))[:150].tolist():
        broken = json.loads(metadata["state"])
        holder, key = _at(broken, places[number])
        holder[key] = ODD[int(rng.integers(len(ODD)))]
        used = {name: array for name, array in tensors.items() if f'"{name}"' in json.dumps(broken)}
        safetensors.write(tmp_path / "odd", used, {**metadata, "state": json.dumps(broken)})
        one = trainer()
        before = left_by(one)
        try:
            one.resume(tmp_path / "odd")
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "odd"))
            assert left_by(one) == before
            outcomes["refused"] += 1
            continue
        try:
            fit(one, At())
            outcomes["taken"] += 1
        except ValueError:
            outcomes["refused by fit"] += 1
    assert outcomes["refused"] > 90 and sum(outcomes.values()) == 150


def _places(tree: Any) -> Any:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (key,)
        if isinstance(value, (dict, list)):
            yield from ((key, *rest) for rest in _places(value))


def _at(tree: Any, place: tuple[Any, ...]) -> tuple[Any, Any]:
    for key in place[:-1]:
        tree = tree[key]
    return tree, place[-1]


# ------------------------------------------------------------------------------------ a full disk


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path, written, write = tmp_path / "a", [], os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor)

    one = trainer()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "fsync", full)
        fit(one, checkpoint=path, every=1)
    assert os.listdir(tmp_path) == ["a"]
    whole = trainer()
    unbroken = left_by(whole, fit(whole))
    old = trainer()
    old.resume(path)
    assert left_by(old, fit(old)) == unbroken
    one.save(path)  # once there is room again, nothing is lost
    new = trainer()
    new.resume(path)
    assert new.optimizer.state[0]["step"] > 2 and left_by(new, fit(new)) == unbroken


FULL = """
import os, resource, sys
import resuming

one = resuming.trainer()
one.save(sys.argv[1])
size = os.path.getsize(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
before = open(sys.argv[1], "rb").read()
try:
    resuming.fit(one, checkpoint=sys.argv[1])  # with slots and history it is larger
except OSError as error:
    print(error.strerror, open(sys.argv[1], "rb").read() == before, os.listdir("."))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit of files")
def test_a_limit_of_the_system_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    paths = os.pathsep.join([os.path.dirname(resuming.__file__), *sys.path])
    told = subprocess.check_output(
        [sys.executable, "-c", FULL, "a"], text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert told.strip() == "File too large True ['a']"
