"""Training on augmented images, and answers that are means over several views."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from networks import Recorder, assert_same, small, stripes
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import Flatten, Linear, LogSoftmax, Module, Sequential, Task, Trainer, ops
from cnn_ext.augment import (
    AlternatingFlip,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    ElasticTransform,
    MixUp,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    RandomShift,
    Shift,
    Transform,
    compose,
)

LIST = [RandomShift(1), RandomHorizontalFlip(), Cutout(2)]


def fitted(x: Any, y: Any, augment: Any, epochs: int = 2, **options: Any) -> Trainer:
    trainer = Trainer(small(), num_threads=options.pop("num_threads", None))
    trainer.fit(
        x, y, epochs, options.pop("batch_size", 16), augment=augment, progress=False, **options
    )
    return trainer


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return trainer.net.state_dict()


@pytest.mark.parametrize(
    "augment",
    [
        RandomShift(1), RandomCrop(6, 1), RandomRotation(20), ElasticTransform(5, 1.0), LIST,
        RandomAffine(5, (0.1, 0.1), (0.9, 1.1)), ColorJitter(0.2, 0.2), RandomErasing(),
        AlternatingFlip(), MixUp(0.2), [RandomShift(1), CutMix()], Compose(LIST), [],
    ],
    ids=repr,
)  # fmt: skip
def test_a_network_learns_with_each(augment: Any) -> None:
    x, y = stripes(60)
    bytes_ = np.clip(x * 255, 0, 255).astype(np.uint8)
    for images, targets in ((x, y), (bytes_, y), (x.astype(np.float64), np.eye(3)[y])):
        trainer = Trainer(small())
        history = trainer.fit(images, targets, 3, 16, augment=augment, progress=False)
        assert np.isfinite(history["cost"]).all() and history["accuracy"][-1] is not None
        assert trainer.net.input_shape == (1, 6, 6) and trainer.epochs_begun == 3
    if augment == LIST:
        history = trainer.fit(x, np.eye(3)[y], 20, 16, augment=augment, progress=False)
        assert history["accuracy"][-1] > 0.9 and trainer.evaluate(x, y)["accuracy"] > 0.95


@pytest.mark.parametrize("augment", [LIST, [RandomRotation(9), MixUp()]], ids=repr)
def test_the_same_seed_gives_the_same_weights(augment: Any) -> None:
    x, y = stripes(50)
    first = fitted(x, y, augment, num_threads=1)
    assert_same(weights(fitted(x, y, augment, num_threads=2)), weights(first))
    assert_same(weights(fitted(Recorder(x), y.tolist(), augment)), weights(first))
    in_turns = fitted(x, y, augment, 1)
    again = copy.deepcopy(in_turns)
    for trainer in (in_turns, again):
        trainer.fit(x, y, 1, 16, augment=augment, progress=False)
        assert_same(weights(trainer), weights(first))
    plain = fitted(x, y, None)
    assert any(
        (a != b).any()
        for a, b in zip(weights(first).values(), weights(plain).values(), strict=True)
    )
    assert_same(weights(fitted(x, y, Shift(0, 0))), weights(plain))


def test_how_many_batches_are_augmented_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = stripes(50)
    first = fitted(x, y, [*LIST, MixUp()])
    monkeypatch.setattr(compose, "AHEAD", 1)
    assert_same(weights(fitted(x, y, [*LIST, MixUp()])), weights(first))


class Seen(Transform):
    """A list of the images that a trainer gives to its transforms."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def sources(self, chance: Any, size: Any) -> Any:
        self.indices += chance.images.tolist()
        return np.eye(2, 3), size


def test_validation_images_are_left_as_they_are() -> None:
    x, y = stripes(50)
    with pytest.raises(TypeError, match="of no kind that is known"):
        fitted(x, y, Seen())
    kind = type("Watched", (Seen, RandomShift), {})
    seen = kind()
    trainer = Trainer(small())
    trainer.fit(x, y, 1, 16, validation_split=0.2, augment=seen, progress=False)
    assert sorted(seen.indices) == list(range(40))
    other = Trainer(small())
    kept = other.fit(x, y, 1, 16, validation_split=0.2, augment=Shift(0, 0), progress=False)
    assert (
        kept["validation_cost"]
        == Trainer(small()).fit(x, y, 1, 16, validation_split=0.2, progress=False)[
            "validation_cost"
        ]
    )


def test_an_error_in_a_transform_reaches_the_caller() -> None:
    class Broken(RandomShift):
        def sources(self, chance: Any, size: Any) -> Any:
            raise KeyError("broken")

    x, y = stripes(20)
    with pytest.raises(KeyError, match="broken"):
        fitted(x, y, Broken(1))


class TwoOutputs(Module):
    def __init__(self) -> None:
        self.a, self.b = Linear(36, 3), Linear(36, 1)
        self.flat = Flatten()

    def forward(self, x: Any) -> Any:
        x = self.flat(x)
        return {"a": self.a(x), "b": self.b(x)}


def test_a_network_with_two_outputs() -> None:
    x, y = stripes(40)
    trainer = Trainer(TwoOutputs(), {"a": "cross_entropy", "b": "mse"})
    targets = {"a": y, "b": y.astype(np.float32)}
    trainer.fit(x, targets, 2, 16, augment=LIST, progress=False)
    with pytest.raises(ValueError, match=r"augment: MixUp.* needs the loss cross_entropy"):
        trainer.fit(x, targets, augment=MixUp(), progress=False)
    maps = {"a": y, "b": np.zeros((40, 6, 6), np.float32)}
    with pytest.raises(ValueError, match="augment: expected transforms that keep"):
        trainer.fit(x, maps, augment=LIST, progress=False)
    both = trainer.outputs(x, views="mirror")
    flipped = trainer.outputs(x[..., ::-1])
    for name, plain in trainer.outputs(x).items():
        assert_allclose(both[name], (plain + flipped[name]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "y", "augment", "message"),
    [
        ("cross_entropy", None, 3, "augment: expected a transform or a list"),
        ("cross_entropy", None, [len], "transforms: expected transforms"),
        (
            "quadratic",
            None,
            MixUp(),
            "augment: MixUp.* needs the loss cross_entropy, got quadratic",
        ),
        (
            "cross_entropy",
            np.zeros((20, 6, 6), int),
            LIST,
            "augment: expected transforms that keep",
        ),
        ("cross_entropy", np.full(20, 7), MixUp(), "y: expected classes 0 to 2"),
        ("cross_entropy", None, RandomCrop(9), "size: .* is more than images of"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    loss: str, y: Any, augment: Any, message: str
) -> None:
    x, kinds = stripes(20)
    with pytest.raises((TypeError, ValueError), match=message):
        Trainer(small(), loss).fit(x, kinds if y is None else y, augment=augment, progress=False)


def test_several_inputs_and_rows_are_refused_by_name() -> None:
    x, y = stripes(20)
    with pytest.raises(ValueError, match="augment: expected None for a network with several"):
        Trainer(small()).fit((x, x), y, augment=LIST, progress=False)
    with pytest.raises(ValueError, match="views: expected None for a network with several"):
        Trainer(small()).outputs((x, x), views="mirror")
    net = Sequential(Linear(36, 3))
    with pytest.raises(ValueError, match="x: expected images"):
        Trainer(net).fit(x.reshape(20, 36), y, augment=LIST, progress=False)


# --------------------------------------------------------------------------------------- views


def test_views_are_averaged() -> None:
    x, y = stripes(30)
    trainer = fitted(x, y, LIST)

    def moved(step: int) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
        return padded[:, :, 1 + step : 7 + step, 1 + step : 7 + step]

    def both(images: np.ndarray) -> np.ndarray:
        return (trainer.outputs(images) + trainer.outputs(images[..., ::-1])) / 2

    close: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
    mirror = trainer.outputs(x, 7, "mirror")
    assert_allclose(mirror, both(x), **close)
    assert_array_equal(trainer.outputs(Recorder(x), 30, views="mirror"), mirror)
    assert_allclose(
        trainer.outputs(x, views="mirror+translate"),
        both(x) / 2 + (both(moved(1)) + both(moved(-1))) / 4,
        **close,
    )
    own = [[], RandomHorizontalFlip(1.0)]
    assert_array_equal(trainer.outputs(x, views=own), mirror)
    assert_array_equal(trainer.predict(x, views="mirror"), mirror.argmax(1))
    assert_allclose(trainer.predict_proba(x, views="mirror"), ops.softmax(mirror), **close)
    scores = trainer.evaluate(x, y, views="mirror")
    assert scores["accuracy"] == np.mean(mirror.argmax(1) == y)
    random = trainer.outputs(x, views=[RandomShift(1)] * 3)
    assert_array_equal(random, trainer.outputs(x, 4, views=[RandomShift(1)] * 3))
    assert not np.array_equal(random, trainer.outputs(x, views=[RandomShift(1)]))


def test_probabilities_of_views_have_a_sum_of_one() -> None:
    x, _ = stripes(20)
    net = Sequential(Flatten(), Linear(36, 3), LogSoftmax())
    trainer = Trainer(net, "quadratic", task=Task("classes", "log_probabilities"))
    assert_allclose(trainer.predict_proba(x, views="mirror").sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("upside down", "views: expected one of mirror"),
        ([], "views: expected one of mirror"),
        (Shift(0, 1), "views: expected one of mirror"),
        ([3], "views: expected a transform or a list"),
        ([MixUp()], "views: expected transforms of one image"),
    ],
)
def test_bad_views_are_refused_by_name(views: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Trainer(small()).outputs(stripes(5)[0], views=views)


def test_views_of_outputs_with_pixels_are_refused() -> None:
    net = Sequential(small().layers[0])
    with pytest.raises(ValueError, match="views: expected a network with outputs"):
        Trainer(net).outputs(stripes(5)[0], views="mirror")
