"""Several batches that make one step together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import small, stripes
from numpy.testing import assert_allclose
from resuming import At, fit, left_by, trainer

from cnn_ext import SGD, Adam, Trainer

X, Y = stripes(52)
WEIGHTS = np.linspace(0, 2, 52)


def trained(kind: Any, batch_size: int, accumulate: int, **options: Any) -> tuple[Trainer, Any]:
    net = small().astype("float64")
    one = Trainer(net, optimizer=kind(net, 0.1), average=0.9)
    arguments: dict[str, Any] = {"schedule": "cosine", "sample_weight": WEIGHTS, **options}
    history = one.fit(
        X.astype("float64"), Y, 2, batch_size, accumulate=accumulate, progress=False, **arguments
    )
    return one, history


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 4), (8, 2), (16, 1), (2, 8)])
def test_some_batches_are_one_large_batch(kind: Any, batch_size: int, accumulate: int) -> None:
    """Of 52 images in steps of 16 the last has 4, which are one batch or several."""
    one, history = trained(kind, batch_size, accumulate)
    large, expected = trained(kind, 16, 1)
    for mine, theirs in zip(one._moving, large._moving, strict=True):
        assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-12)
    assert_allclose(history["cost"], expected["cost"])
    assert history["accuracy"] == pytest.approx(expected["accuracy"])
    assert history["learning_rate"] == expected["learning_rate"]
    assert one.optimizer.state == [{}] * 4 or one.optimizer.state[0]["step"] == 8
    assert one.average is not None and one.average.updates == 8


def test_groups_of_unequal_batches_weigh_each_image_alike() -> None:
    one, _ = trained(SGD, 20, 3)  # 20, 20 and 12 images
    large, _ = trained(SGD, 52, 1)
    for mine, theirs in zip(one._moving, large._moving, strict=True):
        assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-12)


def test_what_is_clipped_is_the_mean_and_frozen_weights_stay() -> None:
    def clipped(net: Any, lr: float) -> SGD:
        net.parameters()[0].trainable = False
        return SGD(net, lr, max_norm=0.01)

    one, _ = trained(clipped, 4, 4)
    large, _ = trained(clipped, 16, 1)
    for mine, theirs in zip(one._moving, large._moving, strict=True):
        assert_allclose(mine.data, theirs.data, rtol=1e-9, atol=1e-12)
    assert (one.net.parameters()[0].data == small().parameters()[0].data).all()


@pytest.mark.parametrize("nth", range(1, 9))
def test_resumed_within_a_group(nth: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 2, "accumulate": 3, "schedule": "one-cycle"}
    whole, first, second = trainer(), trainer(), trainer(2)
    unbroken = left_by(whole, fit(whole, **options))
    fit(first, At("batch_end", nth, lambda one: one.save(tmp_path / "a")), **options)
    second.resume(tmp_path / "a")
    assert left_by(second, fit(second, At(), **options)) == unbroken


def test_checkpoints_fall_on_steps(tmp_path: Path) -> None:
    one, batches = trainer(), []
    save = one.save

    def noting(path: Any) -> None:
        save(path)
        batches.append((one._run.place.epoch, one._run.place.batches))

    one.save = noting  # type: ignore[method-assign]
    fit(one, epochs=3, accumulate=3, checkpoint=tmp_path / "a", every=1)
    assert batches == [(1, 3), (1, 4), (2, 3), (2, 4), (3, 3), (3, 4), (4, 0)]
