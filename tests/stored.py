"""Sets in files and in memory, and trainings on them, for the tests of what is read ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from networks import small

from cnn_ext import Trainer
from cnn_ext.data import write_shards
from cnn_ext.data.ahead import READERS

IMAGES = 200


def pictures(images: int = IMAGES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (N, 1, 6, 6) and classes of them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (images, 1, 6, 6)).astype(np.uint8)
    return x, rng.integers(0, 3, images)


def shards(folder: Path, per_shard: int = 16, **options: Any) -> Path:
    """A folder of shards with `pictures`."""
    write_shards(folder / "shards", *pictures(), per_shard, **options)
    return folder / "shards"


class InMemory:
    """Images in memory that come in the order of others, by the caller's thread alone."""

    def __init__(self, x: np.ndarray, like: Any) -> None:
        self.x, self.shuffled = x, like.shuffled

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.x[indices]


def trained(x: Any, y: Any, **options: Any) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The weights that training gives, the figures of its epochs, and of an evaluation."""
    net = small()
    trainer = Trainer(net)
    history = trainer.fit(x, y, 2, 16, progress=False, **options)
    figures = [(e.cost, e.accuracy, e.validation_cost) for e in history]
    return net.state_dict(), figures, trainer.evaluate(x, y, 32)


def assert_same_training(given: Any, expected: Any) -> None:
    """Equal bit for bit."""
    assert given[1:] == expected[1:]
    for name, array in expected[0].items():
        assert array.tobytes() == given[0][name].tobytes(), name


def readers() -> list[Any]:
    """The threads that read ahead at this moment."""
    return list(READERS)
