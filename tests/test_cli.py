"""The command line, run as a process: what it prints, what it writes, and its exit status."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image

import cnn_ext
from cnn_ext import Task, datasets, filters
from cnn_ext.cli import build_parser
from cnn_ext.io import load_with_metadata

SHORT = ("train", "--threads", 1, "--epochs", 2)
RESULT = re.compile(
    r"test accuracy (\d+\.\d\d) % \(error (\d+\.\d\d) %, cost (\d+\.\d{4})\), (\d+) images, "
    r"model written to (\S+)\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a trained model, its history, broken files and pictures."""
    root = tmp_path_factory.mktemp("cli")
    done = run(
        *SHORT, "--out", "model.safetensors", "--history", "history.json",
        "--validation-split", 0.2, "--early-stopping", 2, cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (root / "broken.safetensors").write_bytes((root / "model.safetensors").read_bytes()[:-1])
    (root / "broken.png").write_bytes(b"no picture")
    (root / "empty").mkdir()
    data = datasets.digits()
    (root / "digits").mkdir()
    for i in range(4):
        pixels = (data.x_test[i, 0] * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((20, 24)).save(root / "digits" / f"{i}.png")
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 4)):
        for channel, name in enumerate(("blue", "red")):
            (root / "colours" / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 60, (9 + i, 12, 3))
                pixels[..., 2 - 2 * channel] += 180
                picture = Image.fromarray(pixels.astype(np.uint8))
                picture.save(root / "colours" / part / name / f"{i}.png")
    return root


def test_bare_train_learns_the_digits(tmp_path):
    done = run("train", cwd=tmp_path)
    assert done.returncode == 0
    accuracy, error, cost, images, path = RESULT.fullmatch(done.stdout).groups()
    assert float(accuracy) >= 98.5 and float(error) == pytest.approx(100 - float(accuracy))
    assert 0 < float(cost) < 0.1 and images == "359" and path == "model.safetensors"
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "model.toml"}
    assert done.stderr.count("epoch ") == 18
    net, metadata = load_with_metadata(tmp_path / "model.safetensors")
    data = datasets.digits()
    assert cnn_ext.metrics.accuracy(data.y_test, net(data.x_test).argmax(1)) == pytest.approx(
        float(accuracy) / 100, abs=1e-4
    )
    assert metadata == {"input_shape": "[1, 8, 8]"} and net.input_shape == (1, 8, 8)
    assert net.task == Task("classes", "logits", tuple("0123456789"), "cross_entropy")


def test_the_same_seed_gives_the_same_model(folder, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done = run(*SHORT, "--quiet", "--seed", seed, "--out", tmp_path / name)
        assert done.returncode == 0 and done.stderr == ""
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    "options",
    [
        ("adam",), ("adamw", "--clip-norm", 1), ("rmsprop", "--momentum", 0.5),
        ("sgd", "--momentum", 0, "--weight-decay", 0),
    ],
)  # fmt: skip
def test_every_optimizer_learns(tmp_path, options):
    done = run("train", "--epochs", 4, "--quiet", "--optimizer", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[2]) > 93


def test_history(folder):
    history = json.loads((folder / "history.json").read_text())
    assert [epoch["number"] for epoch in history["epochs"]] == [1, 2]
    assert history["stopped"] is None
    assert all(0 < epoch["validation_cost"] < 3 for epoch in history["epochs"])


def test_evaluate(folder):
    text = run("evaluate", "model.safetensors", cwd=folder)
    as_json = run("evaluate", "model.safetensors", "--json", "--threads", 1, cwd=folder)
    assert (text.returncode, as_json.returncode) == (0, 0)
    result = json.loads(as_json.stdout)
    matrix = np.array(result["confusion_matrix"])
    data = datasets.digits()
    assert matrix.sum(1).tolist() == np.bincount(data.y_test).tolist()
    assert result["accuracy"] == pytest.approx(matrix.trace() / 359)
    assert result["error"] == pytest.approx(1 - matrix.trace() / 359)
    assert result["images"] == 359 and result["classes"] == list("0123456789")
    lines = text.stdout.splitlines()
    assert lines[0].split() == ["images", "359"]
    assert lines[1].split() == ["cost", f"{result['cost']:.4f}"]
    assert lines[2].split() == ["accuracy", f"{100 * result['accuracy']:.2f}", "%"]
    assert lines[3].split() == ["error", f"{100 * result['error']:.2f}", "%"]
    assert [line.split()[1:] for line in lines[6:]] == matrix.astype(str).tolist()


def test_predict(folder):
    as_json = run(
        "predict", "model.safetensors", "digits", "digits/2.png", "--top", 3, "--json", cwd=folder
    )
    text = run("predict", "model.safetensors", "digits", "digits/2.png", cwd=folder)
    assert (text.returncode, as_json.returncode) == (0, 0)
    answers = json.loads(as_json.stdout)
    names = [f"{Path('digits', f'{i}.png')}" for i in (0, 1, 2, 3, 2)]
    assert [answer["picture"] for answer in answers] == names
    net = cnn_ext.load(folder / "model.safetensors")
    pixels = np.stack([cnn_ext.data.read_image(folder / name, 8) for name in names])
    probabilities = cnn_ext.ops.softmax(net(pixels))
    for answer, row, line in zip(answers, probabilities, text.stdout.splitlines(), strict=True):
        best = np.argsort(-row)[:3]
        assert [guess["class"] for guess in answer["guesses"]] == [str(i) for i in best]
        found = [guess["probability"] for guess in answer["guesses"]]
        np.testing.assert_allclose(found, row[best], rtol=1e-5, atol=1e-7)
        assert line == f"{answer['picture']}: {best[0]} {100 * found[0]:.2f} %"


@pytest.mark.parametrize("views", ["mirror", "translate", "mirror+translate"])
def test_views_are_averaged(folder, views):
    done = run("evaluate", "model.safetensors", "--views", views, "--json", cwd=folder)
    net, data = cnn_ext.load(folder / "model.safetensors"), datasets.digits()
    trainer = cnn_ext.Trainer(net)
    outputs = trainer.outputs(data.x_test, views=views)
    expected = cnn_ext.metrics.accuracy(data.y_test, outputs.argmax(1))
    found = json.loads(done.stdout)
    assert found["accuracy"] == pytest.approx(expected)
    assert np.trace(found["confusion_matrix"]) == round(359 * expected)
    done = run("predict", "model.safetensors", "digits", "--views", views, "--top", 10, "--json",
               cwd=folder)  # fmt: skip
    pixels = np.stack([cnn_ext.data.read_image(folder / f"digits/{i}.png", 8) for i in range(4)])
    probabilities = cnn_ext.ops.softmax(trainer.outputs(pixels, views=views))
    for answer, row in zip(json.loads(done.stdout), probabilities, strict=True):
        for guess in answer["guesses"]:
            assert guess["probability"] == pytest.approx(row[int(guess["class"])], abs=1e-6)


def test_pictures_in_colour(folder):
    done = run(
        "train", "--data", "colours", "--size", "10x12", "--colour", "--epochs", 30, "--quiet",
        "--threads", 1, "--out", "colours.safetensors", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert RESULT.fullmatch(done.stdout).group(1, 4) == ("100.00", "8")
    evaluated = run("evaluate", "colours.safetensors", "--data", "colours", "--json", cwd=folder)
    assert json.loads(evaluated.stdout)["confusion_matrix"] == [[4, 0], [0, 4]]
    predicted = run("predict", "colours.safetensors", "colours/test/red", cwd=folder)
    assert predicted.stdout.count(": red ") == 4
    within = run("predict", "colours.safetensors", "colours/test", cwd=folder)
    names = [f"{Path('colours', 'test', name, f'{i}.png')}: {name} " for name in ("blue", "red")
             for i in range(4)]  # fmt: skip
    assert list(map(str.startswith, within.stdout.splitlines(), names)) == [True] * 8


def test_pictures_keep_their_colours_and_get_a_common_size(folder):
    done = run(*SHORT, "--data", "colours", "--out", "colour", cwd=folder)
    assert done.returncode == 0 and "40 images of 3 x 16 x 12 in 2 classes" in done.stderr
    done = run(*SHORT, "--data", "colours", "--size", 9, "--no-colour", "--out", "g", cwd=folder)
    assert done.returncode == 0 and "40 images of 1 x 9 x 9 in 2 classes" in done.stderr


LAYERS = [
    {"type": "Flatten"},
    {"type": "Linear", "in_features": 64, "out_features": 12},
    {"type": "ReLU"},
    {"type": "Linear", "in_features": 12, "out_features": 10},
]
PYTHON = """
from cnn_ext import Flatten, Linear, ReLU, Sequential

def build(input_shape, classes):
    channels, height, width = input_shape
    inner = 12
    return Sequential(
        Flatten(), Linear(channels * height * width, inner), ReLU(), Linear(inner, classes)
    )
"""


def test_architectures_from_files(tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(LAYERS))
    (tmp_path / "net.py").write_text(PYTHON)
    for kind in ("json", "py"):
        done = run(*SHORT, "--arch", f"net.{kind}", "--out", kind, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "json").read_bytes() == (tmp_path / "py").read_bytes()
    types = [layer["type"] for layer in cnn_ext.load(tmp_path / "py").to_config()["layers"]]
    assert types == ["Normalize", *(layer["type"] for layer in LAYERS)]


@pytest.mark.parametrize(
    ("name", "text", "status", "message"),
    [
        ("a.json", "[", 1, "a.json: not a list of layers"),
        ("a.json", '[{"type": "Foo"}]', 1, "layer 0 (Foo): unknown type"),
        ("a.json", '[{"type": "Flatten"}]', 2, r"outputs of shape (64,), expected (10,)"),
        ("a.json", '[{"type": "Conv2d", "in_channels": 3, "out_channels": 1, "kernel_size": 1}]',
         2, "a.json does not fit the data: layer 0 (Conv2d)"),
        ("a.py", "build = 1", 1, "a.py: ValueError: expected a function build"),
        ("a.py", "def build(input_shape, classes): return 7", 1, "expected a Sequential, got int"),
        ("a.py", "import nonsense_", 1, "a.py: ModuleNotFoundError: No module named 'nonsense_'"),
    ],
)  # fmt: skip
def test_bad_architecture(tmp_path, name, text, status, message):
    (tmp_path / name).write_text(text)
    done = run("train", "--arch", name, cwd=tmp_path)
    assert_fails(done, status, "cnn-ext train: ")
    assert message in done.stderr
    assert {file.name for file in tmp_path.iterdir()} - {"__pycache__"} == {name}


def test_filter(folder, tmp_path):
    pixels = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels, pixels[::-1], pixels * 0], -1)).save(tmp_path / "rgb.png")
    for name in filters.FILTERS:
        assert run("filter", name, "grey.png", f"{name}.png", cwd=tmp_path).returncode == 0
        found = np.array(Image.open(tmp_path / f"{name}.png"), int)
        around = np.pad(pixels.astype(float), 1, "edge")
        expected = sum(
            around[r : r + 5, s : s + 6] * filters.FILTERS[name][r, s]
            for r in range(3)
            for s in range(3)
        )
        np.testing.assert_allclose(found, expected.clip(0, 255), atol=0.51)
    assert run("filter", "blur", "rgb.png", "out.bmp", cwd=tmp_path).returncode == 0
    colour = np.array(Image.open(tmp_path / "out.bmp"))
    blurred = np.array(Image.open(tmp_path / "blur.png"))
    np.testing.assert_array_equal(colour, np.stack([blurred, blurred[::-1], blurred * 0], -1))


def test_info():
    text, as_json = run("info"), run("info", "--json")
    config = json.loads(as_json.stdout)
    assert config["version"] == cnn_ext.__version__ and config["threads"] >= 1
    assert f"instruction set: {config['instruction_set']} " in text.stdout
    assert run("--version").stdout == f"cnn_ext {cnn_ext.__version__}\n"


def test_every_option_has_a_help_text_with_its_default():
    parser = build_parser()
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    assert list(commands.choices) == [
        "train",
        "tune",
        "evaluate",
        "predict",
        "plot",
        "report",
        "quantize",
        "export",
        "bench",
        "filter",
        "info",
    ]
    for name, command in commands.choices.items():
        options = [a for a in command._actions if a.dest != "help"]
        assert all(action.help for action in options)
        assert all("(default: " in a.help for a in options if a.option_strings), name
        assert f"usage: cnn-ext {name} " in run(name, "--help").stdout


def assert_fails(done, status, beginning):
    assert done.returncode == status, done.stderr
    assert done.stdout == "" and done.stderr.startswith(beginning)
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("", 2, "cnn-ext: the following arguments are required: COMMAND"),
        ("fly", 2, "cnn-ext: argument COMMAND: invalid choice: 'fly'"),
        ("train --bogus 1", 2, "cnn-ext train: unknown arguments: --bogus 1"),
        ("train --epoch 1", 2, "cnn-ext train: unknown arguments: --epoch 1"),
        ("train --optimizer lion", 2, "cnn-ext train: argument --optimizer: invalid choice: 'l"),
        ("train --optimizer adam --momentum 0", 2, "cnn-ext train: argument --momentum: adam has"),
        ("train --clip-norm 0", 2, "cnn-ext train: argument --clip-norm: expected a number ab"),
        ("train --epochs 0", 2, "cnn-ext train: argument --epochs: expected a whole number of at"),
        ("train --threads 0", 2, "cnn-ext train: argument --threads: expected a whole number from"),
        ("train --lr nan", 2, "cnn-ext train: argument --lr: expected a number above 0"),
        ("train --size 3x", 2, "cnn-ext train: argument --size: expected SIDE or HEIGHTxWIDTH"),
        ("train --arch foo", 2, "cnn-ext train: argument --arch: expected lenet5, nielsen, tiny"),
        ("train --arch lenet5", 2, "cnn-ext train: argument --arch: lenet5 does not fit the data"),
        ("train --validation-split 0 --early-stopping 2", 2,
         "cnn-ext train: argument --early-stopping: needs"),
        ("train --out none/model", 2, "cnn-ext train: argument --out: "),
        ("train --out empty", 2, "cnn-ext train: argument --out: empty is not a regular file"),
        ("train --history none/h", 2, "cnn-ext train: argument --history: "),
        ("train --out m --history ./m", 2, "cnn-ext train: argument --history: expected another"),
        ("train --data none", 1, "cnn-ext train: "),
        ("train --data empty", 1, "cnn-ext train: empty: expected data.npz, the four IDX files"),
        ("train --arch none.py", 1, "cnn-ext train: none.py"),
        ("train --arch none.json", 1, "cnn-ext train: none.json: No such file"),
        ("train --quiet --lr 1e30", 1, "cnn-ext train: the cost is "),
        ("evaluate", 2, "cnn-ext evaluate: the following arguments are required: MODEL"),
        ("evaluate none", 1, "cnn-ext evaluate: none: No such file"),
        ("evaluate broken.safetensors", 1, "cnn-ext evaluate: broken.safetensors: not a safetens"),
        ("evaluate model.safetensors --data colours", 2, "cnn-ext evaluate: model.safetensors "),
        ("evaluate model.safetensors --views up", 2, "cnn-ext evaluate: argument --views: invalid"),
        ("predict model.safetensors digits --views up", 2, "cnn-ext predict: argument --views: in"),
        ("predict model.safetensors none.png", 1, "cnn-ext predict: none.png: No such file"),
        ("predict model.safetensors broken.png", 1, "cnn-ext predict: broken.png: not a picture"),
        ("predict model.safetensors empty", 1, "cnn-ext predict: empty: no pictures"),
        ("predict model.safetensors digits --top 11", 2, "cnn-ext predict: argument --top: "),
        ("filter foo a b", 2, "cnn-ext filter: argument NAME: invalid choice: 'foo'"),
        ("filter blur digits/0.png b.foo", 2, "cnn-ext filter: argument OUT: b.foo has no suffix"),
        ("filter blur broken.png b.png", 1, "cnn-ext filter: broken.png: not a picture"),
    ],
)  # fmt: skip
def test_errors_are_one_line(folder, arguments, status, message):
    before = sorted(folder.iterdir())
    done = run(*arguments.split(), cwd=folder)
    assert_fails(done, status, message)
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_cannot_be_written(tmp_path):
    if os.access("/proc/self", os.R_OK):  # where even the superuser cannot create a file
        locked = Path("/proc/self")
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    done = run("train", "--out", locked / "model")
    assert_fails(done, 2, "cnn-ext train: argument --out: ")
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("arguments", [("evaluate", "none"), ("train", "--epochs", 0)])
def test_debug_shows_the_traceback(folder, arguments):
    done = run(*arguments, "--debug", cwd=folder)
    last = done.stderr.splitlines()[-1]
    if arguments[0] == "evaluate":
        assert done.stderr.startswith("Traceback") and done.returncode == 1
        assert last == "cnn-ext evaluate: none: No such file or directory"
    else:  # of the parser, which has no traceback to show
        assert done.returncode == 2 and "--epochs" in last


def test_nobody_reads_the_output(tmp_path):
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(*SHORT, cwd=tmp_path, stdout=write)
        assert (done.returncode, "Error" in done.stderr) == (0, False)
        both = run(*SHORT, "--out", "both", cwd=tmp_path, stdout=write, stderr=subprocess.STDOUT)
        assert both.returncode == 0
    finally:
        os.close(write)
    assert {file.name for file in tmp_path.iterdir()} == {
        "model.safetensors",
        "model.toml",
        "both",
        "both.toml",
    }
    assert cnn_ext.load(tmp_path / "both").state_dict().keys() == (
        cnn_ext.load(tmp_path / "model.safetensors").state_dict().keys()
    )


MNIST = os.environ.get("CNN_EXT_MNIST")


@pytest.mark.skipif(not MNIST, reason="CNN_EXT_MNIST names no folder with the MNIST files")
def test_mnist(tmp_path):
    done = run("train", "--data", MNIST, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count("epoch ") == 2
    accuracy, images = RESULT.fullmatch(done.stdout).group(1, 4)
    assert float(accuracy) >= 99 and images == "10000"
