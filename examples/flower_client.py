"""A client of Flower (https://flower.ai): trains on images of its own, and sends weights alone.

``Digits(number, clients).to_client()`` is what a ClientApp of Flower returns.

Needs ``pip install flwr``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.client import NumPyClient

from cnn_ext import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Trainer, datasets


def network() -> Sequential:
    rng = np.random.default_rng(0)  # all clients begin with the same weights
    return Sequential(
        Conv2d(1, 16, 3, padding=1, rng=rng), ReLU(), MaxPool2d(2),
        Flatten(), Linear(16 * 16, 10, rng=rng),
    )  # fmt: skip


class Digits(NumPyClient):
    """One of several clients, each of which has a part of the digits."""

    def __init__(self, number: int, clients: int) -> None:
        digits = datasets.digits()
        self.x, self.y = digits.x_train[number::clients], digits.y_train[number::clients]
        self.x_test, self.y_test = digits.x_test, digits.y_test
        self.trainer = Trainer(network(), seed=number)

    def get_parameters(self, config: dict[str, Any]) -> list[np.ndarray]:
        return list(self.trainer.net.state_dict().values())

    def set_parameters(self, parameters: list[np.ndarray]) -> None:
        names = self.trainer.net.state_dict()
        self.trainer.net.load_state_dict(dict(zip(names, parameters, strict=True)))

    def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> Any:
        self.set_parameters(parameters)
        self.trainer.fit(self.x, self.y, epochs=2, batch_size=32, progress=False)
        return self.get_parameters(config), len(self.x), {}

    def evaluate(self, parameters: list[np.ndarray], config: dict[str, Any]) -> Any:
        self.set_parameters(parameters)
        scores = self.trainer.evaluate(self.x_test, self.y_test)
        return scores["cost"], len(self.x_test), {"accuracy": scores["accuracy"]}
