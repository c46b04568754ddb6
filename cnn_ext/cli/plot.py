"""Draw what a model has learned and how it answers on the test part of some data.

Writes kernels.png (of the first convolution), weights.png, feature_maps.png (of the first test
image), saliency.png, grad_cam.png, exciting.png, guesses.png, mistakes.png, confusion.png,
reliability.png and, given a history, history.png, or those that --kinds names. Needs Matplotlib.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import plot
from .._files import atomic_write
from ..data.batching import gather
from ..data.dataset import Dataset
from ..explain import layer_with_maps
from ..layers import Conv2d, Module, Sequential
from ..task import Task
from ..training import metrics
from ..training.history import History
from ..training.trainer import Trainer
from ._files import check_output, load_tested, read_history
from ._options import UsageError, add_data, add_history, add_threads, say, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = (
    "kernels", "weights", "feature_maps", "saliency", "grad_cam", "exciting", "guesses", "mistakes",
    "confusion", "reliability", "history",
)  # fmt: skip
EXPLAINED = 16  # images in saliency.png and grad_cam.png


def kinds(text: str) -> list[str]:
    """The type of --kinds."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise argparse.ArgumentTypeError(f"expected some of {known}, got {name!r}")
    return names


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
        "--kinds",
        type=kinds,
        metavar="NAME,...",
        help=f"which pictures: {', '.join(NAMES)} (default: all that can be drawn)",
    )
    add_history(parser)
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
    names = arguments.kinds or NAMES
    for path in [folder / f"{n}.png" for n in names] if folder.exists() else [folder]:
        check_output("--out", str(path))
    net, task, data = load_tested(arguments)
    history = None if arguments.history is None else read_history(arguments.history)
    makers, left_out = _makers(net, task, data, history, arguments)
    for name in names:
        if name in left_out and (arguments.kinds or name != "history"):
            say(f"cnn-ext plot: no {name}.png, as {left_out[name]}")
    wanted = [name for name in NAMES if name in names and name not in left_out]
    drawn = {name: makers[name]() for name in wanted}

    pictures = {name: _png(figure) for name, figure in drawn.items()}
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        with atomic_write(path) as file:
            file.write(picture)
        title, _, _ = drawn[name].get_suptitle().partition("\n")
        print(f"{path}: {title}")
    return 0


def _makers(
    net: Module, task: Task, data: Dataset, history: History | None, arguments: argparse.Namespace
) -> tuple[dict[str, Callable[[], Figure]], dict[str, str]]:
    # what draws each of NAMES, and why some cannot be drawn
    x, y = data.x_test, data.y_test
    chain = net if isinstance(net, Sequential) else Sequential(net)
    trainer = Trainer(net, num_threads=arguments.threads, task=task)
    outputs = trainer.outputs(x)
    guesses = trainer.task.predictions(outputs)
    known = trainer.task.outputs not in (None, "numbers")
    p = trainer.task.probabilities(outputs) if known else None
    if p is not None and p.shape[1] == 1:  # of the second of two classes
        p = np.hstack([1 - p, p])
    answers = (x, y, guesses, data.classes, p, arguments.limit)
    matrix = metrics.confusion_matrix(y, guesses, len(data.classes))
    classes = data.classes[-outputs.shape[1] :]  # a single output speaks for the second of two
    count = min(EXPLAINED, len(x))
    some = gather(x, np.arange(count) * len(x) // count)
    makers: dict[str, Callable[[], Figure]] = {
        "kernels": lambda: plot.kernels(chain),
        "weights": lambda: plot.weights(net),
        "feature_maps": lambda: plot.feature_maps(chain, x[0], classes=classes),
        "saliency": lambda: plot.saliency(chain, some, classes=classes),
        "grad_cam": lambda: plot.grad_cam(chain, some, classes=classes),
        "exciting": lambda: plot.exciting(chain, x),
        "guesses": lambda: plot.guesses(*answers),
        "mistakes": lambda: plot.mistakes(*answers),
        "confusion": lambda: plot.confusion(matrix, data.classes),
    }
    left_out = {}
    if not any(isinstance(layer, Conv2d) for layer in chain.walk()):
        left_out["kernels"] = f"{arguments.model} has no convolution"
    if not any(parameter.data.ndim > 1 for parameter in net.parameters()):
        left_out["weights"] = f"{arguments.model} has no weights"
    try:
        layer_with_maps(list(chain.walk()), x.shape[1:])
    except ValueError:
        left_out["grad_cam"] = left_out["exciting"] = f"{arguments.model} has no layer with maps"
    if p is None:
        left_out["reliability"] = f"it is not known what the outputs of {arguments.model} are"
    else:
        makers["reliability"] = lambda: plot.reliability(y, p)
    if history is None:
        left_out["history"] = "--history FILE is not given"
    else:
        makers["history"] = lambda: plot.history(history)
    return makers, left_out


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font lacks
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
