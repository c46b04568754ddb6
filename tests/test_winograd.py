"""Winograd's convolution against the direct one and against double precision."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from training_steps import training_program

import cnn_ext
from cnn_ext import Conv2d, Plan, Sequential, _core, ops
from cnn_ext.graph import Graph
from cnn_ext.lanes import Lanes
from cnn_ext.training.losses import LOSSES


@pytest.fixture(autouse=True)
def switch():
    before = cnn_ext.get_winograd()
    cnn_ext.set_winograd(True)
    yield
    cnn_ext.set_winograd(before)


def arrays(N, C, K, H, W, R, padding, seed=0):
    """x, w, b, dy in single precision; y, dx, dw in double."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, C, H, W)).astype(np.float32)
    w = (rng.standard_normal((K, C, R, R)) / np.sqrt(R * R * C)).astype(np.float32)
    b = rng.standard_normal(K).astype(np.float32)
    y = ops.conv2d(x.astype(float), w.astype(float), b.astype(float), padding=padding)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx, dw, _ = ops.conv2d_backward(
        dy.astype(float), x.astype(float), w.astype(float), padding=padding
    )
    return x, w, b, dy, y, dx, dw


def are_close(x, w, b, dy, y, dx, dw, padding):
    # y and dx have a standard deviation of about 1.4 and 1
    assert np.abs(ops.conv2d(x, w, b, padding=padding) - y).max() < 1e-4
    got_dx, got_dw, _ = ops.conv2d_backward(dy, x, w, padding=padding)
    assert np.abs(got_dx - dx).max() < 1e-4
    assert np.abs(got_dw - dw).max() < 1e-4 * dw.std()


def what_is_fast(x, w, b, dy, padding):
    """For y, dx and dw, whether the switch changes any bit: then the fast way was really taken."""
    answers = []
    for on in (True, False):
        cnn_ext.set_winograd(on)
        gradients = ops.conv2d_backward(dy, x, w, padding=padding)
        answers.append([ops.conv2d(x, w, b, padding=padding), *gradients[:2]])
    cnn_ext.set_winograd(True)
    return [fast.tobytes() != slow.tobytes() for fast, slow in zip(*answers, strict=True)]


CASES = [
    (3, 64, 64, 8, 8, 3, 1),
    (5, 40, 65, 12, 11, 3, 1),
    (17, 65, 33, 14, 16, 3, 2),
    (1, 64, 48, 16, 16, 3, (0, 1, 2, 1)),
    (33, 64, 64, 8, 30, 3, "same"),
    (4, 128, 128, 8, 8, 3, 1),
    (19, 20, 40, 12, 12, 5, 0),
    (3, 21, 38, 11, 8, 5, 2),
    (2, 40, 40, 9, 9, 5, (4, 3, 2, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_close_to_double_precision(case):
    padding = case[-1]
    x, w, b, dy, y, dx, dw = arrays(*case)
    assert what_is_fast(x, w, b, dy, padding) == [True, True, True]
    are_close(x, w, b, dy, y, dx, dw, padding)
    error = ops.conv2d(x, w, b, padding=padding) - y
    assert np.sqrt(np.mean(error**2)) < 6e-6


def test_the_naive_reference():
    x, w, b, *_ = arrays(2, 64, 40, 8, 8, 3, 1)
    np.testing.assert_allclose(
        ops.conv2d(x, w, b, padding=1), reference.conv2d(x, w, b, padding=1), atol=5e-5
    )


@settings(max_examples=40, deadline=None)
@given(
    N=st.integers(1, 20),
    C=st.integers(16, 40),
    K=st.integers(16, 40),
    H=st.integers(6, 19),
    W=st.integers(6, 19),
    R=st.sampled_from([3, 5]),
    padding=st.integers(0, 5),
)
def test_any_shape(N, C, K, H, W, R, padding):
    are_close(*arrays(N, C, K, H, W, R, padding), padding)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": np.float64},
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"channels": 4},
        {"size": 2},
    ],
    ids=str,
)
def test_what_it_is_not_for_goes_the_direct_way(change):
    rng = np.random.default_rng(0)
    options = {key: change[key] for key in ("stride", "dilation", "groups") if key in change}
    C, size = change.get("channels", 32), change.get("size", 12)
    x = rng.standard_normal((2, C, size, size)).astype(change.get("dtype", np.float32))
    w = rng.standard_normal((32, C // options.get("groups", 1), 3, 3)).astype(x.dtype)
    fast = ops.conv2d(x, w, padding=1, **options)
    cnn_ext.set_winograd(False)
    assert fast.tobytes() == ops.conv2d(x, w, padding=1, **options).tobytes()


def test_the_same_bits_at_any_number_of_threads():
    x, w, b, dy, *_ = arrays(40, 32, 32, 16, 16, 3, 1)
    assert all(what_is_fast(x, w, b, dy, 1))
    answers = []
    for count in (1, 2, 3, 7):
        with cnn_ext.threads(count):
            y = ops.conv2d(x, w, b, padding=1)
            dx, dw, _ = ops.conv2d_backward(dy, x, w, padding=1)
            answers.append((y.tobytes(), dx.tobytes(), dw.tobytes()))
    assert len(set(answers)) == 1


def test_nan_stays_in_its_image():
    x, w, b, dy, *_ = arrays(5, 64, 64, 8, 8, 3, 1)
    assert all(what_is_fast(x, w, b, dy, 1))
    clean = ops.conv2d(x, w, b, padding=1)
    x[2, 3, 4, 4] = np.nan
    dirty = ops.conv2d(x, w, b, padding=1)
    assert np.isnan(dirty[2]).any()
    others = [0, 1, 3, 4]
    assert dirty[others].tobytes() == clean[others].tobytes()


def test_the_recorded_step_transforms_changed_weights():
    net = Sequential(Conv2d(48, 48, 3, padding=1), Conv2d(48, 4, 3)).train()
    x = np.random.default_rng(0).standard_normal((20, 48, 8, 8)).astype(np.float32)
    target = np.random.default_rng(1).standard_normal((20, 4 * 36)).astype(np.float32)
    net.layers.append(cnn_ext.Flatten())
    program = training_program(net, LOSSES["mse"], x)
    for scale in (1.0, 2.0):
        for parameter in net.parameters():
            parameter.data *= scale
        (cost,), (outputs,) = program.train([x], [target])
        gradients = [parameter.grad.copy() for parameter in net.parameters()]
        wanted = net.forward(x)
        wanted_cost, dz = LOSSES["mse"].cost(wanted, target)
        net.backward(dz)
        np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6)
        assert cost == pytest.approx(wanted_cost, rel=1e-6)
        for got, parameter in zip(gradients, net.parameters(), strict=True):
            np.testing.assert_allclose(got, parameter.grad, rtol=1e-3, atol=1e-5)


def test_the_switch():
    assert _core.get_winograd()
    cnn_ext.set_winograd(False)
    assert not cnn_ext.get_winograd()


def test_transformed_weights_give_the_same_bits():
    x, w, b, *_ = arrays(5, 40, 65, 7, 6, 3, 1)
    K, C, R, _ = w.shape
    lanes = Lanes.pack(x)
    u = np.zeros((36, -(-K // _core.lanes(4)), C, _core.lanes(4)), np.float32)
    _core.winograd_weights(w, u, 4, K, C, R)
    shape = (lanes.blocks, 1, C, K, 7, 6, R, R, 7, 6, 1, 1, 1, 1, 1, 1)
    answers = []
    for given_ in (None, u):
        y = Lanes.empty((5, K, 7, 6), lanes.dtype)
        _core.conv2d(lanes.data, w, b, y.data, 4, shape, None, 5, given_)
        answers.append(y.unpack().tobytes())
    assert answers[0] == answers[1]
    with pytest.raises(ValueError):
        _core.conv2d(lanes.data, w, b, y.data, 4, shape, None, 5, u[:, :-1].copy())


def test_a_plan_transforms_weights_once():
    graph = Graph((32, 7, 7))
    w = np.random.default_rng(0).standard_normal((48, 32, 3, 3)).astype(np.float32)
    graph.add("conv2d", graph.input, weights={"weight": w}, padding=1)
    plan = Plan(graph)
    by_image, by_batch = plan._packed.values()
    assert by_image and all(by_batch[name] is arrays for name, arrays in by_image.items())
    x = np.random.default_rng(1).standard_normal((40, 32, 7, 7)).astype(np.float32)
    assert plan(x).tobytes() == np.concatenate([plan(x[i : i + 1]) for i in range(40)]).tobytes()
