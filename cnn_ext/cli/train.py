"""Train a network and write it to a file.

The images for the test are used once, at the end. Ctrl-C and SIGTERM end training; what was learned
is then written beside the model's file, for model.safetensors to model.interrupted.safetensors, and
the files of an earlier run stay as they are. model.toml has the options that repeat the run.
"""

from __future__ import annotations

import argparse

import numpy as np

from ..architectures import whiten
from ..layers import Sequential
from ..task import Task
from ..training import losses
from ..training.defaults import DIGITS, OTHERS
from ..training.descent import CostError
from ..training.trainer import Trainer
from ._augment import transforms
from ._config import add_config
from ._files import Shape, load_data
from ._network import network
from ._optimizer import optimizer, settle
from ._options import UsageError, say
from ._results import Results
from ._train_options import add_training

WHITENED = 5000  # images whose patches are looked at


def add_options(parser: argparse.ArgumentParser) -> None:
    add_training(parser)
    add_config(parser)
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
        "--quiet",
        action=argparse.BooleanOptionalAction,
        help="show no progress, only the result (default: show it)",
    )


def run(arguments: argparse.Namespace) -> int:
    defaults = DIGITS if arguments.data == "digits" else OTHERS
    settle(arguments, defaults)
    results = Results(arguments)

    data = load_data(arguments, arguments.size, 3 if arguments.colour else None)
    validation = None if data.x_val is None else (data.x_val, data.y_val)
    if validation and arguments.validation_split:
        raise UsageError("argument --validation-split: the data have a validation part already")
    if arguments.early_stopping and not (validation or arguments.validation_split):
        raise UsageError("argument --early-stopping: needs --validation-split")
    C, H, W = data.x_train.shape[1:]
    arguments.arch = arguments.arch or defaults.arch or _arch_for((C, H, W))
    arguments.epochs = arguments.epochs or defaults.epochs
    arguments.batch_size = arguments.batch_size or defaults.batch_size
    rng = np.random.default_rng(arguments.seed)
    net = network(arguments.arch, (C, H, W), len(data.classes), arguments.initializer, rng)
    if arguments.whiten:
        _whiten(net, data.x_train, rng)
    loss = losses.cross_entropy(arguments.label_smoothing)
    threads = arguments.threads or defaults.threads
    task = Task("classes", classes=data.classes)
    trainer = Trainer(
        net, loss, optimizer(net, arguments), arguments.seed, threads, task, arguments.average
    )
    net.input_shape = (C, H, W)
    if not arguments.quiet:
        say(
            f"{len(data.x_train)} images of {C} x {H} x {W} in {len(data.classes)} classes, "
            f"{len(data.x_test)} for the test; {arguments.arch} with "
            f"{sum(p.data.size for p in net.parameters()):,} parameters"
        )

    def stop() -> None:
        trainer.stop_training = True

    with arguments.signals.waiting(stop):
        try:
            history = trainer.fit(
                data.x_train,
                data.y_train,
                arguments.epochs,
                arguments.batch_size,
                validation_data=validation,
                validation_split=arguments.validation_split,
                schedule=arguments.schedule,
                early_stopping=arguments.early_stopping,
                augment=arguments.augment and transforms(arguments.augment),
                progress=not arguments.quiet,
            )
        except CostError as error:
            fault = str(error).partition(";")[0]
            raise CostError(f"{fault}; no model was written; try a lower --lr") from error
        if trainer.average is not None:
            trainer.average.copy_to()
        written = f"model written to {results.write(net, history)}"
    if history.stopped == "interrupted":
        raise KeyboardInterrupt(f"in epoch {len(history) + 1} of {arguments.epochs}, {written}")
    try:
        if arguments.signals.number is not None:
            raise KeyboardInterrupt
        if not len(data.x_test):
            print(f"no images for a test, {written}")
            return 0
        scores = trainer.evaluate(data.x_test, data.y_test, views=arguments.views)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"after training, {written}") from None
    print(
        f"test accuracy {100 * scores['accuracy']:.2f} % "
        f"(error {100 * (1 - scores['accuracy']):.2f} %, cost {scores['cost']:.4f}), "
        f"{len(data.x_test)} images, {written}"
    )
    return 0


def _whiten(net: Sequential, images: np.ndarray, rng: np.random.Generator) -> None:
    chosen = np.sort(rng.permutation(len(images))[:WHITENED])
    try:
        whiten(net, images[chosen])
    except ValueError as error:
        raise UsageError(f"argument --whiten: {error}") from error


def _arch_for(input_shape: Shape) -> str:
    C, *sides = input_shape
    if C == 1 and min(sides) >= 20:
        return "nielsen"
    return "vgg6" if C == 3 and min(sides) >= 24 else "tiny"
