"""Train a network and write it to a file.

The images for the test are used once, at the end. Ctrl-C and SIGTERM end training; what was learned
is then written beside the model's file, for model.safetensors to model.interrupted.safetensors, and
the files of an earlier run stay as they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._files import atomic_write
from ..architectures import ARCHITECTURES, build
from ..initializers import INITIALIZERS
from ..io import save
from ..layers import Sequential
from ..optim import OPTIMIZERS, Optimizer
from ..task import Task
from ..training.history import History
from ..training.schedules import SCHEDULES
from ..training.trainer import CostError, Trainer
from ._files import Shape, check_output, load_data
from ._options import UsageError, add_data, add_threads, real, say, size, whole


class Defaults(NamedTuple):
    """What fits the data at hand."""

    arch: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    threads: int | None


# so small a network gains nothing from a second thread, and loses much on a busy machine
DIGITS = Defaults("tiny", 30, 32, 0.05, 1e-3, threads=1)
OTHERS = Defaults("", 5, 64, 0.05, 1e-4, threads=None)
# of the optimizers that are not SGD, for any data
ADAPTIVE_LR, ADAPTIVE_DECAY = 0.003, {"adam": 0.0, "adamw": 0.01, "rmsprop": 0.0}
MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0}


def add_options(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--arch",
        type=_arch,
        metavar="ARCH",
        help=f"{', '.join(ARCHITECTURES)}; or FILE.json, a list of layers as "
        "Sequential.from_config takes; or FILE.py, which is executed and must define "
        "build(input_shape, classes) that returns a Sequential (default: tiny for the digits; "
        "else nielsen for one channel of 20 pixels or more, vgg6 for three of 24 or more, tiny "
        "otherwise)",
    )
    decays = "; 0.01 for adamw, 0 for adam and rmsprop"
    for option, kind, what, more in (
        ("epochs", whole(1), "passes over the images", ""),
        ("batch-size", whole(1), "images in a step of descent", ""),
        ("lr", real("above 0", lambda v: v > 0), "highest learning rate",
         f"; {ADAPTIVE_LR} for adam, adamw and rmsprop"),
        ("weight-decay", real("of at least 0", lambda v: v >= 0), "pull of the weights to 0",
         decays),
    ):  # fmt: skip
        digits, others = (getattr(d, option.replace("-", "_")) for d in (DIGITS, OTHERS))
        default = (
            f"{digits:g}" if digits == others else f"{digits:g} for the digits, else {others:g}"
        )
        parser.add_argument(
            f"--{option}", type=kind, metavar="N", help=f"{what} (default: {default}{more})"
        )
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="sgd", help="rule of descent (default: sgd)"
    )
    parser.add_argument(
        "--momentum",
        type=real("from 0 up to but not 1", lambda v: 0 <= v < 1),
        metavar="N",
        help="part of the last step that goes on in the next, of sgd and rmsprop (default: 0.9 for "
        "sgd, 0 for rmsprop)",
    )
    parser.add_argument(
        "--clip-norm",
        type=real("above 0", lambda v: v > 0),
        metavar="N",
        help="norm that the gradients of a step are clipped to (default: none)",
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="one-cycle",
        help="how the learning rate changes during training (default: one-cycle)",
    )
    parser.add_argument(
        "--initializer",
        choices=INITIALIZERS,
        default="he",
        help="how the first weights are drawn, of every network (default: he)",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        default=0,
        metavar="N",
        help="for the weights, the order of the images and dropout; the same seed gives the same "
        "model (default: 0)",
    )
    parser.add_argument(
        "--validation-split",
        type=real("from 0 up to but not 1", lambda v: 0 <= v < 1),
        default=0.0,
        metavar="PART",
        help="part of the training images that is kept aside to watch training (default: 0, or "
        "the validation part that the data have)",
    )
    parser.add_argument(
        "--early-stopping",
        type=whole(1),
        metavar="PATIENCE",
        help="stop after so many epochs without a lower validation cost and take the best weights; "
        "needs --validation-split or data with a validation part (default: never)",
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="SIDE|HxW",
        help="pixels that pictures are resized to (default: their own size, the same for all)",
    )
    parser.add_argument(
        "--colour",
        action="store_const",
        const=3,
        help="read pictures with three channels instead of one grey one (default: grey)",
    )
    add_threads(parser, "1 for the digits, else ")
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="model.safetensors",
        help="file for the model (default: model.safetensors)",
    )
    parser.add_argument(
        "--history", metavar="FILE", help="JSON file for the figures of each epoch (default: none)"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show no progress, only the result (default: show it)"
    )


def _arch(text: str) -> str:
    if text in ARCHITECTURES or text.endswith((".py", ".json")):
        return text
    known = ", ".join(ARCHITECTURES)
    raise argparse.ArgumentTypeError(f"expected {known}, FILE.py or FILE.json, got {text!r}")


def run(arguments: argparse.Namespace) -> int:
    outputs = [("--out", arguments.out)]
    if arguments.history is not None:
        outputs.append(("--history", arguments.history))
    for option, path in outputs:
        check_output(option, path)
    if len({os.path.realpath(path) for _, path in outputs}) < len(outputs):
        raise UsageError("argument --history: expected another file than --out")
    if arguments.momentum is not None and arguments.optimizer not in MOMENTUM:
        raise UsageError(f"argument --momentum: {arguments.optimizer} has none")
    _beside(path for _, path in outputs)  # an error now rather than when it is needed

    data = load_data(arguments, arguments.size, arguments.colour)
    validation = None if data.x_val is None else (data.x_val, data.y_val)
    if validation and arguments.validation_split:
        raise UsageError("argument --validation-split: the data have a validation part already")
    if arguments.early_stopping and not (validation or arguments.validation_split):
        raise UsageError("argument --early-stopping: needs --validation-split")
    C, H, W = data.x_train.shape[1:]
    defaults = DIGITS if arguments.data == "digits" else OTHERS
    epochs = arguments.epochs or defaults.epochs
    arch = arguments.arch or defaults.arch or _arch_for((C, H, W))
    net = _network(arch, (C, H, W), len(data.classes), arguments)
    optimizer = _optimizer(net, defaults, arguments)
    threads = arguments.threads or defaults.threads
    task = Task("classes", classes=data.classes)
    trainer = Trainer(net, "cross_entropy", optimizer, arguments.seed, threads, task)
    net.input_shape = (C, H, W)
    if not arguments.quiet:
        say(
            f"{len(data.x_train)} images of {C} x {H} x {W} in {len(data.classes)} classes, "
            f"{len(data.x_test)} for the test; {arch} with "
            f"{sum(p.data.size for p in net.parameters()):,} parameters"
        )

    def stop() -> None:
        trainer.stop_training = True

    files = [path for _, path in outputs]
    with arguments.signals.waiting(stop):
        try:
            history = trainer.fit(
                data.x_train,
                data.y_train,
                epochs,
                arguments.batch_size or defaults.batch_size,
                validation_data=validation,
                validation_split=arguments.validation_split,
                schedule=arguments.schedule,
                early_stopping=arguments.early_stopping,
                progress=not arguments.quiet,
            )
        except CostError as error:
            fault = str(error).partition(";")[0]
            raise CostError(f"{fault}; no model was written; try a lower --lr") from error
        unfinished = history.stopped == "interrupted"
        if unfinished:
            files = _beside(files)
        save(net, files[0])
        if arguments.history is not None:
            _write_history(history, files[1])
    written = f"model written to {files[0]}"
    if unfinished:
        raise KeyboardInterrupt(f"in epoch {len(history) + 1} of {epochs}, {written}")
    try:
        if arguments.signals.number is not None:
            raise KeyboardInterrupt
        if not len(data.x_test):
            print(f"no images for a test, {written}")
            return 0
        scores = trainer.evaluate(data.x_test, data.y_test)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"after training, {written}") from None
    print(
        f"test accuracy {100 * scores['accuracy']:.2f} % "
        f"(error {100 * (1 - scores['accuracy']):.2f} %, cost {scores['cost']:.4f}), "
        f"{len(data.x_test)} images, {written}"
    )
    return 0


def _optimizer(net: Sequential, defaults: Defaults, arguments: argparse.Namespace) -> Optimizer:
    name = arguments.optimizer
    lr = defaults.lr if name == "sgd" else ADAPTIVE_LR
    decay = ADAPTIVE_DECAY.get(name, defaults.weight_decay)
    if arguments.weight_decay is not None:
        decay = arguments.weight_decay
    options: dict[str, Any] = {}
    if name in MOMENTUM:
        given = arguments.momentum
        options["momentum"] = MOMENTUM[name] if given is None else given
    return OPTIMIZERS[name](
        net, lr=arguments.lr or lr, weight_decay=decay, max_norm=arguments.clip_norm, **options
    )


def _arch_for(input_shape: Shape) -> str:
    C, *sides = input_shape
    if C == 1 and min(sides) >= 20:
        return "nielsen"
    return "vgg6" if C == 3 and min(sides) >= 24 else "tiny"


def _network(
    arch: str, input_shape: Shape, classes: int, arguments: argparse.Namespace
) -> Sequential:
    """The network of a name or a file, which must fit the data and be such as a file can hold."""
    rng = np.random.default_rng(arguments.seed)
    if arch in ARCHITECTURES:
        try:
            return build(arch, input_shape, classes, arguments.initializer, rng)
        except ValueError as error:
            raise UsageError(f"argument --arch: {arch} does not fit the data: {error}") from error
    described = _from_python if arch.endswith(".py") else _from_json
    net = Sequential.from_config(described(arch, input_shape, classes))
    net.initialize(arguments.initializer, rng)
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


def _beside(paths: Iterable[str]) -> list[str]:
    """Names of new files beside these, for what an interrupted run leaves."""
    files = [Path(os.path.realpath(path) if os.path.islink(path) else path) for path in paths]
    marks = chain([".interrupted"], (f".interrupted-{number}" for number in count(2)))
    choices = (
        [str(file.with_name(f"{file.stem}{mark}{file.suffix}")) for file in files] for mark in marks
    )
    return next(names for names in choices if not any(map(_is_there, names)))


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _write_history(history: History, path: str) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(history.as_dict(), indent=1).encode() + b"\n")
