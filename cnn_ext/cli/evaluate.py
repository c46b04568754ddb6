"""Measure a model on the test part of some data.

Prints the cost, the accuracy, the error and the confusion matrix.
"""

from __future__ import annotations

import argparse
import json
import math

from ..training import metrics
from ..training.descent import CostError
from ..training.losses import LOSSES
from ..training.trainer import Trainer
from ._files import load_tested
from ._options import UsageError, add_data, add_json, add_threads, add_views


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    add_data(parser)
    parser.add_argument(
        "--loss", choices=LOSSES, help="what the cost is (default: that of the model's training)"
    )
    add_views(parser)
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    net, task, data = load_tested(arguments)
    loss = arguments.loss or task.loss
    if loss not in LOSSES:
        raise UsageError(f"{arguments.model} does not say its loss, so --loss must be given")
    trainer = Trainer(net, loss, num_threads=arguments.threads)
    scores = trainer.evaluate(data.x_test, data.y_test, views=arguments.views)
    if not math.isfinite(scores["cost"]):
        raise CostError(f"{arguments.model}: the cost is {scores['cost']}")
    predicted = trainer.predict(data.x_test, views=arguments.views)
    accuracy = metrics.accuracy(data.y_test, predicted)
    matrix = metrics.confusion_matrix(data.y_test, predicted, len(data.classes)).tolist()
    if arguments.json:
        result = {
            "images": len(data.x_test),
            "cost": scores["cost"],
            "accuracy": accuracy,
            "error": 1 - accuracy,
            "classes": data.classes,
            "confusion_matrix": matrix,
        }
        print(json.dumps(result, allow_nan=False))
        return 0
    print(f"images    {len(data.x_test)}")
    print(f"cost      {scores['cost']:.4f}")
    print(f"accuracy  {100 * accuracy:.2f} %")
    print(f"error     {100 * (1 - accuracy):.2f} %")
    print("confusion matrix, a row for each true class, a column for each predicted one")
    _print_table(["", *data.classes], [data.classes, *zip(*matrix, strict=True)])
    return 0


def _print_table(heads: list[str], columns: list[tuple[object, ...]]) -> None:
    cells = [[head, *map(str, column)] for head, column in zip(heads, columns, strict=True)]
    widths = [max(map(len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        print("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)))
