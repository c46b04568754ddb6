"""Figures of networks: what they show, what they refuse, and the command that writes them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import normal
from commands import ENVIRONMENT, run
from networks import all_kinds, pooled, small, stripes
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import cnn_ext
from cnn_ext import Conv2d, Epoch, History, Linear, MaxPool2d, Normalize, ReLU, Sequential, plot

colors = pytest.importorskip("matplotlib.colors")


def png(figure: Any) -> np.ndarray:
    """The figure as it is written, (H, W, 3); it has its size, and is neither blank nor flat."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    picture = np.asarray(Image.open(buffer).convert("RGB"))
    assert_allclose(picture.shape[1::-1], figure.get_size_inches() * 50, atol=1)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    return picture


def texts(figure: Any) -> list[str]:
    return [axes.get_title() or axes.get_title("left") for axes in figure.axes]


# -------------------------------------------------------------------------------- activations


def test_activations_are_those_of_the_layers_one_by_one() -> None:
    for kind, shape in ((all_kinds, (3, 2, 7, 7)), (pooled, (3, 2, 6, 6))):
        net, x = kind(dtype=np.float32), normal("x", shape, np.float32)
        net.eval()
        here, outputs = x, net.activations(x)
        for layer, output in zip(net, outputs, strict=True):
            here = layer(here)
            assert type(output) is np.ndarray
            assert_allclose(output, here, rtol=1e-5, atol=1e-6)
        assert len(outputs) == len(net)
        assert_allclose(outputs[-1], net(x), rtol=1e-5, atol=1e-6)


def test_activations_before_max_pooling_are_in_the_written_order() -> None:
    net = Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), ReLU())
    x = normal("order", (5, 1, 9, 9), np.float32)
    raw, positive, pooled_, last = net.activations(x)
    assert raw.min() < 0
    assert_array_equal(positive, np.maximum(raw, 0))
    assert_array_equal(pooled_, cnn_ext.ops.max_pool2d(positive, 2))
    assert_array_equal(last, pooled_)


def test_activations_evaluate_and_keep_nothing() -> None:
    net = small(dropout=0.9).train()
    net[1].eval()
    x, _ = stripes(5)
    outputs = net.activations(x)
    assert_array_equal(outputs[3], outputs[2])  # dropout
    assert [layer.training for layer in net] == [True, False, True, True, True, True]
    with pytest.raises(RuntimeError, match="no forward pass in training mode"):
        net.backward(np.ones((5, 3), np.float32))
    bytes_ = np.arange(36, dtype=np.uint8).reshape(1, 1, 6, 6)
    assert_allclose(net.activations(bytes_)[-1], net.eval()(bytes_), rtol=1e-5)
    with pytest.raises(ValueError, match=r"layer 0 \(Conv2d\)"):
        net.activations(np.ones((1, 2, 6, 6)))


# ------------------------------------------------------------------------------ learned things


def test_grey_kernels_have_their_values() -> None:
    net = Sequential(Conv2d(1, 4, 3))
    weight = np.zeros((4, 1, 3, 3), np.float32)
    weight[0, 0, 0, 0], weight[3, 0, 2, 2] = 2, -2
    net.load_state_dict({"0.weight": weight, "0.bias": np.zeros(4)})
    figure = plot.kernels(net)
    png(figure)
    [axes] = figure.axes
    assert figure.get_suptitle() == (
        "Layer 0, Conv2d: 4 kernels of 1 x 3 x 3\nblack -2, grey 0, white 2"
    )
    shown = axes.images[0].get_array()  # four tiles in a line
    assert_array_equal(shown[0, 0], [255] * 4)
    assert_array_equal(shown[-1, -1], [0, 0, 0, 255])
    assert_array_equal(shown[-1, 0], [128, 128, 128, 255])


def test_kernels_are_those_of_the_first_convolution() -> None:
    net = Sequential(Normalize(0, 255), Conv2d(1, 2, 3), Conv2d(2, 3, 3))
    assert plot.kernels(net).get_suptitle().startswith("Layer 1, Conv2d: 2 kernels")


def test_kernels_in_colour_and_of_many_channels() -> None:
    net = Sequential(Conv2d(3, 5, 3), ReLU(), Sequential(Conv2d(5, 7, (2, 4))))
    weight = np.zeros((5, 3, 3, 3), np.float32)
    weight[0, 0, 0, 0] = 1
    net[0].load_state_dict({"weight": weight, "bias": np.zeros(5)})
    colour = plot.kernels(net)
    assert_array_equal(colour.axes[0].images[0].get_array()[0, 0], [255, 128, 128, 255])
    assert "red, green and blue" in colour.get_suptitle()
    inner = plot.kernels(net, 2)
    png(inner)
    title = inner.get_suptitle()
    assert title.startswith("Layer 2, Conv2d: 7 kernels of 5 x 2 x 4\na row for each kernel")
    [axes] = inner.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list("0123456")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list("01234")


@pytest.mark.parametrize(
    ("layer", "limit", "said"),
    [
        (0, 6, "8 kernels of 1 x 3 x 3, the first 6 shown\n"),
        (0, 8, "8 kernels of 1 x 3 x 3\n"),
        (1, 100, "6 kernels of 40 x 1 x 1, the first 3 with 32 channels shown\n"),
        (1, 5, "6 kernels of 40 x 1 x 1, the first 1 with 5 channels shown\n"),
    ],
)
def test_the_title_says_how_many_kernels_are_left_out(layer: int, limit: int, said: str) -> None:
    net = Sequential(Conv2d(1, 8, 3), Conv2d(40, 6, 1))
    assert said in plot.kernels(net, layer, limit).get_suptitle()


@pytest.mark.parametrize("kernels", [np.full((2, 1, 2, 2), np.nan), np.zeros((2, 1, 2, 2))])
def test_kernels_without_a_scale(kernels: np.ndarray) -> None:
    net = Sequential(Conv2d(1, 2, 2, bias=False))
    net.load_state_dict({"0.weight": kernels})
    figure = plot.kernels(net)
    figure.savefig(BytesIO(), format="png")
    shown = figure.axes[0].images[0].get_array()[0, 0, 3]
    assert shown == (0 if np.isnan(kernels).all() else 255)  # NaN is transparent


def test_feature_maps_have_a_row_for_every_layer() -> None:
    net = small(dropout=0.5)
    x, _ = stripes(1)
    figure = plot.feature_maps(net, x[0])
    assert png(figure).shape[0] > 150
    raw, positive, pooled_, *_, last = net.activations(x)
    expected = [
        f"{name}, {y.min():.3g} to {y.max():.3g}"
        for name, y in (
            ("0 Conv2d: 4 x 4 x 4", raw),
            ("1 ReLU: 4 x 4 x 4", positive),
            ("2 MaxPool2d: 4 x 2 x 2", pooled_),
            ("5 Linear: 3", last),
        )
    ]
    assert texts(figure) == ["image: 1 x 6 x 6", *expected]
    under = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert under == [f"{k}\n{value:.3g}" for k, value in enumerate(last[0])]
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops == sorted(tops, reverse=True) and 0 < figure.axes[-1].get_position().y0


def test_feature_maps_of_deep_networks() -> None:
    image = normal("deep", (2, 7, 7), np.float64)
    figure = plot.feature_maps(all_kinds(), image)
    png(figure)
    kinds = [text.split(":")[0] for text in texts(figure)]
    assert kinds[:5] == ["image", "0 Conv2d", "1 Tanh", "2 ChannelScale", "3 Conv2d"]
    assert kinds[-1] == "15 Linear"  # counted through the networks within
    wide = plot.feature_maps(Sequential(Conv2d(2, 50, 3)), image, limit=30)
    assert texts(wide)[1].endswith(", the first 30 shown")
    assert [tick.get_text() for tick in wide.axes[1].get_yticklabels()] == ["0", "15"]


# ------------------------------------------------------------------------------------ answers

COLOURS = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 4)).astype(np.uint8)
TRUE = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
GUESSED = np.array([0, 1, 2, 1, 1, 0, 0, 2, 2])
SURE = np.full((9, 3), 0.25)
SURE[np.arange(9), GUESSED] = [0.5, 0.5, 0.5, 0.61, 0.5, 0.83, 0.5, 0.74, 0.5]
NAMES = ["cat", "a$b_{$", "a very long name\n"]


def test_guesses_are_in_the_titles_and_wrong_ones_are_marked() -> None:
    figure = plot.guesses(COLOURS, TRUE, GUESSED)
    png(figure)
    assert figure.get_suptitle() == "9 of 9 images, 3 of them guessed wrong"
    assert texts(figure) == ["0", "1", "2", "1\nnot 0", "1", "0\nnot 2", "0", "2\nnot 1", "2"]
    for axes, image, wrong in zip(figure.axes, COLOURS, TRUE != GUESSED, strict=True):
        assert_allclose(axes.images[0].get_array(), image.transpose(1, 2, 0) / 255)
        edge, colour = axes.spines["top"].get_edgecolor(), axes.title.get_color()
        assert colors.same_color(colour, plot.WRONG) == colors.same_color(edge, plot.WRONG) == wrong


def test_guesses_with_names_and_probabilities() -> None:
    figure = plot.guesses(COLOURS, TRUE, GUESSED, NAMES, SURE)
    png(figure)
    assert texts(figure)[3:6] == ["a$b_{$  61.0 %\nnot cat", "a$b_{$  50.0 %",
                                  "cat  83.0 %\nnot a very long n…"]  # fmt: skip


def test_guesses_are_spread_over_all_images() -> None:
    images = np.arange(100, dtype=np.float32).reshape(100, 1, 1, 1).repeat(2, 2)
    figure = plot.guesses(list(images), np.arange(100), np.arange(100), limit=5)
    assert texts(figure) == ["0", "20", "40", "60", "80"]
    assert figure.get_suptitle() == "5 of 100 images, none of them guessed wrong"
    shades = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert_allclose(shades, [0, 0.25, 0.5, 0.75, 1])


def test_mistakes_come_with_the_surest_first() -> None:
    figure = plot.mistakes(COLOURS, TRUE, GUESSED, None, SURE)
    png(figure)
    assert texts(figure) == ["0  83.0 %\nnot 2", "2  74.0 %\nnot 1", "1  61.0 %\nnot 0"]
    assert figure.get_suptitle() == "3 of 9 images are guessed wrong, the surest guesses first"
    assert_allclose(figure.axes[0].images[0].get_array(), COLOURS[5].transpose(1, 2, 0) / 255)
    two = plot.mistakes(COLOURS, TRUE, GUESSED, limit=2)
    assert texts(two) == ["1\nnot 0", "0\nnot 2"] and two.get_suptitle().endswith("; 2 shown")
    none = plot.mistakes(COLOURS, TRUE, TRUE)
    assert not none.axes and none.get_suptitle() == "0 of 9 images are guessed wrong"


def test_confusion() -> None:
    figure = plot.confusion([[3, 1, 0], [0, 0, 0], [0, 2, 6]], NAMES)
    png(figure)
    [axes] = figure.axes
    assert figure.get_suptitle() == "9 of 12 guesses are right (75.00 %)"
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2", "6"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (1, 2), (2, 2)]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "a$b_{$", "a very long n…"]
    assert_allclose(axes.images[0].get_array()[0] ** 3, [0.75, 0.25, 0])
    large = plot.confusion(np.eye(150, dtype=int))
    png(large)
    assert len(large.axes[0].get_xticklabels()) <= 100 and not large.axes[0].texts


def test_history() -> None:
    known = History([Epoch(n, 1 / n, 0.0, 0.1, 1, 9, 2 / n, n / 4) for n in (1, 2, 3)])
    figure = plot.history(known)
    png(figure)
    cost, accuracy = figure.axes
    assert (cost.get_ylabel(), accuracy.get_ylabel()) == ("cost", "accuracy")
    for axes, curves in ((cost, ([1, 1 / 2, 1 / 3], [2, 1, 2 / 3])),
                         (accuracy, ([0, 0, 0], [0.25, 0.5, 0.75]))):  # fmt: skip
        assert [line.get_label() for line in axes.lines] == ["training", "validation"]
        for line, curve in zip(axes.lines, curves, strict=True):
            assert_allclose(line.get_xydata(), np.stack([[1, 2, 3], curve], 1))
    alone = plot.history(History([Epoch(1, 0.5, None, 0.1, 1, 9)]))
    png(alone)
    assert len(alone.axes) == 1 and len(alone.axes[0].lines) == 1
    assert alone.get_suptitle() == "Training, 1 epoch"


# ------------------------------------------------------------------------------------- refusals

NET = Sequential(Conv2d(1, 2, 3), ReLU())
X, Y = np.ones((2, 1, 4, 4)), [0, 1]


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plot.kernels(NET[0]), TypeError, "net: expected a Sequential, got Conv2d"),
        (lambda: plot.kernels(NET, 1), ValueError, r"layer: .* a convolution \(0\), got 1"),
        (lambda: plot.kernels(NET, "0"), TypeError, "layer: expected a whole number"),
        (lambda: plot.kernels(Sequential(Linear(2, 2))), ValueError, r"\(no layer has any\)"),
        (lambda: plot.kernels(NET, limit=0), ValueError, "limit: expected 1"),
        (lambda: plot.feature_maps(NET, X), ValueError, r"image: expected shape \(C, H, W\)"),
        (lambda: plot.feature_maps(NET, X[0].repeat(2, 0)), ValueError, r"layer 0 \(Conv2d\)"),
        (lambda: plot.feature_maps(None, X[0]), TypeError, "net: expected a Sequential"),
        (lambda: plot.history({}), TypeError, "history: expected a History, got dict"),
        (lambda: plot.history(History()), ValueError, "history: expected at least one epoch"),
        (lambda: plot.guesses(X, [0], Y), ValueError, r"labels: expected shape \(2,\)"),
        (lambda: plot.guesses(X, Y, [0, 1, 2]), ValueError, r"predictions: expected shape"),
        (lambda: plot.guesses(X, Y, [0.0, 1.0]), TypeError, "predictions: expected class numbers"),
        (lambda: plot.guesses(X, [-1, 0], Y), ValueError, "labels: expected class numbers of 0"),
        (lambda: plot.guesses(X, Y, Y, ["a"]), ValueError, "classes: expected a name for class 1"),
        (lambda: plot.guesses(X[0], [0], [0]), ValueError, r"images: expected shape"),
        (lambda: plot.guesses(X[:0], [], []), ValueError, "images: expected at least one"),
        (lambda: plot.guesses(X, Y, Y, None, [0.5, 1]), ValueError, r"probabilities: .* \(2, K\)"),
        (lambda: plot.mistakes(X, Y, Y, None, [[1, 2], [0, 1]]), ValueError, "expected 0 to 1"),
        (lambda: plot.mistakes(X, Y, Y, limit=0), ValueError, "limit: expected 1"),
        (lambda: plot.confusion([1, 2]), ValueError, r"matrix: expected shape \(K, K\)"),
        (lambda: plot.confusion([[0.5]]), ValueError, "matrix: expected whole numbers"),
        (lambda: plot.confusion([[-1]]), ValueError, "matrix: expected whole numbers"),
        (lambda: plot.confusion([[1]], ["a", "b"]), ValueError, "classes: expected 1 names, got 2"),
    ],
)
def test_bad_arguments(draw: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        draw()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    x, y = stripes(2)
    for draw in (
        lambda: plot.kernels(small()),
        lambda: plot.feature_maps(small(), x[0]),
        lambda: plot.history(History([Epoch(1, 0.5, None, 0.1, 1, 9)])),
        lambda: plot.guesses(x, y, y),
        lambda: plot.mistakes(x, y, y),
        lambda: plot.confusion([[1]]),
    ):
        with pytest.raises(ImportError, match=r"pip install cnn_ext\[plot\]"):
            draw()


def test_matplotlib_loads_at_first_use_and_pyplot_never() -> None:
    code = (
        "import sys; from cnn_ext import plot; before = 'matplotlib' in sys.modules; "
        "plot.confusion([[1]]).savefig(sys.stdout.buffer, format='png'); "
        "sys.stderr.write(f\"{before} {'matplotlib.pyplot' in sys.modules}\")"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr.endswith(b"False False") and done.stdout.startswith(b"\x89PNG")


def every_figure() -> dict[str, Any]:
    x, y = stripes(9)
    epochs = [Epoch(i, 1 / i, 0.5, 0.1, 1.0, 9.0) for i in (1, 2)]
    return {
        "kernels": plot.kernels(small()),
        "feature_maps": plot.feature_maps(small(), x[0]),
        "history": plot.history(History(epochs)),
        "guesses": plot.guesses(x, y, y),
        "mistakes": plot.mistakes(x, y, (y + 1) % 3),
        "no mistakes": plot.mistakes(x, y, y),
        "confusion": plot.confusion(np.eye(3, dtype=int)),
    }


def test_a_notebook_shows_every_figure() -> None:
    for name, figure in every_figure().items():
        for one in (figure, pickle.loads(pickle.dumps(figure))):
            picture = Image.open(BytesIO(one._repr_png_()))
            assert_allclose(picture.size, one.get_size_inches() * one.dpi, atol=1, err_msg=name)


def test_ipython_shows_every_figure() -> None:
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    for name, figure in every_figure().items():
        data, _ = formatter.format(figure)
        picture = Image.open(BytesIO(data["image/png"]))
        assert_allclose(picture.size, figure.get_size_inches() * figure.dpi, atol=1, err_msg=name)


# ---------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the digits, its history, and a model that does not classify."""
    root = tmp_path_factory.mktemp("plot")
    done = run("train", "--epochs", 1, "--quiet", "--history", "history.json", cwd=root)
    assert done.returncode == 0, done.stderr
    net = cnn_ext.load(root / "model.safetensors")
    net.task = cnn_ext.Task("numbers", loss="mse")
    cnn_ext.save(net, root / "mse")
    layers = [cnn_ext.Flatten(), Linear(64, 10)]
    cnn_ext.save(Sequential(*layers), root / "flat", {"loss": "quadratic"})
    (root / "nan.json").write_text('{"epochs": [{"number": 1, "cost": NaN}]}')
    return root


def test_plot_writes_every_figure(folder: Path) -> None:
    arguments = ("plot", "model.safetensors", "--history", "history.json", "--limit", 12)
    done = run(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    names = ["kernels", "feature_maps", "guesses", "mistakes", "confusion", "history"]
    files = [Path("plots", f"{name}.png") for name in names]
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(file) for file in files]
    assert sorted((folder / "plots").iterdir()) == sorted(folder / file for file in files)
    for file in files:
        with Image.open(folder / file) as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
            assert len(picture.convert("L").getcolors()) > 10
    evaluated = json.loads(run("evaluate", "model.safetensors", "--json", cwd=folder).stdout)
    wrong = round(359 * evaluated["error"])
    assert lines[2].startswith(f"{files[2]}: 12 of 359 images")
    assert lines[3].startswith(f"{files[3]}: {wrong} of 359 images are guessed wrong")
    assert lines[4].startswith(f"{files[4]}: {359 - wrong} of 359 guesses are right")
    assert lines[5] == f"{files[5]}: Training, 1 epoch"


def test_plot_without_a_convolution_into_an_old_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "guesses.png").write_text("old")
    done = run("plot", "flat", "--out", tmp_path, cwd=folder)
    assert done.returncode == 0
    assert "no kernels.png, as flat has no convolution" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {
        "feature_maps.png", "guesses.png", "mistakes.png", "confusion.png"
    }  # fmt: skip
    assert (tmp_path / "guesses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("none", 1, "none: No such file"),
        ("model.safetensors --limit 0", 2, "argument --limit: expected a whole number of at"),
        ("model.safetensors --out flat", 2, "argument --out: flat is not a folder"),
        ("model.safetensors --out no/where", 2, "argument --out: "),
        ("model.safetensors --history none", 1, "none: No such file"),
        ("model.safetensors --history flat", 1, "flat: not a history of training: "),
        ("model.safetensors --history nan.json", 1, "nan.json: not a history of training: "),
        ("mse", 1, "mse: its task is numbers, but digits has classes"),
    ],
)
def test_errors_of_the_command(folder: Path, arguments: str, status: int, message: str) -> None:
    before = sorted(folder.rglob("*"))
    done = run("plot", *arguments.split(), cwd=folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"cnn-ext plot: {message}") and done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    if arguments == "none":
        assert run("plot", "none", "--debug", cwd=folder).stderr.startswith("Traceback")


def test_the_command_without_matplotlib(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; from cnn_ext.cli import main; "
        "sys.exit(main(['plot', 'model.safetensors', '--out', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new")],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert done.stderr == ("cnn-ext plot: figures need Matplotlib: pip install cnn_ext[plot]\n")
