"""Answers for a data set of Ray, by a plan in each of its workers.

    python ray_scoring.py model.safetensors images.npy outputs-folder

Needs ``pip install 'ray[data]'``.
"""

from __future__ import annotations

import sys

import numpy as np
import ray

import cnn_ext


class Answers:
    """A plan, made once in each worker, which computes on one thread as Ray expects."""

    def __init__(self, model: str) -> None:
        cnn_ext.set_num_threads(1)
        self.plan = cnn_ext.load(model).compile()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"outputs": self.plan(batch["data"])}


def answers(model: str, images: np.ndarray, workers: int = 2) -> ray.data.Dataset:
    """The outputs, in the order of the images, when Ray computes them."""
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    return ray.data.from_numpy(images).map_batches(
        Answers, fn_constructor_args=(model,), batch_size=256, concurrency=workers
    )


if __name__ == "__main__":
    model, images, folder = sys.argv[1:]
    answers(model, np.load(images)).write_parquet(folder)
