"""How numbers are scaled: the same in training, networks, plans, ONNX and C."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import Conv2d, Flatten, Linear, Normalize, ReLU, Sequential, Trainer
from cnn_ext.graph import Graph
from cnn_ext.run.plan import Plan
from cnn_ext.scale import BYTE_SCALE, scale_of

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 2, 6, 6))
Y = np.arange(40) % 3


def net(*first: Any) -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(
        *first, Conv2d(2, 4, 3, padding=1, rng=rng), ReLU(), Flatten(), Linear(144, 3, rng=rng)
    )


def trained(first: list[Any], x: np.ndarray) -> Sequential:
    network = net(*first)
    Trainer(network).fit(x, Y, 2, 16, progress=False)
    return network


# ----------------------------------------------------------------------- networks without a step


def test_the_rule() -> None:
    for dtype in ("float16", "float32", ">f8", "longdouble", "bool"):
        for byte_scale in (None, BYTE_SCALE, 1.0):
            assert scale_of(np.dtype(dtype), byte_scale) == 1
    assert scale_of(np.dtype("uint8"), 0.5) == 0.5
    assert scale_of(np.dtype("uint16"), BYTE_SCALE) == pytest.approx(1 / 65535, rel=1e-15)
    assert scale_of(np.dtype(">u2"), BYTE_SCALE) == pytest.approx(1 / 65535, rel=1e-15)
    for dtype in ("int8", "int16", "int32", "uint32", "int64", "uint64"):
        assert scale_of(np.dtype(dtype), 1.0) == 1
        with pytest.raises(TypeError, match=f"got {dtype}"):
            scale_of(np.dtype(dtype), BYTE_SCALE)
    for dtype in ("uint8", "uint16", "int64"):
        with pytest.raises(TypeError, match="give byte_scale"):
            scale_of(np.dtype(dtype), None)


def test_training_networks_and_plans_take_pictures_of_8_and_16_bits_alike() -> None:
    bytes_, words = PIXELS.astype(np.uint8), PIXELS.astype(np.uint16) * 257
    floats = (PIXELS / 255).astype(np.float32)
    nets = [trained([], x) for x in (bytes_, words, floats)]
    for other in nets[1:]:
        for name, array in other.state_dict().items():
            assert_allclose(array, nets[0].state_dict()[name], rtol=1e-4, atol=1e-5)
    plan = nets[0].compile()
    for x in (bytes_, words, floats, words.astype(">u2")):
        assert_allclose(plan(x), plan(bytes_), rtol=1e-4, atol=1e-5)
        assert_array_equal(plan(x), np.stack([plan(image) for image in x]))
        assert_array_equal(plan(x), nets[0](x))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "int64", "uint64"])
def test_other_whole_numbers_are_refused_everywhere(dtype: str) -> None:
    x = PIXELS.astype(dtype)
    network = net()
    match = f"x: expected floating-point numbers, uint8 or uint16, got {dtype}"
    before = network.state_dict()
    for call in (
        lambda: network(x),
        lambda: network.compile((2, 6, 6))(x),
        lambda: network.compile((2, 6, 6))(x[0]),
        lambda: Trainer(network).fit(x, Y, progress=False),
        lambda: Trainer(network).train_on_batch(x, Y),
        lambda: Trainer(network).evaluate(x, Y),
    ):
        with pytest.raises(TypeError, match=match):
            call()
    assert all((before[name] == array).all() for name, array in network.state_dict().items())


# --------------------------------------------------------------------- networks with such a step

STEPS = [
    Normalize(0, 255),
    Normalize([120, 130.5], 80),
    Normalize().fit(PIXELS.astype(np.uint8)),
]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_network_that_begins_with_it_takes_all_numbers_as_they_are(step: Normalize) -> None:
    types = ("uint8", "uint16", "int64", "int16", "float32", ">i4")
    nets = [trained([step], PIXELS.astype(dtype)) for dtype in types]
    for other in nets[1:]:
        for name, array in other.state_dict().items():
            assert_array_equal(array, nets[0].state_dict()[name])
    plan = nets[0].compile()
    for dtype in types:
        x = PIXELS.astype(dtype)
        assert_array_equal(nets[0](x), nets[0](PIXELS.astype("float64")))
        assert_array_equal(plan(x), nets[0](x))
        assert_array_equal(plan(x[0]), nets[0](x)[0])


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_it_is_kept_in_every_file(step: Normalize, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the package onnx is missing")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is missing")
    network = trained([step], PIXELS.astype(np.uint8))
    floats = PIXELS.astype(np.float32)
    expected = network(PIXELS.astype(np.uint8))
    cnn_ext.save(network, tmp_path / "net")
    assert_array_equal(cnn_ext.load(tmp_path / "net")(floats), expected)
    cnn_ext.onnx.export(network, tmp_path / "net.onnx")
    (outputs,) = runtime.InferenceSession(tmp_path / "net.onnx").run(None, {"input": floats})
    assert_allclose(outputs, expected, atol=1e-5)
    plan = Plan(cnn_ext.onnx.load(tmp_path / "net.onnx"))
    assert_allclose(plan(PIXELS.astype(np.uint8)), expected, atol=1e-5)
    assert_allclose(plan(PIXELS), expected, atol=1e-5)
    done = run("export", "net", "--c", "net.c", cwd=tmp_path)
    assert done.returncode == 0 and "multiplied by" not in (tmp_path / "net.c").read_text()


def test_the_numbers_of_a_fit() -> None:
    x = RNG.standard_normal((3000, 3, 2, 2)) * [[[2.0]], [[0]], [[5]]] + [[[7.0]], [[3]], [[-1e4]]]
    step = Normalize().fit(x)
    assert_allclose(step.mean, x.mean((0, 2, 3)), rtol=1e-12)
    assert_allclose(step.std, [x[:, 0].std(), 1, x[:, 2].std()], rtol=1e-9)
    assert_allclose(Sequential(step).astype("float64")(x).std((0, 2, 3)), [1, 0, 1], atol=1e-3)
    rows = RNG.standard_normal((50, 4)) + np.arange(0, 40, 10)
    assert_allclose(Normalize().fit(rows).mean, rows.mean(0), rtol=1e-12)
    pixels = PIXELS.astype(np.uint8)
    assert_allclose(Normalize().fit(pixels).std, PIXELS.std((0, 2, 3)), rtol=1e-12)


def test_with_unit_whole_numbers_are_fractions_first(tmp_path: Path) -> None:
    pixels = PIXELS.astype(np.uint8)
    same = (pixels, pixels.astype(np.uint16) * np.uint16(257), pixels / np.float32(255))
    for x in same:
        step = Normalize(unit=True).fit(x)
        assert_allclose(step.mean, PIXELS.mean((0, 2, 3)) / 255, rtol=1e-6)
        assert_allclose(step.std, PIXELS.std((0, 2, 3)) / 255, rtol=1e-6)
    network = trained([step], pixels)
    cnn_ext.save(network, tmp_path / "net")
    kept = cnn_ext.load(tmp_path / "net")
    plan = kept.compile()
    for x in same:
        assert_allclose(kept(x), network(pixels), atol=1e-5)
        assert_allclose(plan(x), network(pixels), atol=1e-5)
    done = run("export", "net", "--c", "net.c", cwd=tmp_path)
    assert done.returncode == 0 and "multiplied by" in (tmp_path / "net.c").read_text()
    with pytest.raises(TypeError, match="x: expected floating-point numbers, uint8 or uint16"):
        kept(PIXELS.astype(np.int64))
    with pytest.raises(TypeError, match="x: expected floating-point numbers, uint8 or uint16"):
        step.fit(PIXELS.astype(np.int64))


def test_numbers_far_from_zero_keep_their_digits() -> None:
    x = (100_000 + RNG.standard_normal((64, 1, 4, 4))).astype(np.float32)
    y = Sequential(Normalize(100_000, 1))(x)
    assert_array_equal(y, (x - np.float32(100_000)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 0), ValueError, "std: expected numbers above 0, got 0"),
        ((0, [1, -1]), ValueError, "std: expected numbers above 0"),
        ((np.nan, 1), ValueError, "mean: expected a finite number, or one a channel, got nan"),
        (([[1]], 1), ValueError, "mean: expected a finite number"),
        (([1, 2], [1, 2, 3]), ValueError, r"std: expected as many numbers as in mean, \[1, 2\]"),
        (("a", 1), TypeError, "mean: expected real numbers"),
    ],
)
def test_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Normalize(*arguments)


def test_wrong_inputs() -> None:
    with pytest.raises(
        ValueError, match=r"layer 0 \(Normalize\): mean, std: expected numbers for 2"
    ):
        net(Normalize([1, 2, 3], 1))(PIXELS)
    for x in (np.zeros((0, 3)), np.zeros(3), np.zeros((2, 0, 3))):
        with pytest.raises(ValueError, match="x: expected"):
            Normalize().fit(x)
    with pytest.raises(ValueError, match="mean: expected a finite number"):
        Normalize().fit(np.array([[np.nan, 1.0]]))


# --------------------------------------------------------------------------- models of others


def test_a_model_of_another_program_takes_bytes_only_if_told(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the package onnx is missing")
    h = onnx.helper
    info = [h.make_tensor_value_info(name, 1, ["N", 3]) for name in "xy"]
    graph = h.make_graph([h.make_node("Identity", ["x"], ["y"])], "g", info[:1], info[1:])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "net.onnx")
    x = np.array([[255, 51, 0]])
    for silent in (cnn_ext.onnx.load(tmp_path / "net.onnx"), cnn_ext.onnx.from_model(model)):
        for dtype in ("uint8", "uint16", "int16", "int64"):
            with pytest.raises(TypeError, match=f"got {dtype}; the model does not say how"):
                Plan(silent)(x.astype(dtype))
        assert_array_equal(Plan(silent)(x.astype("float16")), x)
    plan = Plan(cnn_ext.onnx.load(tmp_path / "net.onnx", byte_scale=1 / 255))
    assert_allclose(plan(x.astype(np.uint8)), [[1, 0.2, 0]], rtol=1e-6)
    assert_allclose(plan(x.astype(np.uint16) * 257), [[1, 0.2, 0]], rtol=1e-6)
    plan = Plan(cnn_ext.onnx.from_model(model, byte_scale=1))
    assert_array_equal(plan(x), x)
    for wrong in (-1.0, np.inf, "1/255"):
        with pytest.raises((TypeError, ValueError), match="byte_scale: expected"):
            cnn_ext.onnx.from_model(model, byte_scale=wrong)  # type: ignore[arg-type]


def test_files_of_ours_say_how_bytes_are_scaled(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the package onnx is missing")
    network = net().eval()
    cnn_ext.onnx.export(network, tmp_path / "net.onnx", (2, 6, 6))
    graph = cnn_ext.onnx.load(tmp_path / "net.onnx")
    assert graph.byte_scale == BYTE_SCALE
    x = PIXELS.astype(np.uint8)
    assert_allclose(Plan(graph)(x), network(x), atol=1e-5)
    assert Graph((3,)).byte_scale is None


# ------------------------------------------------------------------------------------ warnings


@pytest.mark.parametrize("scale", [255, 1e-6])
def test_training_on_numbers_far_from_unit_range_warns_once(scale: float) -> None:
    x = (PIXELS / 255 * scale).astype(np.float32)
    trainer = Trainer(net())
    trainer.optimizer.lr = 1e-6
    with pytest.warns(
        UserWarning, match=r"far from unit range; let it begin with Normalize"
    ) as seen:
        trainer.fit(x, Y, 2, 16, progress=False)
        trainer.fit(x, Y, 1, 16, progress=False)
    assert len(seen) == 1 and seen[0].filename == __file__


def test_validation_images_on_another_scale_are_warned_of() -> None:
    x = PIXELS.astype(np.uint8)
    trainer = Trainer(net())
    with pytest.warns(UserWarning, match=r"^validation_data: .*far from unit range") as seen:
        for _ in range(2):
            trainer.fit(x, Y, 1, 16, progress=False, validation_data=(PIXELS.astype("f4"), Y))
    assert len(seen) == 1 and seen[0].filename == __file__


def test_no_warning_where_numbers_are_near_unit_range() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained([], PIXELS.astype(np.uint8))
        trained([Normalize(0, 255)], PIXELS.astype("f4"))
        trained([Normalize().fit(PIXELS)], PIXELS)
        trained([], np.zeros(PIXELS.shape))


def test_numbers_that_are_set_later_are_used() -> None:
    step = Normalize(0, 1)
    net = Sequential(step, Flatten()).eval()
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert_array_equal(net(x), x.reshape(1, 16))
    step.mean = 5
    assert_array_equal(net(x), x.reshape(1, 16) - 5)
    step.std = [2]
    assert_array_equal(net(x), (x.reshape(1, 16) - 5) / 2)
    with pytest.raises(ValueError, match="std: expected numbers above 0, got 0"):
        step.std = 0
    assert (step.mean, step.std) == (5.0, (2.0,))


def test_a_class_of_ones_own_takes_numbers_as_they_are_too() -> None:
    class Centred(Normalize):
        pass

    x = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    net = Sequential(Centred(8, 8), Flatten()).eval()
    assert_array_equal(net(x), (x.reshape(1, 16) - np.float32(8)) / 8)
