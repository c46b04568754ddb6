"""Draws the picture of the README, what a digit causes in every layer: `python docs/picture.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnn_ext import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Trainer, datasets, plot


def main() -> None:
    """Train on the bundled digits and draw."""
    digits = datasets.digits()
    net = Sequential(
        Conv2d(1, 8, 3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Conv2d(8, 16, 3, padding=1),
        ReLU(),
        Flatten(),
        Linear(256, 10),
    )
    net.initialize("he", np.random.default_rng(0))
    trainer = Trainer(net, seed=0)
    trainer.fit(digits.x_train, digits.y_train, epochs=20, schedule="one-cycle", progress=False)
    figure = plot.feature_maps(net, digits.x_test[digits.y_test == 8][0])
    figure.savefig(Path(__file__).parent / "feature_maps.png", dpi=70)


if __name__ == "__main__":
    main()
