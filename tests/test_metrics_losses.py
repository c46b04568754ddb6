"""Metrics on counted examples, losses by name, and what the quadratic cost and entropy teach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cnn_ext import Linear, ReLU, Sequential, Sigmoid, Softmax, Task, Trainer, losses, metrics, ops
from cnn_ext.training.losses import Loss, loss_of

# ----------------------------------------------------------------------------------- metrics

TRUE, PREDICTED = [0, 1, 2, 2, 1, 0, 2], [0, 2, 2, 2, 1, 1, 0]


def test_accuracy_and_error() -> None:
    assert metrics.accuracy(TRUE, PREDICTED) == 4 / 7
    assert metrics.error(TRUE, PREDICTED) == 1 - 4 / 7
    assert metrics.accuracy(np.array([True, False]), np.array([1, 1], np.uint8)) == 0.5


def test_confusion_matrix_has_rows_of_true_classes() -> None:
    matrix = metrics.confusion_matrix(TRUE, PREDICTED)
    assert_array_equal(matrix, [[1, 1, 0], [0, 1, 1], [1, 0, 2]])
    assert matrix.dtype == np.int64
    wide = metrics.confusion_matrix(TRUE, PREDICTED, classes=4)
    assert_array_equal(wide[:3, :3], matrix)
    assert wide.shape == (4, 4) and wide.sum() == 7


def test_top_k() -> None:
    scores = [[0.1, 0.5, 0.4], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]]
    assert metrics.top_k_accuracy([2, 0, 2], scores, 1) == 0
    assert metrics.top_k_accuracy([2, 0, 2], scores, 2) == 2 / 3  # a tie goes to the lower class
    assert metrics.top_k_accuracy([2, 0, 2], scores, 3) == 1
    assert metrics.top_k_accuracy([1, 2], [[0, 5, 1], [7, 0, 3]], 1) == 1 / 2


def test_top_k_of_unsigned_scores() -> None:
    scores = np.array([[0, 255, 10]], np.uint8)
    assert metrics.top_k_accuracy([1], scores, 1) == 1
    assert metrics.top_k_accuracy([0], scores, 2) == 0
    assert metrics.top_k_accuracy([2], scores, 2) == 1


def wrong(value: Any) -> Any:
    """A value that the type of the argument does not allow."""
    return value


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), ValueError, r"y_pred: expected shape \(2,\)"),
        (lambda: metrics.accuracy([], np.array([], int)), TypeError, "y_true: .*, got float64"),
        (lambda: metrics.error(np.array([], int), np.array([], int)), ValueError, "at least one"),
        (lambda: metrics.accuracy([[0]], [0]), ValueError, r"y_true: .* of shape \(N,\)"),
        (lambda: metrics.accuracy([0], [0.5]), TypeError, "y_pred: .*, got float64"),
        (
            lambda: metrics.top_k_accuracy([0], [1.0, 2]),
            ValueError,
            r"y_score: expected shape \(1,",
        ),
        (lambda: metrics.top_k_accuracy([0], [["a"]], 1), TypeError, "y_score: expected real"),
        (
            lambda: metrics.top_k_accuracy([0], [[1.0, 2]], 3),
            ValueError,
            "k: expected 1 to 2, got 3",
        ),
        (lambda: metrics.top_k_accuracy([0], [[1.0, 2]], 0), ValueError, "k"),
        (
            lambda: metrics.top_k_accuracy([0], [[1.0, 2]], wrong(1.5)),
            TypeError,
            "k: expected a whole",
        ),
        (
            lambda: metrics.top_k_accuracy([2], [[1.0, 2]], 1),
            ValueError,
            "y_true: expected classes",
        ),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], 3), ValueError, "below 3, got 3"),
        (lambda: metrics.confusion_matrix([0, -1], [0, 1]), ValueError, "of 0 or more.*got -1"),
        (
            lambda: metrics.confusion_matrix([0], [0], wrong(1.5)),
            TypeError,
            "classes: expected a whole",
        ),
    ],
)
def test_metrics_that_do_not_fit(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ------------------------------------------------------------------------------------ losses


def test_losses_by_name() -> None:
    for name, loss in losses.LOSSES.items():
        assert loss.name == name and loss_of(name) is loss and loss_of(loss) is loss
    with pytest.raises(ValueError, match="loss: expected one of cross_entropy, focal, hinge"):
        loss_of("squared")
    with pytest.raises(TypeError, match="loss: expected a name or a function, got 5"):
        loss_of(5)  # type: ignore[arg-type]


def test_probabilities_and_predictions() -> None:
    z = np.array([[1.0, 3, 2], [0, -1, -2]])
    assert_allclose(Task(outputs="logits").probabilities(z), ops.softmax(z))
    assert_allclose(Task(outputs="sigmoid").probabilities(z), ops.sigmoid(z))
    assert Task(outputs="probabilities").probabilities(z) is z
    for task in (Task(), Task("classes"), Task("classes", "sigmoid")):
        assert_array_equal(task.predictions(z), [1, 0])
    assert Task("numbers").predictions(z) is z
    one = np.array([[-1.0], [0.4], [2.0]])
    assert_array_equal(Task("probability", "sigmoid").predictions(one), [0, 1, 1])
    assert_array_equal(Task("probability", "probabilities").predictions(one), [0, 0, 1])


def absolute(outputs: Any, targets: Any) -> tuple[float, Any]:
    """The mean absolute error, a cost of one's own on plain arrays."""
    assert type(outputs) is np.ndarray and type(targets) is np.ndarray
    assert outputs.shape == targets.shape
    difference = outputs - targets
    return np.abs(difference).mean(), np.sign(difference) / difference.size


def test_a_cost_of_ones_own_gets_plain_arrays() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    y = x[:, :2].argmax(axis=1)
    for loss in (absolute, Loss("absolute", absolute)):
        net = Sequential(Linear(3, 2, rng=np.random.default_rng(0)))
        trainer = Trainer(net, loss)
        assert trainer.loss.name == "absolute"
        before = trainer.evaluate(x, y)
        expected = absolute(net(x), np.eye(2)[y])[0]
        assert before["cost"] == pytest.approx(expected, rel=1e-6)
        assert trainer.train_on_batch(x, y) == pytest.approx(expected, rel=1e-6)
        history = trainer.fit(x, y, 5, 8, progress=False)
        assert trainer.evaluate(x, y)["cost"] < before["cost"] == pytest.approx(expected)
        assert history.epochs[-1].accuracy is not None


def test_a_cost_of_ones_own_for_regression() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    y = x[:, :1] - x[:, 1:2]
    trainer = Trainer(Sequential(Linear(3, 1)), Loss("absolute", absolute))
    first = trainer.evaluate(x, y)
    trainer.fit(x, y, 5, 8, progress=False)
    last = trainer.evaluate(x, y)
    assert last["cost"] < first["cost"] and "accuracy" not in last


def test_a_gradient_of_another_shape() -> None:
    trainer = Trainer(Sequential(Linear(3, 2)), lambda outputs, targets: (0.0, outputs[:1]))
    with pytest.raises(ValueError, match=r"the gradient of the loss: expected shape \(4, 2\)"):
        trainer.train_on_batch(np.ones((4, 3)), [0, 1, 0, 1])


# ------------------------------------------------------------------------------- derivations


def neuron(weight: float, bias: float) -> Sequential:
    """One neuron with one input, without its sigmoid."""
    net = Sequential(Linear(1, 1, dtype="float64"))
    net.load_state_dict({"0.weight": [[weight]], "0.bias": [bias]})
    return net


def test_a_saturated_neuron_learns_slowly_under_the_quadratic_cost_alone() -> None:
    x, y = np.ones((1, 1)), np.zeros((1, 1))
    slopes = {}
    for weight in (0.6, 2.0):
        a = 1 / (1 + math.exp(-(weight + weight)))
        net = neuron(weight, weight)
        quadratic = Sequential(*net, Sigmoid())
        cost, gradient = ops.quadratic(quadratic.forward(x), y)
        quadratic.backward(gradient)
        slow = np.array(net.parameters()[1].grad)
        assert cost == pytest.approx(a * a / 2, rel=1e-14)
        assert_allclose(slow, [a * a * (1 - a)], rtol=1e-13)  # (a - y) sigma'(z)

        cost, gradient = ops.binary_cross_entropy(net.forward(x), y)
        net.backward(gradient)
        fast = np.array(net.parameters()[1].grad)
        assert cost == pytest.approx(-math.log(1 - a), rel=1e-13)
        assert_allclose(fast, [a], rtol=1e-13)  # a - y: the factor is gone
        slopes[weight] = (float(slow[0]), float(fast[0]))
    # more wrong: a smaller slope under one cost, a greater one under the other
    assert slopes[2.0][0] < slopes[0.6][0] / 5
    assert slopes[2.0][1] > slopes[0.6][1]


def test_a_saturated_neuron_in_training() -> None:
    costs = {}
    for loss, layers in (("quadratic", [Sigmoid()]), ("binary_cross_entropy", [])):
        net = Sequential(*neuron(2.0, 2.0), *layers)
        trainer = Trainer(net, loss)
        trainer.optimizer.lr, trainer.optimizer.momentum = 0.15, 0.0
        x, y = np.ones((1, 1)), np.zeros((1, 1))
        for _ in range(100):
            trainer.train_on_batch(x, y)
        costs[loss] = float(trainer.predict_proba(x)[0, 0])
    assert costs["quadratic"] > 0.8 and costs["binary_cross_entropy"] < 0.1


def test_backpropagation_through_two_layers_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 3)), rng.random((4, 2))
    first, second = Linear(3, 5, rng=rng, dtype="float64"), Linear(5, 2, rng=rng, dtype="float64")
    net = Sequential(first, Sigmoid(), second, Sigmoid())
    output = net.forward(x)
    assert first.bias is not None and second.bias is not None
    hidden = ops.sigmoid(ops.linear(x, first.weight.data, first.bias.data))
    dx = net.backward(ops.quadratic(output, y)[1])
    delta_2 = (output - y) / 4 * output * (1 - output)
    delta_1 = delta_2 @ second.weight.data * hidden * (1 - hidden)
    for gradient, expected in (
        (second.weight.grad, delta_2.T @ hidden),
        (second.bias.grad, delta_2.sum(0)),
        (first.weight.grad, delta_1.T @ x),
        (first.bias.grad, delta_1.sum(0)),
        (dx, delta_1 @ first.weight.data),
    ):
        assert_allclose(np.array(gradient), expected, rtol=1e-12, atol=1e-15)


DOG, CAT = 0, 1
ANSWERS = {
    "network 1": [(0.9, 0.1), (0.1, 0.9), (0.4, 0.6)],
    "network 2": [(0.6, 0.4), (0.3, 0.7), (0.1, 0.9)],
}


@pytest.mark.parametrize(
    ("network", "squared", "entropy"), [("network 1", 0.25, 0.38), ("network 2", 0.71, 1.06)]
)
def test_two_networks_that_err_equally_often(network: str, squared: float, entropy: float) -> None:
    a, y = np.array(ANSWERS[network]), np.array([DOG, CAT, DOG])
    one_hot = np.eye(2)[y]
    # a network that returns the logarithms of these answers: their softmax is the answers again
    logits = Sequential(Linear(3, 2, dtype="float64"))
    logits.load_state_dict({"0.weight": np.log(a).T, "0.bias": [0, 0]})
    scores = Trainer(logits).evaluate(np.eye(3), y)
    assert_allclose(Trainer(logits).predict_proba(np.eye(3)), a, rtol=1e-14)
    assert 1 - scores["accuracy"] == pytest.approx(1 / 3)
    assert metrics.error(y, a.argmax(axis=1)) == pytest.approx(1 / 3)
    assert round(scores["cost"], 2) == entropy
    assert scores["cost"] == pytest.approx(-np.log(a[range(3), y]).mean(), rel=1e-14)
    assert round(2 * ops.quadratic(a, one_hot)[0], 2) == squared  # summed over the classes
    assert round(2 * ops.mse(a, one_hot)[0], 2) == squared


@pytest.mark.parametrize("y", [0.1, 0.25, 0.5, 0.9])
def test_the_least_binary_cross_entropy_is_the_entropy(y: float) -> None:
    entropy = -(y * math.log(y) + (1 - y) * math.log(1 - y))
    best = math.log(y / (1 - y))
    cost, gradient = ops.binary_cross_entropy(np.array([[best]]), np.array([[y]]))
    assert cost == pytest.approx(entropy, rel=1e-13)
    assert abs(gradient[0, 0]) < 1e-15
    for z in np.linspace(-6, 6, 50):
        assert ops.binary_cross_entropy(np.array([[z]]), np.array([[y]]))[0] >= entropy - 1e-15
    net = neuron(0.0, 0.0)
    trainer = Trainer(net, "binary_cross_entropy")
    trainer.fit(np.ones((8, 1)), np.full((8, 1), y), 150, 8, progress=False)
    assert trainer.evaluate(np.ones((1, 1)), np.array([[y]]))["cost"] == pytest.approx(entropy)
    assert trainer.predict_proba(np.ones((1, 1)))[0, 0] == pytest.approx(y, abs=1e-3)


def test_logits_are_not_squashed_twice() -> None:
    with pytest.raises(
        ValueError, match="'cross_entropy' takes logits .* Softmax; leave that layer"
    ):
        Trainer(Sequential(Linear(2, 2), Softmax()))
    with pytest.raises(ValueError, match="'binary_cross_entropy' takes logits .* Sigmoid"):
        Trainer(Sequential(ReLU(), Sequential(Linear(2, 2), Sigmoid())), "binary_cross_entropy")
    Trainer(Sequential(Linear(2, 2), Sigmoid()), "quadratic")
