"""Write a model whose convolutions and linear layers work on bytes.

Images of the training part say how far the bytes must reach; the accuracy on the test part is shown
before and after. The file is a model like any other.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from ..io import save
from ..quantization import METHODS, loss_by_layer, quantize
from ..training import metrics
from ._files import check_output, drawn, load_tested
from ._options import SAMPLE, UsageError, add_data, add_json, whole


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="file that train has written")
    add_data(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        default="int8.safetensors",
        help="file to write (default: int8.safetensors)",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="minmax",
        help="what the bytes reach: all numbers of the sample, all but a ten thousandth, or as "
        "many as lose the least information (default: minmax)",
    )
    parser.add_argument(
        "--images",
        type=whole(1, 2**20),
        default=SAMPLE,
        metavar="N",
        help=f"training images of the sample, drawn at random (default: {SAMPLE})",
    )
    parser.add_argument(
        "--skip",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="layers that stay as they are (default: none)",
    )
    parser.add_argument(
        "--layers", action="store_true", help="also show what each layer loses (default: no)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    check_output("--out", arguments.out)
    if not arguments.out.endswith(".safetensors"):
        raise UsageError(f"argument --out: expected FILE.safetensors, got {arguments.out!r}")
    net, _, data = load_tested(arguments)
    sample = drawn(data, arguments.images)
    small = quantize(net, sample, method=arguments.method, skip=arguments.skip)
    images = np.asarray(data.x_test)
    accuracies = [
        metrics.accuracy(data.y_test, each.compile(images.shape[1:]).predict(images))
        for each in (net, small)
    ]
    layers = []
    if arguments.layers:
        layers = loss_by_layer(net, sample, images, data.y_test, method=arguments.method)
    save(small, arguments.out)
    if arguments.json:
        rows = [loss._asdict() for loss in layers]
        names = "accuracy_float32", "accuracy_int8"
        result = {
            "images": len(sample),
            **dict(zip(names, accuracies, strict=True)),
            "layers": rows,
        }
        print(json.dumps(result, allow_nan=False))
        return 0
    print(f"sample    {len(sample)} images")
    print(f"accuracy  {100 * accuracies[0]:.2f} % in float32, {100 * accuracies[1]:.2f} % in int8")
    for loss in layers:
        print(f"{loss.name}: {loss.points:.2f} points by itself, error {100 * loss.error:.2f} %")
    print(arguments.out)
    return 0
