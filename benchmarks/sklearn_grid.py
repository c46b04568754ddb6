"""A grid search of scikit-learn over 24 fits on the digits, with several classifiers.

    python benchmarks/sklearn_grid.py [--jobs 1] [--threads 1] [--epochs 10]

`CNNClassifier` and, where PyTorch and skorch are installed, skorch's `NeuralNetClassifier` train
the same network ("tiny") by SGD with momentum over the same grid, with as many threads;
`MLPClassifier` trains one hidden layer of 100 in the same way.  A search of two fits before each
measurement loads what a first fit loads.
"""

from __future__ import annotations

import argparse
import time
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from cnn_ext.sklearn import CNNClassifier

MOMENTUM, FOLDS = 0.9, 3
GRID = {"rate": [0.02, 0.05], "decay": [0.0, 1e-3], "batch": [32, 64]}
OURS = {"rate": "learning_rate_init", "decay": "alpha", "batch": "batch_size"}
SKORCH = {"rate": "lr", "decay": "optimizer__weight_decay", "batch": "batch_size"}
Candidate = tuple[str, Any, dict[str, str], np.ndarray]


def with_skorch(images: np.ndarray, epochs: int, threads: int) -> Candidate:
    """The same network in PyTorch."""
    import torch
    from skorch import NeuralNetClassifier
    from torch import nn

    torch.set_num_threads(threads)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    estimator = NeuralNetClassifier(
        net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.SGD,
        optimizer__momentum=MOMENTUM, max_epochs=epochs, train_split=None, verbose=0,
        iterator_train__shuffle=True,
    )  # fmt: skip
    scaled = (images - images.mean()) / images.std()
    return "skorch", estimator, SKORCH, scaled.astype(np.float32)


def search(candidate: Candidate, y: np.ndarray, jobs: int, grid: dict[str, Any]) -> GridSearchCV:
    """All fits of a grid."""
    _, estimator, names, x = candidate
    named = {names[name]: values for name, values in grid.items()}
    folds = FOLDS if grid is GRID else 2
    return GridSearchCV(estimator, named, cv=folds, n_jobs=jobs, refit=False).fit(x, y)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("jobs", 1), ("threads", 1), ("epochs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    ours = CNNClassifier(
        "tiny", solver="sgd", momentum=MOMENTUM, max_iter=args.epochs, random_state=0,
        num_threads=args.threads,
    )  # fmt: skip
    mlp = MLPClassifier(
        solver="sgd", momentum=MOMENTUM, max_iter=args.epochs, n_iter_no_change=args.epochs,
        random_state=0,
    )  # fmt: skip
    candidates: list[Candidate] = [
        ("CNNClassifier", ours, OURS, images),
        ("MLPClassifier", mlp, OURS, images.reshape(len(images), -1)),
    ]
    if find_spec("torch") and find_spec("skorch"):
        candidates.append(with_skorch(images, args.epochs, args.threads))
    warnings.simplefilter("ignore")  # MLPClassifier's of epochs that are not enough
    print("| classifier | seconds | best accuracy |\n| --- | --- | --- |")
    for candidate in candidates:
        search(candidate, digits.target, args.jobs, {"rate": [0.02]})
        started = time.perf_counter()
        found = search(candidate, digits.target, args.jobs, GRID)
        seconds = time.perf_counter() - started
        print(f"| {candidate[0]} | {seconds:.1f} | {found.best_score_:.2%} |", flush=True)


if __name__ == "__main__":
    main()
