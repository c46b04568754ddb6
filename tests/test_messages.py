"""Mistakes of a first hour: messages say what was expected, what came and what helps."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from networks import small, stripes

import cnn_ext
from cnn_ext import BatchNorm2d, MaxPool2d, Trainer
from cnn_ext.data import datasets

X, Y = stripes(20)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: small()(X[:, 0]), ValueError, r"got \(6, 6\); a batch is \(N, C, H, W\)"),
        (lambda: MaxPool2d(2)(X[:, 0]), ValueError, r"got \(6, 6\); a batch is \(N, C, H, W\)"),
        (lambda: small().summary(X.shape), ValueError, r"got \(20, 1, 6, 6\); N is left out here"),
        (lambda: small()(X.transpose(0, 2, 3, 1)), ValueError, "1 channels, .*; channels come"),
        (lambda: small().compile((1, 6, 6))(X[0].transpose(1, 2, 0)), ValueError,
         r"got shape \(6, 6, 1\), whose channels come last; transpose moves them"),
        (lambda: Trainer(small()).evaluate(X, Y + 1), ValueError, "^y: expected classes 0 to 2"),
        (lambda: Trainer(small()).fit(X, np.array(list("abc"))[Y]), TypeError,
         r"^y: expected class numbers, got texts; numpy\.unique"),
        (lambda: Trainer(small()).fit(X * np.nan, Y), cnn_ext.CostError,
         "the cost is nan, as x has numbers that are not finite, in epoch 1"),
        (lambda: Trainer(small(), "mse").fit(X, np.full((20, 3), np.inf)), cnn_ext.CostError,
         "as y has numbers that are not finite"),
        (lambda: datasets.mnist("gone"), FileNotFoundError, "download=True fetches it"),
        (lambda: datasets.cifar10("gone"), FileNotFoundError, "download=True fetches it"),
    ],
)  # fmt: skip
def test_calls(call: Any, error: type[Exception], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of numbers far from unit range
        with pytest.raises(error, match=message):
            call()


def test_a_loss_of_ones_own_names_what_it_wants() -> None:
    def loss(outputs: np.ndarray, target: np.ndarray) -> Any:
        raise ValueError("own target: expected nothing")

    with pytest.raises(ValueError, match="^own target: expected nothing"):
        Trainer(small(), loss).fit(X, Y, progress=False)


def test_a_folder_that_is_missing_is_named_and_no_other_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such folder: '.*none'$"):
        cnn_ext.save(small(), tmp_path / "none" / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_an_overflow_of_running_statistics_warns_of_nothing() -> None:
    net = BatchNorm2d(1)
    net.running_mean.data[...] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(X)
    assert np.isnan(net.running_mean.data).all()


def test_pictures_of_a_folder_without_classes(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for name in ("a.png", "b.JPG"):
        pillow.new("L", (8, 8)).save(tmp_path / name)
    with pytest.raises(ValueError, match="; its 2 pictures belong in sub-folders, one for each"):
        datasets.load(tmp_path)
    for name in ("ant", "bee"):
        shutil.copytree(tmp_path, tmp_path / name, ignore=shutil.ignore_patterns("ant", "bee"))
    (tmp_path / "bee" / "b.JPG").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="b.JPG: .*; on_error='skip' or --skip-broken leaves out"):
        datasets.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("train pictures", "unknown arguments: pictures; did you mean --data pictures?; see"),
        ("train nowhere", "unknown arguments: nowhere; see"),
        ("train --epoch 3", "unknown arguments: --epoch 3; did you mean --epochs?; see"),
        ("evaluate net --dta=x", "unknown arguments: --dta=x; did you mean --data?; see"),
        ("info --signal", "unknown arguments: --signal; see"),
        ("evaluate net", "takes images of shape (1, 6, 6), digits has (1, 8, 8); --data names"),
    ],
)
def test_commands(arguments: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    net = small()
    Trainer(net).fit(X, Y, progress=False)
    cnn_ext.save(net, tmp_path / "net")
    done = run(*arguments.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and hint in done.stderr
