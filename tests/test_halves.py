"""Products of bfloat16: the kernels against sums in float32, and what networks make of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from byte_networks import NETS, network
from half_kernels import (
    LANES,
    USABLE,
    Convolution,
    check_convolution,
    check_image,
    check_linear,
    check_plan,
    check_taps,
    convolutions,
    kernels,
    real,
    table_of,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from rank_cases import the_same, told
from test_bfloat16 import net_of, trained

import cnn_ext
from cnn_ext import Trainer, _core, _dispatch, datasets
from cnn_ext._isa import ISAS

pytestmark = pytest.mark.skipif(not USABLE, reason="no kernels of bfloat16 here")
SIZES = Convolution(2, 6, 9, 7, 8, 3, 3, (1, 1), (1, 1), (1, 1))


@pytest.fixture(params=USABLE, scope="module")
def halves(request: pytest.FixtureRequest) -> Iterator[str]:
    with kernels(table_of(request.param)):
        yield request.param


@settings(max_examples=150, deadline=None)
@given(case=convolutions(37), seed=st.integers(0, 2**31))
def test_convolutions(halves: str, case: Convolution, seed: int) -> None:
    check_convolution(case, seed)


@settings(max_examples=60, deadline=None)
@given(N=st.integers(1, 5), C=st.integers(1, 70), K=st.integers(1, 70), seed=st.integers(0, 2**31))
def test_linear_layers(halves: str, N: int, C: int, K: int, seed: int) -> None:
    check_linear(N, C, K, seed)


@settings(max_examples=150, deadline=None)
@given(case=convolutions(70), seed=st.integers(0, 2**31), taps=st.booleans())
def test_single_images(halves: str, case: Convolution, seed: int, taps: bool) -> None:
    check_image(case, seed, taps)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_single_images_of_networks(halves: str, seed: int) -> None:
    check_plan(seed)


def test_a_pair_adds_up_in_float32(halves: str) -> None:
    # what the rounding to bfloat16 would lose: 1 + 2**-20 of two products
    x = np.ones((1, 2, LANES), np.float32)
    w = np.tile(np.array([1, 2.0**-20], np.float32), (3, 1))
    y = np.empty((1, 3, LANES), np.float32)
    _core.linear(x, w, None, y, 4, 1, 2, 3, None, True)
    assert (y == 1 + 2.0**-20).all()


def test_other_bits_than_sums_in_float32(halves: str) -> None:
    case = Convolution(1, 24, 40, 6, 6, 3, 3, (1, 1), (1, 1), (1, 1))
    found, truth = (case.passes(real(0), way) for way in (True, False))
    assert all((found[name] != truth[name]).any() for name in ("y", "dx", "dw"))


@pytest.mark.parametrize("C", [1, 2, 3, 4])
def test_taps_stand_where_channels_are_missing(halves: str, C: int) -> None:
    check_taps(C)


def test_what_no_pairs_serve_is_float32(halves: str) -> None:
    one = Convolution(1, 40, 2, 5, 5, 3, 3, (1, 1), (1, 1), (1, 1))
    found, truth = (one.passes(real(0), way)["y"] for way in (True, False))
    assert_array_equal(found, truth)
    x = np.random.default_rng(0).normal(size=(2, 4, _core.lanes(8)))  # of float64
    w, y = np.random.default_rng(1).normal(size=(4, 4)), [np.empty_like(x) for _ in range(2)]
    for i, way in enumerate((False, True)):
        _core.linear(x, w, None, y[i], 8, 2, 4, 4, None, way)
    assert_array_equal(*y)


def test_lanes_without_an_image_touch_no_other(halves: str) -> None:
    make = real(3)
    N, C, K, (P, Q) = SIZES.N, SIZES.C, SIZES.K, SIZES.output
    x, w = make((N, C, SIZES.H, SIZES.W, LANES)), make((K, C, 3, 3))
    y = [np.empty((N, K, P, Q, LANES), np.float32) for _ in range(2)]
    _core.conv2d(x, w, None, y[0], 4, SIZES.shape, None, None, None, True)
    some = LANES // 2
    x[..., some:] = np.nan
    _core.conv2d(x, w, None, y[1], 4, SIZES.shape, None, None, None, True)
    assert_array_equal(y[1][..., :some], y[0][..., :some])
    assert np.isnan(y[1][..., some:]).all()


def weights_after(threads: int) -> list[np.ndarray]:
    net = net_of()
    trained(net, "bfloat16", num_threads=threads)
    return [p.data for p in net.parameters()]


def test_training_is_the_same_on_any_threads_and_kernel_by_kernel(
    halves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = weights_after(1)
    for threads in (2, 3, 7):
        for a, b in zip(weights_after(threads), truth, strict=True):
            assert_array_equal(a, b)
    cnn_ext.set_recording(False)
    try:
        for a, b in zip(weights_after(2), truth, strict=True):
            assert_array_equal(a, b)
    finally:
        cnn_ext.set_recording(True)
    with kernels(None):
        other = weights_after(1)
    assert any((a != b).any() for a, b in zip(other, truth, strict=True))
    for a, b in zip(other, truth, strict=True):
        assert np.abs(a - b).max() < 0.01


def test_ranks_have_the_weights_of_one_process(halves: str) -> None:
    digits = datasets.digits()
    x, y = digits.x_train[:230], digits.y_train[:230]

    def work(group: Any) -> Any:
        trainer = Trainer(net_of(), precision="bfloat16", group=group)
        return told(trainer, trainer.fit(x, y, 1, 90, progress=False))

    the_same(work)


def test_it_learns(halves: str) -> None:
    digits, net = datasets.digits(), net_of()
    optimizer = cnn_ext.Adam(net.parameters(), lr=2e-3)
    trainer = Trainer(net, optimizer=optimizer, precision="bfloat16")
    trainer.fit(digits.x_train, digits.y_train, epochs=4, batch_size=32, progress=False)
    assert trainer.evaluate(digits.x_test, digits.y_test)["accuracy"] > 0.93


@pytest.mark.parametrize("name", NETS)
def test_plans(halves: str, name: str) -> None:
    net, x = network(name)
    plan = net.compile(precision="bfloat16")
    found = plan(x)
    assert_array_equal(plan(x[3]), found[3])  # whatever else is in the batch
    assert_array_equal(plan(x[3:6]), found[3:6])
    with kernels(None):
        truth = net.compile(precision="bfloat16")(x)
    # a sum in another order may round to the other of two neighbours
    assert np.abs(found - truth).max() <= 0.02 * np.abs(truth).max()
    assert_array_equal(net.compile(precision="bfloat16", max_batch=1)(x), found)


def test_nan_and_infinity_come_through(halves: str) -> None:
    net, x = network("plain")
    plan = net.compile(precision="bfloat16")
    x[0, 0, 4, 4], x[1, 0, 4, 4] = np.nan, np.inf
    assert np.isnan(plan(x)[0]).any() and not np.isfinite(plan(x)[1]).all()
    assert np.isfinite(plan(x)[2]).all()


@pytest.mark.parametrize("name", USABLE)
def test_the_environment_chooses(name: str) -> None:
    program = "from cnn_ext import _dispatch; print(_dispatch.ISA, _dispatch.halves_isa())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "CNN_EXT_CPU": name},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [_dispatch.ISA, name]


@pytest.mark.parametrize(
    ("brand", "granted", "chosen"),
    [
        ("Intel Xeon", True, "amx"),
        ("Intel Xeon", False, None),  # vectors are no faster than float32 there
        ("AMD EPYC", False, "avx512_bf16"),
    ],
)
def test_the_fastest_is_chosen(
    brand: str, granted: bool, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = on_a_machine(monkeypatch, brand, granted, True)
    assert _dispatch.halves_isa.__wrapped__() == chosen
    assert used == ([] if chosen is None else [chosen])


def test_tiles_that_give_wrong_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used = on_a_machine(monkeypatch, "Intel Xeon", True, False)
    with pytest.warns(RuntimeWarning, match="amx: wrong products of bfloat16 on this CPU"):
        assert _dispatch.halves_isa.__wrapped__() is None
    assert used == ["amx", None]


def on_a_machine(
    monkeypatch: pytest.MonkeyPatch, brand: str, granted: bool, right: bool
) -> list[str | None]:
    # one with all that there is; returns the list of what will be used
    features = frozenset().union(*(isa.needs for isa in ISAS))
    cpu = SimpleNamespace(
        features=lambda: features, brand=lambda: brand, tiles_granted=lambda: granted
    )
    used: list[str | None] = []
    monkeypatch.setattr(_dispatch, "_cpu", cpu)
    monkeypatch.setattr(_dispatch, "_core", SimpleNamespace(use_halves=used.append))
    monkeypatch.setattr(_dispatch, "_table", lambda name, kind: name)
    monkeypatch.setattr(_dispatch, "_products_are_right", lambda: right)
    monkeypatch.setattr(_dispatch, "ISA", "avx512")
    monkeypatch.delenv("CNN_EXT_CPU", raising=False)
    return used


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="PyCapsule_GetPointer called with incorrect name"):
        _core.use_halves(_dispatch._table(_dispatch.ISA, "f32"))
