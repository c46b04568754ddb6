"""Networks as plain data and back, as text, and the known ones by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import normal
from networks import ChannelScale, all_kinds, small
from numpy.testing import assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, ReLU, Sequential

# -------------------------------------------------------------------------------- description


def test_a_network_is_a_sequence_of_layers() -> None:
    net = small()
    assert len(net) == 6 and list(net) == net.layers and net[-1] is net.layers[5]
    assert [type(layer).__name__ for layer in all_kinds().walk()].count("Sequential") == 0
    with pytest.raises(TypeError, match="layer 1: expected a Module, got function"):
        Sequential(ReLU(), lambda x: x)  # type: ignore[arg-type]
    assert repr(Sequential(Conv2d(1, 2, 3, bias=False), Sequential(ReLU()))).split("\n")[:3] == [
        "Sequential(",
        "  (0): Conv2d(in_channels=1, out_channels=2, kernel_size=(3, 3), stride=(1, 1), "
        "padding=0, dilation=(1, 1), groups=1, bias=False)",
        "  (1): Sequential(",
    ]


def test_descriptions_build_the_same_network() -> None:
    import json

    net = all_kinds()
    config = json.loads(json.dumps(net.to_config()))
    custom = {"ChannelScale": ChannelScale}
    for description in (config, config["layers"], net.to_config()):
        same = Sequential.from_config(description, custom).astype("float64")
        assert same.to_config() == net.to_config()
        same.load_state_dict(net.state_dict())
        x = normal("x", (3, 2, 7, 7), np.float64)
        assert_array_equal(same(x), net(x))


def test_first_values_of_a_description() -> None:
    config = small().to_config()
    one, same = (Sequential.from_config(config, rng=np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert_array_equal(a.data, b.data)
    zero = Sequential.from_config(config, initializer="zeros")
    assert not any(parameter.data.any() for parameter in zero.parameters())


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ("ReLU", TypeError, "config: expected a list of layers"),
        ({"type": "ReLU"}, TypeError, "config: expected a list of layers"),
        (5, TypeError, "config: expected a list of layers"),
        (["ReLU"], TypeError, "layer 0: expected a mapping with a 'type', got 'ReLU'"),
        ([{"type": "ReLU"}, {}], TypeError, "layer 1: expected a mapping with a 'type'"),
        (
            [{"type": "Gelu"}],
            ValueError,
            r"layer 0 \(Gelu\): unknown type; known are Activation, Adaptive",
        ),
        ([{"type": ["ReLU"]}], ValueError, r"layer 0 .*unknown type"),
        ([{"type": "ReLU", "x": 1}], ValueError, r"layer 0 \(ReLU\): unknown arguments x"),
        (
            [{"type": "Dropout", "rng": 1}],
            ValueError,
            r"layer 0 \(Dropout\): unknown arguments rng",
        ),
        ([{"type": "Linear"}], TypeError, r"layer 0 \(Linear\): .*in_features"),
        (
            [{"type": "Sequential", "layers": [{"type": "MaxPool2d", "kernel_size": -1}]}],
            ValueError,
            r"layer 0 \(Sequential\): layer 0 \(MaxPool2d\): kernel_size: expected 1",
        ),
    ],
)
def test_descriptions_that_do_not_fit(config: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Sequential.from_config(config)


# ----------------------------------------------------------------------------- architectures


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("lenet5", (1, 28, 28), 61_706),
        ("lenet5", (3, 32, 32), 83_126),
        ("nielsen", (1, 28, 28), 520 + 20_040 + 64_100 + 1_010),
        ("tiny", (1, 8, 8), 160 + 4_640 + 32_832 + 650),
        ("vgg6", (3, 32, 32), 896 + 9_248 + 18_496 + 36_928 + 73_856 + 147_584 + 263_562),
    ],
)
def test_known_networks(name: str, shape: tuple[int, int, int], parameters: int) -> None:
    net = cnn_ext.architectures.build(name, shape, 10, rng=np.random.default_rng(1))
    assert sum(parameter.data.size for parameter in net.parameters()) == parameters
    y = net.eval()(normal("x", (2, *shape), np.float32))
    assert y.shape == (2, 10) and np.isfinite(y).all()
    same = cnn_ext.architectures.build(name, shape, 10, rng=np.random.default_rng(1))
    for a, b in zip(net.parameters(), same.parameters(), strict=True):
        assert_array_equal(a.data, b.data)


def test_known_networks_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="name: expected one of lenet5, nielsen, tiny, vgg6"):
        cnn_ext.architectures.build("resnet", (1, 28, 28), 10)
    with pytest.raises(ValueError, match=r"layer 3 \(Conv2d\): .* does not fit"):
        cnn_ext.architectures.build("nielsen", (1, 8, 8), 10)
