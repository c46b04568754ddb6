"""First values of weights: their distributions, the same ones again, functions of one's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from commands import ENVIRONMENT
from networks import assert_same, small, stripes
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, Dropout, Flatten, Linear, Sequential, Trainer, initializers

CONV, FULL = (64, 16, 5, 5), (300, 400)  # fan-in 400 of both
STANDARD_DEVIATIONS = {
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "lecun": lambda fan_in, fan_out: (1 / fan_in) ** 0.5,
    "normal": lambda fan_in, fan_out: 0.01,
    "zeros": lambda fan_in, fan_out: 0.0,
    "pytorch": lambda fan_in, fan_out: (1 / (3 * fan_in)) ** 0.5,
}
UNIFORM = ("glorot", "pytorch")


@pytest.mark.parametrize("name", STANDARD_DEVIATIONS)
@pytest.mark.parametrize(("shape", "fans"), [(CONV, (400, 1600)), (FULL, (400, 300))])
def test_distributions(name: str, shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.fans(shape) == fans
    weights = initializers.INITIALIZERS[name](shape, np.random.default_rng(0))
    expected = STANDARD_DEVIATIONS[name](*fans)
    assert weights.shape == shape
    assert abs(weights.mean()) <= 4 * expected / weights.size**0.5
    assert abs(weights.std() - expected) <= 0.02 * expected
    if name in UNIFORM:
        assert 0.99 * 3**0.5 * expected < np.abs(weights).max() <= 3**0.5 * expected
    elif expected:  # of a normal distribution, 4.6 in 100 lie beyond two standard deviations
        assert abs((np.abs(weights) > 2 * expected).mean() - 0.0455) < 0.005


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (6, 4, 2, 5), (3, 3, 7)], ids=str)
def test_the_first_filters_of_dirac_pass_on_a_channel(shape: tuple[int, ...]) -> None:
    weights = initializers.dirac(shape, np.random.default_rng(0))
    count = min(shape[:2])
    middle = tuple(side // 2 for side in shape[2:])
    expected = np.zeros((count, *shape[1:]))
    for channel in range(count):
        expected[(channel, channel, *middle)] = 1
    assert_array_equal(weights[:count], expected)
    assert_array_equal(
        weights[count:], initializers.pytorch(shape, np.random.default_rng(0))[count:]
    )
    full = initializers.dirac((5, 4), np.random.default_rng(0))
    assert_array_equal(full, initializers.pytorch((5, 4), np.random.default_rng(0)))


def test_normal_takes_its_width_and_mean() -> None:
    weights = initializers.normal(0.5, 3)((100, 100), np.random.default_rng(0))
    assert abs(weights.mean() - 3) < 0.02 and abs(weights.std() - 0.5) < 0.02


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
@pytest.mark.parametrize("kind", [Conv2d, Linear])
def test_layers_take_initialisers_by_name_and_by_function(name: str, kind: Any) -> None:
    arguments = (2, 3, 3) if kind is Conv2d else (4, 3)
    function = initializers.INITIALIZERS[name]
    layers = [
        kind(*arguments, initializer=initializer, rng=np.random.default_rng(3), dtype="float64")
        for initializer in (name, function)
    ]
    first = function(layers[0].weight.data.shape, np.random.default_rng(3))
    for layer in layers:
        assert_array_equal(layer.weight.data, first)
        if name == "pytorch":
            bound = 1 / np.sqrt(first[0].size)
            assert 0 < np.abs(layer.bias.data).max() <= bound
        else:
            assert_array_equal(layer.bias.data, 0)


def test_pytorch_is_the_default() -> None:
    default = Conv2d(2, 3, 3, rng=np.random.default_rng(1))
    named = Conv2d(2, 3, 3, initializer="pytorch", rng=np.random.default_rng(1))
    assert_array_equal(default.weight.data, named.weight.data)
    assert default.bias is not None and named.bias is not None
    assert_array_equal(default.bias.data, named.bias.data)


def test_networks_are_drawn_anew() -> None:
    net = small(seed=0)
    before = net.state_dict()
    net.initialize("he", np.random.default_rng(1))
    first = net.state_dict()
    net.initialize("he", np.random.default_rng(1))
    for name, array in net.state_dict().items():
        assert (before[name] != array).any()
        assert_array_equal(array, first[name])
    assert_array_equal(first["0.bias"], 0)
    net.initialize("he")
    assert (net.state_dict()["0.weight"] != first["0.weight"]).any()


@pytest.mark.parametrize(
    ("initializer", "error", "message"),
    [
        ("xavier", ValueError, "initializer: expected one of he, glorot, .*, got 'xavier'"),
        (0.1, TypeError, "initializer: expected a name or a function, got 0.1"),
        (lambda shape, rng: np.zeros(5), ValueError, r"weights of shape \(3, 2\), got \(5,\)"),
    ],
)
def test_initialisers_that_do_not_fit(
    initializer: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Linear(2, 3, initializer=initializer)


# ------------------------------------------------------------------------------------- the seed


@pytest.fixture
def no_seed() -> Iterator[None]:
    yield
    cnn_ext.seed(None)


def unseeded(**options: Any) -> Sequential:
    return Sequential(
        Conv2d(1, 4, 3, **options), Dropout(0.5), Flatten(),
        Linear(64, 3, initializer="he", **options),
    )  # fmt: skip


def test_the_seed_fixes_what_layers_draw(no_seed: None) -> None:
    cnn_ext.seed(3)
    first, second = unseeded(), unseeded()
    second.initialize("glorot")
    assert (first[0].weight.data != second[0].weight.data).any()
    cnn_ext.seed(3)
    net = unseeded()
    unseeded(rng=np.random.default_rng(0))  # its dropout alone draws
    assert_same(net.state_dict(), first.state_dict())
    x = np.ones((5, 1, 6, 6), np.float32)
    assert net(x).tobytes() == first(x).tobytes()  # in training mode
    cnn_ext.seed(np.int64(3))
    unseeded()
    again = unseeded()
    again.initialize("glorot")
    assert_same(again.state_dict(), second.state_dict())
    cnn_ext.seed(4)
    assert (unseeded()[0].weight.data != first[0].weight.data).any()
    states = []
    for _ in range(2):
        cnn_ext.seed(None)
        states.append(unseeded()[0].weight.data)
    assert (states[0] != states[1]).any()


def test_training_does_not_draw_from_the_seed_of_the_layers(no_seed: None) -> None:
    cnn_ext.seed(0)
    net, expected = unseeded(), unseeded()
    x, y = stripes(20)
    cnn_ext.seed(0)
    net = unseeded()
    Trainer(net, seed=5).fit(x, y, 2, validation_split=0.2, progress=False)
    net.eval()(x)
    assert_same(unseeded().state_dict(), expected.state_dict())


def test_two_seeds_repeat_a_whole_training_in_another_process() -> None:
    program = """
        import sys, numpy as np, cnn_ext
        from networks import stripes
        cnn_ext.set_num_threads(int(sys.argv[1]))
        cnn_ext.seed(1)
        net = cnn_ext.Sequential(
            cnn_ext.Conv2d(1, 4, 3), cnn_ext.Dropout(0.3), cnn_ext.Flatten(), cnn_ext.Linear(64, 3))
        cnn_ext.Trainer(net, seed=2).fit(*stripes(), 2, validation_split=0.2, progress=False)
        print([array.tobytes().hex() for array in net.state_dict().values()])
    """
    path = f"{ENVIRONMENT['PYTHONPATH']}/tests"
    code = f"import sys; sys.path.insert(0, {path!r})\n{textwrap.dedent(program)}"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, threads],
            env=ENVIRONMENT, capture_output=True, text=True, check=True,
        ).stdout
        for threads in "112"
    }  # fmt: skip
    assert len(answers) == 1 and len(answers.pop()) > 1000


def test_threads_draw_each_its_own_of_the_same(no_seed: None) -> None:
    cnn_ext.seed(0)
    alone = {Linear(3, 2, bias=False).weight.data.tobytes() for _ in range(400)}
    cnn_ext.seed(0)
    with ThreadPoolExecutor(8) as pool:
        layers = list(pool.map(lambda _: Linear(3, 2, bias=False), range(400)))
    assert {layer.weight.data.tobytes() for layer in layers} == alone and len(alone) == 400


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (-1, ValueError, "number: expected 0 or more, got -1"),
        (1.0, TypeError, "number: expected a whole number or None, got 1.0"),
        (True, TypeError, "number: expected a whole number or None, got True"),
        ("0", TypeError, "number: expected a whole number or None, got '0'"),
    ],
)
def test_seeds_that_are_refused(number: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cnn_ext.seed(number)
