"""Weights of images and classes, the losses with options, and that both stay recorded."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import (
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Trainer,
    _core,
    losses,
    ops,
    threads,
)
from cnn_ext.augment import MixUp
from cnn_ext.run.program import Program
from cnn_ext.training.losses import LOSSES, Loss

RNG = np.random.default_rng(0)
N = 3 * _core.lanes(4) + 5
X = RNG.standard_normal((N, 6)).astype(np.float32)
Y = np.arange(N) % 3
ROWS = np.eye(3, dtype=np.float32)[Y]
WEIGHTS = RNG.random(N) * 2
WEIGHTS[[1, N - 1]] = 0


def net(outputs: int = 3, dtype: str = "float32") -> Sequential:
    rng = np.random.default_rng(1)
    return Sequential(Linear(6, 8, rng=rng), ReLU(), Linear(8, outputs, rng=rng)).astype(dtype)


def gradients(trainer: Trainer) -> list[np.ndarray]:
    return [p.grad.copy() for p in trainer.net.parameters() if p.grad is not None]


# ---------------------------------------------------------------------------- losses of PyTorch

TORCH: dict[str, Any] = {
    "smooth": (losses.cross_entropy(0.1), lambda t: t.nn.CrossEntropyLoss(label_smoothing=0.1)),
    "all smooth": (losses.cross_entropy(1), lambda t: t.nn.CrossEntropyLoss(label_smoothing=1.0)),
    "hinge": (losses.hinge(), lambda t: t.nn.MultiMarginLoss()),
    "huber": (losses.huber(), lambda t: t.nn.HuberLoss()),
    "huber 0.3": (losses.huber(0.3), lambda t: t.nn.HuberLoss(delta=0.3)),
}


@pytest.mark.parametrize("name", TORCH)
def test_cost_and_gradient_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    loss, theirs = TORCH[name]
    z = np.random.default_rng(2).standard_normal((N, 3)) * 2
    target = RNG.standard_normal((N, 3)) if loss.kind == "numbers" else Y
    cost, dz = loss.cost(z, target)
    at = torch.tensor(z, requires_grad=True)
    wanted = theirs(torch)(at, torch.tensor(target))
    wanted.backward()
    assert_allclose(cost, wanted.item(), rtol=1e-13)
    assert_allclose(dz, at.grad.numpy(), rtol=1e-11, atol=1e-16)


OPTIONS: list[tuple[Loss, Any]] = [
    *((losses.cross_entropy(s), Y) for s in (0.2, 1.0)),
    *((losses.focal(gamma), Y) for gamma in (0, 0.5, 1, 3.5)),
    (losses.focal(1.5), np.random.default_rng(3).random((N, 3))),
    *((losses.huber(d), np.random.default_rng(3).standard_normal((N, 3))) for d in (0.1, 2.0)),
]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_gradients_with_options(number: int) -> None:
    loss, target = OPTIONS[number]
    z = np.random.default_rng(4).standard_normal((N, 3)) * 3
    dz = loss.cost(z, target)[1]
    error = check_gradient(lambda v: loss.cost(v, target)[0], z, dz, np.random.default_rng(0))
    assert error < 1e-6


def test_a_cost_of_class_maps_is_the_mean_over_its_pixels() -> None:
    z = np.random.default_rng(5).standard_normal((5, 3, 4, 2))
    target = np.random.default_rng(6).integers(0, 3, (5, 4, 2))
    flat = z.transpose(0, 2, 3, 1).reshape(-1, 3)
    for loss in (losses.cross_entropy(0.1), losses.focal(), losses.hinge()):
        cost, dz = loss.cost(z, target)
        wanted, rows = loss.cost(flat, target.reshape(-1))
        assert_allclose(cost, wanted, rtol=1e-13)
        assert_allclose(dz, rows.reshape(5, 4, 2, 3).transpose(0, 3, 1, 2), rtol=1e-12)


def test_focal_is_cross_entropy_with_gamma_0_and_finite_at_the_far_ends() -> None:
    z = np.random.default_rng(7).standard_normal((N, 3)) * 5
    got, wanted = ops.focal(z, Y, 0.0), ops.cross_entropy(z, Y)
    assert_allclose(got[0], wanted[0], rtol=1e-13)
    assert_allclose(got[1], wanted[1], rtol=1e-10, atol=1e-17)
    for dtype, gamma in (("float32", 0.5), ("float64", 0.5), ("float32", 0.0), ("float64", 5.0)):
        far = np.array([[1e4, -1e4], [-1e4, 1e4], [0, -np.inf]], dtype)
        assert_allclose(ops.focal(far, [0, 1, 0], gamma)[0], 0, atol=1e-12)
        cost, dz = ops.focal(far[:2], [1, 0], gamma)
        assert cost == 2e4 and np.isfinite(dz).all()


def test_losses_with_options_can_be_pickled_and_are_checked() -> None:
    for loss, target in OPTIONS:
        again = pickle.loads(pickle.dumps(loss))
        assert again.kernel == loss.kernel is not None
        z = np.random.default_rng(8).standard_normal((N, 3))
        assert again.cost(z, target)[0] == loss.cost(z, target)[0]
    for call, message in (
        (lambda: losses.cross_entropy(1.5), "label_smoothing: expected 0 to 1, got 1.5"),
        (lambda: losses.focal(-1), "gamma: expected 0 or more"),
        (lambda: losses.huber(0.0), "delta: expected"),
        (lambda: ops.huber(X, X, np.nan), "delta: expected"),
        (
            lambda: ops.hinge(X, np.full(X.shape, 1 / 6)),
            "target: expected class numbers or one-hot",
        ),
        (lambda: Trainer(net(1), "hinge").train_on_batch(X, Y % 2), "classes need two outputs"),
        (lambda: Trainer(Sequential(Linear(6, 3), Softmax()), "focal"), "'focal' takes logits"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="gamma: expected a number"):
        losses.focal("2")  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [losses.cross_entropy(0.1), losses.focal(1.0), losses.hinge()])
def test_training_with_each_loss_lowers_it(loss: Loss) -> None:
    y = X[:, :3].argmax(axis=1)
    trainer = Trainer(net(), loss)
    before = trainer.evaluate(X, y)
    trainer.fit(X, y, 20, 16, progress=False)
    after = trainer.evaluate(X, y)
    assert after["cost"] < before["cost"] and after["accuracy"] > 0.9
    assert_array_equal(trainer.predict(X), trainer.outputs(X).argmax(axis=1))


# -------------------------------------------------------------------------- weights of images


def targets_of(loss: str) -> Any:
    return Y if LOSSES[loss].kind == "classes" or loss in ("cross_entropy", "focal") else ROWS


@pytest.mark.parametrize("images", [3, N])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_multiplies_cost_and_gradient_of_its_image(loss: str, images: int) -> None:
    x, y, weights = X[:images].astype(float), targets_of(loss)[:images], WEIGHTS[:images]
    trainer = Trainer(net(dtype="float64"), loss)
    step = trainer._backpropagate
    cost, outputs = step(x, y, weights)
    got = gradients(trainer)
    alone = []
    for n in range(images):
        value = step(x[n : n + 1], y[n : n + 1])[0]
        alone.append((value, gradients(trainer)))
    wanted = sum(w * value for w, (value, _) in zip(weights, alone, strict=True)) / images
    assert_allclose(cost, wanted, rtol=1e-12)
    for i, gradient in enumerate(got):
        mean = sum(w * each[i] for w, (_, each) in zip(weights, alone, strict=True)) / images
        assert_allclose(gradient, mean, rtol=1e-9, atol=1e-14)
    assert outputs.shape == (images, 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_weighted_steps_are_recorded_and_the_same_layer_by_layer(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = Program.train

    def noting(self: Program, batches: Any, *rest: Any) -> Any:
        trained.append(len(batches[0]))
        return train(self, batches, *rest)

    monkeypatch.setattr(Program, "train", noting)
    y, answers = targets_of(loss), []
    for count in (1, 2):
        with threads(count):
            trainer = Trainer(net(dtype="float64"), loss)
            cost, _ = trainer._backpropagate(X.astype(float), y, WEIGHTS)
            answers.append([np.array(cost), *gradients(trainer)])
    assert trained == [N, N]
    assert [a.tobytes() for a in answers[0]] == [a.tobytes() for a in answers[1]]
    monkeypatch.setattr("cnn_ext.layers.running.worth_it", lambda *rest: False)
    trainer = Trainer(net(dtype="float64"), loss)
    cost, _ = trainer._backpropagate(X.astype(float), y, WEIGHTS)
    assert trained == [N, N]
    for got, wanted in zip(answers[0], [np.array(cost), *gradients(trainer)], strict=True):
        assert_allclose(got, wanted, rtol=1e-11, atol=1e-14)


def test_weights_of_1_change_no_bit_and_weights_of_0_leave_images_out() -> None:
    fits = []
    for weight in (None, np.ones(N), np.ones(N, int).tolist()):
        trainer = Trainer(net())
        history = trainer.fit(X, Y, 2, 16, sample_weight=weight, progress=False)
        fits.append((history["cost"], trainer.net.state_dict()))
    for cost, state in fits[1:]:
        assert cost == fits[0][0]
        assert all(state[name].tobytes() == fits[0][1][name].tobytes() for name in state)
    x, weights = X.copy(), np.ones(N)
    x[:3], weights[:3] = 1e3, 0  # they have great costs
    got = Trainer(net()).evaluate(x, Y, sample_weight=weights)["cost"]
    assert_allclose(got, Trainer(net()).evaluate(X[3:], Y[3:])["cost"] * (N - 3) / N, rtol=1e-5)


def test_weights_follow_their_images_into_each_batch_and_part() -> None:
    step: list[Any] = []
    trainer = Trainer(net(), optimizer="adam")
    inner = trainer._gradients

    def noting(images: Any, targets: Any, weights: Any, *more: Any) -> Any:
        step.append((images, weights))
        return inner(images, targets, weights, *more)

    trainer._gradients = noting  # type: ignore[method-assign]
    x, weights = X.copy(), np.arange(N) + 1.0
    x[:, 0] = weights / N
    history = trainer.fit(x, Y, 1, 16, sample_weight=weights, validation_split=0.2, progress=False)
    for images, given in step:
        assert_allclose(images[:, 0] * N, given, rtol=1e-5)
    seen = np.concatenate([given for _, given in step]).astype(int) - 1
    kept = np.setdiff1d(np.arange(N), seen)
    wanted = trainer.evaluate(x[kept], Y[kept], sample_weight=weights[kept])["cost"]
    assert_allclose(history["validation_cost"], [wanted], rtol=1e-6)


def test_train_on_batch_with_weights() -> None:
    one, other = Trainer(net()), Trainer(net())
    cost = one.train_on_batch(X, Y, sample_weight=np.full(N, 2.0))
    assert_allclose(cost, 2 * other.train_on_batch(X, Y), rtol=1e-6)


# ------------------------------------------------------------------------- weights of classes


def test_class_weights_are_weights_of_the_images_of_a_class() -> None:
    y = np.array([0] * 30 + [1] * 8 + [2] * (N - 38))
    by_class = {0: 0.5, 2: 3}
    weights = np.array([0.5, 1, 3])[y]
    counts = np.bincount(y)
    for given, wanted in ((by_class, weights), ("balanced", N / (3 * counts[y]))):
        for targets in (y, np.eye(3)[y]):
            one, other = Trainer(net()), Trainer(net())
            one.fit(X, targets, 2, 16, class_weight=given, sample_weight=WEIGHTS, progress=False)
            other.fit(X, targets, 2, 16, sample_weight=wanted * WEIGHTS, progress=False)
            for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
                assert_array_equal(a.data, b.data)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    utils = pytest.importorskip("sklearn.utils.class_weight")
    y = np.array([0] * 5 + [2] * 3 + [3] * 9)
    got = Trainer(net(4))._backpropagate.by_class("balanced", y, (17, 4))
    assert_allclose(got, utils.compute_sample_weight("balanced", y))


def test_class_weights_of_a_single_output() -> None:
    y = (np.arange(N) % 4 == 0).astype(int)
    for targets in (y, y[:, None].astype(float)):
        one, other = (Trainer(net(1), "binary_cross_entropy") for _ in range(2))
        one.fit(X, targets, 1, 16, class_weight={1: 4.0}, progress=False)
        other.fit(X, targets, 1, 16, sample_weight=np.where(y, 4.0, 1.0), progress=False)
        for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
            assert_array_equal(a.data, b.data)


def own(outputs: Any, targets: Any) -> tuple[float, Any]:
    return 0.0, np.zeros_like(outputs)


IMAGES = np.zeros((N, 1, 2, 3), np.float32)
REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("cross_entropy", Y, {"sample_weight": np.ones(N - 1)}, "sample_weight: expected shape"),
    ("cross_entropy", Y, {"sample_weight": np.ones((N, 1))}, "sample_weight: expected shape"),
    ("cross_entropy", Y, {"sample_weight": -np.ones(N)}, "sample_weight: expected finite weights"),
    ("cross_entropy", Y, {"sample_weight": np.full(N, np.nan)}, "sample_weight: expected finite"),
    ("cross_entropy", Y, {"sample_weight": np.full(N, np.inf)}, "sample_weight: expected finite"),
    ("cross_entropy", Y, {"sample_weight": np.zeros(N)}, "sample_weight: .* not all 0"),
    ("cross_entropy", Y, {"sample_weight": ["a"] * N}, "sample_weight: expected real numbers"),
    (own, Y, {"sample_weight": np.ones(N)}, "sample_weight, class_weight: .* got own"),
    ("cross_entropy", Y, {"class_weight": {3: 1.0}}, "class_weight: .* 0 to 2, got 3"),
    ("cross_entropy", Y % 2, {"class_weight": {2: 1.0}}, "got 2, and nothing for 0"),
    ("cross_entropy", Y, {"class_weight": {0: np.nan}}, r"class_weight\[0\]: expected 0 or more"),
    ("cross_entropy", Y, {"class_weight": {"a": 1.0}}, "class_weight: expected classes 0 to 2"),
    ("cross_entropy", Y, {"class_weight": {0: -1.0}}, r"class_weight\[0\]: expected 0 or more"),
    ("cross_entropy", Y, {"class_weight": dict.fromkeys(range(3), 0)}, "class_weight: .* not all"),
    ("cross_entropy", Y, {"class_weight": "equal"}, "class_weight: expected weights by class or"),
    ("cross_entropy", Y + 1, {"class_weight": "balanced"}, "class_weight: .* y with one"),
    ("mse", ROWS, {"class_weight": "balanced"}, "class_weight: .* a task of numbers"),
    ("binary_cross_entropy", ROWS + ROWS[:, ::-1] > 0, {"class_weight": "balanced"}, "of labels"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_weights_that_do_not_fit_are_refused_by_name(case: int) -> None:
    loss, y, options, message = REFUSED[case]
    trainer = Trainer(net(), loss)
    before = trainer.net.state_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        trainer.fit(X, y, progress=False, **options)
    assert all((before[name] == now).all() for name, now in trainer.net.state_dict().items())
    if "sample_weight" in options and loss != own:
        for call in (trainer.train_on_batch, trainer.evaluate):
            with pytest.raises((TypeError, ValueError), match=message):
                call(X, y, **options)


VALIDATION: list[tuple[Any, str]] = [
    ((X, Y, np.ones(N - 1)), r"^validation_data\[2\]: expected shape"),
    ((X, Y, np.full(N, np.nan)), r"^validation_data\[2\]: expected finite weights"),
    ((X, Y, -np.ones(N)), r"^validation_data\[2\]: expected finite weights"),
    ((X, Y[1:], np.ones(N)), r"^validation_data\[1\]: expected"),
]


@pytest.mark.parametrize("case", range(len(VALIDATION)))
def test_weights_of_validation_images_that_do_not_fit(case: int) -> None:
    data, message = VALIDATION[case]
    with pytest.raises(ValueError, match=message):
        Trainer(net()).fit(X, Y, validation_data=data, progress=False)


def test_validation_images_have_weights_in_their_cost() -> None:
    trainer = Trainer(net())
    history = trainer.fit(X, Y, 2, validation_data=(X, Y, WEIGHTS), progress=False)
    expected = trainer.evaluate(X, Y, sample_weight=WEIGHTS)
    assert history["validation_cost"][-1] == expected["cost"] != trainer.evaluate(X, Y)["cost"]
    assert history["validation_accuracy"][-1] == expected["accuracy"]
    none = trainer.fit(X, Y, 1, validation_data=[X, Y, None], progress=False)
    assert none["validation_cost"] == [trainer.evaluate(X, Y)["cost"]]


def test_classes_without_images_may_be_named_with_all_others() -> None:
    y = Y % 2
    one, other = Trainer(net()), Trainer(net())
    one.fit(X, y, class_weight={0: 1.0, 1: 2.0, 2: 9.0}, progress=False)
    other.fit(X, y, class_weight={1: 2.0}, progress=False)
    for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
        assert_array_equal(a.data, b.data)


def test_a_single_class_has_the_weight_1() -> None:
    one, other = Trainer(net()), Trainer(net())
    one.fit(X, np.zeros(N, int), class_weight="balanced", progress=False)
    other.fit(X, np.zeros(N, int), progress=False)
    for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
        assert_array_equal(a.data, b.data)


def test_weights_of_mixed_images_and_of_several_outputs() -> None:
    from cnn_ext import Flatten

    trainer = Trainer(Sequential(Flatten(), *net().layers), losses.cross_entropy(0.1))
    trainer.fit(IMAGES, Y, augment=[MixUp()], progress=False)  # smooth labels mix as others do
    for options in ({"sample_weight": np.ones(N)}, {"class_weight": "balanced"}):
        with pytest.raises(ValueError, match="sample_weight, class_weight: expected None with"):
            trainer.fit(IMAGES, Y, augment=[MixUp()], progress=False, **options)
    trainer = Trainer(net(), ["cross_entropy"])
    with pytest.raises(ValueError, match="class_weight: expected None for several outputs"):
        trainer.fit(X, (Y,), class_weight="balanced", progress=False)


def test_a_sigmoid_before_a_cost_of_numbers_is_a_probability_too() -> None:
    y = np.arange(N) % 2
    trainer = Trainer(Sequential(*net(1).layers, Sigmoid()), "quadratic")
    trainer.fit(X, y, class_weight="balanced", progress=False)
    assert trainer.task.kind == "probability"
