"""Options of training for recipes: groups with rates, averages, augmentation, views, whitening."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_ext import Muon, Sequential, augment, load, optim
from cnn_ext.cli import _config, _training, main
from cnn_ext.cli._augment import transforms

TRAIN = ("train", "--quiet", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `train` gives its trainer."""
    seen: dict[str, Any] = {}

    class Spy(_training.Trainer):
        def __init__(self, net: Any, loss: Any, optimizer: Any, *more: Any, **last: Any) -> None:
            super().__init__(net, loss, optimizer, *more, **last)
            seen.update(net=net, loss=loss, optimizer=optimizer, more=more, trainer=self)

        def fit(self, *given: Any, **options: Any) -> Any:
            seen.update(options)
            return super().fit(*given, **options)

        def evaluate(self, *given: Any, **options: Any) -> Any:
            seen.update(options)
            return super().evaluate(*given, **options)

    monkeypatch.setattr(_training, "Trainer", Spy)
    return seen


def colours(path: Path) -> str:
    """A file of small colour pictures whose classes differ."""
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    bright = (50 * y).astype(np.uint8)[:, None, None, None]
    x = rng.integers(0, 100, (30, 3, 30, 30), np.uint8) + bright
    np.savez(path / "colours.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    return str(path / "colours.npz")


@pytest.mark.parametrize("name", _config.recipes())
def test_recipes_hold_options_of_the_command(name: str, folder: Path, made: dict[str, Any]) -> None:
    text = (_config.RECIPES / f"{name}.toml").read_text("utf-8")
    assert text.startswith("#")  # says what it is for
    options = tomllib.loads(text)
    data = ["--data", colours(folder)] if options.get("colour") else []
    small = ["--batch-size", "20", "--epochs", "1", "--lr", "0.001"]
    if not data:
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (20, 28, 28), np.uint8), np.arange(20) % 3
        np.savez("grey.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        data = ["--data", "grey.npz"]
    assert main([*TRAIN, *data, "--recipe", name, *small]) == 0
    assert made["views"] == options.get("views")
    assert bool(made["augment"]) == ("augment" in options)


def test_groups_have_rates_of_their_own(folder: Path, made: dict[str, Any]) -> None:
    words = ["--epochs", "1", "--lr", "0.01", "--bias-lr", "4", "--head-lr", "0.5"]
    assert main([*TRAIN, *words, "--no-decay-biases", "--optimizer", "muon"]) == 0
    net, optimizer = made["net"], made["optimizer"]
    assert isinstance(optimizer, Muon)
    deep, flat, head = optimizer.param_groups
    assert [group["lr"] for group in (deep, flat, head)] == [0.01, 0.04, 0.005]
    assert (deep["orthogonal"], head["orthogonal"]) == (True, False)
    assert not any(group["decay_biases"] for group in optimizer.param_groups)
    last = list(net.layers[-1].parameters())
    assert list(map(id, head["params"])) == list(map(id, last))
    assert {p.data.ndim for p in flat["params"]} == {1} and {1} < {
        p.data.ndim for p in [*deep["params"], *flat["params"]]
    }
    assert len(optimizer.parameters) == len(list(net.parameters()))


def test_norms_and_the_momentum_of_the_rest(
    folder: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--epochs", "1", "--keep-norms", "--momentum", "0.6", "--rest-momentum", "0.8"]
    words += ["--lr", "0.01", "--bias-lr", "4", "--head-lr", "0.5", "--weight-decay", "0.2"]
    assert main([*TRAIN, *words, "--optimizer", "muon"]) == 0
    groups = made["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.2, 0.05, 0.4]
    assert [group["momentum"] for group in groups] == [0.6, 0.8, 0.8]
    assert all(group["keep_norms"] for group in groups)
    assert main([*TRAIN, "--keep-norms"]) == 2
    assert "--keep-norms: needs --optimizer muon" in capsys.readouterr().err
    assert main([*TRAIN, "--optimizer", "adam", "--rest-momentum", "0.8"]) == 2
    assert "--rest-momentum: needs an --optimizer with --momentum" in capsys.readouterr().err


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_rule_begins_with_defaults_that_learn(name: str, folder: Path) -> None:
    assert main([*TRAIN, "--optimizer", name, "--epochs", "2", "--history", "h.json"]) == 0
    assert '"accuracy"' in Path("h.json").read_text()


def test_averages_are_what_is_tested_and_written(
    folder: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--epochs", "2", "--average", "0.9"]) == 0
    trainer = made["trainer"]
    assert trainer.average.decay == 0.9
    net = load("model.safetensors")
    assert isinstance(net, Sequential)
    for parameter, average in zip(net.parameters(), trainer.average.averages, strict=True):
        np.testing.assert_array_equal(parameter.data, average.data)
    tested = capsys.readouterr().out.split("(")[0]
    assert main(["evaluate", "model.safetensors", "--data", "digits"]) == 0
    assert tested.split()[2] in capsys.readouterr().out


def test_augmentation_smoothing_and_views(folder: Path, made: dict[str, Any]) -> None:
    text = 'RandomShift(1, "edge"), Cutout(size=2)'
    words = ["--augment", text, "--label-smoothing", "0.1", "--views", "mirror"]
    assert main([*TRAIN, "--epochs", "1", *words]) == 0
    shift, cutout = made["augment"].transforms
    assert isinstance(shift, augment.RandomShift) and shift.padding_mode == "edge"
    assert isinstance(cutout, augment.Cutout) and cutout.size == 2
    assert made["views"] == "mirror"
    assert made["loss"].cost.keywords == {"label_smoothing": 0.1}
    written = tomllib.loads(Path("model.toml").read_text())
    assert (written["augment"], written["views"]) == (text, "mirror")
    assert main([*TRAIN, "--config", "model.toml", "--out", "again"]) == 0
    assert Path("again").read_bytes() == Path("model.safetensors").read_bytes()


def test_whitening_follows_from_the_seed(folder: Path, made: dict[str, Any]) -> None:
    words = ["--arch", "airbench", "--data", colours(folder), "--batch-size", "10", "--lr", "0.01"]
    assert main([*TRAIN, *words, "--epochs", "1", "--whiten"]) == 0
    first = made["net"][0]
    assert not first.weight.trainable and not first.bias.trainable
    before = Path("model.safetensors").read_bytes()
    assert main([*TRAIN, *words, "--epochs", "1", "--whiten"]) == 0
    assert Path("model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RandomShift", "RandomShift: "),
        ("RandomShift(-1)", "pixels"),
        ("RandomShift(2", "expected mild, none, or transforms"),
        ("Nothing()", "expected mild, none, or transforms"),
        ("Chance(1, 2, 3, 4)", "expected mild, none, or transforms"),
        ("views_of('mirror')", "expected mild, none, or transforms"),
        ("__import__('os')", "expected mild, none, or transforms"),
        ("RandomShift(print())", "malformed"),
        ("RandomShift(*[1])", ""),
        ("augment.RandomShift(1)", "expected mild, none, or transforms"),
        ("RandomShift(pixel=1)", "pixel"),
        ("1] + [RandomShift(1)", "expected mild, none, or transforms"),
    ],
)
def test_other_transforms_are_refused(
    text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--augment", text]) == 2
    error = capsys.readouterr().err
    assert "--augment" in error and message in error
    assert error.count("\n") == 1
    assert not Path("model.safetensors").exists()


def test_transforms_are_read_as_they_show_themselves() -> None:
    text = 'AlternatingFlip, RandomAffine(10, scale=(0.9, 1.1)), Shift(-1, 2, "edge")'
    made = transforms(text, (1, 8, 8))
    assert made is not None
    again = transforms(", ".join(map(repr, made.transforms)), (1, 8, 8))
    assert again is not None and again.to_config() == made.to_config()


def test_whitening_that_does_not_fit_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--whiten", "--normalize"]) == 2
    assert "--whiten: takes the place of --normalize" in capsys.readouterr().err
    assert main([*TRAIN, "--whiten", "--arch", "tiny"]) == 2
    assert "--whiten: net: expected 18 filters" in capsys.readouterr().err
