"""Products of bfloat16 on tiles of AMX, which plain C stands in for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soft_tiles
from byte_networks import NETS, network
from byte_sums import table_of
from c_files import CC
from half_kernels import (
    Convolution,
    check_convolution,
    check_image,
    check_linear,
    check_plan,
    check_taps,
    convolutions,
    kernels,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from test_bfloat16 import net_of, trained

from cnn_ext import _dispatch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    pytest.importorskip("Cython")
    if CC is None or not soft_tiles.MAY_BUILD:
        pytest.skip("needs a C compiler for Linux, and AVX-512")
    path = soft_tiles.build(tmp_path_factory.mktemp("tiles"), kind="bf16")
    with kernels(table_of(str(path))):
        yield


@settings(max_examples=200, deadline=None)
@given(case=convolutions(70), seed=st.integers(0, 2**31))
def test_convolutions(case: Convolution, seed: int) -> None:
    check_convolution(case, seed)


@pytest.mark.parametrize("C", [1, 2, 3, 4])
def test_taps_stand_where_channels_are_missing(C: int) -> None:
    check_taps(C)


@settings(max_examples=100, deadline=None)
@given(
    N=st.integers(1, 5), C=st.integers(1, 140), K=st.integers(1, 140), seed=st.integers(0, 2**31)
)
def test_linear_layers(N: int, C: int, K: int, seed: int) -> None:
    check_linear(N, C, K, seed)


@settings(max_examples=200, deadline=None)
@given(case=convolutions(140), seed=st.integers(0, 2**31), taps=st.booleans())
def test_single_images(case: Convolution, seed: int, taps: bool) -> None:
    check_image(case, seed, taps)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_single_images_of_networks(seed: int) -> None:
    check_plan(seed)


@pytest.mark.parametrize("name", NETS)
def test_plans(name: str) -> None:
    net, x = network(name)
    plan = net.compile(precision="bfloat16")
    found = plan(x)
    assert_array_equal(plan(x[3]), found[3])
    with kernels(None):
        truth = net.compile(precision="bfloat16")(x)
    assert np.abs(found - truth).max() <= 0.02 * np.abs(truth).max()


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_training_is_the_same_on_any_threads(threads: int) -> None:
    nets = net_of(), net_of()
    for net, count in zip(nets, (1, threads), strict=True):
        trained(net, "bfloat16", steps=4, num_threads=count)
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        assert_array_equal(a.data, b.data)


@pytest.mark.parametrize(("name", "result"), [("linear", 3), ("conv2d_weight", 2)])
def test_products_are_checked_before_they_are_used(
    name: str, result: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _dispatch._products_are_right()
    right = getattr(_dispatch._core, name)

    def wrong(*args: Any) -> None:
        right(*args)
        args[result].flat[-1] += 1

    monkeypatch.setattr(_dispatch._core, name, wrong)
    assert not _dispatch._products_are_right()
