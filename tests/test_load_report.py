"""Weights that fit are taken, and the rest is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import assert_same, normalised
from numpy.testing import assert_array_equal

from cnn_ext import (
    Buffer,
    Linear,
    Module,
    Parameter,
    Sequential,
    load,
    load_weights,
    safetensors,
    save,
)


def test_what_fits_is_taken_and_the_rest_is_told(tmp_path: Path) -> None:
    theirs, net = normalised(10, seed=1), normalised(5, seed=2)
    state = theirs.state_dict()
    save(theirs, tmp_path / "net")
    del state["0.bias"]
    state["8.weight"] = np.zeros((2, 2))
    safetensors.write(tmp_path / "some", state)
    before = net.state_dict()
    for take in (
        lambda: net.load_state_dict(state, strict=False),
        lambda: load_weights(net, tmp_path / "some", strict=False),
    ):
        net.load_state_dict(before)
        report = take()
        assert report.missing_keys == ("0.bias",)
        assert report.unexpected_keys == ("8.weight",)
        assert report.mismatched_keys == {
            "7.weight": ((5, 96), (10, 96)), "7.bias": ((5,), (10,)),
        }  # fmt: skip
        assert not report.complete
        assert len(report.loaded_keys) == len(before) - 3
        for name, array in net.state_dict().items():
            assert_array_equal(array, (state if name in report.loaded_keys else before)[name])
        assert str(report) == (
            f"loaded {len(before) - 3} of {len(before)} arrays\n"
            "  missing: 0.bias\n"
            "  of other shapes: 7.weight (5, 96), given (10, 96), 7.bias (5,), given (10,)\n"
            "  unexpected: 8.weight"
        )
    report = load_weights(normalised(10), tmp_path / "net")
    assert report.complete and str(report) == f"loaded {len(before)} of {len(before)} arrays"
    for name in ("0.bias", "8.weight"):
        with pytest.raises(KeyError, match=name):
            net.load_state_dict(state)
        with pytest.raises(ValueError, match=name):
            load_weights(net, tmp_path / "some")


def test_where_nothing_fits_it_is_an_error_that_says_what_there_is(tmp_path: Path) -> None:
    net = normalised()
    before = net.state_dict()
    state = {f"backbone.{name}": array for name, array in before.items()}
    safetensors.write(tmp_path / "w", state)
    message = r"got none: loaded 0 of 14 arrays\n  missing: 0\.weight, .*\n  unexpected: backbone"
    with pytest.raises(ValueError, match=f"^state: expected .* fits, {message}"):
        net.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'w'}: expected .* fits, {message}"):
        load_weights(net, tmp_path / "w", strict=False)
    wrong = {**before, "7.bias": np.full(5, "a")}
    for strict in (True, False):
        with pytest.raises(TypeError, match=r"7\.bias: expected real numbers"):
            net.load_state_dict({**wrong, "0.bias": np.ones(6)}, strict=strict)
    safetensors.write(tmp_path / "w", {**before, "7.bias": np.full(5, np.nan)})
    with pytest.raises(ValueError, match=r"7\.bias: expected finite numbers"):
        load_weights(net, tmp_path / "w", strict=False)
    assert_same(net.state_dict(), before)


def test_whole_numbers_are_taken_for_buffers_alone(tmp_path: Path) -> None:
    net = normalised()
    state = net.state_dict()
    state["1.num_batches_tracked"] = np.array(7)  # as PyTorch has it
    safetensors.write(tmp_path / "w", state)
    load_weights(net, tmp_path / "w")
    assert net.state_dict()["1.num_batches_tracked"] == 7.0
    safetensors.write(tmp_path / "w", {**state, "7.bias": np.arange(5)})
    with pytest.raises(ValueError, match=r"7\.bias: expected floating-point numbers, got int64"):
        load_weights(net, tmp_path / "w")


def test_many_names_are_cut_short() -> None:
    class Many(Module):
        def __init__(self) -> None:
            self.first = Parameter(np.zeros(1))
            self.rest = [Buffer(np.zeros(1)) for _ in range(50)]

    report = Many().load_state_dict({"first": np.ones(1)}, strict=False)
    assert "rest.19, 30 more" in str(report) and len(str(report)) < 400


def test_files_of_pytorch_itself_are_refused_with_the_cure(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_side import torch_network

    net = Sequential(Linear(2, 3))
    model = torch_network(net)
    for new in (True, False):
        torch.save(model.state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=new)
        for read in (load, lambda path: load_weights(net, path)):
            with pytest.raises(ValueError, match="pickles are not read; safetensors.torch.save_fi"):
                read(tmp_path / "w.pt")
    other = Sequential(Linear(2, 3))
    assert other.load_state_dict(model.state_dict()).complete
    assert_same(other.state_dict(), net.state_dict())
