"""Networks of bytes: what `quantize` makes, and that plans do its arithmetic with whole numbers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from byte_networks import NETS, fused_graph, network
from c_files import compiled, needs_compiler, predict
from numpy.testing import assert_allclose, assert_array_equal

import cnn_ext
from cnn_ext import (
    Conv2d,
    Flatten,
    Linear,
    Plan,
    ReLU,
    Sequential,
    _core,
    _dispatch,
    datasets,
    quantize,
    safetensors,
)
from cnn_ext.cli import main
from cnn_ext.graph import Graph
from cnn_ext.graph.bytes import Grid
from cnn_ext.layers import graph_of
from cnn_ext.operators.bytes import has_byte_weights
from cnn_ext.quantization import Range, loss_by_layer
from cnn_ext.quantization.calibration import divergence, grid_for


@pytest.mark.parametrize("name", NETS)
def test_a_plan_gives_what_the_network_gives_within_steps_of_the_grids(name: str) -> None:
    net, x = network(name)
    small = quantize(net, x)
    plan = small.compile()
    assert plan.precision == "int8"
    assert net.compile().precision == "float32"
    truth, eager, answers = net(x), small(x), plan(x)
    size = np.abs(truth).max()
    assert np.abs(eager - truth).max() < 0.1 * size
    assert np.abs(answers - eager).max() < 0.03 * size
    # an activation may be rounded to the other side, which is rare
    assert np.median(np.abs(answers - eager)) < 2e-3 * size


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_image_is_the_same_alone_and_on_any_threads(name: str, threads: int) -> None:
    net, x = network(name)
    plan = quantize(net, x).compile()
    answers = plan(x)
    with cnn_ext.threads(threads):
        assert_array_equal(plan(x), answers)
        assert_array_equal(plan(x[3]), answers[3])


def test_bytes_are_the_same_on_all_instruction_sets(tmp_path: Path) -> None:
    names = [isa.name for isa in _dispatch._usable("i8") if _dispatch._granted(isa)]
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from byte_networks import NETS, network\n"
        "from cnn_ext import quantize, _dispatch\n"
        "for name in NETS:\n"
        "    net, x = network(name)\n"
        "    plan = quantize(net.astype('float64').astype('float32'), x).compile()\n"
        "    nodes = [n for n in plan.graph.nodes]\n"
        "    if 'wide' != name: print(name, hashlib.sha256(plan(x).tobytes()).hexdigest())\n"
        "print(_dispatch.bytes_isa(), file=sys.stderr)\n"
    )
    found = {}
    for isa in names:
        done = subprocess.run(
            [sys.executable, "-c", program, Path(__file__).parent], capture_output=True, text=True,
            check=True, env={**os.environ, "CNN_EXT_CPU": isa},
        )  # fmt: skip
        assert done.stderr.strip() == isa
        found[isa] = done.stdout
    fused = {isa: text for isa, text in found.items() if isa != "base"}
    assert len(set(fused.values())) <= 1, found


def test_convolution_of_bytes_by_hand() -> None:
    net = Sequential(Conv2d(1, 1, 2), ReLU(), Conv2d(1, 1, 1))
    net[0].weight.data[...] = [[[[1.27, -0.5], [0.02, 0.0]]]]
    net[0].bias.data[...] = 0.1
    net[2].weight.data[...], net[2].bias.data[...] = 1, 0
    net.input_shape = (1, 2, 2)
    sample = np.array([0, 2.55, 0, 0], np.float32).reshape(1, 1, 2, 2)
    small = quantize(net.eval(), np.concatenate([sample, sample[..., ::-1]]))
    first = next(node for node in fused_graph(small).nodes if node.op == "conv2d")
    assert_allclose(first.weights["weight_scale"], [0.01], rtol=1e-6)
    assert first.weights["weight"].ravel() / first.weights["weight_scale"] == pytest.approx(
        [127, -50, 2, 0]
    )
    # 2.55 is byte 255 of steps of 0.01: 255 * 127 * 0.01 * 0.01 + 0.1, the top of the next grid
    y = small.compile()(sample[..., ::-1])
    assert y.item() == pytest.approx(255 * 127 * 1e-4 + 0.1, rel=1e-5)


@pytest.mark.parametrize("C", [1, 2, 3, 4, 6, 17, 33])
@pytest.mark.parametrize("W", [3, 16, 37])
@pytest.mark.parametrize("channels_last", [False, True])
def test_numbers_become_bytes_wherever_they_lie(C: int, W: int, channels_last: bool) -> None:
    x = np.random.default_rng(C).normal(size=(C, 2, W)).astype(np.float32)
    places = np.arange(x.size).reshape(x.shape)
    if channels_last:
        places = np.arange(x.size).reshape(2, W, C).transpose(2, 0, 1)
    numbers = np.empty(x.size, np.float32)
    numbers[places] = x
    y, odd = np.full(2 * W * C + 2, 77, np.uint8), np.ones(2, np.float32)
    limits, at = (-20.0, 200.0, 30), np.ascontiguousarray(places, np.intp).ravel()
    steps = 1, W * C
    _core.byte_cast(numbers, y, at, x.shape, steps, 0.03, limits, False, odd)
    truth = np.rint(np.clip(x / np.float32(0.03), -20, 200)).transpose(1, 2, 0) + 30
    assert_array_equal(y, [77, *truth.ravel(), 77])
    assert_array_equal(odd, 0)
    numbers[places[C - 1, 1, W - 1]] = np.nan
    _core.byte_cast(numbers, y, at, x.shape, steps, 0.03, limits, False, odd)
    assert np.isnan(odd).all()
    back = np.zeros_like(numbers)
    _core.byte_cast(y, back, at, x.shape, steps, 0.5, limits, True)
    assert_array_equal(back[places[:, 0]], (truth[0].T - 30) * 0.5)


def test_grids() -> None:
    assert grid_for(0.0, 2.55) == Grid(pytest.approx(0.01), 0)
    assert grid_for(-1.0, 1.55) == Grid(pytest.approx(0.01), 100)
    assert grid_for(0.5, 2.55).zero_point == 0
    assert grid_for(-2.55, -1.0) == Grid(pytest.approx(0.01), 255)
    assert grid_for(0.0, 0.0) == Grid(1.0, 0)
    assert Grid(0.1, 3).limits((0.0, 6.0)) == (0.0, 60.0, 3)
    assert Grid(0.1, 0).limits((0.0, 60.0)) == (0.0, 255.0, 0)
    assert Grid(0.1, 250).limits((1.0, np.inf)) == (5.0, 5.0, 250)


def test_percentile_and_entropy_leave_out_what_lies_far_away() -> None:
    rng = np.random.default_rng(0)
    known, x = Range(), np.append(np.abs(rng.normal(size=100_000)), 40.0).astype(np.float32)
    known.see(x)
    known.count(x)
    assert known.ends("minmax", 100) == (x.min(), 40.0)
    assert 3 < known.ends("percentile", 99.99)[1] < 5
    assert 2 < known.ends("entropy", 99.99)[1] < 20
    part = np.array([4.0, 4, 0, 0, 2, 2, 1, 1])
    assert divergence(part, part, 4) == 0  # each level spreads evenly over what was there
    assert divergence(part, np.array([6.0, 2, 0, 0, 2, 2, 1, 1]), 4) == pytest.approx(0)
    assert divergence(part, np.array([1.0, 1, 0, 0, 6, 6, 1, 1]), 4) > 0.1


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_accuracy_on_digits(method: str) -> None:
    digits = datasets.digits()
    net = Sequential(
        Conv2d(1, 16, 3, padding=1), ReLU(), Conv2d(16, 32, 3, padding=1), ReLU(), Flatten(),
        Linear(2048, 10),
    )  # fmt: skip
    net.initialize("he", np.random.default_rng(0))
    trainer = cnn_ext.Trainer(net, seed=0)
    trainer.fit(digits.x_train, digits.y_train, epochs=3, batch_size=32)
    net.eval()
    small = quantize(net, digits.x_train[:200], method=method)
    right = (small.compile().classify(digits.x_test)[0] == digits.y_test).mean()
    before = (net.compile().classify(digits.x_test)[0] == digits.y_test).mean()
    assert before > 0.95 and right > before - 0.01
    losses = loss_by_layer(net, digits.x_train[:200], digits.x_test, digits.y_test)
    assert [loss.name for loss in losses] and len(losses) == 3
    assert all(0 < loss.error < 0.1 for loss in losses)


def test_a_warning_names_the_costliest_layer() -> None:
    net = Sequential(Linear(8, 8), Linear(8, 2)).eval()
    net.input_shape = (8,)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype(np.float32)
    net[0].weight.data[...] = np.eye(8)
    net[0].weight.data[0, 0] = 1000  # all others share its grid of activations
    net[1].weight.data[...] = 0
    net[1].weight.data[0, 1] = 1
    net[0].bias.data[...] = net[1].bias.data[...] = 0
    y = (x[:, 1] <= 0).astype(np.int64)
    with pytest.warns(UserWarning, match=r"loses .* points .* costliest layer is 1 "):
        losses = loss_by_layer(net, x, x, y)
    assert losses[0].name == "1" and losses[0].points > 0.5


def test_what_is_skipped_stays() -> None:
    net, x = network("plain")
    names = [name for name, _ in net.named_parameters() if name.endswith("weight")]
    small = quantize(net, x, skip=[names[0].removesuffix(".weight")])
    scaled = [name for name, _ in small.named_state() if name.endswith("weight_scale")]
    assert len(scaled) == len(names) - 1


def test_plans_travel(tmp_path: Path) -> None:
    net, x = network("residual")
    small = quantize(net, x)
    plan = small.compile()
    assert_array_equal(pickle.loads(pickle.dumps(plan))(x), plan(x))
    cnn_ext.save(small, tmp_path / "small.safetensors")
    again = cnn_ext.load(tmp_path / "small.safetensors")
    assert_array_equal(again.compile()(x), plan(x))
    assert_array_equal(again(x), small(x))
    tensors, _ = safetensors.read(tmp_path / "small.safetensors")
    assert sum(array.dtype == np.int8 for array in tensors.values()) == 5


def test_bytes_at_the_input_are_taken_as_they_are() -> None:
    net = Sequential(Conv2d(1, 3, 3), ReLU(), Conv2d(3, 2, 1)).eval()
    net.input_shape = (1, 6, 6)
    x = np.random.default_rng(0).integers(0, 256, (30, 1, 6, 6), np.uint8)
    small = quantize(net, x)
    first = next(node for node in fused_graph(small).nodes if node.op == "fake_quantize")
    assert first.attributes["scale"] == pytest.approx(1 / 255)
    assert_array_equal(small.compile()(x), small.compile()(x.astype(np.float32) / 255))


def test_the_gradient_passes_inside_the_grid() -> None:
    net, x = network("plain")
    small = quantize(net, x).train()
    y = small(x)
    small.backward(np.ones_like(y))
    assert any(np.abs(p.grad).max() > 0 for p in small.parameters() if p.grad is not None)


def test_weights_off_their_grid_are_not_rounded_in_silence() -> None:
    net, x = network("plain")
    small = quantize(net, x)
    name, weight = next(pair for pair in small.named_parameters() if pair[0].endswith("weight"))
    assert name and weight.data.ndim == 4
    weight.data[0] += weight.data[0].max() / 300
    plan, eager = small.compile(), small(x)
    assert np.abs(plan(x) - eager).max() < 0.03 * np.abs(eager).max()
    first = next(node for node in plan.graph.nodes if node.op == "conv2d")
    assert not has_byte_weights(first)


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [3, 2, 1, 0], [0, 1, 2, 3]])
def test_numbers_in_any_order_become_bytes_in_that_order(order: list[int]) -> None:
    graph = Graph((1, 1, 16))
    index = np.add.outer(4 * np.arange(4), order).reshape(1, 1, 16)
    moved = graph.add("gather", graph.input, index=index)
    graph.add("fake_quantize", moved, scale=0.5, zero_point=3.0)
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 1, 16)
    plan = Plan(graph)
    assert_array_equal(plan(x), x[:, 0, 0][:, index])
    x[0, 0, 0, 11] = np.nan
    assert np.isnan(plan(x)).all()


@needs_compiler
@pytest.mark.parametrize("name", NETS)
def test_nan_is_seen_in_the_outputs_and_infinity_is_the_end_of_the_grid(
    name: str, tmp_path: Path
) -> None:
    net, x = network(name)
    small = quantize(net, x)
    plan = small.compile()
    answers, z = plan(x), x[:6].copy()
    for image, bad in enumerate([np.nan, -np.nan, np.inf, -np.inf]):
        z[image].reshape(-1)[[0, z[0].size // 2, -1][image % 3]] = bad
    large = np.nan_to_num(z, posinf=1e30, neginf=-1e30)
    found = plan(z)
    assert np.isnan(found[:2]).all()
    assert_array_equal(found[2:], plan(large)[2:])
    assert_array_equal(found[4:], answers[4:6])
    assert_array_equal(plan(z[0]), found[0])
    assert_array_equal(plan(x), answers)  # nothing stays behind
    assert np.isnan(small(z)[:2]).any(axis=tuple(range(1, found.ndim))).all()
    graph = graph_of(small)
    library = compiled(graph, tmp_path)
    in_c = np.stack([predict(library, graph, image) for image in z])
    assert_array_equal(np.isnan(in_c), np.isnan(found))


def sample(shape: tuple[int, ...] = (4, 1, 6, 6)) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": 3}, TypeError, "net: expected a Module, got int"),
        ({"sample": sample()[:0]}, ValueError, r"sample: expected inputs \(N, ...\)"),
        ({"sample": sample((4, 1, 5, 6))}, ValueError, r"sample: .*\(1, 6, 6\), got \(1, 5, 6\)"),
        ({"sample": np.ones((4, 1, 6, 6))}, ValueError, "sample: expected inputs that differ"),
        (
            {"sample": np.where(sample() > 0.5, np.inf, 0)},
            ValueError,
            "sample: expected finite numbers",
        ),
        ({"method": "best"}, ValueError, "method: expected one of minmax, percentile, entropy"),
        ({"percentile": 20}, ValueError, "percentile: expected 50 to 100"),
        ({"percentile": "x"}, TypeError, "percentile"),
        ({"skip": ["0", "2"]}, ValueError, "no convolution or linear layer"),
        ({"bad": np.inf}, ValueError, "weights of 0 are not all finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered")
def test_what_does_not_fit_is_refused(change: dict, error: type, message: str) -> None:
    net = Sequential(Conv2d(1, 3, 3), ReLU(), Conv2d(3, 2, 1)).eval()
    net.input_shape = (1, 6, 6)
    given = {"net": net, "sample": sample(), **change}
    if "bad" in given:
        net[0].weight.data[0, 0, 0, 0] = given.pop("bad")
    with pytest.raises(error, match=message):
        quantize(given.pop("net"), given.pop("sample"), **given)


def test_a_network_of_bytes_is_refused() -> None:
    net, x = network("plain")
    with pytest.raises(ValueError, match="on grids of bytes already"):
        quantize(quantize(net, x), x)


def test_weights_beyond_any_grid_and_empty_channels() -> None:
    net = Sequential(Conv2d(1, 3, 3), ReLU(), Conv2d(3, 2, 1)).eval()
    net.input_shape = (1, 6, 6)
    net[0].weight.data[0] = 1e-42
    net[0].weight.data[1] = 0
    net[0].weight.data[2] = 1e30
    net[2].weight.data[...] = 1e-30
    plan = quantize(net, sample()).compile()
    assert np.isfinite(plan(sample())).all()


def test_precision_is_what_is_asked_for() -> None:
    net, x = network("plain")
    small = quantize(net, x)
    assert small.compile(precision="int8").precision == "int8"
    plan = small.compile(precision="float32")
    assert plan.precision == "float32" and pickle.loads(pickle.dumps(plan)).precision == "float32"
    assert_allclose(plan(x), small(x), atol=2e-2 * np.abs(small(x)).max())
    with pytest.raises(ValueError, match=r"precision: int8 is for .*cnn_ext.quantize"):
        net.compile(precision="int8")
    with pytest.raises(
        ValueError, match="precision: expected one of float32, bfloat16, int8, got 'half'"
    ):
        net.compile(precision="half")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, small = str(tmp_path / "m.safetensors"), str(tmp_path / "s.safetensors")
    assert main(["train", "--epochs", "1", "--out", model, "--quiet"]) == 0
    capsys.readouterr()
    status = main(["quantize", model, "--out", small, "--layers", "--json"])
    assert status == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy_int8"] > found["accuracy_float32"] - 0.02 and len(found["layers"]) > 1
    assert main(["bench", small, "--seconds", "0.01", "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "int8"
    assert main(["bench", model, "--seconds", "0.01", "--precision", "int8"]) == 1
    assert "cnn_ext.quantize" in capsys.readouterr().err
    options = ["--precision", "auto", "--data", "digits", "--seconds", "0.01", "--json"]
    assert main(["bench", model, *options, "--tolerance", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == "float32"
    assert main(["bench", model, *options]) == 2
    assert "--precision auto and --tolerance: expected both" in capsys.readouterr().err
    assert main(["bench", model, "--data", "elsewhere"]) == 2
    assert "argument --data: it is for --precision auto" in capsys.readouterr().err
    assert main(["quantize", model, "--out", small, "--skip", "nobody"]) == 1
    assert "skip: no layer 'nobody'" in capsys.readouterr().err
    assert main(["quantize", model, "--out", str(tmp_path / "s.npz")]) == 2
