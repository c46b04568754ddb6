"""Train a network and write it to a file.

The images for the test are used once, at the end. Ctrl-C and SIGTERM end training; what was learned
is then written beside the model's file, for model.safetensors to model.interrupted.safetensors, and
the files of an earlier run stay as they are. model.toml has the options that repeat the run.
Several processes, started by mpiexec, train one network together, with the same result, by mpi4py.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from .. import distributed
from ..training.descent import CostError
from ._config import add_config
from ._files import load_for_training
from ._options import UsageError, say
from ._results import Results
from ._train_options import ABOVE_0, add_training
from ._training import Training, check


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
        "--checkpoint",
        metavar="FILE",
        help="save the training to this file after each epoch, and where it is interrupted "
        "(default: none)",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        help="go on with the training in the file of --checkpoint, if it is there, with the same "
        "options and data, as if nothing had happened (default: begin)",
    )
    parser.add_argument(
        "--rank-timeout",
        type=ABOVE_0,
        default=distributed.TIMEOUT,
        metavar="S",
        help="seconds after which a process that does not answer ends the training of several "
        f"(default: {distributed.TIMEOUT:g})",
    )
    parser.add_argument(
        "--wire",
        choices=distributed.WIRES,
        help="as what gradients travel between several processes, in half the bytes and rounded "
        "(default: as they are)",
    )
    parser.add_argument(
        "--quiet",
        action=argparse.BooleanOptionalAction,
        help="show no progress, only the result (default: show it)",
    )


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    if arguments.resume and arguments.checkpoint is None:
        raise UsageError("argument --resume: needs --checkpoint")
    if not distributed.launched():
        return _train(arguments, None)
    with distributed.world(arguments.rank_timeout, arguments.wire) as group:
        return _train(arguments, group)


def _train(arguments: argparse.Namespace, group: Any) -> int:
    speaks = group is None or group.rank == 0  # and writes
    results = Results(arguments) if speaks else None
    data = load_for_training(arguments, group)
    training = Training(arguments, data, group)
    trainer = training.trainer
    if arguments.resume and os.path.exists(arguments.checkpoint):
        trainer.resume(arguments.checkpoint)
    elif arguments.resume and speaks:
        say(f"no checkpoint {arguments.checkpoint} yet: training begins")
    if speaks and not arguments.quiet:
        say(str(training))

    def stop() -> None:
        trainer.stop_training = True

    with arguments.signals.waiting(stop):
        try:
            history = training.fit(arguments.checkpoint)
        except CostError as error:
            fault = str(error).partition(";")[0]
            raise CostError(f"{fault}; no model was written; try a lower --lr") from error
        written = ""
        if results is not None:
            written = f"model written to {results.write(training.net, history)}"
    if history.stopped == "interrupted":
        if arguments.checkpoint is not None:
            written += f"; --resume goes on with {arguments.checkpoint}"
        raise KeyboardInterrupt(f"in epoch {len(history) + 1} of {arguments.epochs}, {written}")
    try:
        if arguments.signals.number is not None:
            raise KeyboardInterrupt
        if not len(data.x_test):
            if speaks:
                print(f"no images for a test, {written}")
            return 0
        scores = trainer.evaluate(data.x_test, data.y_test, views=arguments.views)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"after training, {written}") from None
    if not speaks:
        return 0
    print(
        f"test accuracy {100 * scores['accuracy']:.2f} % "
        f"(error {100 * (1 - scores['accuracy']):.2f} %, cost {scores['cost']:.4f}), "
        f"{len(data.x_test)} images, {written}"
    )
    return 0
