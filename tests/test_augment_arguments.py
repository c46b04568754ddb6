"""What transforms take: plain data and back, and arguments that are refused by name."""

from __future__ import annotations

import json
from typing import Any

import augment_reference as ref
import numpy as np
import pytest

import cnn_ext
from cnn_ext.augment import (
    ColorJitter,
    Compose,
    Cutout,
    ElasticTransform,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    RandomVerticalFlip,
    Shift,
    Transform,
    draws,
    from_config,
)
from cnn_ext.augment.config import KNOWN


def mixed(y: np.ndarray, classes: int | None) -> Any:
    return Compose([MixUp()]).batch(np.ones((2, 1, 3, 3)), y, [0, 1], classes=classes)


@pytest.mark.parametrize("transform", ref.ALL, ids=repr)
def test_text_and_plain_data(transform: Transform) -> None:
    names = {name: getattr(cnn_ext.augment, name) for name in cnn_ext.augment.__all__}
    assert repr(eval(repr(transform), names)) == repr(transform)
    again = from_config(json.loads(json.dumps(transform.to_config())))
    assert type(again) is type(transform) and again.to_config() == transform.to_config()
    assert set(KNOWN) <= set(names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomHorizontalFlip(1.5), "p: expected 0 to 1"),
        (lambda: RandomHorizontalFlip(float("nan")), "p: expected 0 to 1"),
        (lambda: RandomVerticalFlip("x"), "p: expected a number"),
        (lambda: RandomShift(-1), "pixels: expected 0 to"),
        (lambda: RandomShift(10**9), "pixels: expected 0 to 1e"),
        (lambda: RandomShift(1, "wrap"), "padding_mode: expected one of"),
        (lambda: RandomShift(1, fill=float("inf")), "fill: expected -1e"),
        (lambda: Shift(1.5, 0), "down: expected a whole number"),
        (lambda: Shift(0, 10**8), "right: expected -1e"),
        (lambda: RandomCrop(0), "size: expected 1 to"),
        (lambda: RandomCrop(4, (1, 2, 3)), "padding: expected one, two or four"),
        (lambda: RandomRotation(-3), "degrees: expected 0 to 360"),
        (lambda: RandomRotation((3, 1)), "degrees: expected the lower number first"),
        (lambda: RandomRotation((1, 2, 3)), "degrees: expected two numbers"),
        (lambda: RandomRotation(1e300), "degrees: expected 0 to 360"),
        (lambda: RandomAffine(0, 0.1), "translate: expected two numbers"),
        (lambda: RandomAffine(0, (0.1, 2)), "translate: expected 0 to 1"),
        (lambda: RandomAffine(0, scale=(0, 1)), "scale: expected 0.001 to 1000"),
        (lambda: RandomAffine(0, scale=1.5), "scale: expected two numbers"),
        (lambda: RandomAffine(0, shear=90), "shear: expected 0 to 89"),
        (lambda: ElasticTransform(-1), "alpha: expected 0 to"),
        (lambda: ElasticTransform(1, 0), "sigma: expected 0.01 to"),
        (lambda: ColorJitter((-1, 1)), "brightness: expected 0 to"),
        (lambda: ColorJitter(contrast=None), "contrast: expected a number"),
        (lambda: Cutout(0), "size: expected 1 to"),
        (lambda: RandomErasing(scale=(0.5, 1.5)), "scale: expected 0 to 1"),
        (lambda: RandomErasing(ratio=(0, 1)), "ratio: expected 0.001"),
        (lambda: RandomErasing(value=float("nan")), "value: expected -1e"),
        (lambda: MixUp(0), "alpha: expected 0.001"),
        (lambda: Compose("flip"), "transforms: expected a list"),
        (lambda: Compose([len]), "transforms: expected transforms"),
        (lambda: Compose([MixUp(), Cutout(2)]), "at the end alone"),
        (lambda: from_config({"type": "Nothing"}), "config: expected one of"),
        (lambda: from_config({"type": "Cutout", "sides": 2}), "Cutout: unknown arguments sides"),
        (lambda: from_config({"type": "Cutout"}), "Cutout: "),
        (lambda: from_config([{"type": "Cutout", "size": 0}]), "Cutout: size: expected"),
        (lambda: from_config("Cutout"), "config: expected a mapping"),
        (lambda: from_config({"type": "Compose"}), "transforms: expected a list"),
        (lambda: draws(-1, 0, [0], 1), "seed: expected 0 to"),
        (lambda: draws(0, 2**64, [0], 1), "epoch: expected 0 to"),
        (lambda: draws(0, 0.5, [0], 1), "epoch: expected a whole number"),
        (lambda: draws(0, 0, [-1], 1), "indices: expected 0 or more"),
        (lambda: draws(0, 0, [0.5], 1), "indices: expected whole numbers"),
        (lambda: draws(0, 0, [[0]], 1), "indices: expected one axis"),
        (lambda: draws(0, 0, [0], 0), "count: expected 1 to"),
        (lambda: Cutout(2)(np.ones((2, 3))), "x: expected images"),
        (lambda: Cutout(2)(np.ones((2, 0, 3, 3))), "x: expected images"),
        (lambda: Cutout(2)(np.ones((2, 1, 3, 3)), 0, 0, [1]), "indices: expected 2 numbers"),
        (lambda: Cutout(2)("text"), "x: expected real numbers"),
        (lambda: RandomCrop(9, 1)(np.ones((1, 1, 6, 8))), "size: .* is more than images of"),
        (lambda: MixUp()(np.ones((2, 1, 3, 3))), "needs a set"),
        (lambda: mixed(np.arange(2), None), "classes: expected their number"),
        (lambda: mixed(np.arange(2), 1), "y: expected classes 0 to 0"),
        (lambda: mixed(np.ones(2), 1), "y: expected class numbers"),
        (lambda: Transform()(np.ones((2, 1, 3, 3))), "of no kind that is known"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
