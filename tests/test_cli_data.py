"""The command line on data of every kind: layouts, published sets, pictures good and broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image

import cnn_ext
from cnn_ext import metrics
from cnn_ext.data import datasets, read_image, write_idx
from cnn_ext.io import load_with_metadata

QUICK = ("--epochs", 1, "--arch", "tiny", "--threads", 1, "--quiet")
RNG = np.random.default_rng(0)


def ink(turned):
    """A bar of black ink on transparent ground, upright or lying, somewhere."""
    pixels = np.zeros((12, 12), np.uint8)
    column = RNG.integers(0, 10)
    pixels[RNG.integers(0, 3) : RNG.integers(9, 13), column : column + 3] = 255
    pixels = pixels.T if turned else pixels
    return Image.fromarray(np.dstack([np.zeros((12, 12, 3), np.uint8), pixels]))


@pytest.fixture(scope="module")
def inked(tmp_path_factory):
    """A folder with transparent pictures at several depths of folders, and a model of them."""
    root = tmp_path_factory.mktemp("inked")
    for turned, name in enumerate(("down", "across")):
        for i in range(30):
            place = root / "set" / name / ("more" if i % 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            ink(turned).save(place / f"{i}.png")
    options = ("--epochs", 40, "--arch", "tiny", "--threads", 1, "--quiet")
    done = run("train", "--data", "set", *options, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("test accuracy 100.00 % ") and " 12 images" in done.stdout
    return root


def test_transparent_pictures_are_answered_as_they_were_learned(inked):
    done = run("predict", "model.safetensors", "set", cwd=inked)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 60
    for line in lines:
        path, _, answer = line.partition(": ")
        assert answer.startswith(f"{Path(path).parts[1]} ")


@pytest.fixture
def mixed(inked, tmp_path):
    for i, place in enumerate(("1.png", "2.png", "below/3.png", "below/deeper/4.png")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        ink(i % 2).save(tmp_path / place)
    (tmp_path / "0broken.png").write_bytes(b"text")
    good = (tmp_path / "1.png").read_bytes()
    (tmp_path / "below" / "half.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "__MACOSX" / "below").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "below" / "._3.png").write_bytes(b"Mac OS X")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_predict_goes_on_after_a_broken_picture(inked, mixed):
    model = inked / "model.safetensors"
    text = run("predict", model, ".", "none.png", "empty", "2.png", cwd=mixed)
    as_json = run("predict", model, ".", "none.png", "empty", "2.png", "--json", cwd=mixed)
    assert text.returncode == as_json.returncode == 1
    answers = json.loads(as_json.stdout)
    third, fourth, half = map(
        str, map(Path, ("below/3.png", "below/deeper/4.png", "below/half.png"))
    )
    good = ["1.png", "2.png", third, fourth, "2.png"]
    order = ["0broken.png", "1.png", "2.png", third, half, fourth, "none.png", "empty", "2.png"]
    assert [answer["picture"] for answer in answers] == order
    assert [answer["picture"] for answer in answers if "guesses" in answer] == good
    faults = {answer["picture"]: answer["error"] for answer in answers if "error" in answer}
    assert faults.keys() == set(order) - set(good)
    assert all(("error" in answer) != ("guesses" in answer) for answer in answers)
    for name, fault in faults.items():
        assert fault.startswith(f"{name}: ")
        for done in (text, as_json):
            assert f"cnn-ext predict: {fault}\n" in done.stderr
    assert text.stderr.count("\n") == len(faults)
    for line, name, turned in zip(text.stdout.splitlines(), good, (0, 1, 0, 1, 1), strict=True):
        assert line.startswith(f"{name}: {('down', 'across')[turned]} ")


def test_predict_of_nothing_but_broken_pictures(inked, mixed):
    done = run("predict", inked / "model.safetensors", "0broken.png", "--json", cwd=mixed)
    assert done.returncode == 1
    [answer] = json.loads(done.stdout)
    assert set(answer) == {"picture", "error"} and done.stderr.count("\n") == 1


def test_train_evaluate_and_plot_leave_out_broken_pictures_when_told(inked, tmp_path):
    data = tmp_path / "set"
    for turned, name in enumerate(("across", "down")):
        (data / name / "below").mkdir(parents=True)
        for i in range(10):
            ink(not turned).save(data / name / "below" / f"{i}.png")
    (data / "down" / "broken.png").write_bytes(b"text")
    commands = [("train", *QUICK), ("evaluate", inked / "model.safetensors"),
                ("plot", inked / "model.safetensors")]  # fmt: skip
    for command in commands:
        plain = run(*command, "--data", "set", cwd=tmp_path)
        assert (plain.returncode, plain.stdout) == (1, "")
        broken = f"{Path('set/down/broken.png')}: not a picture of a known format"
        assert plain.stderr.startswith(f"cnn-ext {command[0]}: {broken}")
        done = run(*command, "--data", "set", "--skip-broken", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said = f"cnn-ext {command[0]}: set: 1 of 21 pictures cannot be read and are left out: "
        assert done.stderr.startswith(said + broken) and done.stderr.count("\n") == 1


def test_channels_last_are_asked_about(tmp_path):
    x = RNG.integers(0, 255, (20, 9, 9, 3)).astype(np.uint8)
    y = np.arange(20) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    done = run("train", *QUICK, "--data", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'looks like (N, H, W, C); layout="channels_last" or' in done.stderr
    assert not (tmp_path / "model.safetensors").exists()
    last = ("--data", "data.npz", "--layout", "channels_last")
    assert run("train", *QUICK, *last, cwd=tmp_path).returncode == 0
    net, metadata = load_with_metadata(tmp_path / "model.safetensors")
    assert metadata["input_shape"] == "[3, 9, 9]"
    done = run("evaluate", "model.safetensors", *last, "--json", cwd=tmp_path)
    expected = metrics.accuracy(y[:4], net(x[:4].transpose(0, 3, 1, 2)).argmax(1))
    assert json.loads(done.stdout)["accuracy"] == expected


def test_the_validation_part_of_the_data_watches_training(tmp_path):
    parts = {}
    for part, n in (("train", 20), ("val", 10), ("test", 6)):
        parts[f"{part}_images"] = RNG.integers(0, 256, (n, 28, 28, 3)).astype(np.uint8)
        parts[f"{part}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    np.savez(tmp_path / "pathmnist.npz", **parts)
    done = run("train", *QUICK, "--data", "pathmnist.npz", "--early-stopping", 1, "--history",
               "h.json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ", 6 images, " in done.stdout
    [epoch] = json.loads((tmp_path / "h.json").read_text())["epochs"]
    assert epoch["validation_cost"] > 0
    done = run("train", *QUICK, "--data", ".", "--validation-split", 0.5, cwd=tmp_path)
    assert done.returncode == 2 and "argument --validation-split: the data have" in done.stderr


def test_split_of_emnist(tmp_path):
    for split, first in (("letters", 1), ("digits", 0)):
        for part, n in (("train", 30), ("test", 10)):
            images = RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)
            write_idx(tmp_path / f"emnist-{split}-{part}-images-idx3-ubyte", images)
            labels = (np.arange(n) % 10 + first).astype(np.uint8)
            write_idx(tmp_path / f"emnist-{split}-{part}-labels-idx1-ubyte", labels)
    done = run("train", *QUICK, "--data", ".", cwd=tmp_path)
    assert done.returncode == 1 and "'letters', 'digits' of EMNIST" in done.stderr
    done = run("train", *QUICK, "--data", ".", "--split", "letters", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    task = cnn_ext.load(tmp_path / "model.safetensors").task
    assert task is not None and task.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    assert len(datasets.load(tmp_path, split="digits").classes) == 10


def test_filter_keeps_sixteen_bits(tmp_path):
    pixels = (np.arange(30).reshape(5, 6) * 2000).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    done = run("filter", "blur", "deep.png", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_image(tmp_path / "out.png")[0]
    around = np.pad(pixels.astype(float), 1, "edge")
    expected = sum(around[r : r + 5, s : s + 6] for r in range(3) for s in range(3)) / 9
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_the_answer_for_a_picture_does_not_depend_on_the_others(tmp_path):
    Image.fromarray(np.full((4, 4), 200, np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(np.full((4, 4), 60_000, np.uint16)).save(tmp_path / "16.png")
    net = cnn_ext.Sequential(cnn_ext.Normalize(0, 255), cnn_ext.Flatten(), cnn_ext.Linear(16, 1))
    net.load_state_dict({"2.weight": np.full((1, 16), 1 / 16), "2.bias": np.zeros(1)})
    net.input_shape, net.task = (1, 4, 4), cnn_ext.Task("numbers")
    cnn_ext.save(net, tmp_path / "net.safetensors")
    done = run("predict", "net.safetensors", "8.png", "16.png", "8.png", "--json", cwd=tmp_path)
    numbers = [answer["numbers"][0] for answer in json.loads(done.stdout)]
    np.testing.assert_allclose(numbers, [200 / 255, 60_000 / 255, 200 / 255], rtol=1e-6)
