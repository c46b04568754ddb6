"""Draw what a model has learned and how it answers on the test part of some data.

Writes kernels.png (of the first convolution), feature_maps.png (of the first test image),
guesses.png, mistakes.png, confusion.png and, given a history, history.png. Needs Matplotlib.
"""

from __future__ import annotations

import argparse
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .. import plot
from .._files import atomic_write
from ..layers import Conv2d, Sequential
from ..training import metrics
from ..training.trainer import Trainer
from ._files import check_output, load_tested, read_history
from ._options import UsageError, add_data, add_threads, say, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("kernels", "feature_maps", "guesses", "mistakes", "confusion", "history")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    add_data(parser)
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="plots",
        help="folder for the pictures, made if it is not there (default: plots)",
    )
    parser.add_argument(
        "--history",
        metavar="FILE",
        help="JSON file that train --history has written (default: none)",
    )
    parser.add_argument(
        "--limit",
        type=whole(1),
        default=40,
        metavar="N",
        help="most images in guesses.png and in mistakes.png (default: 40)",
    )
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"argument --out: {folder} is not a folder")
    for path in [folder / f"{n}.png" for n in NAMES] if folder.exists() else [folder]:
        check_output("--out", str(path))
    net, task, data = load_tested(arguments)
    drawn: dict[str, Figure] = {}
    if arguments.history is not None:
        drawn["history"] = plot.history(read_history(arguments.history))
    chain = net if isinstance(net, Sequential) else Sequential(net)
    first = next((i for i, kind in enumerate(chain.walk()) if isinstance(kind, Conv2d)), None)
    if first is None:
        say(f"cnn-ext plot: no kernels.png, as {arguments.model} has no convolution")
    else:
        drawn["kernels"] = plot.kernels(chain, first)
    trainer = Trainer(net, num_threads=arguments.threads, task=task)
    drawn["feature_maps"] = plot.feature_maps(chain, data.x_test[0])
    outputs = trainer.outputs(data.x_test)
    guesses = trainer.task.predictions(outputs)
    known = trainer.task.outputs not in (None, "numbers") and outputs.shape[1] > 1
    probabilities = trainer.task.probabilities(outputs) if known else None
    for name, draw in (("guesses", plot.guesses), ("mistakes", plot.mistakes)):
        drawn[name] = draw(
            data.x_test, data.y_test, guesses, data.classes, probabilities, arguments.limit
        )
    matrix = metrics.confusion_matrix(data.y_test, guesses, len(data.classes))
    drawn["confusion"] = plot.confusion(matrix, data.classes)

    pictures = {name: _png(drawn[name]) for name in NAMES if name in drawn}
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        with atomic_write(path) as file:
            file.write(picture)
        title, _, _ = drawn[name].get_suptitle().partition("\n")
        print(f"{path}: {title}")
    return 0


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
