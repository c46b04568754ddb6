"""Train a network and write it to a file.

The images for the test are used once, at the end. Ctrl-C and SIGTERM end training; what was learned
is then written beside the model's file, for model.safetensors to model.interrupted.safetensors, and
the files of an earlier run stay as they are. model.toml has the options that repeat the run.
"""

from __future__ import annotations

import argparse

import numpy as np

from ..layers import Sequential
from ..optim import OPTIMIZERS, Optimizer
from ..task import Task
from ..training.defaults import ADAPTIVE_DECAY, ADAPTIVE_LR, DIGITS, MOMENTUM, OTHERS, Defaults
from ..training.descent import CostError
from ..training.trainer import Trainer
from ._config import add_config
from ._files import Shape, load_data
from ._network import network
from ._options import UsageError, say
from ._results import Results
from ._train_options import add_training


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
    if arguments.momentum is not None and arguments.optimizer not in MOMENTUM:
        raise UsageError(f"argument --momentum: {arguments.optimizer} has none")
    results = Results(arguments)

    data = load_data(arguments, arguments.size, 3 if arguments.colour else None)
    validation = None if data.x_val is None else (data.x_val, data.y_val)
    if validation and arguments.validation_split:
        raise UsageError("argument --validation-split: the data have a validation part already")
    if arguments.early_stopping and not (validation or arguments.validation_split):
        raise UsageError("argument --early-stopping: needs --validation-split")
    C, H, W = data.x_train.shape[1:]
    defaults = DIGITS if arguments.data == "digits" else OTHERS
    _settle(arguments, defaults, (C, H, W))
    rng = np.random.default_rng(arguments.seed)
    net = network(arguments.arch, (C, H, W), len(data.classes), arguments.initializer, rng)
    optimizer = _optimizer(net, arguments)
    threads = arguments.threads or defaults.threads
    task = Task("classes", classes=data.classes)
    trainer = Trainer(net, "cross_entropy", optimizer, arguments.seed, threads, task)
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
                progress=not arguments.quiet,
            )
        except CostError as error:
            fault = str(error).partition(";")[0]
            raise CostError(f"{fault}; no model was written; try a lower --lr") from error
        written = f"model written to {results.write(net, history)}"
    if history.stopped == "interrupted":
        raise KeyboardInterrupt(f"in epoch {len(history) + 1} of {arguments.epochs}, {written}")
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


def _settle(arguments: argparse.Namespace, defaults: Defaults, input_shape: Shape) -> None:
    """Fill in what the options leave open."""
    sgd = arguments.optimizer == "sgd"
    chosen = {
        "arch": defaults.arch or _arch_for(input_shape),
        "epochs": defaults.epochs,
        "batch_size": defaults.batch_size,
        "lr": defaults.lr if sgd else ADAPTIVE_LR,
        "weight_decay": defaults.weight_decay if sgd else ADAPTIVE_DECAY[arguments.optimizer],
        "momentum": MOMENTUM.get(arguments.optimizer),
    }
    for name, value in chosen.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)


def _optimizer(net: Sequential, arguments: argparse.Namespace) -> Optimizer:
    options = {} if arguments.momentum is None else {"momentum": arguments.momentum}
    return OPTIMIZERS[arguments.optimizer](
        net,
        lr=arguments.lr,
        weight_decay=arguments.weight_decay,
        max_norm=arguments.clip_norm,
        **options,
    )


def _arch_for(input_shape: Shape) -> str:
    C, *sides = input_shape
    if C == 1 and min(sides) >= 20:
        return "nielsen"
    return "vgg6" if C == 3 and min(sides) >= 24 else "tiny"
