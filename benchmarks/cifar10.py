"""CIFAR-10 by a recipe: the speed of training beside PyTorch's, or whole runs and their accuracy.

    python benchmarks/cifar10.py [FOLDER] [--recipe cifar10] [--images 6000] [--threads 2]
                                 [--precision float32|bfloat16]
    python benchmarks/cifar10.py [FOLDER] [--recipe cifar10] --whole [--seeds 0 1 ...] [--json FILE]
                                 [--precision float32|bfloat16]

FOLDER has one sub-folder of pictures for each class; by default what CNN_EXT_CIFAR10 names.  The
last tenth of each class by name is kept aside for the test.  The first form trains the net of the
recipe on some images, in PyTorch with channels_last in float32 and in bfloat16 (autocast) and in
cnn_ext, also in bfloat16 if that is asked for, taking turns: same net, batches, costs and rule of
descent, without augmentation.  The second form is `cnn-ext train --recipe`, with one seed after the
other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import marks
import numpy as np

import cnn_ext
from cnn_ext import Muon, Trainer, architectures, losses
from cnn_ext.cli._config import RECIPES

Batches = list[tuple[np.ndarray, np.ndarray]]
SHAPE, CLASSES = (3, 32, 32), 10


def divided(folder: Path, place: Path) -> Path:
    """A folder with train and test, whose pictures are links."""
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(kind.iterdir())
        first = len(files) - len(files) // 10
        for part, chosen in (("train", files[:first]), ("test", files[first:])):
            (place / part / kind.name).mkdir(parents=True)
            for file in chosen:
                (place / part / kind.name / file.name).symlink_to(file.resolve())
    return place


# ------------------------------------------------------------------------------------------- speed


def groups_of(named: dict[str, Any], recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Weights, biases and the last layer, with their rates; in the form that both take."""
    last = list(named)[-1]
    lr = recipe["lr"]
    flat = [p for name, p in named.items() if name != last and len(p.shape) < 2]
    deep = [p for name, p in named.items() if name != last and len(p.shape) > 1]
    return [
        {"params": deep, "lr": lr},
        {"params": flat, "lr": lr * recipe["bias-lr"], "weight_decay": 0.0},
        {"params": [named[last]], "lr": lr * recipe["head-lr"]},
    ]


def cnn_ext_steps(
    recipe: dict[str, Any], batches: Batches, threads: int, precision: str
) -> Callable[[], None]:
    """A pass over the batches."""
    net = architectures.build(recipe["arch"], SHAPE, CLASSES, recipe["initializer"])
    architectures.whiten(net, batches[0][0])
    *groups, head = groups_of(dict(net.named_parameters()), recipe)
    rule = Muon(
        [*groups, {**head, "orthogonal": False}],
        momentum=recipe["momentum"],
        weight_decay=recipe["weight-decay"],
    )
    loss = losses.cross_entropy(recipe["label-smoothing"])
    trainer = Trainer(net, loss, rule, num_threads=threads, precision=precision)

    def run() -> None:
        for x, y in batches:
            trainer.train_on_batch(x, y)

    return run


def torch_steps(
    recipe: dict[str, Any], batches: Batches, threads: int, bfloat16: bool
) -> Callable[[], None]:
    """The same in PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    net = torch_net(recipe["arch"]).to(memory_format=torch.channels_last)
    learned = {name: p for name, p in net.named_parameters() if p.requires_grad}
    (deep, *rest) = groups_of(learned, recipe)
    decay, momentum = recipe["weight-decay"], recipe["momentum"]
    rule = torch.optim.SGD(rest, momentum=momentum, nesterov=True, weight_decay=decay, foreach=True)
    # PyTorch's own takes matrices alone, which are views of the filters here
    matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in deep["params"]]
    muon = torch.optim.Muon(matrices, lr=deep["lr"], momentum=momentum, weight_decay=decay)
    loss = nn.CrossEntropyLoss(label_smoothing=recipe["label-smoothing"])
    pairs = [
        (
            torch.from_numpy(x / np.float32(255)).contiguous(memory_format=torch.channels_last),
            torch.from_numpy(y),
        )
        for x, y in batches
    ]

    def run() -> None:
        torch.set_num_threads(threads)
        for x, y in pairs:
            net.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = net(x)
            loss(outputs.float(), y).backward()
            for matrix, weight in zip(matrices, deep["params"], strict=True):
                matrix.grad = weight.grad.flatten(1)
            rule.step()
            muon.step()
            with torch.no_grad():
                for matrix, weight in zip(matrices, deep["params"], strict=True):
                    weight.copy_(matrix.view_as(weight))

    return run


def torch_net(arch: str) -> Any:
    """The net of `architectures`, layer by layer."""
    import torch
    from torch import nn

    layers: list[Any] = []
    for layer in architectures.build(arch, SHAPE, CLASSES):
        if isinstance(layer, cnn_ext.Conv2d):
            K, C, R, _ = layer.weight.shape
            layers.append(nn.Conv2d(C, K, R, padding=layer.padding, bias=layer.bias is not None))
        elif isinstance(layer, cnn_ext.BatchNorm2d):
            layers.append(nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum))
            layers[-1].weight.requires_grad = False
        elif isinstance(layer, cnn_ext.MaxPool2d):
            layers.append(nn.MaxPool2d(layer.kernel_size))
        elif isinstance(layer, cnn_ext.Linear):
            layers.append(nn.Linear(layer.weight.shape[1], CLASSES, bias=False))
        else:
            layers.append(nn.GELU() if isinstance(layer, cnn_ext.GELU) else nn.Flatten())
    net = nn.Sequential(*layers)
    net[0].requires_grad_(False)
    assert net(torch.zeros(2, *SHAPE)).shape == (2, CLASSES)
    return net


def speeds(options: argparse.Namespace, recipe: dict[str, Any]) -> None:
    """Print images a second of each, and the ratios."""
    data = cnn_ext.datasets.load(options.folder, mode="RGB")
    chosen = np.random.default_rng(0).permutation(len(data.x_train))[: options.images]
    x, y = np.asarray(data.x_train[np.sort(chosen)]), np.asarray(data.y_train[np.sort(chosen)])
    size = recipe["batch-size"]
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    runs = {
        "PyTorch, float32": torch_steps(recipe, batches, options.threads, False),
        "PyTorch, bfloat16": torch_steps(recipe, batches, options.threads, True),
    }
    for precision in dict.fromkeys(("float32", options.precision)):
        steps = cnn_ext_steps(recipe, batches, options.threads, precision)
        runs[f"cnn_ext, {precision}"] = steps
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:  # the first one warms up
                turns[name].append(len(x) / (time.perf_counter() - started))
    ours = turns[f"cnn_ext, {options.precision}"]
    print(f"{recipe['arch']}, batch {size}, {options.threads} threads\n")
    print(f"| | images/s | cnn_ext in {options.precision} is faster by |\n| --- | --- | --- |")
    for name, theirs in turns.items():
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"| {name} | {statistics.median(theirs):.0f} | {ratio:.2f} x |")


# ---------------------------------------------------------------------------------------- accuracy


def runs(options: argparse.Namespace) -> None:
    """Print accuracy and seconds of each seed, their mean and range, and the vote."""
    with tempfile.TemporaryDirectory() as place:
        home = divided(Path(options.folder), Path(place, "cifar10"))
        chosen = ["--recipe", options.recipe, "--threads", options.threads]
        chosen += ["--precision", options.precision]
        marks.whole(home, options.seeds, chosen, options.json)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("CNN_EXT_CIFAR10"))
    parser.add_argument("--recipe", default="cifar10")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="they take turns; medians")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--whole", action="store_true", help="whole runs and their accuracy")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--json", type=Path, help="also write the figures of whole runs there")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("expected the folder of CIFAR-10's pictures, or CNN_EXT_CIFAR10")
    if options.whole:
        runs(options)
    else:
        recipe = tomllib.loads((RECIPES / f"{options.recipe}.toml").read_text("utf-8"))
        speeds(options, recipe)


if __name__ == "__main__":
    main()
