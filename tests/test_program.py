"""The recorded training step: the numbers of the layers one by one, for every layer and loss."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from training_steps import layer_by_layer, programmed, recorded, training_program

import cnn_ext
from cnn_ext import (
    SGD,
    AvgPool2d,
    Conv2d,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
    Trainer,
    _core,
    ops,
)
from cnn_ext.task import Task
from cnn_ext.training.backpropagation import Backpropagation
from cnn_ext.training.losses import LOSSES

SHAPE = (3, 9, 8)
BODIES = {
    "lenet": lambda: [Conv2d(3, 6, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(6, 16, 3), ReLU()],
    "strided": lambda: [Conv2d(3, 8, 3, stride=2, padding=1), Sigmoid(), AvgPool2d(2)],
    "grouped": lambda: [Conv2d(3, 6, (3, 2), groups=3, dilation=(1, 2)), Tanh(), GlobalAvgPool2d()],
    "same": lambda: [
        ReLU(),
        Conv2d(3, 5, 4, padding="same", bias=False),
        LeakyReLU(0.2),
        Softmax(),
    ],
    "pools": lambda: [MaxPool2d(3, 2, 1, ceil_mode=True), ReLU(), AvgPool2d(2, 1, 1), ReLU()],
    "relu-pool": lambda: [Conv2d(3, 4, 2), ReLU(), MaxPool2d(3, 1), ReLU(), MaxPool2d(2, 1)],
    "nested": lambda: [Sequential(Conv2d(3, 4, 3), ReLU()), Sequential(MaxPool2d(2), Tanh())],
}


def network(body: str, dtype: str = "float64") -> Sequential:
    layers = BODIES[body]()
    features = int(np.prod(Sequential(*layers).output_shape(SHAPE)))
    net = Sequential(*layers, Flatten(), Linear(features, 20), ReLU(), Linear(20, 4)).astype(dtype)
    net.initialize("he", np.random.default_rng(1))
    for parameter in net.parameters():  # no bias is zero, so that a lost one shows
        parameter.data += 0.01 * np.arange(parameter.data.size).reshape(parameter.data.shape) % 0.3
    return net


def data(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((images, *SHAPE)), rng.integers(0, 4, images)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("images", [1, 7, 8, 9, 50])
def test_same_numbers_as_the_layers(body, images):
    net = network(body)
    x, y = data(images)
    for got, wanted in zip(
        programmed(net, "cross_entropy", x, y),
        layer_by_layer(net, "cross_entropy", x, y),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("images", [3, 30])
def test_every_loss(loss, images):
    net = network("lenet")
    x, y = data(images)
    soft = np.random.default_rng(2).random((images, 4))
    for target in (soft, np.eye(4)[y])[loss == "hinge" :]:  # which takes one class
        for got, wanted in zip(
            programmed(net, loss, x, target), layer_by_layer(net, loss, x, target), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def test_more_blocks_than_a_wave():
    net = network("strided")
    x, y = data(17 * _core.lanes(8) + 3)
    for got, wanted in zip(
        programmed(net, "cross_entropy", x, y),
        layer_by_layer(net, "cross_entropy", x, y),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


def test_bytes_are_scaled_in_the_program_too():
    net = network("lenet", "float32")
    x = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), np.uint8)
    y = np.arange(20) % 4
    for got, wanted in zip(
        programmed(net, "cross_entropy", x, y),
        layer_by_layer(net, "cross_entropy", (x / 255).astype("f4"), y),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("images", [10, 100])
def test_the_same_bits_at_any_number_of_threads(images):
    net = network("lenet", "float32")
    x, y = data(images)
    answers = []
    for count in (1, 2, 3, 7):
        with cnn_ext.threads(count):
            answers.append(programmed(net, "cross_entropy", x.astype("f4"), y))
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            assert one.tobytes() == other.tobytes()


def test_a_block_lives_in_less_memory_than_its_activations():
    net = cnn_ext.architectures.build("lenet5", (1, 28, 28), 10)
    x = np.zeros((1, 1, 28, 28), np.float32)
    program = training_program(net, LOSSES["cross_entropy"], x)
    lanes = _core.lanes(4)
    outputs = sum(int(np.prod(shape)) for shape in net.shapes((1, 28, 28)))
    gradients = sum(parameter.data.nbytes for parameter in net.parameters())
    assert program._recorder.memory < 4 * lanes * outputs * 2 + gradients


class Double(Layer):
    """A layer of one's own."""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([Double(), Linear(6, 2)], LOSSES["cross_entropy"]),
        ([Linear(6, 2)], cnn_ext.losses.Loss("own", lambda z, t: ops.cross_entropy(z, t))),
    ],
)
def test_what_cannot_be_recorded_goes_layer_by_layer(layers, loss):
    net = Sequential(*layers)
    x = np.ones((5, 6), np.float32)
    with pytest.raises(RuntimeError):
        training_program(net, loss, x)
    cost, outputs = Backpropagation(net.train(), loss, Task())(x, np.zeros(5, int))
    assert np.isfinite(cost)
    assert outputs.shape == (5, 2)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_few_features():
    net = Sequential(Linear(2, 3), ReLU(), Linear(3, 2))
    trainer = Trainer(net, optimizer=SGD(net.parameters(), lr=0.5))
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    first = trainer.train_on_batch(x, [0, 1, 1, 0])
    for _ in range(50):
        last = trainer.train_on_batch(x, [0, 1, 1, 0])
    assert last < first


def test_a_network_without_parameters():
    net = Sequential(AvgPool2d(2), Flatten())
    x = np.random.default_rng(0).random((5, 1, 4, 4), np.float32)
    back = Backpropagation(net.train(), LOSSES["mse"], Task())
    cost, outputs = back(x, np.zeros((5, 4)))
    np.testing.assert_allclose(cost, np.mean(outputs**2), rtol=1e-5)


def test_more_parameters_than_there_are_streams():
    net = Sequential(*(Linear(16, 16) for _ in range(130)))
    x = np.random.default_rng(0).random((5, 16), np.float32)
    with pytest.raises(RuntimeError, match="streams"):
        training_program(net.train(), LOSSES["mse"], x)
    cost, _ = Backpropagation(net, LOSSES["mse"], Task())(x, np.zeros((5, 16)))
    assert np.isfinite(cost)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_new_arrays_and_new_shapes_are_recorded_anew():
    net = network("relu-pool")
    back = Backpropagation(net.train(), LOSSES["cross_entropy"], Task())
    x, y = data(12)
    back(x, y)
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.05
    cost, outputs = back(x, y)
    gradients = [parameter.grad.copy() for parameter in net.parameters()]
    wanted = layer_by_layer(net, "cross_entropy", x, y)
    for got, right in zip([cost, outputs, *gradients], wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match=r"layer 6 \(Linear\)"):
        back(np.ones((3, 3, 12, 12)), [0, 1, 2])
    np.testing.assert_allclose(back(x, y)[0], cost, rtol=1e-12)


def test_recording_in_one_thread_leaves_the_others_alone():
    net = network("lenet")
    x, y = data(9)
    wanted = layer_by_layer(network("lenet"), "cross_entropy", x, y)
    image = np.random.default_rng(0).random((4, 3, 9, 8))
    right = ops.relu(ops.conv2d(image, np.ones((2, 3, 3, 3))))
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            np.testing.assert_array_equal(ops.relu(ops.conv2d(image, np.ones((2, 3, 3, 3)))), right)
        return True

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(compute) for _ in range(2)]
        for _ in range(30):
            got = programmed(net, "cross_entropy", x, y)
        stop.set()
        assert all(other.result() for other in others)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_two_trainers_in_two_threads():
    def train(seed):
        net = network("lenet", "float32")
        trainer = Trainer(net, optimizer=SGD(net.parameters(), lr=0.01), seed=seed)
        x, y = data(40, seed)
        return [trainer.train_on_batch(x.astype("f4"), y) for _ in range(20)]

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(train, range(4)))
    assert alone == together


def test_recordings_at_the_same_time_do_not_disturb_each_other():
    x, y = data(20)
    wanted = [w.tobytes() for w in programmed(network("pools"), "cross_entropy", x, y)]
    wanted_forward = network("lenet").eval()(x).tobytes()
    interval = sys.getswitchinterval()

    def record(_):
        got = [g.tobytes() for g in programmed(network("pools"), "cross_entropy", x, y)]
        return got == wanted and network("lenet").eval()(x).tobytes() == wanted_forward

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(record, range(80)))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_records_can_record():
    net = network("lenet").eval()
    x, _ = data(20)
    wanted = net(x)

    def fork():
        child = os.fork()
        if child == 0:
            same = False
            try:
                same = bool((network("lenet").eval()(x) == wanted).all())
            finally:
                os._exit(0 if same else 1)
        return os.waitpid(child, 0)[1]

    with ThreadPoolExecutor(1) as pool:

        def fork_meanwhile():
            assert pool.submit(fork).result() == 0
            return []

        _core.record(fork_meanwhile, [], [], 8)


def test_a_recorder_that_recorded_nothing():
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        _core.Recorder().run([], 1, 1.0)


def test_streams_of_another_size_are_refused():
    net = network("lenet")
    x, y = data(8)
    program = training_program(net, LOSSES["cross_entropy"], x)
    recorder = program._recorder
    with pytest.raises(ValueError, match="streams"):
        recorder.run([x], 8, 1.0)
    short = [np.zeros(1)] * (5 + len(net.parameters()))
    with pytest.raises(ValueError, match="too few"):
        recorder.run(short, 8, 1.0)
    assert np.isfinite(program.train([x], [y])[0][0])


class TestForward:
    """The recorded forward pass of a network in evaluation mode."""

    @pytest.mark.parametrize("body", BODIES)
    @pytest.mark.parametrize("images", [1, 8, 50])
    def test_same_numbers_as_in_training_mode(self, body, images):
        net = network(body)
        x, _ = data(images)
        wanted = net.train()(x)
        np.testing.assert_allclose(net.eval()(x), wanted, rtol=1e-12, atol=1e-14)
        assert recorded(net)

    def test_weights_and_options_may_change(self):
        net = network("same").eval()
        x, _ = data(5)
        net(x)
        net[2].negative_slope = 0.5
        for parameter in net.parameters():
            parameter.data *= 1.5
        got = net(x)
        np.testing.assert_allclose(got, net.train()(x), rtol=1e-12)

    def test_many_python_threads(self):
        net = network("lenet", "float32").eval()
        batches = [data(n, n)[0].astype("f4") for n in (1, 5, 20, 70) * 10]
        alone = [net(x) for x in batches]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(net, batches))
        for one, other in zip(alone, together, strict=True):
            assert one.tobytes() == other.tobytes()

    def test_bytes_other_numbers_and_no_image(self):
        net = network("lenet", "float32")
        x = np.random.default_rng(0).integers(0, 256, (9, *SHAPE), np.uint8)
        np.testing.assert_array_equal(net.eval()(x), net.train()(x))
        np.testing.assert_array_equal(net.eval()(x / 255), net.train()(x / 255))
        assert net.eval()(x[:0]).shape == (0, 4)

    def test_copies_and_pickles_work(self):
        net = network("lenet").eval()
        x, _ = data(3)
        wanted = net(x)
        for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            np.testing.assert_array_equal(copied(x), wanted)
            copied[0].weight.data[...] = 0
        np.testing.assert_array_equal(net(x), wanted)
