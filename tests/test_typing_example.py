"""A program with the public names passes the strict type checks, and wrong uses of them do not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cnn_ext

pytest.importorskip("mypy")

RIGHT = """
    from __future__ import annotations

    from pathlib import Path
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    import cnn_ext
    from cnn_ext import (
        SGD, Adam, AdamW, Conv2d, Dropout, EarlyStopping, ExponentialMovingAverage, Flatten,
        GlobalAvgPool2d, Linear, MaxPool2d, Optimizer, ReLU, RMSprop, Sequential, Trainer, datasets,
        filters, load, ops, optim, save, schedules,
    )


    def train(folder: Path) -> float:
        digits = datasets.digits()
        net = Sequential(
            Conv2d(1, 8, 3, padding=1), ReLU(), MaxPool2d(2), Dropout(0.1), Flatten(),
            Linear(128, 10),
        )
        net.initialize("he", np.random.default_rng(0))
        optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
        trainer = Trainer(net, loss="cross_entropy", optimizer=optimizer, seed=0)
        history = trainer.fit(
            digits.x_train, digits.y_train, epochs=2, batch_size=32, schedule="one-cycle"
        )
        costs: list[float] = [epoch.cost for epoch in history]
        save(net, folder / "digits.safetensors")
        scores = trainer.evaluate(digits.x_test, digits.y_test)
        return scores["accuracy"] + min(costs)


    class Signs(Optimizer):
        # a rule of one's own

        def update(
            self, p: np.ndarray, g: np.ndarray, state: dict[str, Any], options: dict[str, Any]
        ) -> list[tuple[Any, ...]]:
            return [(np.subtract, p, options["lr"] * np.sign(g), p)]


    def other_rules(net: Sequential) -> list[Optimizer]:
        weights, bias = net.parameters()
        bias.trainable = False
        average = ExponentialMovingAverage(net, decay=0.99)
        trainer = Trainer(net, optimizer="adam", average=average)
        with average.applied():
            trainer.optimizer.lr /= 2
        norm: float = optim.clip_grad_norm_(net, max_norm=1.0)
        return [
            Adam([{"params": [weights], "lr": norm}, {"params": bias}], betas=(0.8, 0.9)),
            AdamW(net, decay_biases=False, max_norm=1.0), RMSprop(net, centered=True),
            Signs([weights], {"lr": 0.1}), trainer.optimizer,
        ]


    def classes(path: Path, images: NDArray[np.float32]) -> list[int]:
        with cnn_ext.threads(1):
            return [int(number) for number in load(path)(images).argmax(axis=1)]


    def edges(picture: NDArray[np.float64]) -> np.ndarray:
        return ops.convolve2d(picture, filters.SHARPEN, "same")


    version: str = cnn_ext.__version__
    threads: int = cnn_ext.get_num_threads()
"""
WRONG = {
    'cnn_ext.Conv2d("1", 8, 3)': "arg-type",
    "cnn_ext.Sequential(3)": "arg-type",
    "cnn_ext.set_num_threads('two')": "arg-type",
    "cnn_ext.get_num_threads() + 'x'": "operator",
    "cnn_ext.Trainer().fit()": "call-arg",
    "cnn_ext.Adam(3)": "arg-type",
    "cnn_ext.SGD([], lr=0.1).nonsense": "attr-defined",
}


def mypy(file: Path) -> str:
    root = Path(cnn_ext.__file__).parents[1]
    environment = dict(os.environ)
    if root.name != "site-packages":  # which mypy knows by itself, and refuses to be told
        environment["MYPYPATH"] = str(root)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
    ]
    done = subprocess.run(
        [
            *command,
            "--follow-imports=silent",
            f"--cache-dir={file.parents[1] / 'cache'}",
            file.name,
        ],
        cwd=file.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_types_of_the_public_names(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    right, wrong = folder / "right.py", folder / "wrong.py"
    right.write_text(textwrap.dedent(RIGHT))
    assert mypy(right).startswith("Success: no issues found in 1 source file")
    wrong.write_text("\n".join(["import cnn_ext", *WRONG]))
    found = mypy(wrong).splitlines()
    for number, kind in enumerate(WRONG.values(), 2):
        assert any(
            line.startswith(f"wrong.py:{number}: error:") and line.endswith(f"[{kind}]")
            for line in found
        ), found
