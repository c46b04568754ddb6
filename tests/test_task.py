"""What a network is for: the same for all who ask."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from numpy.testing import assert_allclose, assert_array_equal
from task_cases import (
    BINARY,
    LABELS,
    MAPS,
    NUMBERS,
    PICTURES,
    REAL,
    ROWS,
    SOFT,
    X,
    net,
    own,
    pixelwise,
)

import cnn_ext
from cnn_ext import (
    SGD,
    Dropout,
    Flatten,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Task,
    Trainer,
    ops,
)

# ------------------------------------------------------------------------- which task it is

TASKS: list[tuple[str, Any, Sequential, Any, Any]] = [
    ("classes", "cross_entropy", net(), X, NUMBERS),
    ("classes", "cross_entropy", net(), X, ROWS),
    ("classes", "cross_entropy", net(), X, SOFT),
    ("classes", "binary_cross_entropy", net(), X, NUMBERS),
    ("classes", "binary_cross_entropy", net(), X, ROWS),
    ("labels", "binary_cross_entropy", net(), X, LABELS),
    ("labels", "binary_cross_entropy", net(), X, SOFT),
    ("classes", "quadratic", net(3, Sigmoid()), X, NUMBERS),
    ("classes", "quadratic", net(3, Sigmoid()), X, ROWS),
    ("numbers", "quadratic", net(), X, REAL),
    ("numbers", "mse", net(), X, REAL),
    ("numbers", "mse", net(), X, ROWS),
    ("probability", "binary_cross_entropy", net(1), X, BINARY),
    ("probability", "binary_cross_entropy", net(1), X, BINARY[:, None] * 0.9),
    ("probability", "quadratic", net(1, Sigmoid()), X, BINARY),
    ("numbers", "quadratic", net(1, Sigmoid()), X, BINARY * 0.9),
    ("numbers", "quadratic", net(1), X, BINARY),
    ("numbers", "mse", net(1), X, REAL[:, 0]),
    ("numbers", own, net(1), X, REAL[:, 0]),
    ("numbers", own, net(), X, REAL),
    ("classes", own, net(), X, NUMBERS),
    ("pictures", "cross_entropy", pixelwise(3), PICTURES, MAPS),
    ("pictures", "quadratic", pixelwise(3), PICTURES, MAPS),
    ("pictures", "cross_entropy", pixelwise(3), PICTURES, np.moveaxis(np.eye(3)[MAPS], 3, 1)),
    ("probability", "binary_cross_entropy", pixelwise(1), PICTURES, MAPS > 0),
    ("probability", "binary_cross_entropy", pixelwise(1), PICTURES, MAPS[:, None] > 0),
    ("labels", "binary_cross_entropy", pixelwise(2), PICTURES, np.stack([MAPS > 0, MAPS > 1], 1)),
    ("numbers", "mse", pixelwise(1), PICTURES, PICTURES),
    ("numbers", "mse", pixelwise(1), PICTURES, PICTURES[:, 0]),
]


@pytest.mark.parametrize(("kind", "loss", "network", "x", "y"), TASKS)
def test_loss_and_targets_tell_the_task(
    kind: str, loss: Any, network: Sequential, x: np.ndarray, y: np.ndarray
) -> None:
    lr = 0.2 if "cross_entropy" in str(loss) else 0.01
    trainer = Trainer(network, loss, SGD(network.parameters(), lr, 0.9))
    first = trainer.evaluate(x, y)
    history = trainer.fit(x, y, 30, 7, progress=False)
    scores = trainer.evaluate(x, y)
    assert network.task is trainer.task and trainer.task.kind == kind
    assert scores["cost"] < first["cost"]
    assert Trainer(network, loss).task.kind == kind  # which the network keeps
    outputs, predicted = trainer.outputs(x), trainer.predict(x)
    if kind == "numbers":
        assert scores.keys() == {"cost"} and history["accuracy"] == [None] * 30
        assert_array_equal(predicted, outputs)
        return
    assert predicted.dtype == np.int64
    y = np.asarray(y)
    if kind in ("classes", "pictures"):
        assert_array_equal(predicted, outputs.argmax(1))
        right = predicted == (y if y.ndim < outputs.ndim else y.argmax(1))
    else:
        p = trainer.predict_proba(x)
        assert p.shape == outputs.shape and 0 <= p.min() <= p.max() <= 1
        assert_array_equal(predicted, (p > 0.5) if kind == "labels" else (p > 0.5)[:, 0])
        right = predicted == (y.reshape(predicted.shape) > 0.5)
    assert scores["accuracy"] == pytest.approx(right.mean())
    assert history["accuracy"][-1] is not None


def test_right_answers_of_several_labels_are_all_right() -> None:
    y = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0]], np.float32)
    network = Sequential(Linear(3, 3))
    network.load_state_dict({"0.weight": 20 * (2 * y.T - 1), "0.bias": np.zeros(3)})
    trainer = Trainer(network, "binary_cross_entropy")
    scores = trainer.evaluate(np.eye(3), y)
    assert scores["accuracy"] == 1 and scores["cost"] < 1e-6
    assert_array_equal(trainer.predict(np.eye(3)), y)
    classes, p = network.compile((3,)).classify(np.eye(3)) if network.task else (None, None)
    assert classes is None  # nothing was learned, so the network does not know it yet
    network.task = trainer.task
    classes, p = network.compile((3,)).classify(np.eye(3))
    assert_array_equal(classes, y)
    assert_allclose(p, y, atol=1e-6)
    one = network.compile((3,)).classify(np.eye(3)[0])
    assert_array_equal(one[0], [1, 1, 0])


def test_what_is_said_comes_first() -> None:
    trainer = Trainer(net(), "quadratic", task="classes")
    trainer.fit(X, SOFT, 1, progress=False)
    assert trainer.task.kind == "classes" and trainer.predict(X).shape == (30,)
    with pytest.raises(
        ValueError, match="outputs: the network gives no probabilities, or does not"
    ):
        trainer.predict_proba(X)
    said = Trainer(net(), own, task=Task("classes", "logits", ["a", "b", "c"]))
    said.fit(X, NUMBERS, 1, progress=False)
    assert_allclose(said.predict_proba(X), ops.softmax(said.outputs(X)), rtol=1e-6)
    with pytest.raises(ValueError, match="task: not known before training"):
        Trainer(net(), "quadratic").predict(X)
    wrong: list[tuple[Any, Sequential, str]] = [
        ("classes", net(1), "task: classes need two outputs or more"),
        ("probability", net(3), "task: a probability needs one output"),
        ("pictures", net(3), r"task: pictures need outputs \(K, P, Q\)"),
        (Task("classes", classes=["a"]), net(3), "task: 1 classes for outputs"),
    ]
    for task, network, message in wrong:
        with pytest.raises(ValueError, match=message):
            Trainer(network, "quadratic", task=task).train_on_batch(X, NUMBERS)
    with pytest.raises(ValueError, match="kind: expected one of classes, labels"):
        Trainer(net(), task="regression")
    with pytest.raises(TypeError, match="task: expected one of"):
        Trainer(net(), task=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="classes: expected names"):
        Task(classes="abc")


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("cross_entropy", -ROWS, "^y: expected finite numbers from 0 on, got -1"),
        ("cross_entropy", ROWS * np.nan, "^y: expected finite numbers from 0 on"),
        ("cross_entropy", NUMBERS + 1, "^y: expected classes 0 to 2, got 1 to 3"),
        ("binary_cross_entropy", 255 * LABELS, "^y: expected 0 to 1, got 0.0 to 255"),
        ("binary_cross_entropy", 2 * LABELS - 1, "^y: expected 0 to 1, got -1"),
        ("binary_cross_entropy", LABELS + np.inf, "^y: expected 0 to 1, got inf"),
        ("binary_cross_entropy", LABELS * np.nan, "^y: expected 0 to 1, got nan"),
    ],
)
def test_targets_that_no_cost_means(loss: str, y: np.ndarray, message: str) -> None:
    for network in (net(), Sequential(Dropout(0.0), *net())):  # recorded, and layer by layer
        before = network.state_dict()
        for call in (Trainer(network, loss).train_on_batch, Trainer(network, loss).evaluate):
            with pytest.raises(ValueError, match=message):
                call(X, y)
        assert all((before[name] == a).all() for name, a in network.state_dict().items())


@pytest.mark.parametrize("x", [X, X[:, :, None, None]])
def test_the_softmax_of_one_output_is_refused(x: np.ndarray) -> None:
    network = net(1) if x.ndim == 2 else Sequential(Flatten(), *net(1))
    for call in (Trainer(network).train_on_batch, Trainer(network).evaluate, Trainer(network).fit):
        with pytest.raises(ValueError, match="loss: cross_entropy needs an output for each class"):
            call(x, BINARY)


# ------------------------------------------------------------------------------- class maps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("images", [1, 16, 17, 40])
def test_costs_of_pictures(dtype: str, images: int) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((images, 3, 2, 5)).astype(dtype)
    maps = rng.integers(0, 3, (images, 2, 5))
    one_hot = np.moveaxis(np.eye(3)[maps], 3, 1)
    pixels = images * 10
    p = np.exp(z.astype("f8")) / np.exp(z.astype("f8")).sum(1, keepdims=True)
    a = 1 / (1 + np.exp(-z.astype("f8")))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for target in (maps, one_hot):
        cost, dz = ops.cross_entropy(z, target)
        assert cost == pytest.approx(-(one_hot * np.log(p)).sum() / pixels, rel=tolerance)
        assert_allclose(dz, (p - one_hot) / pixels, atol=tolerance / pixels)
    cost, dz = ops.binary_cross_entropy(z, one_hot)
    bce = -(one_hot * np.log(a) + (1 - one_hot) * np.log(1 - a)).sum() / pixels
    assert cost == pytest.approx(bce, rel=tolerance)
    assert_allclose(dz, (a - one_hot) / pixels, atol=tolerance)
    assert ops.mse(z, one_hot)[0] == pytest.approx(((z - one_hot) ** 2).mean(), rel=tolerance)
    cost, dz = ops.quadratic(z, one_hot)
    assert cost == pytest.approx(((z - one_hot) ** 2).sum() / images / 2, rel=tolerance)
    assert_allclose(dz, (z - one_hot) / images, rtol=tolerance, atol=tolerance)
    with pytest.raises(
        ValueError, match=r"target: expected shape \(\d+, 2, 5\) or \(\d+, 3, 2, 5\)"
    ):
        ops.cross_entropy(z, maps[:, 0])


def test_class_maps_recorded_and_layer_by_layer() -> None:
    costs = []
    for network in (pixelwise(3), Sequential(Dropout(0.0), *pixelwise(3))):
        network.astype("float64")
        trainer = Trainer(network)
        trainer.fit(PICTURES, MAPS, 3, 7, shuffle=False, progress=False)
        costs.append(network.state_dict().values())
    for ours, theirs in zip(*costs, strict=True):
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_pictures_from_training_to_plans_and_files(tmp_path: Path) -> None:
    network = pixelwise(3)
    trainer = Trainer(network, optimizer=SGD(network.parameters(), 0.5, 0.9))
    trainer.fit(PICTURES, MAPS, 80, 5, progress=False)
    assert trainer.evaluate(PICTURES, MAPS)["accuracy"] > 0.95
    maps = trainer.predict(PICTURES)
    assert maps.shape == MAPS.shape
    cnn_ext.save(network, tmp_path / "net")
    plan = cnn_ext.load(tmp_path / "net").compile()
    classes, p = plan.classify(PICTURES)
    assert_array_equal(classes, maps)
    assert_allclose(p, trainer.predict_proba(PICTURES).max(1), rtol=1e-5)
    one, p_one = plan.classify(PICTURES[3])
    assert_array_equal(one, maps[3])
    assert_array_equal(p_one, p[3])


# ----------------------------------------------------------------------------------- in files


@pytest.mark.parametrize(
    "task",
    [
        Task("classes", "logits", ("a", "b", "ö"), "cross_entropy"), Task("labels", "sigmoid"),
        Task("numbers"), Task(outputs="probabilities"), Task("numbers", "numbers", loss="mse"),
    ],
)  # fmt: skip
def test_tasks_come_back(task: Task, tmp_path: Path) -> None:
    assert Task.from_json(task.to_json()) == task
    network = net()
    network.task = task
    cnn_ext.save(network, tmp_path / "net")
    assert cnn_ext.load(tmp_path / "net").task == task
    pytest.importorskip("onnx", reason="the package onnx is missing")
    cnn_ext.onnx.export(network, tmp_path / "net.onnx", (4,))
    assert cnn_ext.onnx.load(tmp_path / "net.onnx").task == task


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", '{"kind": "x"}', '{"kind": 3}', '{"classes": "ab"}', '{"classes": [1]}',
        '{"loss": []}', '{"more": 1}', '{"outputs": {}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_texts_that_are_no_tasks(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metadata cnn_ext.task: "):
        Task.from_json(text)
    from cnn_ext import safetensors

    cnn_ext.save(net(), tmp_path / "net")
    tensors, metadata = safetensors.read(tmp_path / "net")
    safetensors.write(tmp_path / "net", tensors, {**metadata, "cnn_ext.task": text})
    with pytest.raises(ValueError, match="net: not a network .* metadata cnn_ext.task"):
        cnn_ext.load(tmp_path / "net")


def test_the_command_predicts_what_python_has_saved(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is missing")
    x = np.zeros((40, 1, 8, 8), np.uint8)
    y = np.arange(40) % 2
    x[y == 1] = 200
    image.fromarray(x[0, 0]).save(tmp_path / "dark.png")
    image.fromarray(x[1, 0]).save(tmp_path / "light.png")
    many = np.stack([y, 1 - y, np.ones(40)], 1)
    cases: list[tuple[str, int, str, Any, Any, str, str]] = [
        ("named", 2, "cross_entropy", y, Task(classes=["dark", "light"]), "dark", "light"),
        ("unnamed", 2, "cross_entropy", y, None, "0", "1"),
        ("one", 1, "binary_cross_entropy", y, Task(classes=["dark", "light"]), "dark", "light"),
        ("labels", 3, "binary_cross_entropy", many, Task(classes=["l", "d", "x"]), "d", "l"),
        ("numbers", 1, "mse", y.astype(float), None, "0.", "0.9"),
    ]
    for name, outputs, loss, targets, task, dark, light in cases:
        rng = np.random.default_rng(0)
        network = Sequential(Flatten(), Linear(64, 8, rng=rng), ReLU(), Linear(8, outputs, rng=rng))
        trainer = Trainer(network, loss, task=task)
        trainer.fit(x, targets, 40, 8, progress=False)
        cnn_ext.save(network, tmp_path / name)
        done = run("predict", name, "dark.png", "light.png", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        if name == "numbers":
            values = [float(line.split(": ")[1]) for line in lines]
            assert_allclose(values, [0, 1], atol=0.1)
        else:
            assert re.fullmatch(rf"dark.png: {dark} (9\d|100)\.\d\d %.*", lines[0])
            assert re.fullmatch(rf"light.png: {light} (9\d|100)\.\d\d %.*", lines[1])
    done = run("predict", "labels", "light.png", "--json", cwd=tmp_path)
    guesses = json.loads(done.stdout)[0]["guesses"]
    assert [guess["class"] for guess in guesses] == ["l", "x"]
    untold = Sequential(Flatten(), Linear(64, 2))
    untold.input_shape = (1, 8, 8)
    cnn_ext.save(untold, tmp_path / "untold")
    done = run("predict", "untold", "dark.png", cwd=tmp_path)
    assert done.returncode == 2 and "untold does not say what its outputs are: give" in done.stderr
    done = run("predict", "untold", "dark.png", "--outputs", "logits", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("dark.png: ")


def test_another_loss_makes_another_task() -> None:
    network = net()
    trainer = Trainer(network, task=Task(classes=["a", "b", "c"]))
    trainer.fit(X, NUMBERS, 1, progress=False)
    assert network.task == Task("classes", "logits", ("a", "b", "c"), "cross_entropy")
    assert Trainer(network).task == network.task
    again = Trainer(network, "mse")
    again.fit(X, REAL, 1, progress=False)
    assert network.task == Task("numbers", None, ("a", "b", "c"), "mse")
    with pytest.raises(ValueError, match="outputs: the network gives no probabilities"):
        network.compile().classify(X)


def test_only_what_was_learned_stays() -> None:
    trainer = Trainer(net(), "binary_cross_entropy")
    assert trainer.evaluate(X, ROWS)["accuracy"] < 1 and trainer.task.kind == "classes"
    assert trainer.predict(X).shape == (30,)
    with pytest.raises(ValueError, match="^y: expected 0 to 1"):
        trainer.train_on_batch(X, 2 * REAL)
    trainer.fit(X, LABELS, 1, progress=False)
    assert trainer.task.kind == "labels" and trainer.predict(X).shape == (30, 3)
    trainer.fit(X, ROWS, 1, progress=False)  # labels of which each image has one
    assert trainer.task.kind == "labels"


def test_models_of_older_versions(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is missing")
    image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "dark.png")
    network = Sequential(Flatten(), Linear(64, 2))
    older = {"input_shape": "[1, 8, 8]", "classes": '["a", "b"]', "loss": "cross_entropy"}
    cnn_ext.save(network, tmp_path / "net", older)
    done = run("predict", "net", "dark.png", "--top", 2, cwd=tmp_path)
    assert done.returncode == 0 and {"a", "b"} <= set(done.stdout.split())
    cnn_ext.save(network, tmp_path / "net", {**older, "loss": "mse"})
    done = run("predict", "net", "dark.png", cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout.split(", ")) == 2  # two numbers


@pytest.mark.parametrize(("outputs", "last"), [(1, Sigmoid), (3, Softmax), (3, Sigmoid)])
def test_numbers_that_look_like_probabilities_are_not_classified(outputs: int, last: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((20, 4), np.float32)
    net = Sequential(Linear(4, outputs), last())
    Trainer(net, "mse").train_on_batch(x, rng.random((20, outputs)))
    assert net.task is not None and net.task.kind == "numbers"
    plan = net.compile((4,))
    for images in (x, x[0]):
        with pytest.raises(ValueError, match="task: numbers have no classes"):
            plan.classify(images)


def test_rows_of_another_task_are_refused_until_the_task_is_said() -> None:
    for loss, rows, kind in (
        ("quadratic", REAL, "numbers"),
        ("binary_cross_entropy", LABELS, "labels"),
    ):
        net = Sequential(Linear(4, 3))
        trainer = Trainer(net, loss)
        trainer.fit(X, NUMBERS, progress=False)
        trainer.fit(X, ROWS, progress=False)
        before = net.state_dict()
        for again in (trainer, Trainer(net, loss)):  # the network knows it too
            with pytest.raises(ValueError, match=f"y: .* task, classes, got rows of {kind}"):
                again.fit(X, rows, progress=False)
            assert_array_equal(net.state_dict()["0.weight"], before["0.weight"])
        Trainer(net, loss, task=kind).fit(X, rows, progress=False)
        assert net.task is not None and net.task.kind == kind
        said = Trainer(net, loss, task="classes")
        said.fit(X, SOFT, progress=False)
        assert net.task.kind == "classes"


def test_labels_are_refused_for_the_cost_of_one_class() -> None:
    net = Sequential(Linear(4, 3))
    with pytest.raises(ValueError, match="task: cross_entropy takes one class of each image"):
        Trainer(net, "cross_entropy", task="labels")
    Trainer(net, "binary_cross_entropy").train_on_batch(X, LABELS)
    Trainer(net, "cross_entropy").train_on_batch(X, NUMBERS)  # the labels are forgotten
    assert net.task is not None and net.task.kind == "classes"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": np.ones(2)}, ValueError, "kind: expected one of"),
        ({"outputs": np.ones(2)}, ValueError, "outputs: expected one of"),
        ({"classes": 3}, TypeError, "classes: expected names, got 3"),
    ],
)
def test_arguments_of_other_kinds(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Task(**arguments)


def test_names_may_be_an_array() -> None:
    classes = Task(classes=np.array(["a", "b"])).classes  # type: ignore[arg-type]
    assert classes == ("a", "b") and type(classes[0]) is str
