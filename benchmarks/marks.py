"""Whole runs of `cnn-ext train` with one seed after the other: accuracy, seconds, and a vote.

    python benchmarks/marks.py FOLDER [--recipe mnist] [--seeds 0 1 2 3 4] [--json FILE] [-- ...]

FOLDER is what `cnn-ext train --data` takes, and has a test part.  What follows "--" is given to
`cnn-ext train` too.  The vote is the mean of the probabilities that the networks of all seeds give,
by the views of the recipe.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cnn_ext
from cnn_ext import Trainer


def whole(
    home: Path, seeds: Iterable[int], options: Sequence[Any], record: Path | None = None
) -> None:
    """Train with each seed, and print each accuracy, mean and range, and the vote.

    Parameters
    ----------
    home : Path
        The images, with a part "test".
    seeds : iterable of int
    options : sequence
        For `cnn-ext train`.
    record : Path, optional
        JSON file for the figures.
    """
    results: list[dict[str, Any]] = []
    models: list[Path] = []
    with tempfile.TemporaryDirectory() as place:
        history = Path(place, "history.json")
        for seed in seeds:
            models.append(Path(place, f"{seed}.safetensors"))
            command = [
                sys.executable, "-m", "cnn_ext", "train", "--data", home, "--seed", seed,
                "--quiet", "--out", models[-1], "--history", history, *options,
            ]  # fmt: skip
            started = time.perf_counter()
            printed = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True)
            seconds = time.perf_counter() - started
            found = re.search(r"test accuracy ([\d.]+) %", printed.stdout)
            if printed.returncode or not found:
                raise SystemExit(f"exit status {printed.returncode}: {printed.stdout}")
            epochs = json.loads(history.read_text())["epochs"]
            training = sum(epoch["seconds"] for epoch in epochs)
            results.append({
                "seed": seed, "accuracy": float(found[1]), "training": training, "all": seconds,
            })  # fmt: skip
            print(
                f"seed {seed}: {found[1]} %, {training:.1f} s of training, {seconds:.1f} s in all",
                flush=True,
            )
            if record:
                record.write_text(json.dumps(results) + "\n")
        accuracies = [result["accuracy"] for result in results]
        times = [result["training"] for result in results]
        print(
            f"mean {statistics.mean(accuracies):.3f} %, {min(accuracies):.2f} to "
            f"{max(accuracies):.2f} %; {min(times):.1f} to {max(times):.1f} s"
        )
        if len(models) > 1:
            print(f"vote of {len(models)}: {100 * vote(home, models):.2f} %")


def vote(home: Path, models: Iterable[Path]) -> float:
    """The accuracy on the test part of the mean of what several networks say."""
    total: Any = 0.0
    for model in models:
        options = tomllib.loads(model.with_suffix(".toml").read_text("utf-8"))
        net = cnn_ext.load(model)
        assert net.input_shape is not None
        C, *size = net.input_shape
        data = cnn_ext.datasets.load(home, tuple(size), "RGB" if C == 3 else "L")
        answers = Trainer(net).predict_proba(data.x_test, views=options.get("views"))
        total = total + answers
    return float(np.mean(total.argmax(1) == data.y_test))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options, more = parser.parse_known_args()
    chosen = ["--recipe", options.recipe] if options.recipe else []
    chosen += more[more[:1] == ["--"] :]
    whole(options.folder, options.seeds, chosen, options.json)


if __name__ == "__main__":
    main()
